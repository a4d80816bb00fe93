"""PostgreSQL-specific SQL, and conversion of the shared SQL."""
# ruff: noqa: S608 - only the column lists below are interpolated

import re
from functools import cache
from itertools import count

from proffer.store.sql import statements

MIGRATION_LOCK = 0x50726F66666572
"""Advisory lock held while migrating."""
IDENTITY_LOCK = 0x50726F66
"""First key of the advisory locks of identities; the second is a stripe of a space."""
CHANGE_CHANNEL = "proffer_changed"
"""NOTIFY channel for new revisions of a container."""


@cache
def dollar(statement: str) -> str:
    """Return a shared statement with its parameters as `$1`, `$2`, …"""
    number = count(1)
    return re.sub(r"\?", lambda _: f"${next(number)}", statement)


MARK_WRITE = """
    INSERT INTO write_marks (writer, mark, marked_us) VALUES ($1, $2, $3)
    ON CONFLICT (writer) DO UPDATE SET mark = excluded.mark, marked_us = excluded.marked_us"""
MARK_EXISTS = "SELECT 1 FROM write_marks WHERE writer = $1 AND mark = $2"
WRITER_ALIVE = """
    SELECT pid FROM pg_stat_activity WHERE pid = $1 AND datname = current_database()
        AND application_name = 'proffer'"""
PURGE_MARKS = "DELETE FROM write_marks WHERE marked_us < $1"

LOCK_REVISION = f"{dollar(statements.REVISION_OF)} FOR UPDATE"
ADD_CONTAINER = f"{dollar(statements.ADD_CONTAINER)} ON CONFLICT DO NOTHING"
HEADS_TOUCHED = """
    SELECT instance_id, canonical_id, etag, deleted FROM instances
    WHERE container_id = $1 AND (instance_id = ANY($2::text[]) OR canonical_id = ANY($3::text[]))"""
VERSION_COLUMNS = tuple(statements.VERSION_COLUMNS.split(", "))
PUT_HEADS = """
    INSERT INTO instances (container_id, instance_id, canonical_id, kind, etag, revision, deleted)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::int[])
    ON CONFLICT (container_id, instance_id) DO UPDATE SET
        kind = excluded.kind, etag = excluded.etag, revision = excluded.revision,
        deleted = excluded.deleted"""
NOTIFY = "SELECT pg_notify($1, $2)"
ADD_TOKEN = f"{dollar(statements.ADD_TOKEN)} ON CONFLICT DO NOTHING RETURNING id"
LOCK_TOKEN = f"{dollar(statements.TOKEN_BY_ID)} FOR UPDATE"

SPACE_OF = "SELECT space FROM customer_spaces WHERE container_id = $1"
ADD_SPACE = """
    INSERT INTO customer_spaces (container_id, customers)
    SELECT id, 0 FROM containers WHERE id = $1
    ON CONFLICT (container_id) DO NOTHING"""
ADD_TO_COUNT = "UPDATE customer_spaces SET customers = customers + $2 WHERE space = $1"
COUNTED = """
    SELECT s.space, s.customers,
        (SELECT min(customer) FROM customers WHERE customer > s.space::bigint << 40
            AND customer < (s.space + 1)::bigint << 40),
        (SELECT max(customer) FROM customers WHERE customer > s.space::bigint << 40
            AND customer < (s.space + 1)::bigint << 40)
    FROM customer_spaces s WHERE s.container_id = $1"""
NEW_KEYS = "SELECT nextval('customer_keys') FROM generate_series(1, $1::int)"

CUSTOMER = "customer, identities, sources, document, membership, modified_us"
CUSTOMER_COLUMNS = tuple(CUSTOMER.split(", "))
FIND = f"""
    SELECT {CUSTOMER} FROM customers WHERE customer IN (
        SELECT i.customer FROM unnest($2::text[], $3::text[]) AS a (namespace, id)
        JOIN customer_identities i ON i.space = $1 AND i.namespace = a.namespace AND i.id = a.id)
    ORDER BY customer"""
FIND_ONE = f"""
    SELECT {", ".join("c." + name for name in CUSTOMER_COLUMNS)}
    FROM customer_identities i JOIN customers c ON c.customer = i.customer
    WHERE i.space = $1 AND i.namespace = $2 AND i.id = $3"""
FIND_COUNTED = f"""
    {FIND_ONE}
    UNION ALL
    SELECT j.owner, NULL, NULL, NULL, NULL, NULL FROM counting_identities j
    WHERE j.space = $1 AND j.namespace = $2 AND j.id = $3"""
"""The customer of an identity, or the key of its counting owner and nulls."""
FIND_ALL_COUNTED = f"""
    WITH owners AS (
        SELECT i.customer AS owner FROM unnest($2::text[], $3::text[]) AS a (namespace, id)
        JOIN customer_identities i ON i.space = $1 AND i.namespace = a.namespace AND i.id = a.id
        UNION
        SELECT j.owner FROM unnest($2::text[], $3::text[]) AS a (namespace, id)
        JOIN counting_identities j ON j.space = $1 AND j.namespace = a.namespace AND j.id = a.id)
    SELECT NULL AS namespace, NULL AS id, {CUSTOMER} FROM owners JOIN customers ON customer = owner
    UNION ALL
    SELECT j.namespace, j.id, owner, NULL, NULL, NULL, NULL, NULL FROM owners JOIN counting_identities j USING (owner)
    ORDER BY customer"""
"""The customers of identities and of their counting owners, and the identities that joined either, with their owner."""
HOLDERS = """
    SELECT i.namespace, i.id, i.customer FROM unnest($2::text[], $3::text[]) AS a (namespace, id)
    JOIN customer_identities i ON i.space = $1 AND i.namespace = a.namespace AND i.id = a.id"""
LOAD = f"SELECT {CUSTOMER} FROM customers WHERE customer = ANY($1::bigint[]) ORDER BY customer"
LOCK_CUSTOMERS = f"{LOAD} FOR UPDATE"
PAGE = f"""
    SELECT {CUSTOMER} FROM customers WHERE customer > $1 AND customer < $2 ORDER BY customer LIMIT $3"""
LOCK_PAGE = f"{PAGE} FOR UPDATE"
_ROWS = """unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bigint[])"""
ADD_CUSTOMERS = f"INSERT INTO customers ({CUSTOMER}) SELECT * FROM {_ROWS}"
SAVE_CUSTOMERS = f"""
    UPDATE customers c SET identities = n.identities, sources = n.sources, document = n.document,
        membership = n.membership, modified_us = n.modified_us
    FROM {_ROWS} AS n ({CUSTOMER}) WHERE c.customer = n.customer"""
SAVE_MEMBERSHIPS = """
    UPDATE customers c SET membership = n.membership
    FROM unnest($1::bigint[], $2::bytea[]) AS n (customer, membership) WHERE c.customer = n.customer"""
REMOVE_CUSTOMERS = "DELETE FROM customers WHERE customer = ANY($1::bigint[])"

PUT_IDENTITIES = """
    INSERT INTO customer_identities (space, namespace, id, customer)
    SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[])
    ON CONFLICT (space, namespace, id) DO UPDATE SET customer = excluded.customer"""
IDENTITY_COLUMNS = ("space", "namespace", "id", "customer")
REMOVE_IDENTITIES = """
    DELETE FROM customer_identities i USING unnest($2::text[], $3::text[]) AS a (namespace, id)
    WHERE i.space = $1 AND i.namespace = a.namespace AND i.id = a.id"""

FRAGMENTS = """
    SELECT customer, stamped_us, dataset, namespace, id, document FROM customer_fragments
    WHERE customer = ANY($1::bigint[]) ORDER BY customer, stamped_us, dataset, namespace, id"""
SAVE_FRAGMENTS = """
    INSERT INTO customer_fragments (customer, dataset, namespace, id, stamped_us, document)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bytea[])
    ON CONFLICT (customer, dataset, namespace, id) DO UPDATE SET
        stamped_us = excluded.stamped_us, document = excluded.document"""
REMOVE_FRAGMENTS = "DELETE FROM customer_fragments WHERE customer = ANY($1::bigint[])"

EVENTS = """
    SELECT document FROM customer_events WHERE customer = ANY($1::bigint[]) AND stamped_us >= $2
    ORDER BY stamped_us DESC, event_id DESC LIMIT $3"""
EVENT_HEADS = """
    SELECT customer, event_id, stamped_us, NULL::bytea FROM customer_events
    WHERE customer = ANY($1::bigint[])"""
EVENTS_WHOLE = """
    SELECT customer, event_id, stamped_us, document FROM customer_events
    WHERE customer = ANY($1::bigint[])"""
REMOVE_EVENTS = """
    DELETE FROM customer_events e USING unnest($1::bigint[], $2::text[]) AS a (customer, event_id)
    WHERE e.customer = a.customer AND e.event_id = a.event_id"""
MOVE_EVENTS = """
    UPDATE customer_events e SET customer = a.survivor
    FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS a (customer, event_id, survivor)
    WHERE e.customer = a.customer AND e.event_id = a.event_id"""
ADD_EVENTS = """
    INSERT INTO customer_events (customer, event_id, stamped_us, document)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bytea[])"""

EXISTING_DIGESTS = "SELECT digest FROM customer_records WHERE space = $1 AND digest = ANY($2::bytea[])"
ADD_DIGESTS = """
    INSERT INTO customer_records (space, digest, taken_us)
    SELECT $1, digest, $3 FROM unnest($2::bytea[]) AS a (digest)
    ON CONFLICT (space, digest) DO NOTHING"""
