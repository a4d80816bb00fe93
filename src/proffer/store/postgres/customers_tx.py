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
from proffer.store.common.caps import subject_of
from proffer.store.postgres import cap_statements
from proffer.store.postgres import statements as pg
from proffer.store.postgres.connections import Connection, RetryTransaction
from proffer.store.postgres.counters import (
    columns,
    delete_counters,
    lock_counters,
    merge_counters,
    merge_stripes,
)
from proffer.store.postgres.customers_unit_of_work import (
    EventDepth,
    LoadedEvent,
    PreloadedCustomers,
    PreloadedUnitOfWork,
    is_moved,
)
from proffer.store.postgres.owners import joined_owners
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


async def lock_identities(connection: Connection, space: int, identities: Iterable[IdentityKey]) -> None:
    """Lock identities against other writers until the end of the transaction.

    Locks are taken in one order and before any row lock, which prevents deadlocks.
    """
    stripes = {
        space * STRIPES + zlib.crc32(f"{identity.namespace}\0{identity.id}".encode()) % STRIPES
        for identity in identities
    }
    await connection.execute(cap_statements.LOCK_STRIPES, pg.IDENTITY_LOCK, sorted(stripes))


async def holders_of(connection: Connection, space: int, identities: Iterable[IdentityKey]) -> dict[IdentityKey, int]:
    namespaces, names = columns(set(identities), 2)
    rows = await connection.fetch(pg.HOLDERS, space, namespaces, names)
    return {IdentityKey(namespace, name): key for namespace, name, key in rows}


async def lock_customers(connection: Connection, keys: Iterable[int]) -> dict[int, Customer]:
    """Lock these customers until the transaction ends, and return them by key.

    Raises `RetryTransaction` when one was merged meanwhile: its identities have another holder.
    """
    unique_keys = sorted(set(keys))
    if not unique_keys:
        return {}
    rows = await connection.fetch(pg.LOCK_CUSTOMERS, unique_keys)
    if len(rows) != len(unique_keys):
        raise RetryTransaction
    return {row[0]: sql.to_customer(row) for row in rows}


async def load_for_changes(
    connection: Connection, space: int, changes: Sequence[Change], depth: EventDepth
) -> PreloadedCustomers:
    """Lock and load the data that these changes concern."""
    identities = {identity for change in changes for identity in change.identities}
    await lock_identities(connection, space, identities)
    holders = await holders_of(connection, space, identities)
    customers = await lock_customers(connection, holders.values())
    joined = (
        await joined_owners(connection, space, identities - holders.keys()) if len(holders) < len(identities) else {}
    )
    digests = [change.digest for change in changes if isinstance(change, ProfileRecord) and change.digest is not None]
    digest_rows = await connection.fetch(pg.EXISTING_DIGESTS, space, digests) if digests else ()
    if any(isinstance(change, ExperienceEvent) for change in changes):
        depth = max(depth, EventDepth.HEADS)
    new_count = sum(all(identity not in holders for identity in change.identities) for change in changes)
    return PreloadedCustomers(
        space=space,
        holders=holders,
        joined=joined,
        customers=customers,
        fragments=await fragments_of(connection, customers.values()),
        events=await events_of(connection, customers, depth),
        depth=depth,
        digests=frozenset(row[0] for row in digest_rows),
        new_keys=await new_keys(connection, space, new_count),
    )


async def fragments_of(
    connection: Connection, customers: Iterable[Customer]
) -> dict[int, dict[tuple[str, IdentityKey], Fragment]]:
    """Return the fragments of the customers with several sources."""
    keys = [customer.key for customer in customers if len(customer.sources) > 1]
    result: dict[int, dict[tuple[str, IdentityKey], Fragment]] = defaultdict(dict)
    if keys:
        for key, stamped_us, dataset, namespace, name, document in await connection.fetch(pg.FRAGMENTS, keys):
            origin = IdentityKey(namespace, name)
            source = FragmentSource(stamped_us, dataset, origin)
            result[key][dataset, origin] = Fragment(source, sql.decode_document(document))
    return result


async def events_of(
    connection: Connection, keys: Iterable[int], depth: EventDepth
) -> dict[int, dict[str, LoadedEvent]]:
    key_list = list(keys)
    result: dict[int, dict[str, LoadedEvent]] = defaultdict(dict)
    if key_list and depth is not EventDepth.NOTHING:
        statement = pg.EVENTS_WHOLE if depth is EventDepth.WHOLE else pg.EVENT_HEADS
        for key, name, stamped_us, document in await connection.fetch(statement, key_list):
            result[key][name] = LoadedEvent(stamped_us, document, key)
    return result


async def new_keys(connection: Connection, space: int, count: int) -> list[int]:
    if not count:
        return []
    rows = await connection.fetch(pg.NEW_KEYS, count)
    return [(space << sql.SPACE_BITS) + number for (number,) in rows]


async def write_changes(
    connection: Connection, unit_of_work: PreloadedUnitOfWork, checkpoint: Checkpoint | None = None
) -> None:
    """Write all changes. The customer count comes last: its row is the most contended."""
    removed = list(unit_of_work.removed)
    await _write_joins(connection, unit_of_work)
    await _write_identities(connection, unit_of_work)
    if removed:
        await connection.execute(pg.REMOVE_CUSTOMERS, removed)
        await connection.execute(pg.REMOVE_FRAGMENTS, removed)
    for statement, keys in (
        (pg.ADD_CUSTOMERS, unit_of_work.added),
        (pg.SAVE_CUSTOMERS, unit_of_work.saved),
    ):
        if keys:
            rows = [sql.from_customer(unit_of_work.customers[key]) for key in sorted(keys)]
            await connection.execute(statement, *columns(rows, 6))
    if unit_of_work.requalified:
        memberships = [
            sql.encode_membership(unit_of_work.customers[key].membership) for key in unit_of_work.requalified
        ]
        await connection.execute(pg.SAVE_MEMBERSHIPS, list(unit_of_work.requalified), memberships)
    await merge_counters(connection, unit_of_work.preloaded.space, unit_of_work.counter_merges, unit_of_work.now_us)
    for subject in unit_of_work.deleted_subjects:
        await delete_counters(connection, subject_of(unit_of_work.preloaded.space, subject))
    await _write_fragments(connection, unit_of_work)
    await _write_events(connection, unit_of_work)
    if unit_of_work.added_digests:
        (now_us,) = set(unit_of_work.added_digests.values())
        await connection.execute(
            pg.ADD_DIGESTS, unit_of_work.preloaded.space, sorted(unit_of_work.added_digests), now_us
        )
    if checkpoint is not None:
        await set_checkpoint(connection, unit_of_work.preloaded.space, checkpoint)
    await add_to_count(connection, unit_of_work.preloaded.space, len(unit_of_work.added) - len(removed))


async def set_checkpoint(connection: Connection, space: int, checkpoint: Checkpoint) -> None:
    await connection.execute(dollar(sql.PUT_CHECKPOINT), space, checkpoint.name, checkpoint.note)


async def add_to_count(connection: Connection, space: int, added: int) -> None:
    if added:
        await connection.execute(pg.ADD_TO_COUNT, space, added)


async def _write_joins(connection: Connection, unit_of_work: PreloadedUnitOfWork) -> None:
    """Undo the joins of assigned identities. Raises RetryTransaction if they have another owner by now."""
    ended_joins = unit_of_work.ended_joins
    if ended_joins:
        space = unit_of_work.preloaded.space
        await lock_counters(connection, merge_stripes(space, unit_of_work.counter_merges))
        if await joined_owners(connection, space, ended_joins) != ended_joins:
            raise RetryTransaction
        await connection.execute(cap_statements.LEAVE, space, *columns(ended_joins, 2))


async def _write_identities(connection: Connection, unit_of_work: PreloadedUnitOfWork) -> None:
    owned, disowned = [], []
    for identity in sorted(unit_of_work.owned):
        key = unit_of_work.holders[identity]
        if key is None:
            disowned.append(identity)
        elif unit_of_work.preloaded.holders.get(identity) != key:
            owned.append((*identity, key))
    if disowned:
        await connection.execute(pg.REMOVE_IDENTITIES, unit_of_work.preloaded.space, *columns(disowned, 2))
    if owned:
        await connection.execute(pg.PUT_IDENTITIES, unit_of_work.preloaded.space, *columns(owned, 3))


async def _write_fragments(connection: Connection, unit_of_work: PreloadedUnitOfWork) -> None:
    if unit_of_work.without_fragments:
        await connection.execute(pg.REMOVE_FRAGMENTS, list(unit_of_work.without_fragments))
    rows = [
        (
            key,
            fragment.source.dataset,
            *fragment.source.origin,
            fragment.source.stamped_us,
            sql.encode_document(fragment.attributes),
        )
        for key, fragments in unit_of_work.fragments_by_key.items()
        for name, fragment in fragments.items()
        if key in unit_of_work.without_fragments
        or unit_of_work.preloaded.fragments.get(key, {}).get(name) is not fragment
    ]
    if rows:
        await connection.execute(pg.SAVE_FRAGMENTS, *columns(rows, 6))


async def _write_events(connection: Connection, unit_of_work: PreloadedUnitOfWork) -> None:
    deleted = {(key, name) for key, events in unit_of_work.preloaded.events.items() for name in events}
    moves, new = [], []
    for key, events in unit_of_work.events_by_key.items():
        for name, event in events.items():
            if event.origin is None:
                new.append((key, name, event.stamped_us, event.document))
                continue
            deleted.discard((event.origin, name))
            if is_moved(event, key):
                moves.append((event.origin, name, key))
    if deleted:
        await connection.execute(pg.REMOVE_EVENTS, *columns(sorted(deleted), 2))
    if moves:
        await connection.execute(pg.MOVE_EVENTS, *columns(moves, 3))
    if new:
        await connection.execute(pg.ADD_EVENTS, *columns(new, 4))
