"""Row conversion and portable SQL for customers, fragments and events."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from proffer.model.capping import CounterRow
from proffer.model.customer import (
    Attributes,
    AudienceMembership,
    Customer,
    EncodedRecord,
    Fragment,
    FragmentSource,
    Memberships,
    MembershipStatus,
)
from proffer.model.identity import IdentityKey

SPACE_BITS = 40
"""A space (container) has 2^40 customer keys, from `space << SPACE_BITS`."""

Row: TypeAlias = tuple[Any, ...]

_COLUMNS = "customer, identities, sources, document, membership, modified_us"

SPACE_OF = "SELECT space, newest, customers FROM customer_spaces WHERE container_id = ?"
NEWEST_SPACE = "SELECT coalesce(max(space), 0) FROM customer_spaces"
ADD_SPACE = "INSERT INTO customer_spaces (space, container_id, newest, customers) VALUES (?, ?, ?, 0)"
UPDATE_NEWEST = "UPDATE customer_spaces SET newest = max(newest, ?) WHERE container_id = ?"
UPDATE_SPACE = "UPDATE customer_spaces SET newest = ?, customers = ? WHERE space = ?"

HOLDER = "SELECT customer FROM customer_identities WHERE space = ? AND namespace = ? AND id = ?"
FIND = f"""
    SELECT {", ".join("c." + name for name in _COLUMNS.split(", "))}
    FROM customer_identities i JOIN customers c ON c.customer = i.customer
    WHERE i.space = ? AND i.namespace = ? AND i.id = ?"""  # noqa: S608 - columns
_COUNTERS = """(SELECT json_group_array(
        json_array(n.counter, n.placement, n.window_us, n.count, n.expires_us))
        FROM cap_counters n WHERE n.owner = {} AND n.identity = '')"""
FIND_COUNTED = f"""
    {FIND.replace("SELECT", f"SELECT {_COUNTERS.format('c.customer')},", 1)}
    UNION ALL
    SELECT {_COUNTERS.format("j.owner")}, j.owner, NULL, NULL, NULL, NULL, NULL FROM counting_identities j
    WHERE j.space = ? AND j.namespace = ? AND j.id = ?"""  # noqa: S608 - columns
"""Counters as a JSON array with the customer, or with the key of a counting owner and nulls."""
HOLDERS = """
    WITH asked (namespace, id) AS (VALUES {})
    SELECT i.namespace, i.id, i.customer
    FROM asked a CROSS JOIN customer_identities i
    WHERE i.space = ? AND i.namespace = a.namespace AND i.id = a.id"""
CUSTOMERS_BY_IDENTITY = """
    WITH asked (namespace, id) AS (VALUES {})
    SELECT i.namespace, i.id, c.customer, c.identities, c.membership, c.sources, c.document
    FROM asked a CROSS JOIN customer_identities i CROSS JOIN customers c
    WHERE i.space = ? AND i.namespace = a.namespace AND i.id = a.id AND c.customer = i.customer"""
PUT_IDENTITY = """
    INSERT INTO customer_identities (space, namespace, id, customer) VALUES (?, ?, ?, ?)
    ON CONFLICT (space, namespace, id) DO UPDATE SET customer = excluded.customer"""
ADD_IDENTITY = """
    INSERT INTO customer_identities (space, namespace, id, customer) VALUES (?, ?, ?, ?)
    ON CONFLICT (space, namespace, id) DO NOTHING"""
REMOVE_IDENTITY = "DELETE FROM customer_identities WHERE space = ? AND namespace = ? AND id = ?"

LOAD = f"SELECT {_COLUMNS} FROM customers WHERE customer = ?"  # noqa: S608 - columns
LOAD_MANY = f"SELECT {_COLUMNS} FROM customers WHERE customer IN ({{}})"  # noqa: S608 - columns
PAGE = f"""
    SELECT {_COLUMNS} FROM customers WHERE customer > ? AND customer < ?
    ORDER BY customer LIMIT ?"""  # noqa: S608 - columns
ADD = f"INSERT INTO customers ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608 - columns
SAVE = """
    UPDATE customers SET identities = ?, sources = ?, document = ?, membership = ?, modified_us = ?
    WHERE customer = ?"""
SAVE_DOCUMENT = """
    UPDATE customers SET sources = ?, document = ?, membership = ?, modified_us = ?
    WHERE customer = ?"""
SAVE_MEMBERSHIP = "UPDATE customers SET membership = ? WHERE customer = ?"
REMOVE = "DELETE FROM customers WHERE customer = ?"

FRAGMENTS = """
    SELECT stamped_us, dataset, namespace, id, document FROM customer_fragments WHERE customer = ?
    ORDER BY stamped_us, dataset, namespace, id"""
SAVE_FRAGMENT = """
    INSERT INTO customer_fragments (customer, dataset, namespace, id, stamped_us, document)
    VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (customer, dataset, namespace, id) DO UPDATE SET
        stamped_us = excluded.stamped_us, document = excluded.document"""
MOVE_FRAGMENTS = "UPDATE customer_fragments SET customer = ? WHERE customer = ?"
REMOVE_FRAGMENTS = "DELETE FROM customer_fragments WHERE customer = ?"

ADD_EVENT = """
    INSERT INTO customer_events (customer, stamped_us, event_id, document) VALUES (?, ?, ?, ?)
    ON CONFLICT (customer, event_id) DO NOTHING"""
EVENTS = """
    SELECT stamped_us, event_id, document FROM customer_events WHERE customer = ? AND stamped_us >= ?
    ORDER BY stamped_us DESC, event_id DESC LIMIT ?"""
MOVE_EVENTS = """
    UPDATE customer_events SET customer = ? WHERE customer = ? AND event_id NOT IN (
        SELECT event_id FROM customer_events WHERE customer = ?)"""
COUNT_EVENTS = "SELECT count(*) FROM customer_events WHERE customer = ?"
REMOVE_EVENTS = "DELETE FROM customer_events WHERE customer = ?"
REMOVE_OLD_EVENTS = "DELETE FROM customer_events WHERE customer = ? AND stamped_us < ?"
REMOVE_SURPLUS_EVENTS = """
    DELETE FROM customer_events WHERE customer = ? AND event_id IN (
        SELECT event_id FROM customer_events WHERE customer = ?
        ORDER BY stamped_us DESC, event_id DESC LIMIT 1000000 OFFSET ?)"""

UNTRIMMED = """
    SELECT s.container_id, u.namespace, u.id
    FROM untrimmed_identities u JOIN customer_spaces s ON s.space = u.space LIMIT ?"""
REMOVE_UNTRIMMED = """
    DELETE FROM untrimmed_identities WHERE namespace = ? AND id = ? AND space = (
        SELECT space FROM customer_spaces WHERE container_id = ?)"""

DIGEST_EXISTS = "SELECT 1 FROM customer_records WHERE space = ? AND digest = ?"
ADD_DIGEST = """
    INSERT INTO customer_records (space, digest, taken_us) VALUES (?, ?, ?)
    ON CONFLICT (space, digest) DO NOTHING"""
PURGE_DIGESTS = "DELETE FROM customer_records WHERE taken_us < ?"

CHECKPOINT = "SELECT note FROM customer_imports WHERE space = ? AND name = ?"
PUT_CHECKPOINT = """
    INSERT INTO customer_imports (space, name, note) VALUES (?, ?, ?)
    ON CONFLICT (space, name) DO UPDATE SET note = excluded.note"""
REMOVE_CHECKPOINT = "DELETE FROM customer_imports WHERE space = ? AND name = ?"

_encode = msgspec.json.Encoder().encode
decode_identities = msgspec.json.Decoder(tuple[IdentityKey, ...]).decode
_decode_sources = msgspec.json.Decoder(tuple[FragmentSource, ...]).decode
_decode_membership_by_audience = msgspec.json.Decoder(
    dict[str, tuple[MembershipStatus, int, dict[str, Any] | None]]
).decode
_decode_membership_groups = msgspec.json.Decoder(
    list[tuple[MembershipStatus, int, dict[str, Any] | None, list[str]]]
).decode
_decode_counted = msgspec.json.Decoder(list[CounterRow]).decode
_decode_document = msgspec.json.Decoder(dict[str, Any]).decode


def from_customer(customer: Customer) -> Row:
    """Return the columns of a customer in the order of `ADD`."""
    return (
        customer.key,
        _encode(customer.identities),
        _encode(customer.sources),
        encode_document(customer.attributes),
        encode_membership(customer.membership),
        customer.modified_us,
    )


def new_customer_rows(
    keys: Iterable[int], records: Iterable[EncodedRecord], memberships: Mapping[int, bytes | None], now_us: int
) -> Iterator[Row]:
    """Yield the columns of a new customer for each record, in the order of `ADD`."""
    for key, (identities, dataset, stamped_us, document) in zip(keys, records, strict=True):
        sources = _encode([(stamped_us, dataset, identities[0])])
        yield key, _encode(sorted(identities)), sources, document, memberships.get(key), now_us


def new_identity_rows(
    space: int, keys: Iterable[int], records: Iterable[EncodedRecord]
) -> list[tuple[int, str, str, int]]:
    """Return the identities of new customers as rows of `ADD_IDENTITY`, in index order."""
    return sorted(
        (space, namespace, name, key)
        for key, (identities, *_) in zip(keys, records, strict=True)
        for namespace, name in identities
    )


def to_customer(row: Row) -> Customer:
    key, identities, sources, document, membership, modified_us = row
    return Customer(
        key=key,
        identities=decode_identities(identities),
        sources=_decode_sources(sources),
        attributes=_decode_document(document),
        membership=decode_membership(membership),
        modified_us=modified_us,
    )


def decode_counted(text: str) -> Sequence[CounterRow]:
    return () if text == "[]" else _decode_counted(text)


def to_fragment(row: Row) -> Fragment:
    stamped_us, dataset, namespace, key, document = row
    return Fragment(FragmentSource(stamped_us, dataset, IdentityKey(namespace, key)), decode_document(document))


def encode_document(attributes: Attributes) -> bytes:
    return _encode(attributes if attributes.__class__ is dict else dict(attributes))


def decode_document(text: bytes) -> dict[str, Any]:
    return _decode_document(text)


def encode_membership(membership: Memberships) -> bytes | None:
    """Encode memberships, grouping audiences with equal status and time."""
    if not membership:
        return None
    audiences_by_state: dict[tuple[MembershipStatus, int], list[str]] = {}
    with_columns: list[tuple[MembershipStatus, int, Attributes, list[str]]] = []
    for audience, record in membership.items():
        if record.columns is None:
            audiences_by_state.setdefault((record.status, record.since_us), []).append(audience)
        else:
            with_columns.append((record.status, record.since_us, record.columns, [audience]))
    groups = [(status, since_us, None, audiences) for (status, since_us), audiences in audiences_by_state.items()]
    return _encode([*groups, *with_columns])


def decode_membership(text: bytes | None) -> Memberships:
    """Decode memberships by audience; also the ungrouped format of older versions."""
    if text is None:
        return {}
    if text.startswith(b"{"):
        return {name: AudienceMembership(*fields) for name, fields in _decode_membership_by_audience(text).items()}
    membership: dict[str, AudienceMembership] = {}
    for status, since_us, columns, audiences in _decode_membership_groups(text):
        membership.update(dict.fromkeys(audiences, AudienceMembership(status, since_us, columns)))
    return membership
