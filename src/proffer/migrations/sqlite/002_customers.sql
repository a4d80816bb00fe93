-- Customers: identities, attributes, events, and audience memberships.

-- Number of the space of each container, which rows contain instead of the container id. The keys of the
-- customers of a space begin at space * 2^40.
CREATE TABLE customer_spaces (
    space        INTEGER NOT NULL PRIMARY KEY,
    container_id TEXT    NOT NULL UNIQUE REFERENCES containers (id),
    newest       BIGINT  NOT NULL,  -- highest key assigned
    customers    BIGINT  NOT NULL   -- number of customers
);

-- `document`: the attributes, merged in order of time. With one source, it is also the fragment of that source;
-- with several, each has a row in customer_fragments. Older versions wrote `membership` as a JSON object:
-- audience to [status, since, columns].
CREATE TABLE customers (
    customer    INTEGER NOT NULL PRIMARY KEY,
    identities  BLOB    NOT NULL,  -- JSON list of [namespace, id]
    sources     BLOB    NOT NULL,  -- JSON list of [time, dataset, [namespace, id]]
    document    BLOB    NOT NULL,
    membership  BLOB,              -- JSON list of [status, since, columns, [audiences]]
    modified_us BIGINT  NOT NULL
);

CREATE TABLE customer_identities (
    space     INTEGER NOT NULL,
    namespace TEXT    NOT NULL,
    id        TEXT    NOT NULL,
    customer  BIGINT  NOT NULL,
    PRIMARY KEY (space, namespace, id)
) WITHOUT ROWID;

CREATE TABLE customer_fragments (
    customer   BIGINT NOT NULL,
    dataset    TEXT   NOT NULL,
    namespace  TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    stamped_us BIGINT NOT NULL,
    document   BLOB   NOT NULL,
    PRIMARY KEY (customer, dataset, namespace, id)
);

CREATE TABLE customer_events (
    customer   BIGINT NOT NULL,
    stamped_us BIGINT NOT NULL,
    event_id   TEXT   NOT NULL,
    document   BLOB   NOT NULL,
    PRIMARY KEY (customer, event_id)
);
CREATE INDEX customer_events_by_time ON customer_events (customer, stamped_us);

-- Digests (of id and content) of imported records with an id: a repeated record changes nothing.
CREATE TABLE customer_records (
    space    INTEGER NOT NULL,
    digest   BLOB    NOT NULL,
    taken_us BIGINT  NOT NULL,
    PRIMARY KEY (space, digest)
) WITHOUT ROWID;
CREATE INDEX customer_records_by_time ON customer_records (taken_us);

-- Checkpoint of each import, written in one transaction with the records it covers.
CREATE TABLE customer_imports (
    space INTEGER NOT NULL,
    name  TEXT    NOT NULL,
    note  BLOB    NOT NULL,
    PRIMARY KEY (space, name)
);
