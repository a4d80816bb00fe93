-- Tasks that one server at a time does, and the last evaluation of all audiences.
-- Equivalent to sqlite/009_leases.sql.

CREATE TABLE leases (
    name     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    owner    TEXT COLLATE "C" NOT NULL,   -- empty: nobody
    until_us BIGINT NOT NULL,
    version  BIGINT NOT NULL    -- increases with every change
);

CREATE TABLE audience_evaluations (
    container_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES containers (id),
    revision     BIGINT NOT NULL,   -- of the catalog that was evaluated
    meaning      BIGINT NOT NULL,   -- version of what rules mean
    started_us   BIGINT NOT NULL,
    finished_us  BIGINT NOT NULL,
    customers    BIGINT NOT NULL,
    changed      BIGINT NOT NULL
);
