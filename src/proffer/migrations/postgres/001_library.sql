-- Libraries and access tokens. In meaning the same as sqlite/001_library.sql.
-- Times are microseconds since 1970, UTC. Truth values are 0 and 1. Documents are JSON as UTF-8 bytes:
-- as JSON of the database they would lose the order of their members and the type of their numbers.
-- Ids are compared by their bytes, whatever the database's own language.

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

-- Every version of every object there has been, a deletion being one; never changed, never removed.
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

-- Where each object stands: one row for an object, pointing at its newest version. `canonical_id` is
-- its @id in the one spelling it is known by; a deleted object keeps it, so no @id is used again.
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
    permissions  TEXT   NOT NULL,  -- a JSON list
    label        TEXT   NOT NULL,
    created_us   BIGINT NOT NULL,
    expires_us   BIGINT,
    revoked_us   BIGINT
);

-- Of PostgreSQL alone: the last transaction of each connection, for a connection that is lost while it commits.
-- Numbers of transactions do not tell: after a crash they are given out again.
CREATE TABLE write_marks (
    writer    TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    mark      TEXT   NOT NULL,
    marked_us BIGINT NOT NULL
) WITH (fillfactor = 50);
