"""Customers of one container inside a SQLite transaction, and their writer jobs."""

import sqlite3
from collections.abc import Iterable, Sequence

from proffer.errors import NotFound
from proffer.model.capping import CapSubjects
from proffer.model.counting import Owner
from proffer.model.customer import (
    MAX_EVENTS,
    Attributes,
    Checkpoint,
    Customer,
    CustomerLookup,
    ErasureResult,
    EventLimits,
    ExperienceEvent,
    Fragment,
    MembershipEvaluator,
)
from proffer.model.identity import IdentityKey
from proffer.store.common import customer_merge as rules
from proffer.store.common.caps import identity_text, subject_of
from proffer.store.sql import customer_statements as sql
from proffer.store.sql import statements
from proffer.store.sqlite import counters, owners
from proffer.store.sqlite.catalog_tx import fetch_all, fetch_one


class SqliteUnitOfWork:
    """A `CustomerUnitOfWork` on a connection. `close` writes the number of customers."""

    def __init__(self, connection: sqlite3.Connection, container_id: str) -> None:
        self.connection = connection
        self.space, self._newest, self._count = _find_or_create_space(connection, container_id)
        self._initial_counts = (self._newest, self._count)
        self._counter_merges: list[tuple[int, IdentityKey | int]] = []
        """(customer, merged identity or customer) pairs whose counters are to be merged, in order."""

    def close(self, now_us: int = 0) -> None:
        self._merge_counters(now_us)
        if self._initial_counts != (self._newest, self._count):
            self._execute(sql.UPDATE_SPACE, self._newest, self._count, self.space)

    def holder(self, identity: IdentityKey) -> int | None:
        row = fetch_one(self.connection, sql.HOLDER, self.space, *identity)
        return None if row is None else int(row[0])

    def load(self, key: int) -> Customer:
        row = fetch_one(self.connection, sql.LOAD, key)
        assert row is not None  # identity and customer are written in one transaction
        return sql.to_customer(row)

    def fragments(self, key: int) -> Sequence[Fragment]:
        rows = fetch_all(self.connection, statement=sql.FRAGMENTS, values=(key,))
        return tuple(map(sql.to_fragment, rows))

    def new_key(self) -> int:
        self._newest += 1
        return self._newest

    def next_keys(self, count: int) -> range:
        """Return the next customer keys; call `count_added` once they are added."""
        return range(self._newest + 1, self._newest + count + 1)

    def count_added(self, keys: range) -> None:
        self._newest += len(keys)
        self._count += len(keys)

    def add(self, customer: Customer) -> None:
        self._execute(sql.ADD, *sql.from_customer(customer))
        self._count += 1

    def save(self, customer: Customer) -> None:
        key, *columns = sql.from_customer(customer)
        self._execute(sql.SAVE, *columns, key)

    def save_membership(self, customers: Iterable[Customer]) -> None:
        self.connection.executemany(
            sql.SAVE_MEMBERSHIP,
            [(sql.encode_membership(customer.membership), customer.key) for customer in customers],
        )

    def save_fragment(self, key: int, fragment: Fragment) -> None:
        source = fragment.source
        document = sql.encode_document(fragment.attributes)
        self._execute(sql.SAVE_FRAGMENT, key, source.dataset, *source.origin, source.stamped_us, document)

    def remove_fragments(self, key: int) -> None:
        self._execute(sql.REMOVE_FRAGMENTS, key)

    def assign_identity(self, identity: IdentityKey, key: int) -> None:
        self.merge_identity_counters(identity, key)
        self._execute(sql.PUT_IDENTITY, self.space, *identity, key)

    def merge_identity_counters(self, identity: IdentityKey, key: int) -> None:
        """Move the counters of an identity to its customer on close."""
        self._counter_merges.append((key, identity))

    def has_identity_counters(self) -> bool:
        """Return whether unheld identities have counters or an owner, which a new holder would get."""
        return counters.has_counters(self.connection, -self.space) or owners.has_joined(self.connection, self.space)

    def _merge_counters(self, now_us: int) -> None:
        identities = [source for _, source in self._counter_merges if isinstance(source, IdentityKey)]
        counted: set[str] = set()
        joined: dict[IdentityKey, Owner] = {}
        if identities and self.has_identity_counters():
            texts = [identity_text(source) for source in identities]
            counted.update(counters.identities_with_counters(self.connection, -self.space, texts))
            joined = owners.take_joined(self.connection, self.space, identities)
        merged_customers = {source for _, source in self._counter_merges if isinstance(source, int)}
        for key, source in self._counter_merges:
            if isinstance(source, int):
                owners.merge_owners(self.connection, key, source, now_us)
                continue
            if identity_text(source) in counted:
                counters.merge_counters(self.connection, (key, ""), subject_of(self.space, source), now_us)
            owner = joined.get(source)
            if owner is not None and not owner.is_customer and owner.key not in merged_customers:
                owners.merge_owners(self.connection, key, owner.key, now_us)
        self._counter_merges = []

    def release_identity(self, identity: IdentityKey) -> None:
        self._execute(sql.REMOVE_IDENTITY, self.space, *identity)

    def merge_into(self, survivor: int, merged: int) -> None:
        self._execute(sql.MOVE_FRAGMENTS, survivor, merged)
        self._execute(sql.MOVE_EVENTS, survivor, merged, survivor)
        self._counter_merges.append((survivor, merged))
        self.remove(merged)

    def remove(self, key: int) -> int:
        count_row = fetch_one(self.connection, sql.COUNT_EVENTS, key)
        for statement in (sql.REMOVE, sql.REMOVE_FRAGMENTS, sql.REMOVE_EVENTS):
            self._execute(statement, key)
        self._count -= 1
        return int(count_row[0]) if count_row else 0

    def delete_counters(self, subject: int | IdentityKey) -> int:
        if isinstance(subject, IdentityKey):
            joined = owners.take_joined(self.connection, self.space, [subject])
            if subject in joined and joined[subject].is_customer:
                return 0  # the counters are that customer's
            if subject in joined:
                subject = joined[subject].key
        if isinstance(subject, int):
            owners.delete_joined(self.connection, subject)
        return counters.delete_counters(self.connection, subject_of(self.space, subject))

    def add_event(self, key: int, event: ExperienceEvent) -> bool:
        document = sql.encode_document(event.document)
        return self._execute(sql.ADD_EVENT, key, event.stamped_us, event.id, document) > 0

    def trim_events(self, key: int, max_events: int, since_us: int) -> None:
        self._execute(sql.REMOVE_OLD_EVENTS, key, since_us)
        self._execute(sql.REMOVE_SURPLUS_EVENTS, key, key, max_events)

    def events(self, key: int, since_us: int) -> Sequence[Attributes]:
        return events(self.connection, keys=(key,), since_us=since_us)

    def has_digest(self, digest: bytes) -> bool:
        return fetch_one(self.connection, sql.DIGEST_EXISTS, self.space, digest) is not None

    def add_digest(self, digest: bytes, now_us: int) -> None:
        self._execute(sql.ADD_DIGEST, self.space, digest, now_us)

    def set_checkpoint(self, checkpoint: Checkpoint) -> None:
        self._execute(sql.PUT_CHECKPOINT, self.space, checkpoint.name, checkpoint.note)

    def delete_checkpoint(self, name: str) -> None:
        self._execute(sql.REMOVE_CHECKPOINT, self.space, name)

    def page(self, after: int, limit: int) -> Sequence[Customer]:
        return page(self.connection, space=self.space, after=after, limit=limit)

    def _execute(self, statement: str, *values: object) -> int:
        return self.connection.execute(statement, values).rowcount


def space_of(connection: sqlite3.Connection, container_id: str) -> int:
    """Return the number of the container's space; create it if there is none."""
    return _find_or_create_space(connection, container_id)[0]


def newest_key(connection: sqlite3.Connection, container_id: str) -> int:
    """Return the highest customer key assigned in the container's space."""
    return _find_or_create_space(connection, container_id)[1]


def set_newest_key(connection: sqlite3.Connection, container_id: str, key: int) -> None:
    """Assign the customer keys up to this one."""
    connection.execute(sql.UPDATE_NEWEST, (key, container_id))


def _find_or_create_space(connection: sqlite3.Connection, container_id: str) -> tuple[int, int, int]:
    """Return number, newest key and count of the container's space; create it if needed."""
    row = fetch_one(connection, sql.SPACE_OF, container_id)
    if row is not None:
        return row[0], row[1], row[2]
    if fetch_one(connection, statements.CONTAINER_EXISTS, container_id) is None:
        raise NotFound(f"there is no container `{container_id}`", code="container-not-found")
    newest = fetch_one(connection, sql.NEWEST_SPACE)
    space = (newest[0] if newest else 0) + 1
    connection.execute(sql.ADD_SPACE, (space, container_id, space << sql.SPACE_BITS))
    return space, space << sql.SPACE_BITS, 0


def requalify(
    connection: sqlite3.Connection,
    *,
    container_id: str,
    after: int,
    limit: int,
    now_us: int,
    qualify: MembershipEvaluator,
    limits: EventLimits,
) -> tuple[int | None, int]:
    unit_of_work = SqliteUnitOfWork(connection, container_id)
    customers = unit_of_work.page(after, limit)
    changed = rules.requalify(unit_of_work, customers, now_us=now_us, qualify=qualify, limits=limits)
    return (customers[-1].key if customers else None), changed


def erase(connection: sqlite3.Connection, *, container_id: str, identity: IdentityKey) -> ErasureResult | None:
    unit_of_work = SqliteUnitOfWork(connection, container_id)
    erased = rules.erase(unit_of_work, identity)
    unit_of_work.close()
    return erased


def delete_checkpoint(connection: sqlite3.Connection, *, container_id: str, name: str) -> None:
    SqliteUnitOfWork(connection, container_id).delete_checkpoint(name)


def delete_untrimmed(connection: sqlite3.Connection, *, identities: Sequence[tuple[str, IdentityKey]]) -> None:
    rows = [(*identity, container_id) for container_id, identity in identities]
    connection.executemany(sql.REMOVE_UNTRIMMED, rows)


def purge_digests(connection: sqlite3.Connection, *, before_us: int) -> int:
    return connection.execute(sql.PURGE_DIGESTS, (before_us,)).rowcount


def page(connection: sqlite3.Connection, *, space: int, after: int, limit: int) -> Sequence[Customer]:
    low, high = space << sql.SPACE_BITS, (space + 1) << sql.SPACE_BITS
    values = (max(after, low), high, limit)
    return tuple(map(sql.to_customer, fetch_all(connection, statement=sql.PAGE, values=values)))


def customers_by_key(connection: sqlite3.Connection, *, keys: Sequence[int]) -> Sequence[Customer]:
    rows = (fetch_one(connection, sql.LOAD, key) for key in keys)
    return tuple(sql.to_customer(row) for row in rows if row is not None)


def find_customers(
    connection: sqlite3.Connection, *, space: int, identities: Sequence[IdentityKey]
) -> Sequence[Customer]:
    rows = {
        row[0]: row
        for namespace, key in identities
        if (row := fetch_one(connection, sql.FIND, space, namespace, key)) is not None
    }
    return tuple([sql.to_customer(rows[key]) for key in sorted(rows)])


def lookup_by_identity(connection: sqlite3.Connection, *, space: int, identity: IdentityKey) -> CustomerLookup:
    """Return the customer of this identity, and the owner with its counters, by one statement."""
    rows = connection.execute(sql.FIND_COUNTED, (space, *identity, space, *identity)).fetchall()
    if not rows:
        return CustomerLookup((), CapSubjects((), (identity,), (identity,)))
    counted, *row = rows[0]
    subjects = CapSubjects((row[0],), (), (identity,), sql.decode_counted(counted))
    return CustomerLookup(() if row[1] is None else (sql.to_customer(row),), subjects)


def lookup_by_identities(
    connection: sqlite3.Connection, *, space: int, identities: Sequence[IdentityKey]
) -> CustomerLookup:
    """Return the customers of these identities, and whose counters apply."""
    counting = owners.counting_of(connection, space, identities)
    subjects = CapSubjects(counting.owners, counting.identities, tuple(identities))
    return CustomerLookup(find_customers(connection, space=space, identities=identities), subjects)


def events(connection: sqlite3.Connection, *, keys: Sequence[int], since_us: int) -> Sequence[Attributes]:
    """Return the newest events of these customers together, oldest first."""
    rows = [
        row for key in keys for row in fetch_all(connection, statement=sql.EVENTS, values=(key, since_us, MAX_EVENTS))
    ]
    rows.sort(key=lambda row: row[:2])
    return tuple(sql.decode_document(document) for _, _, document in rows[-MAX_EVENTS:])
