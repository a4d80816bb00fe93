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
from proffer.store.sqlite.catalog_tx import every, portions
from proffer.store.sqlite.customers_tx import SqlShelf

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_sources = msgspec.json.Decoder(list[tuple[int, str, tuple[str, str]]]).decode
_identities = msgspec.json.Decoder(tuple[IdentityKey, ...]).decode
_NULL = b"null"


@dataclass(slots=True)
class _Known:
    """A customer as stored, updated by the records of this block."""

    key: int
    identities: bytes
    membership: bytes | None
    stamped_us: int
    dataset: str
    origin: tuple[str, str]
    document: bytes
    plain: dict[str, Any] | None = None
    """The document, decoded once a record is overlaid on it."""

    def takes(self, record: EncodedRecord) -> bool:
        identities, dataset, stamped_us, document = record
        return (
            stamped_us >= self.stamped_us
            and dataset == self.dataset
            and identities[0] == self.origin
            and _NULL not in document  # null removes an attribute
            and _encode(sorted(identities)) == self.identities
        )

    def take(self, record: EncodedRecord) -> None:
        _, _, self.stamped_us, document = record
        if self.plain is None and document == self.document:
            return
        if self.plain is None:
            self.plain = _decode(self.document)
        _lay(self.plain, _decode(document))

    def row(self, now_us: int) -> sql.Row:
        sources = _encode([(self.stamped_us, self.dataset, self.origin)])
        document = self.document if self.plain is None else _encode(self.plain)
        return sources, document, self.membership, now_us, self.key

    def customer(self, now_us: int) -> Customer:
        """Return the customer for the evaluation of audiences."""
        if self.plain is None:
            self.plain = _decode(self.document)
        return Customer(
            key=self.key,
            identities=_identities(self.identities),
            sources=(FragmentSource(self.stamped_us, self.dataset, IdentityKey(*self.origin)),),
            attributes=self.plain,
            membership=sql.decode_membership(self.membership),
            modified_us=now_us,
        )


def take_known(
    shelf: SqlShelf,
    *,
    records: Sequence[EncodedRecord],
    now_us: int,
    qualify: MembershipEvaluator | None,
    limits: EventLimits,
) -> dict[int, int]:
    """Write the records that qualify; return their positions with their customers' keys."""
    known = _read(shelf.connection, shelf.space, records)
    short: dict[int, _Known] = {}
    others: set[tuple[str, str]] = set()
    for place, record in enumerate(records):
        one = known.get(record[0][0])
        if one is not None and one.takes(record):
            one.stamped_us = record[2]
            short[place] = one
        else:
            others.update(record[0])
    # Records sharing an identity with a record that does not qualify are left out: order matters.
    taken = {
        place: one for place, one in short.items() if not others.intersection(records[place][0])
    }
    for place, one in taken.items():
        one.take(records[place])
    changed = {one.key: one for one in taken.values()}
    if qualify is not None:
        page = [changed[key].customer(now_us) for key in sorted(changed)]
        for customer in rules.evaluated(shelf, page, qualify, now_us, limits):
            changed[customer.key].membership = sql.encode_membership(customer.membership)
    shelf.connection.executemany(
        sql.SAVE_DOCUMENT, [changed[key].row(now_us) for key in sorted(changed)]
    )
    return {place: one.key for place, one in taken.items()}


def _read(
    connection: sqlite3.Connection, space: int, records: Sequence[EncodedRecord]
) -> dict[tuple[str, str], _Known]:
    """Return the single-source customers by the primary identities of these records."""
    known: dict[tuple[str, str], _Known] = {}
    for asked in portions(list({identities[0]: None for identities, *_ in records})):
        statement = sql.KNOWN_BY.format(", ".join(["(?, ?)"] * len(asked)))
        values = (*(text for one in asked for text in one), space)
        for namespace, name, key, identities, membership, said, document in every(
            connection, statement=statement, values=values
        ):
            sources = _sources(said)
            if len(sources) == 1:
                known[namespace, name] = _Known(key, identities, membership, *sources[0], document)
    return known


def _lay(base: dict[str, Any], top: dict[str, Any]) -> None:
    """Do what `model.merging.overlay` does, in place, for a `top` without nulls."""
    for name, value in top.items():
        under = base.get(name) if value.__class__ is dict else None
        if under.__class__ is dict:
            _lay(under, value)
        else:
            base[name] = value
