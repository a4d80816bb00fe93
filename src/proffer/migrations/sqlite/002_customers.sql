-- Customers: who they are, what is known of them, what they did, which audiences they are in.

-- A container by number, so that a million rows need not carry its name. Customers of one space have
-- keys from space * 2^40 upwards.
CREATE TABLE customer_spaces (
    space        INTEGER NOT NULL PRIMARY KEY,
    container_id TEXT    NOT NULL UNIQUE REFERENCES containers (id),
    newest       BIGINT  NOT NULL,  -- the highest key given out
    customers    BIGINT  NOT NULL   -- how many there are
);

-- `document` holds the attributes merged by timestamp order. Where there is one source it is that
-- source's fragment as well; where there are several, each has a row in customer_fragments.
CREATE TABLE customers (
    customer    INTEGER NOT NULL PRIMARY KEY,
    identities  BLOB    NOT NULL,  -- a JSON list of [namespace, id]
    sources     BLOB    NOT NULL,  -- a JSON list of [time, dataset, [namespace, id]]
    document    BLOB    NOT NULL,
    membership  BLOB,              -- JSON: audience to [status, since, columns]
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

-- Records with an id that were taken in, as a hash of id and content: the same one again changes nothing.
CREATE TABLE customer_records (
    space    INTEGER NOT NULL,
    digest   BLOB    NOT NULL,
    taken_us BIGINT  NOT NULL,
    PRIMARY KEY (space, digest)
) WITHOUT ROWID;
CREATE INDEX customer_records_by_time ON customer_records (taken_us);

-- How far each import has come: written in one transaction with what it brought.
CREATE TABLE customer_imports (
    space INTEGER NOT NULL,
    name  TEXT    NOT NULL,
    note  BLOB    NOT NULL,
    PRIMARY KEY (space, name)
);
