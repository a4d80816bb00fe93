-- Libraries and access tokens. Equivalent to sqlite/001_library.sql.
-- Times are microseconds since 1970, UTC. Booleans are 0 and 1. Documents are JSON as UTF-8 bytes: the JSON
-- types of the database would lose the order of members and the type of numbers.
-- Ids are compared by their bytes, whatever the locale of the database.

CREATE TABLE containers (
    id             TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    organisation   TEXT    COLLATE "C" NOT NULL,
    sandbox        TEXT    COLLATE "C" NOT NULL,
    name           TEXT    NOT NULL,
    created_us     BIGINT  NOT NULL,
    created_user   TEXT    NOT NULL,
    created_client TEXT    NOT NULL,
    revision       BIGINT  NOT NULL,
    UNIQUE (organisation, sandbox)
);

-- All versions of all objects; a deletion is a version. Rows are never changed or deleted.
CREATE TABLE versions (
    container_id    TEXT    COLLATE "C" NOT NULL REFERENCES containers (id),
    revision        BIGINT  NOT NULL,
    instance_id     TEXT    COLLATE "C" NOT NULL,
    kind            TEXT    NOT NULL,
    id              TEXT    COLLATE "C" NOT NULL,
    etag            BIGINT  NOT NULL,
    created_us      BIGINT  NOT NULL,
    modified_us     BIGINT  NOT NULL,
    created_user    TEXT    NOT NULL,
    created_client  TEXT    NOT NULL,
    modified_user   TEXT    NOT NULL,
    modified_client TEXT    NOT NULL,
    deleted         INTEGER NOT NULL,
    document        BYTEA   NOT NULL,
    PRIMARY KEY (container_id, revision),
    UNIQUE (container_id, instance_id, etag)
);

-- Current state of each object: one row, which refers to its newest version. `canonical_id` is its @id in
-- canonical spelling. A deleted object keeps it, so that no @id is reused.
CREATE TABLE instances (
    container_id TEXT    COLLATE "C" NOT NULL,
    instance_id  TEXT    COLLATE "C" NOT NULL,
    canonical_id TEXT    COLLATE "C" NOT NULL,
    kind         TEXT    NOT NULL,
    etag         BIGINT  NOT NULL,
    revision     BIGINT  NOT NULL,
    deleted      INTEGER NOT NULL,
    PRIMARY KEY (container_id, instance_id),
    UNIQUE (container_id, canonical_id),
    FOREIGN KEY (container_id, revision) REFERENCES versions (container_id, revision)
);

CREATE TABLE tokens (
    id           TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    digest       TEXT   COLLATE "C" NOT NULL UNIQUE,
    organisation TEXT   NOT NULL,
    sandbox      TEXT   NOT NULL,
    permissions  TEXT   NOT NULL,  -- JSON list
    label        TEXT   NOT NULL,
    created_us   BIGINT NOT NULL,
    expires_us   BIGINT,
    revoked_us   BIGINT
);

-- Only in PostgreSQL: the last transaction of each connection, for connections lost during COMMIT.
-- Transaction ids would not do: they are reused after a crash.
CREATE TABLE write_marks (
    writer    TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    mark      TEXT   NOT NULL,
    marked_us BIGINT NOT NULL
) WITH (fillfactor = 50);
