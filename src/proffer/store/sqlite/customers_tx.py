"""Customers of one container inside a SQLite transaction, and their writer jobs."""

import sqlite3
from collections.abc import Iterable, Sequence

from proffer.errors import NotFound
from proffer.model.customer import (
    MAX_EVENTS,
    NO_CUSTOMERS,
    Attributes,
    Change,
    ChangeResult,
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
from proffer.store.common.caps import subject_text
from proffer.store.sql import customer_statements as sql
from proffer.store.sql import statements
from proffer.store.sqlite import counters
from proffer.store.sqlite.catalog_tx import every, first


class SqlShelf:
    """A `CustomerUnitOfWork` on a connection. `close` writes the number of customers."""

    def __init__(self, connection: sqlite3.Connection, container_id: str) -> None:
        self.connection = connection
        self.space, self._newest, self._count = _space(connection, container_id)
        self._was = (self._newest, self._count)
        self._recounted: list[tuple[int, IdentityKey | int]] = []
        """(customer, merged identity or customer) pairs whose counters are to be merged, in order."""

    def close(self, now_us: int = 0) -> None:
        self._fold(now_us)
        if self._was != (self._newest, self._count):
            self._do(sql.MOVE_SPACE, self._newest, self._count, self.space)

    def holder(self, identity: IdentityKey) -> int | None:
        found = first(self.connection, sql.HOLDER, self.space, *identity)
        return None if found is None else int(found[0])

    def load(self, key: int) -> Customer:
        found = first(self.connection, sql.LOAD, key)
        assert found is not None  # identity and customer are written in one transaction
        return sql.to_customer(found)

    def fragments(self, key: int) -> Sequence[Fragment]:
        rows = every(self.connection, statement=sql.FRAGMENTS, values=(key,))
        return tuple(map(sql.to_fragment, rows))

    def new_key(self) -> int:
        self._newest += 1
        return self._newest

    def next_keys(self, count: int) -> range:
        """Return the next customer keys; call `count_added` once they are added."""
        return range(self._newest + 1, self._newest + count + 1)

    def give_out(self, keys: range) -> None:
        self._newest += len(keys)
        self._count += len(keys)

    def add(self, customer: Customer) -> None:
        self._do(sql.ADD, *sql.from_customer(customer))
        self._count += 1

    def save(self, customer: Customer) -> None:
        key, *columns = sql.from_customer(customer)
        self._do(sql.SAVE, *columns, key)

    def save_membership(self, customers: Iterable[Customer]) -> None:
        self.connection.executemany(
            sql.SAVE_MEMBERSHIP,
            [(sql.encode_membership(one.membership), one.key) for one in customers],
        )

    def save_fragment(self, key: int, fragment: Fragment) -> None:
        source = fragment.source
        document = sql.encode_document(fragment.attributes)
        self._do(
            sql.SAVE_FRAGMENT, key, source.dataset, *source.origin, source.stamped_us, document
        )

    def own(self, identity: IdentityKey, key: int) -> None:
        self.claim(identity, key)
        self._do(sql.OWN, self.space, *identity, key)

    def claim(self, identity: IdentityKey, key: int) -> None:
        """Move the counters of an identity to its customer on close."""
        self._recounted.append((key, identity))

    def counts_strangers(self) -> bool:
        """Return whether unheld identities have counters, which a new holder would get."""
        return counters.any_of(self.connection, -self.space)

    def _fold(self, now_us: int) -> None:
        named = [one for _, one in self._recounted if isinstance(one, IdentityKey)]
        counted: set[str] = set()
        if named and self.counts_strangers():
            texts = [subject_text(one) for one in named]
            counted.update(counters.counted_among(self.connection, -self.space, texts))
        for key, gone in self._recounted:
            if not isinstance(gone, IdentityKey):
                counters.fold(self.connection, (key, ""), (gone, ""), now_us)
            elif (text := subject_text(gone)) in counted:
                counters.fold(self.connection, (key, ""), (-self.space, text), now_us)
        self._recounted = []

    def disown(self, identity: IdentityKey) -> None:
        self._do(sql.DISOWN, self.space, *identity)

    def absorb(self, survivor: int, gone: int) -> None:
        self._do(sql.MOVE_FRAGMENTS, survivor, gone)
        self._do(sql.MOVE_EVENTS, survivor, gone, survivor)
        self._recounted.append((survivor, gone))
        self.remove(gone)

    def remove(self, key: int) -> int:
        counted = first(self.connection, sql.COUNT_EVENTS, key)
        for statement in (sql.REMOVE, sql.REMOVE_FRAGMENTS, sql.REMOVE_EVENTS):
            self._do(statement, key)
        self._count -= 1
        return int(counted[0]) if counted else 0

    def forget_counted(self, whom: int | IdentityKey) -> int:
        if isinstance(whom, IdentityKey):
            return counters.remove(self.connection, (-self.space, subject_text(whom)))
        return counters.remove(self.connection, (whom, ""))

    def add_event(self, key: int, event: ExperienceEvent) -> bool:
        document = sql.encode_document(event.document)
        return self._do(sql.ADD_EVENT, key, event.stamped_us, event.id, document) > 0

    def forget_events(self, key: int, most: int, since_us: int) -> None:
        self._do(sql.FORGET_OLD_EVENTS, key, since_us)
        self._do(sql.FORGET_MANY_EVENTS, key, key, most)

    def events(self, key: int, since_us: int) -> Sequence[Attributes]:
        return events(self.connection, keys=(key,), since_us=since_us)

    def known(self, digest: bytes) -> bool:
        return first(self.connection, sql.KNOWN, self.space, digest) is not None

    def remember(self, digest: bytes, now_us: int) -> None:
        self._do(sql.REMEMBER, self.space, digest, now_us)

    def set_mark(self, mark: Checkpoint) -> None:
        self._do(sql.SET_MARK, self.space, mark.name, mark.note)

    def unmark(self, name: str) -> None:
        self._do(sql.UNMARK, self.space, name)

    def page(self, after: int, limit: int) -> Sequence[Customer]:
        return page(self.connection, space=self.space, after=after, limit=limit)

    def _do(self, statement: str, *values: object) -> int:
        return self.connection.execute(statement, values).rowcount


def space_of(connection: sqlite3.Connection, container_id: str) -> int:
    """Return the number of the container's space; create it if there is none."""
    return _space(connection, container_id)[0]


def _space(connection: sqlite3.Connection, container_id: str) -> tuple[int, int, int]:
    """Return number, newest key and count of the container's space; create it if needed."""
    found = first(connection, sql.SPACE_OF, container_id)
    if found is not None:
        return found[0], found[1], found[2]
    if first(connection, statements.CONTAINER_EXISTS, container_id) is None:
        raise NotFound(f"there is no container `{container_id}`", code="container-not-found")
    newest = first(connection, sql.NEWEST_SPACE)
    space = (newest[0] if newest else 0) + 1
    connection.execute(sql.ADD_SPACE, (space, container_id, space << sql.SPACE_BITS))
    return space, space << sql.SPACE_BITS, 0


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
    shelf = SqlShelf(connection, container_id)
    taken = rules.take_in(shelf, changes, now_us=now_us, qualify=qualify, limits=limits)
    if mark is not None:
        shelf.set_mark(mark)
    shelf.close(now_us)
    return taken


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
    shelf = SqlShelf(connection, container_id)
    found = shelf.page(after, limit)
    changed = rules.requalify(shelf, found, now_us=now_us, qualify=qualify, limits=limits)
    return (found[-1].key if found else None), changed


def erase(
    connection: sqlite3.Connection, *, container_id: str, identity: IdentityKey
) -> ErasureResult | None:
    shelf = SqlShelf(connection, container_id)
    erased = rules.erase(shelf, identity)
    shelf.close()
    return erased


def unmark(connection: sqlite3.Connection, *, container_id: str, name: str) -> None:
    SqlShelf(connection, container_id).unmark(name)


def forget_digests(connection: sqlite3.Connection, *, before_us: int) -> int:
    return connection.execute(sql.FORGET_DIGESTS, (before_us,)).rowcount


def page(
    connection: sqlite3.Connection, *, space: int, after: int, limit: int
) -> Sequence[Customer]:
    low, high = space << sql.SPACE_BITS, (space + 1) << sql.SPACE_BITS
    values = (max(after, low), high, limit)
    return tuple(map(sql.to_customer, every(connection, statement=sql.PAGE, values=values)))


def sample(connection: sqlite3.Connection, *, keys: Sequence[int]) -> Sequence[Customer]:
    found = (first(connection, sql.LOAD, key) for key in keys)
    return tuple(sql.to_customer(row) for row in found if row is not None)


def find(
    connection: sqlite3.Connection, *, space: int, identities: Sequence[IdentityKey]
) -> Sequence[Customer]:
    rows = {
        row[0]: row
        for namespace, key in identities
        if (row := first(connection, sql.FIND, space, namespace, key)) is not None
    }
    return tuple([sql.to_customer(rows[key]) for key in sorted(rows)])


def whom(connection: sqlite3.Connection, *, space: int, identity: IdentityKey) -> CustomerLookup:
    """Return the customer of this identity with its counters, by one statement."""
    found = connection.execute(sql.FIND_COUNTED, (space, *identity)).fetchall()
    if not found:
        return NO_CUSTOMERS
    counted, *row = found[0]
    return CustomerLookup((sql.to_customer(row),), sql.decode_counted(counted))


def events(
    connection: sqlite3.Connection, *, keys: Sequence[int], since_us: int
) -> Sequence[Attributes]:
    """Return the newest events of these customers together, oldest first."""
    rows = [
        row
        for key in keys
        for row in every(connection, statement=sql.EVENTS, values=(key, since_us, MAX_EVENTS))
    ]
    rows.sort(key=lambda row: row[:2])
    return tuple(sql.decode_document(document) for _, _, document in rows[-MAX_EVENTS:])
