-- Libraries and access tokens.
-- Times are microseconds since 1970, UTC. Booleans are 0 and 1. Documents are JSON as UTF-8 bytes.

CREATE TABLE containers (
    id             TEXT    NOT NULL PRIMARY KEY,
    organisation   TEXT    NOT NULL,
    sandbox        TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    created_us     BIGINT  NOT NULL,
    created_user   TEXT    NOT NULL,
    created_client TEXT    NOT NULL,
    revision       BIGINT  NOT NULL,
    UNIQUE (organisation, sandbox)
);

-- All versions of all objects; a deletion is a version. Rows are never changed or deleted.
CREATE TABLE versions (
    container_id    TEXT    NOT NULL REFERENCES containers (id),
    revision        BIGINT  NOT NULL,
    instance_id     TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    id              TEXT    NOT NULL,
    etag            BIGINT  NOT NULL,
    created_us      BIGINT  NOT NULL,
    modified_us     BIGINT  NOT NULL,
    created_user    TEXT    NOT NULL,
    created_client  TEXT    NOT NULL,
    modified_user   TEXT    NOT NULL,
    modified_client TEXT    NOT NULL,
    deleted         INTEGER NOT NULL,
    document        BLOB    NOT NULL,
    PRIMARY KEY (container_id, revision),
    UNIQUE (container_id, instance_id, etag)
);

-- Current state of each object: one row, which refers to its newest version. `canonical_id` is its @id in
-- canonical spelling. A deleted object keeps it, so that no @id is reused.
CREATE TABLE instances (
    container_id TEXT    NOT NULL,
    instance_id  TEXT    NOT NULL,
    canonical_id TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    etag         BIGINT  NOT NULL,
    revision     BIGINT  NOT NULL,
    deleted      INTEGER NOT NULL,
    PRIMARY KEY (container_id, instance_id),
    UNIQUE (container_id, canonical_id),
    FOREIGN KEY (container_id, revision) REFERENCES versions (container_id, revision)
);

CREATE TABLE tokens (
    id           TEXT   NOT NULL PRIMARY KEY,
    digest       TEXT   NOT NULL UNIQUE,
    organisation TEXT   NOT NULL,
    sandbox      TEXT   NOT NULL,
    permissions  TEXT   NOT NULL,  -- JSON list
    label        TEXT   NOT NULL,
    created_us   BIGINT NOT NULL,
    expires_us   BIGINT,
    revoked_us   BIGINT
);
