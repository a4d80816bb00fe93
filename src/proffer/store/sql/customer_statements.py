"""Row conversion and portable SQL for customers, fragments and events."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from proffer.model.capping import CounterRow
from proffer.model.customer import (
    Attributes,
    AudienceMembership,
    Customer,
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
ADD_SPACE = (
    "INSERT INTO customer_spaces (space, container_id, newest, customers) VALUES (?, ?, ?, 0)"
)
MOVE_SPACE = "UPDATE customer_spaces SET newest = ?, customers = ? WHERE space = ?"

HOLDER = "SELECT customer FROM customer_identities WHERE space = ? AND namespace = ? AND id = ?"
FIND = f"""
    SELECT {", ".join("c." + name for name in _COLUMNS.split(", "))}
    FROM customer_identities i JOIN customers c ON c.customer = i.customer
    WHERE i.space = ? AND i.namespace = ? AND i.id = ?"""  # noqa: S608 - columns
FIND_COUNTED = FIND.replace(
    "SELECT",
    """SELECT (SELECT json_group_array(
        json_array(n.counter, n.placement, n.window_us, n.count, n.expires_us))
        FROM cap_counters n WHERE n.owner = c.customer AND n.identity = ''),""",
    1,
)
"""The counters of the customer as a JSON array, and the customer."""
HOLDERS = """
    WITH asked (namespace, id) AS (VALUES {})
    SELECT i.namespace, i.id, i.customer
    FROM asked a CROSS JOIN customer_identities i
    WHERE i.space = ? AND i.namespace = a.namespace AND i.id = a.id"""
KNOWN_BY = """
    WITH asked (namespace, id) AS (VALUES {})
    SELECT i.namespace, i.id, c.customer, c.identities, c.membership, c.sources, c.document
    FROM asked a CROSS JOIN customer_identities i CROSS JOIN customers c
    WHERE i.space = ? AND i.namespace = a.namespace AND i.id = a.id AND c.customer = i.customer"""
OWN = """
    INSERT INTO customer_identities (space, namespace, id, customer) VALUES (?, ?, ?, ?)
    ON CONFLICT (space, namespace, id) DO UPDATE SET customer = excluded.customer"""
OWN_NEW = """
    INSERT INTO customer_identities (space, namespace, id, customer) VALUES (?, ?, ?, ?)
    ON CONFLICT (space, namespace, id) DO NOTHING"""
DISOWN = "DELETE FROM customer_identities WHERE space = ? AND namespace = ? AND id = ?"

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
FORGET_OLD_EVENTS = "DELETE FROM customer_events WHERE customer = ? AND stamped_us < ?"
FORGET_MANY_EVENTS = """
    DELETE FROM customer_events WHERE customer = ? AND event_id IN (
        SELECT event_id FROM customer_events WHERE customer = ?
        ORDER BY stamped_us DESC, event_id DESC LIMIT 1000000 OFFSET ?)"""

KNOWN = "SELECT 1 FROM customer_records WHERE space = ? AND digest = ?"
REMEMBER = """
    INSERT INTO customer_records (space, digest, taken_us) VALUES (?, ?, ?)
    ON CONFLICT (space, digest) DO NOTHING"""
FORGET_DIGESTS = "DELETE FROM customer_records WHERE taken_us < ?"

MARK = "SELECT note FROM customer_imports WHERE space = ? AND name = ?"
SET_MARK = """
    INSERT INTO customer_imports (space, name, note) VALUES (?, ?, ?)
    ON CONFLICT (space, name) DO UPDATE SET note = excluded.note"""
UNMARK = "DELETE FROM customer_imports WHERE space = ? AND name = ?"

_encode = msgspec.json.Encoder().encode
_identities = msgspec.json.Decoder(tuple[IdentityKey, ...]).decode
_sources = msgspec.json.Decoder(tuple[FragmentSource, ...]).decode
_membership = msgspec.json.Decoder(
    dict[str, tuple[MembershipStatus, int, dict[str, Any] | None]]
).decode
_packed = msgspec.json.Decoder(
    list[tuple[MembershipStatus, int, dict[str, Any] | None, list[str]]]
).decode
_counted = msgspec.json.Decoder(list[CounterRow]).decode
_document = msgspec.json.Decoder(dict[str, Any]).decode


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


def to_customer(row: Row) -> Customer:
    key, identities, sources, document, membership, modified_us = row
    return Customer(
        key=key,
        identities=_identities(identities),
        sources=_sources(sources),
        attributes=_document(document),
        membership=decode_membership(membership),
        modified_us=modified_us,
    )


def decode_counted(text: str) -> Sequence[CounterRow]:
    return () if text == "[]" else _counted(text)


def to_fragment(row: Row) -> Fragment:
    stamped_us, dataset, namespace, key, document = row
    return Fragment(
        FragmentSource(stamped_us, dataset, IdentityKey(namespace, key)), decode_document(document)
    )


def encode_document(attributes: Attributes) -> bytes:
    return _encode(attributes if attributes.__class__ is dict else dict(attributes))


def decode_document(text: bytes) -> dict[str, Any]:
    return _document(text)


def encode_membership(membership: Memberships) -> bytes | None:
    """Encode memberships, grouping audiences with equal status and time."""
    if not membership:
        return None
    alike: dict[tuple[MembershipStatus, int], list[str]] = {}
    alone: list[tuple[MembershipStatus, int, Attributes, list[str]]] = []
    for audience, standing in membership.items():
        if standing.columns is None:
            alike.setdefault((standing.status, standing.since_us), []).append(audience)
        else:
            alone.append((standing.status, standing.since_us, standing.columns, [audience]))
    together = [(status, since_us, None, listed) for (status, since_us), listed in alike.items()]
    return _encode([*together, *alone])


def decode_membership(text: bytes | None) -> Memberships:
    """Decode memberships by audience; also the ungrouped format of older versions."""
    if text is None:
        return {}
    if text.startswith(b"{"):
        return {name: AudienceMembership(*standing) for name, standing in _membership(text).items()}
    found: dict[str, AudienceMembership] = {}
    for status, since_us, columns, audiences in _packed(text):
        found.update(dict.fromkeys(audiences, AudienceMembership(status, since_us, columns)))
    return found
