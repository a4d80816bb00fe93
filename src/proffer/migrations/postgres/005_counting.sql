-- Identities that nobody holds and that a request named together with others: they count as one person.
-- Equivalent to sqlite/005_counting.sql.

-- `owner`: key of the customer they count for, or a key without a customer. Such an identity is not in
-- customer_identities: it reads nothing of that customer.
CREATE TABLE counting_identities (
    space     INTEGER NOT NULL,
    namespace TEXT    COLLATE "C" NOT NULL,
    id        TEXT    COLLATE "C" NOT NULL,
    owner     BIGINT  NOT NULL,
    joined_us BIGINT  NOT NULL,
    PRIMARY KEY (space, namespace, id)
);
CREATE INDEX counting_identities_by_owner ON counting_identities (owner);
