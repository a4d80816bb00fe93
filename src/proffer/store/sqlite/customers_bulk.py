"""Bulk changes: reads and writes of a block of records are batched.

Every statement releases and reacquires the GIL, so a block uses as few as possible. Blocks of new
customers are written by two statements; records of unchanged identities use `upserts.py`.
"""

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from proffer.model.customer import (
    Change,
    ChangeResult,
    Checkpoint,
    Customer,
    EncodedRecord,
    EventLimits,
    FragmentSource,
    MembershipEvaluator,
)
from proffer.model.identity import MAX_LINKED_IDENTITIES, IdentityKey
from proffer.store.common import customer_merge as rules
from proffer.store.sql import customer_statements as sql
from proffer.store.sqlite.catalog_tx import every, portions
from proffer.store.sqlite.customers_tx import SqlShelf
from proffer.store.sqlite.upserts import take_known

_encode = msgspec.json.Encoder().encode


class BulkShelf(SqlShelf):
    """A unit of work that preloads what a block reads and writes its changes on close."""

    def __init__(self, connection: sqlite3.Connection, container_id: str) -> None:
        super().__init__(connection, container_id)
        self._holders: dict[IdentityKey, int | None] = {}
        self._loaded: dict[int, Customer] = {}
        self._new: dict[int, None] = {}
        self._changed: dict[int, None] = {}
        self._owned: dict[IdentityKey, None] = {}

    def read_ahead(self, identities: Iterable[IdentityKey]) -> None:
        """Load the customers of these identities."""
        asked = list(dict.fromkeys(identities))
        self._holders = dict.fromkeys(asked)
        for some in portions(asked):
            statement = sql.HOLDERS.format(", ".join(["(?, ?)"] * len(some)))
            values = (*(text for one in some for text in one), self.space)
            for namespace, name, key in every(self.connection, statement=statement, values=values):
                self._holders[IdentityKey(namespace, name)] = key
        for keys in portions(sorted({key for key in self._holders.values() if key is not None})):
            statement = sql.LOAD_MANY.format(", ".join("?" * len(keys)))
            for row in every(self.connection, statement=statement, values=tuple(keys)):
                self._loaded[row[0]] = sql.to_customer(row)

    def close(self, now_us: int = 0) -> None:
        self._flush()
        super().close(now_us)

    def holder(self, identity: IdentityKey) -> int | None:
        if identity in self._holders:
            return self._holders[identity]
        return super().holder(identity)

    def load(self, key: int) -> Customer:
        return self._loaded.get(key) or super().load(key)

    def add(self, customer: Customer) -> None:
        self._loaded[customer.key] = customer
        self._new[customer.key] = None
        self.give_out(range(customer.key, customer.key + 1))

    def new_key(self) -> int:
        return self.next_keys(1)[0]

    def save(self, customer: Customer) -> None:
        self._loaded[customer.key] = customer
        if customer.key not in self._new:
            self._changed[customer.key] = None

    def own(self, identity: IdentityKey, key: int) -> None:
        self.claim(identity, key)
        self._holders[identity] = key
        self._owned[identity] = None

    def absorb(self, survivor: int, gone: int) -> None:
        self._flush()
        super().absorb(survivor, gone)
        self._loaded.pop(gone, None)

    def _flush(self) -> None:
        """Write the changes in key order."""
        loaded = self._loaded
        added = [sql.from_customer(loaded[key]) for key in self._new]
        saved = [sql.from_customer(loaded[key]) for key in sorted(self._changed)]
        owned = [(self.space, *one, self._holders[one]) for one in sorted(self._owned)]
        self.connection.executemany(sql.ADD, added)
        self.connection.executemany(sql.SAVE, [(*row[1:], row[0]) for row in saved])
        self.connection.executemany(sql.OWN, owned)
        self._new, self._changed, self._owned = {}, {}, {}


def take_in(
    connection: sqlite3.Connection,
    *,
    container_id: str,
    changes: Sequence[Change],
    now_us: int,
    qualify: MembershipEvaluator | None,
    limits: EventLimits,
    mark: Checkpoint | None,
) -> list[ChangeResult]:
    shelf = BulkShelf(connection, container_id)
    shelf.read_ahead(identity for change in changes for identity in change.identities)
    taken = rules.take_in(shelf, changes, now_us=now_us, qualify=qualify, limits=limits)
    if mark is not None:
        shelf.set_mark(mark)
    shelf.close(now_us)
    return taken


def bring_in(
    connection: sqlite3.Connection,
    *,
    container_id: str,
    records: Sequence[EncodedRecord],
    now_us: int,
    qualify: MembershipEvaluator | None,
    limits: EventLimits,
    mark: Checkpoint | None,
) -> list[ChangeResult]:
    shelf = BulkShelf(connection, container_id)
    taken = _all_new(shelf, records, now_us, qualify, limits)
    if taken is None:
        short = take_known(shelf, records=records, now_us=now_us, qualify=qualify, limits=limits)
        left = [rules.decoded(one) for place, one in enumerate(records) if place not in short]
        shelf.read_ahead(identity for change in left for identity in change.identities)
        rest = iter(rules.take_in(shelf, left, now_us=now_us, qualify=qualify, limits=limits))
        taken = [
            ChangeResult(short[place]) if place in short else next(rest)
            for place in range(len(records))
        ]
    if mark is not None:
        shelf.set_mark(mark)
    shelf.close(now_us)
    return taken


def _all_new(
    shelf: SqlShelf,
    records: Sequence[EncodedRecord],
    now_us: int,
    qualify: MembershipEvaluator | None,
    limits: EventLimits,
) -> list[ChangeResult] | None:
    """Insert a customer for each record; None, with nothing written, if an identity exists."""
    for identities, *_ in records[:1]:  # the first record decides for most blocks
        if shelf.holder(IdentityKey(*identities[0])) is not None:
            return None
    if any(len(identities) > MAX_LINKED_IDENTITIES for identities, *_ in records):
        return None
    connection = shelf.connection
    keys = shelf.next_keys(len(records))
    owned = [
        (shelf.space, namespace, name, key)
        for key, (identities, *_) in zip(keys, records, strict=True)
        for namespace, name in identities
    ]
    owned.sort()  # in index order
    connection.execute("SAVEPOINT bulk")
    if connection.executemany(sql.OWN_NEW, owned).rowcount != len(owned):
        connection.execute("ROLLBACK TO bulk")
        connection.execute("RELEASE bulk")
        return None
    memberships: dict[int, bytes | None] = {}
    if qualify is not None:
        page = [_customer(key, one, now_us) for key, one in zip(keys, records, strict=True)]
        for customer in rules.evaluated(shelf, page, qualify, now_us, limits):
            memberships[customer.key] = sql.encode_membership(customer.membership)
    connection.executemany(
        sql.ADD,
        (
            (
                key,
                _encode(sorted(identities)),
                _encode([(stamped_us, dataset, identities[0])]),
                document,
                memberships.get(key),
                now_us,
            )
            for key, (identities, dataset, stamped_us, document) in zip(keys, records, strict=True)
        ),
    )
    connection.execute("RELEASE bulk")
    shelf.give_out(keys)
    if shelf.counts_strangers():
        for _, namespace, name, key in owned:
            shelf.claim(IdentityKey(namespace, name), key)
    return [ChangeResult(key) for key in keys]


def _customer(key: int, encoded: EncodedRecord, now_us: int) -> Customer:
    """Return a new customer for the evaluation of audiences."""
    record = rules.decoded(encoded)
    return Customer(
        key=key,
        identities=tuple(sorted(record.identities)),
        sources=(FragmentSource(record.stamped_us, record.dataset, record.identities[0]),),
        attributes=record.attributes,
        modified_us=now_us,
    )
