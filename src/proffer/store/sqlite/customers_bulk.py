"""Bulk changes: reads and writes of a block of records are batched.

Every statement releases and reacquires the GIL, so a block uses as few as possible. Blocks of new
customers are written by two statements; records of unchanged identities use `upserts.py`.
"""

import sqlite3
from collections.abc import Iterable, Sequence

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
from proffer.store.sqlite.catalog_tx import chunks, fetch_all
from proffer.store.sqlite.customers_tx import SqliteUnitOfWork
from proffer.store.sqlite.upserts import upsert_known


class SqliteBulkUnitOfWork(SqliteUnitOfWork):
    """A unit of work that preloads what a block reads. It writes its changes on close."""

    def __init__(self, connection: sqlite3.Connection, container_id: str) -> None:
        super().__init__(connection, container_id)
        self._holders: dict[IdentityKey, int | None] = {}
        self._loaded: dict[int, Customer] = {}
        self._new: dict[int, None] = {}
        self._changed: dict[int, None] = {}
        self._owned: dict[IdentityKey, None] = {}

    def preload(self, identities: Iterable[IdentityKey]) -> None:
        """Load the customers of these identities."""
        unique_identities = list(dict.fromkeys(identities))
        self._holders = dict.fromkeys(unique_identities)
        for chunk in chunks(unique_identities):
            statement = sql.HOLDERS.format(", ".join(["(?, ?)"] * len(chunk)))
            values = (*(text for identity in chunk for text in identity), self.space)
            for namespace, name, key in fetch_all(self.connection, statement=statement, values=values):
                self._holders[IdentityKey(namespace, name)] = key
        for keys in chunks(sorted({key for key in self._holders.values() if key is not None})):
            statement = sql.LOAD_MANY.format(", ".join("?" * len(keys)))
            for row in fetch_all(self.connection, statement=statement, values=tuple(keys)):
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
        self.count_added(range(customer.key, customer.key + 1))

    def new_key(self) -> int:
        return self.next_keys(1)[0]

    def save(self, customer: Customer) -> None:
        self._loaded[customer.key] = customer
        if customer.key not in self._new:
            self._changed[customer.key] = None

    def assign_identity(self, identity: IdentityKey, key: int) -> None:
        self.merge_identity_counters(identity, key)
        self._holders[identity] = key
        self._owned[identity] = None

    def release_identity(self, identity: IdentityKey) -> None:
        self._holders[identity] = None
        self._owned.pop(identity, None)
        super().release_identity(identity)

    def merge_into(self, survivor: int, merged: int) -> None:
        self._flush()
        super().merge_into(survivor, merged)
        self._loaded.pop(merged, None)

    def _flush(self) -> None:
        """Write the changes in key order."""
        loaded = self._loaded
        added = [sql.from_customer(loaded[key]) for key in self._new]
        saved = [sql.from_customer(loaded[key]) for key in sorted(self._changed)]
        owned = [(self.space, *identity, self._holders[identity]) for identity in sorted(self._owned)]
        self.connection.executemany(sql.ADD, added)
        self.connection.executemany(sql.SAVE, [(*row[1:], row[0]) for row in saved])
        self.connection.executemany(sql.PUT_IDENTITY, owned)
        self._new, self._changed, self._owned = {}, {}, {}


def apply_changes(
    connection: sqlite3.Connection,
    *,
    container_id: str,
    changes: Sequence[Change],
    now_us: int,
    qualify: MembershipEvaluator | None,
    limits: EventLimits,
    checkpoint: Checkpoint | None,
) -> list[ChangeResult]:
    unit_of_work: SqliteUnitOfWork
    if len(changes) == 1:  # nothing to batch
        unit_of_work = SqliteUnitOfWork(connection, container_id)
    else:
        unit_of_work = SqliteBulkUnitOfWork(connection, container_id)
        unit_of_work.preload(identity for change in changes for identity in change.identities)
    results = rules.apply_changes(unit_of_work, changes, now_us=now_us, qualify=qualify, limits=limits)
    if checkpoint is not None:
        unit_of_work.set_checkpoint(checkpoint)
    unit_of_work.close(now_us)
    return results


def bulk_apply(
    connection: sqlite3.Connection,
    *,
    container_id: str,
    records: Sequence[EncodedRecord],
    now_us: int,
    qualify: MembershipEvaluator | None,
    limits: EventLimits,
    checkpoint: Checkpoint | None,
) -> list[ChangeResult]:
    unit_of_work = SqliteBulkUnitOfWork(connection, container_id)
    results = _insert_new(unit_of_work, records, now_us, qualify, limits)
    if results is None:
        updated_keys = upsert_known(unit_of_work, records=records, now_us=now_us, qualify=qualify, limits=limits)
        remaining = [
            rules.decode_record(record) for position, record in enumerate(records) if position not in updated_keys
        ]
        unit_of_work.preload(identity for change in remaining for identity in change.identities)
        remaining_results = iter(
            rules.apply_changes(unit_of_work, remaining, now_us=now_us, qualify=qualify, limits=limits)
        )
        results = [
            ChangeResult(updated_keys[position]) if position in updated_keys else next(remaining_results)
            for position in range(len(records))
        ]
    if checkpoint is not None:
        unit_of_work.set_checkpoint(checkpoint)
    unit_of_work.close(now_us)
    return results


def _insert_new(
    unit_of_work: SqliteUnitOfWork,
    records: Sequence[EncodedRecord],
    now_us: int,
    qualify: MembershipEvaluator | None,
    limits: EventLimits,
) -> list[ChangeResult] | None:
    """Insert a customer for each record; None, with nothing written, if an identity exists."""
    for identities, *_ in records[:1]:  # the first record decides for most blocks
        if unit_of_work.holder(IdentityKey(*identities[0])) is not None:
            return None
    if any(len(identities) > MAX_LINKED_IDENTITIES for identities, *_ in records):
        return None
    connection = unit_of_work.connection
    keys = unit_of_work.next_keys(len(records))
    identity_rows = sql.new_identity_rows(unit_of_work.space, keys, records)
    connection.execute("SAVEPOINT bulk")
    if connection.executemany(sql.ADD_IDENTITY, identity_rows).rowcount != len(identity_rows):
        connection.execute("ROLLBACK TO bulk")
        connection.execute("RELEASE bulk")
        return None
    memberships: dict[int, bytes | None] = {}
    if qualify is not None:
        page = [_new_customer(key, record, now_us) for key, record in zip(keys, records, strict=True)]
        for customer in rules.evaluate_memberships(unit_of_work, page, qualify, now_us, limits):
            memberships[customer.key] = sql.encode_membership(customer.membership)
    connection.executemany(sql.ADD, sql.new_customer_rows(keys, records, memberships, now_us))
    connection.execute("RELEASE bulk")
    unit_of_work.count_added(keys)
    if unit_of_work.has_identity_counters():
        for _, namespace, name, key in identity_rows:
            unit_of_work.merge_identity_counters(IdentityKey(namespace, name), key)
    return [ChangeResult(key) for key in keys]


def _new_customer(key: int, encoded: EncodedRecord, now_us: int) -> Customer:
    """Return a new customer for the evaluation of audiences."""
    record = rules.decode_record(encoded)
    return Customer(
        key=key,
        identities=tuple(sorted(record.identities)),
        sources=(FragmentSource(record.stamped_us, record.dataset, record.identities[0]),),
        attributes=record.attributes,
        modified_us=now_us,
    )
