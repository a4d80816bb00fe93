"""Fast upsert of records of existing customers: nearly every row of a repeated import.

A record qualifies when its identities are exactly those of its customer, the customer's only source is
the record's own, and the record is not older. Then its document is overlaid on the stored one without
further reads. All other records go through the rules of `customer_merge.py`.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from proffer.model.customer import (
    Customer,
    EncodedRecord,
    EventLimits,
    FragmentSource,
    MembershipEvaluator,
)
from proffer.model.identity import IdentityKey
from proffer.store.common import customer_merge as rules
from proffer.store.sql import customer_statements as sql
from proffer.store.sqlite.catalog_tx import chunks, fetch_all
from proffer.store.sqlite.customers_tx import SqliteUnitOfWork

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_decode_sources = msgspec.json.Decoder(list[tuple[int, str, tuple[str, str]]]).decode
_NULL = b"null"


@dataclass(slots=True)
class _StoredCustomer:
    """A customer as stored, updated by the records of this block."""

    key: int
    identities: bytes
    membership: bytes | None
    stamped_us: int
    dataset: str
    origin: tuple[str, str]
    document: bytes
    attributes: dict[str, Any] | None = None
    """The document, decoded once a record is overlaid on it."""

    def accepts(self, record: EncodedRecord) -> bool:
        identities, dataset, stamped_us, document = record
        return (
            stamped_us >= self.stamped_us
            and dataset == self.dataset
            and identities[0] == self.origin
            and _NULL not in document  # null removes an attribute
            and _encode(sorted(identities)) == self.identities
        )

    def apply(self, record: EncodedRecord) -> None:
        _, _, self.stamped_us, document = record
        if self.attributes is None and document == self.document:
            return
        if self.attributes is None:
            self.attributes = _decode(self.document)
        _overlay(self.attributes, _decode(document))

    def row(self, now_us: int) -> sql.Row:
        sources = _encode([(self.stamped_us, self.dataset, self.origin)])
        document = self.document if self.attributes is None else _encode(self.attributes)
        return sources, document, self.membership, now_us, self.key

    def customer(self, now_us: int) -> Customer:
        """Return the customer for the evaluation of audiences."""
        if self.attributes is None:
            self.attributes = _decode(self.document)
        return Customer(
            key=self.key,
            identities=sql.decode_identities(self.identities),
            sources=(FragmentSource(self.stamped_us, self.dataset, IdentityKey(*self.origin)),),
            attributes=self.attributes,
            membership=sql.decode_membership(self.membership),
            modified_us=now_us,
        )


def upsert_known(
    unit_of_work: SqliteUnitOfWork,
    *,
    records: Sequence[EncodedRecord],
    now_us: int,
    qualify: MembershipEvaluator | None,
    limits: EventLimits,
) -> dict[int, int]:
    """Write the records that qualify; return their positions with their customers' keys."""
    customer_by_identity = _read_customers(unit_of_work.connection, unit_of_work.space, records)
    accepted: dict[int, _StoredCustomer] = {}
    other_identities: set[tuple[str, str]] = set()
    for position, record in enumerate(records):
        stored = customer_by_identity.get(record[0][0])
        if stored is not None and stored.accepts(record):
            stored.stamped_us = record[2]
            accepted[position] = stored
        else:
            other_identities.update(record[0])
    # Records sharing an identity with a record that does not qualify are left out: order matters.
    updates = {
        position: stored
        for position, stored in accepted.items()
        if not other_identities.intersection(records[position][0])
    }
    for position, stored in updates.items():
        stored.apply(records[position])
    changed_by_key = {stored.key: stored for stored in updates.values()}
    if qualify is not None:
        page = [changed_by_key[key].customer(now_us) for key in sorted(changed_by_key)]
        for customer in rules.evaluate_memberships(unit_of_work, page, qualify, now_us, limits):
            changed_by_key[customer.key].membership = sql.encode_membership(customer.membership)
    unit_of_work.connection.executemany(
        sql.SAVE_DOCUMENT, [changed_by_key[key].row(now_us) for key in sorted(changed_by_key)]
    )
    return {position: stored.key for position, stored in updates.items()}


def _read_customers(
    connection: sqlite3.Connection, space: int, records: Sequence[EncodedRecord]
) -> dict[tuple[str, str], _StoredCustomer]:
    """Return the single-source customers by the primary identities of these records."""
    customers: dict[tuple[str, str], _StoredCustomer] = {}
    for chunk in chunks(list({identities[0]: None for identities, *_ in records})):
        statement = sql.CUSTOMERS_BY_IDENTITY.format(", ".join(["(?, ?)"] * len(chunk)))
        values = (*(text for identity in chunk for text in identity), space)
        for namespace, name, key, identities, membership, encoded_sources, document in fetch_all(
            connection, statement=statement, values=values
        ):
            sources = _decode_sources(encoded_sources)
            if len(sources) == 1:
                customers[namespace, name] = _StoredCustomer(key, identities, membership, *sources[0], document)
    return customers


def _overlay(base: dict[str, Any], top: dict[str, Any]) -> None:
    """Do what `model.merging.overlay` does, in place, for a `top` without nulls."""
    for name, value in top.items():
        nested = base.get(name) if value.__class__ is dict else None
        if nested.__class__ is dict:
            _overlay(nested, value)
        else:
            base[name] = value
