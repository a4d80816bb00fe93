"""Reads and writes of a `PreloadedUnitOfWork`, in few statements."""

import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

from proffer.errors import NotFound
from proffer.model.customer import (
    Change,
    Checkpoint,
    Customer,
    ExperienceEvent,
    Fragment,
    FragmentSource,
    ProfileRecord,
)
from proffer.model.identity import IdentityKey
from proffer.store.common.caps import Subject, subject_text
from proffer.store.postgres import statements as pg
from proffer.store.postgres.connections import Again, Connection
from proffer.store.postgres.counters import columns, fold, forget
from proffer.store.postgres.customers_unit_of_work import (
    Depth,
    KeptEvent,
    Loaded,
    LoadedShelf,
    moved,
)
from proffer.store.postgres.statements import dollar
from proffer.store.sql import customer_statements as sql

STRIPES = 256
"""Number of lock stripes per container: contention is rare, and all can be held at once."""


async def space_of(connection: Connection, container_id: str) -> int:
    """Return the number of the container's space, created if needed. Raises NotFound."""
    space = await connection.fetchval(pg.SPACE_OF, container_id)
    if space is None:
        await connection.execute(pg.ADD_SPACE, container_id)
        space = await connection.fetchval(pg.SPACE_OF, container_id)
    if space is None:
        raise NotFound(f"there is no container `{container_id}`", code="container-not-found")
    return int(space)


async def lock_identities(
    connection: Connection, space: int, identities: Iterable[IdentityKey]
) -> None:
    """Lock identities against other writers until the end of the transaction.

    Locks are taken in one order and before any row lock, which prevents deadlocks.
    """
    stripes = {
        space * STRIPES + zlib.crc32(f"{one.namespace}\0{one.id}".encode()) % STRIPES
        for one in identities
    }
    await connection.execute(pg.LOCK_STRIPES, pg.TAKING, sorted(stripes))


async def holders_of(
    connection: Connection, space: int, identities: Iterable[IdentityKey]
) -> dict[IdentityKey, int]:
    namespaces, names = columns(set(identities), 2)
    rows = await connection.fetch(pg.HOLDERS, space, namespaces, names)
    return {IdentityKey(namespace, name): key for namespace, name, key in rows}


async def locked_customers(connection: Connection, keys: Iterable[int]) -> dict[int, Customer]:
    """Lock these customers until the end of the transaction and return them by key.

    Raises `RetryTransaction` when one was merged meanwhile: its identities have another holder.
    """
    asked = sorted(set(keys))
    if not asked:
        return {}
    rows = await connection.fetch(pg.LOCK_CUSTOMERS, asked)
    if len(rows) != len(asked):
        raise Again
    return {row[0]: sql.to_customer(row) for row in rows}


async def read_for(
    connection: Connection, space: int, changes: Sequence[Change], depth: Depth
) -> Loaded:
    """Lock and load the data that these changes concern."""
    identities = {one for change in changes for one in change.identities}
    await lock_identities(connection, space, identities)
    holders = await holders_of(connection, space, identities)
    customers = await locked_customers(connection, holders.values())
    digests = [
        change.digest
        for change in changes
        if isinstance(change, ProfileRecord) and change.digest is not None
    ]
    known = await connection.fetch(pg.KNOWN, space, digests) if digests else ()
    if any(isinstance(change, ExperienceEvent) for change in changes):
        depth = max(depth, Depth.HEADS)
    strangers = sum(all(one not in holders for one in change.identities) for change in changes)
    return Loaded(
        space=space,
        holders=holders,
        customers=customers,
        fragments=await fragments_of(connection, customers.values()),
        events=await events_of(connection, customers, depth),
        depth=depth,
        digests=frozenset(row[0] for row in known),
        new_keys=await new_keys(connection, space, strangers),
    )


async def fragments_of(
    connection: Connection, customers: Iterable[Customer]
) -> dict[int, dict[tuple[str, IdentityKey], Fragment]]:
    """Return the fragments of the customers with several sources."""
    keys = [one.key for one in customers if len(one.sources) > 1]
    found: dict[int, dict[tuple[str, IdentityKey], Fragment]] = defaultdict(dict)
    if keys:
        for key, stamped_us, dataset, namespace, name, document in await connection.fetch(
            pg.FRAGMENTS, keys
        ):
            origin = IdentityKey(namespace, name)
            source = FragmentSource(stamped_us, dataset, origin)
            found[key][dataset, origin] = Fragment(source, sql.decode_document(document))
    return found


async def events_of(
    connection: Connection, keys: Iterable[int], depth: Depth
) -> dict[int, dict[str, KeptEvent]]:
    asked = list(keys)
    found: dict[int, dict[str, KeptEvent]] = defaultdict(dict)
    if asked and depth is not Depth.NOTHING:
        statement = pg.EVENTS_WHOLE if depth is Depth.WHOLE else pg.EVENT_HEADS
        for key, name, stamped_us, document in await connection.fetch(statement, asked):
            found[key][name] = KeptEvent(stamped_us, document, key)
    return found


async def new_keys(connection: Connection, space: int, count: int) -> list[int]:
    if not count:
        return []
    rows = await connection.fetch(pg.NEW_KEYS, count)
    return [(space << sql.SPACE_BITS) + number for (number,) in rows]


async def write(connection: Connection, shelf: LoadedShelf, mark: Checkpoint | None = None) -> None:
    """Write all changes. The customer count comes last: its row is the most contended."""
    removed = list(shelf.removed)
    await _write_identities(connection, shelf)
    if removed:
        await connection.execute(pg.REMOVE_CUSTOMERS, removed)
        await connection.execute(pg.REMOVE_FRAGMENTS, removed)
    for statement, keys in ((pg.ADD_CUSTOMERS, shelf.added), (pg.SAVE_CUSTOMERS, shelf.saved)):
        if keys:
            rows = [sql.from_customer(shelf.customers[key]) for key in sorted(keys)]
            await connection.execute(statement, *columns(rows, 6))
    if shelf.requalified:
        memberships = [
            sql.encode_membership(shelf.customers[key].membership) for key in shelf.requalified
        ]
        await connection.execute(pg.SAVE_MEMBERSHIPS, list(shelf.requalified), memberships)
    await fold(connection, shelf.loaded.space, shelf.recounted, shelf.now_us)
    for whom in shelf.forgotten:
        await forget(connection, subject_of(shelf.loaded.space, whom))
    await _write_fragments(connection, shelf)
    await _write_events(connection, shelf)
    if shelf.remembered:
        (now_us,) = set(shelf.remembered.values())
        await connection.execute(pg.REMEMBER, shelf.loaded.space, sorted(shelf.remembered), now_us)
    if mark is not None:
        await set_mark(connection, shelf.loaded.space, mark)
    await count_more(connection, shelf.loaded.space, len(shelf.added) - len(removed))


async def set_mark(connection: Connection, space: int, mark: Checkpoint) -> None:
    await connection.execute(dollar(sql.SET_MARK), space, mark.name, mark.note)


async def count_more(connection: Connection, space: int, more: int) -> None:
    if more:
        await connection.execute(pg.COUNT_MORE, space, more)


async def _write_identities(connection: Connection, shelf: LoadedShelf) -> None:
    owned, disowned = [], []
    for identity in sorted(shelf.owned):
        key = shelf.holders[identity]
        if key is None:
            disowned.append(identity)
        elif shelf.loaded.holders.get(identity) != key:
            owned.append((*identity, key))
    if disowned:
        await connection.execute(pg.DISOWN, shelf.loaded.space, *columns(disowned, 2))
    if owned:
        await connection.execute(pg.OWN, shelf.loaded.space, *columns(owned, 3))


async def _write_fragments(connection: Connection, shelf: LoadedShelf) -> None:
    rows = [
        (
            key,
            fragment.source.dataset,
            *fragment.source.origin,
            fragment.source.stamped_us,
            sql.encode_document(fragment.attributes),
        )
        for key, fragments in shelf.every_fragment.items()
        for name, fragment in fragments.items()
        if shelf.loaded.fragments.get(key, {}).get(name) is not fragment
    ]
    if rows:
        await connection.execute(pg.SAVE_FRAGMENTS, *columns(rows, 6))


async def _write_events(connection: Connection, shelf: LoadedShelf) -> None:
    gone = {(key, name) for key, events in shelf.loaded.events.items() for name in events}
    moves, new = [], []
    for key, events in shelf.every_event.items():
        for name, event in events.items():
            if event.origin is None:
                new.append((key, name, event.stamped_us, event.document))
                continue
            gone.discard((event.origin, name))
            if moved(event, key):
                moves.append((event.origin, name, key))
    if gone:
        await connection.execute(pg.REMOVE_EVENTS, *columns(sorted(gone), 2))
    if moves:
        await connection.execute(pg.MOVE_EVENTS, *columns(moves, 3))
    if new:
        await connection.execute(pg.ADD_EVENTS, *columns(new, 4))


def subject_of(space: int, whom: int | IdentityKey) -> Subject:
    """Return the counter subject of a customer or of an unheld identity."""
    return (whom, "") if isinstance(whom, int) else (-space, subject_text(whom))
