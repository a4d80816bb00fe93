"""Write batching of decisions: those that arrive during a write form the next group.

A group is one transaction and costs the same few statements, whatever its size. Groups of other servers
run concurrently; those that need the same counters wait.
"""

import asyncio
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from proffer.model.counting import Counting, Owner, counted_identities, plan_counting
from proffer.model.identity import IdentityKey
from proffer.store.common.cap_cache import ActiveLimits, LimitRow
from proffer.store.common.caps import (
    GLOBAL_OWNER,
    ActiveLimit,
    CounterKey,
    CounterValue,
    StoredLimit,
    Subject,
    counter_needs,
    counter_subjects,
    event_subject,
    independent_prefix,
)
from proffer.store.common.event_codec import group_into_packs
from proffer.store.common.reservations import RecordItem, RecordResult, reserve_group
from proffer.store.common.turns import Turn, Turns
from proffer.store.postgres import cap_statements as sql
from proffer.store.postgres.connections import Connection, RetryTransaction
from proffer.store.postgres.counters import (
    columns,
    counter_lock_stripe,
    counter_rows,
    lock_counters,
    subject_lock_stripe,
)
from proffer.store.postgres.customers_tx import lock_identities, new_keys
from proffer.store.postgres.errors import is_lock_timeout
from proffer.store.postgres.owners import OwnersBySpace, final_countings, join, owners_of
from proffer.store.postgres.statements import dollar
from proffer.store.sql import statements

MAX_GROUP_SIZE = 512

ItemWithSpace = tuple[RecordItem, int]
"""A decision to record, with the number of its container's space."""
CountedIdentities = tuple[int, Sequence[IdentityKey]]
"""A space, and the identities of a decision whose counters may apply; none where they do not matter."""


class ExpiredReservations(Exception):
    """There are expired reservations, which must be released first."""


class WriteGroup(Struct, frozen=True):
    """Decisions to write in one transaction.

    `lock_wait_s`: how long it may wait for each lock (None: as long as needed). `begin` is called when
    everything but the commit is done; it raises where the group is no longer valid.
    """

    items: Sequence[ItemWithSpace]
    lock_wait_s: float | None
    begin: Callable[[], None]


class _PendingItem(Struct, frozen=True):
    item: ItemWithSpace
    turn: Turn


class _SomeWithdrawn(Exception):
    """Decisions of the group were withdrawn before it could be committed."""


class Recorder:
    """Writes queued decisions group by group. `write` makes a group durable, or raises.

    A decision that waits for longer than `wait_s` before its group can be committed is withdrawn. A group that
    waits for a lock for half that time is split, so that only those that need the lock are withdrawn.
    """

    def __init__(
        self, write: Callable[[WriteGroup], Awaitable[list[RecordResult]]], wait_s: float | None = None
    ) -> None:
        self._write = write
        self._wait_s = wait_s
        self._turns = Turns(wait_s)
        self._pending: list[_PendingItem] = []
        self._writer: asyncio.Task[None] | None = None
        self.on_commit: Callable[[int], object] = lambda _: None
        """Called with the size of each committed group."""

    @property
    def pending(self) -> int:
        """Number of decisions that wait for the next group."""
        return len(self._pending)

    async def record(self, item: ItemWithSpace) -> RecordResult:
        """Queue a decision; return its result once that is durable."""
        future: asyncio.Future[RecordResult] = asyncio.get_running_loop().create_future()
        self._pending.append(_PendingItem(item, self._turns.add(future)))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        return await future

    async def close(self) -> None:
        """Finish all queued decisions."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write_all(self) -> None:
        try:
            while self._pending:
                group = self._pending[:MAX_GROUP_SIZE]
                del self._pending[:MAX_GROUP_SIZE]
                await self._write_group(group, 2)
        finally:
            self._writer = None

    async def _write_group(self, group: Sequence[_PendingItem], share: int) -> None:
        """Write a group; it waits for each lock a `share`-th of the time that a decision may wait."""
        group = [pending for pending in group if not pending.turn.is_withdrawn]
        if not group:
            return

        def begin() -> None:
            if any(pending.turn.is_withdrawn for pending in group):
                raise _SomeWithdrawn
            self._turns.begin(pending.turn for pending in group)

        items = [pending.item for pending in group]
        try:
            lock_wait_s = None if self._wait_s is None else self._wait_s / share
            results = await self._write(WriteGroup(items, lock_wait_s, begin))
        except _SomeWithdrawn:
            await self._write_group(group, share)
            return
        except Exception as error:  # noqa: BLE001 - waiting callers need an answer
            has_waited = self._wait_s is not None and is_lock_timeout(error)
            if len(group) == 1 and has_waited and not group[0].turn.has_begun:
                return  # withdrawn when its time is over: the others come first
            if len(group) == 1 or not (has_waited or isinstance(error, ValueError | TypeError)):
                for pending in group:
                    _fail(pending.turn.future, error)
                return
            for pending in group:  # an item that cannot be written must not fail the others
                await self._write_group([pending], 20)
            return
        self._turns.note_commit()
        self.on_commit(len(group))
        for pending, result in zip(group, results, strict=True):
            if not pending.turn.future.done():
                pending.turn.future.set_result(result)


def _fail(future: asyncio.Future[RecordResult], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


class CommittedLimits:
    """Cache of the limits in force; reads only committed limits, so it survives rollbacks."""

    def __init__(self) -> None:
        self._limits = ActiveLimits()
        self._horizon = 0
        self._refresh_lock = asyncio.Lock()

    async def refresh(self, connection: Connection, now_us: int = 0) -> bool:
        """Read changed limits; the shared limit lock keeps them constant afterwards.

        Returns whether there are expired reservations.
        """
        async with self._refresh_lock:  # an older read must not overwrite a newer one
            horizon, changed, expired = await connection.fetchrow(sql.STATE, self._horizon, now_us)
            if changed:
                self._limits.update(await limits_since(connection, self._horizon))
            self._horizon = horizon
            return bool(expired)

    def for_container(self, container: str) -> Mapping[str, Sequence[ActiveLimit]]:
        """Return offer id → limits in force."""
        return self._limits.for_container(container)

    def counts_profiles(self, container: str) -> bool:
        """Return whether a limit of this container counts each profile."""
        return self._limits.counts_profiles(container)


class RecordGroup:
    """Processes decisions in order, writes counters and events together."""

    def __init__(self, limits: CommittedLimits) -> None:
        self._limits = limits

    async def __call__(self, connection: Connection, items: Sequence[ItemWithSpace]) -> list[RecordResult]:
        if await self._limits.refresh(connection, max(item.request.now_us for item, _ in items)):
            raise ExpiredReservations
        counted = [(space, self._counted_identities(item)) for item, space in items]
        plans = _plans(counted, await owners_of(connection, _identities(counted)))
        new_owners = await _new_owners(connection, items, plans)
        await self._lock(connection, items, plans, new_owners)
        results = new_results = await self._record(connection, items, counted, plans, new_owners)
        while len(results) < len(items):  # the next item reads counters that an earlier one has merged
            part = slice(len(results), len(results) + 2 * len(new_results))  # so that items are not planned too often
            plans = _plans(counted[part], await owners_of(connection, _identities(counted[part])))
            new_results = await self._record(connection, items[part], counted[part], plans, new_owners[part])
            results = [*results, *new_results]
        return results

    async def _record(
        self,
        connection: Connection,
        items: Sequence[ItemWithSpace],
        counted: Sequence[CountedIdentities],
        plans: Sequence[Counting],
        new_owners: Sequence[int],
    ) -> list[RecordResult]:
        """Record as many of the first items as do not read each other's merged counters."""
        countings = await final_countings(connection, plans)
        subjects = _subjects(items, countings, new_owners)
        count = independent_prefix(zip(countings, subjects, strict=True))
        items, counted, subjects = items[:count], counted[:count], subjects[:count]
        needs = [
            counter_needs(item.request, self._limits.for_container(item.container), item_subjects)
            for (item, _), item_subjects in zip(items, subjects, strict=True)
        ]
        counter_keys = dict.fromkeys(
            counter_key for item_needs in needs for need in item_needs for counter_key in need.counter_keys
        )
        current_owners, counters, move_number = await _read(connection, _identities(counted), counter_keys)
        if _plans(counted, current_owners) != plans[:count]:
            raise RetryTransaction  # a subject was assigned or merged before the locks were taken
        outcome = reserve_group([item for item, _ in items], subjects, needs, counters, move_number)
        revision_of = dollar(statements.REVISION_OF)
        revisions = {name: await connection.fetchval(revision_of, name) or 0 for name in outcome.refusing_containers}
        if outcome.reservations:
            await connection.execute(sql.ADD_RESERVATIONS, *columns(outcome.reservations, 6))
        await _write(connection, outcome.counters, move_number, outcome.accepted_items)
        joins: dict[int, list[tuple[int, Counting]]] = {}
        for position in outcome.accepted([position for position in range(count) if countings[position].joins]):
            joins.setdefault(items[position][1], []).append((subjects[position][0][0], countings[position]))
        for space, space_joins in joins.items():
            await join(connection, space, space_joins, max(item.request.now_us for item, _ in items))
        return outcome.results(revisions)

    async def _lock(
        self,
        connection: Connection,
        items: Sequence[ItemWithSpace],
        plans: Sequence[Counting],
        new_owners: Sequence[int],
    ) -> None:
        """Lock the identities that may join, then all counters that may be read, moved or merged."""
        joining: dict[int, list[IdentityKey]] = {}
        for (_, space), plan in zip(items, plans, strict=True):
            if plan.joins:
                joining.setdefault(space, []).extend(plan.identities)
        for space in sorted(joining):
            await lock_identities(connection, space, joining[space])
        counters = {
            active_limit.counter
            for item, _ in items
            for active_limit in self._active_limits(item)
            if active_limit.is_global
        }
        subjects = {subject for item_subjects in _subjects(items, plans, new_owners) for subject in item_subjects}
        await lock_counters(connection, [*map(counter_lock_stripe, counters), *map(subject_lock_stripe, subjects)])

    def locks(self, items: Sequence[ItemWithSpace], wait_s: float | None) -> str:
        """Return the first statement: the shared locks of limits and packs, and how long to wait for each lock."""
        containers = {container_lock_number(item.container) for item, _ in items}
        locks = sorted((sql.LIMIT_LOCK, number) for number in containers)
        calls = (f"pg_advisory_xact_lock_shared({a}, {b})" for a, b in (*locks, (sql.PACK_LOCK, 0)))
        timeout = "" if wait_s is None else f"SET LOCAL lock_timeout = {max(1, round(wait_s * 1000))}; "
        return f"{timeout}SELECT {', '.join(calls)}"

    def _active_limits(self, item: RecordItem) -> Iterable[ActiveLimit]:
        """Return the limits in force of the offers of a decision, in their placements."""
        limits = self._limits.for_container(item.container)
        return (
            active_limit
            for offer, placement in item.request.offer_placements
            for active_limit in limits.get(offer, ())
            if active_limit.limit.counts_in(placement)
        )

    def _counted_identities(self, item: RecordItem) -> Sequence[IdentityKey]:
        """Return the identities whose counters may apply to a decision."""
        identities = item.request.identities
        may_join = len(identities) > 1 and self._limits.counts_profiles(item.container)
        if may_join or item.ttl_us is not None or not all(limit.is_global for limit in self._active_limits(item)):
            return counted_identities(identities)
        return ()


def _identities(counted: Iterable[CountedIdentities]) -> set[tuple[int, str, str]]:
    return {(space, *identity) for space, identities in counted for identity in identities}


def _plans(counted: Iterable[CountedIdentities], owners: OwnersBySpace) -> list[Counting]:
    """Return whose counters may apply to each decision."""
    return [plan_counting(identities, owners.get(space, {})) for space, identities in counted]


async def _new_owners(connection: Connection, items: Sequence[ItemWithSpace], plans: Sequence[Counting]) -> list[int]:
    """Return a new owner's key for each plan that may need one, else 0."""
    spaces = [space if plan.needs_owner else 0 for (_, space), plan in zip(items, plans, strict=True)]
    counts = Counter(space for space in spaces if space)
    keys = {space: iter(await new_keys(connection, space, count)) for space, count in counts.items()}
    return [next(keys[space]) if space else 0 for space in spaces]


def _subjects(
    items: Sequence[ItemWithSpace], countings: Sequence[Counting], new_owners: Sequence[int]
) -> list[list[Subject]]:
    """Return the subjects of each item; the first is the one incremented."""
    return [
        [*([(new_owner, "")] if counting.needs_owner else []), *counter_subjects(counting, space)]
        for (_, space), counting, new_owner in zip(items, countings, new_owners, strict=True)
    ]


def container_lock_number(container: str) -> int:
    """Return the second key of a container's advisory lock."""
    return zlib.crc32(container.encode()) & 0x7FFF_FFFF


async def limits_since(connection: Connection, horizon: int) -> list[LimitRow]:
    rows = await connection.fetch(sql.LIMITS_SINCE, horizon)
    return [LimitRow(row[0], row[1], StoredLimit(*row[2:10]), row[10]) for row in rows]


async def _read(
    connection: Connection,
    identities: Collection[tuple[int, str, str]],
    counter_keys: Iterable[CounterKey],
) -> tuple[OwnersBySpace, dict[CounterKey, CounterValue], int]:
    """Read identity owners, counter values, and this group's move number."""
    global_keys = [counter_key[2:] for counter_key in counter_keys if counter_key.owner == GLOBAL_OWNER]
    subject_keys = [counter_key for counter_key in counter_keys if counter_key.owner != GLOBAL_OWNER]
    owners: OwnersBySpace = {}
    counters: dict[CounterKey, CounterValue] = {}
    move_number = 0
    for kind, a, b, c, d, e, f, g in await connection.fetch(
        sql.READ_GROUP,
        *columns(sorted(identities), 3),
        *columns(global_keys, 3),
        *columns(subject_keys, 5),
    ):
        if kind == 0:
            owners.setdefault(a, {})[IdentityKey(b, c)] = Owner(d, bool(e))
        elif kind == 1:
            counters[CounterKey(GLOBAL_OWNER, "", a, b, d)] = CounterValue(e, f)
        elif kind == 2:
            counters[CounterKey(a, b, d, c, e)] = CounterValue(f, g)
        else:
            move_number = a
    return owners, counters, move_number


async def _write(
    connection: Connection,
    counters: Mapping[CounterKey, CounterValue],
    move_number: int,
    accepted: Sequence[tuple[RecordItem, Subject | None]],
) -> None:
    """Write the new values of counters, and the events in packs."""
    total_rows, subject_rows = counter_rows(counters)
    packs = list(
        group_into_packs(
            (item.container, item.decision, item.event, event_subject(subject)) for item, subject in accepted
        )
    )
    if total_rows or subject_rows or packs:
        await connection.execute(
            sql.WRITE_GROUP,
            *columns(total_rows, 5),
            move_number,
            *columns(subject_rows, 7),
            *columns(packs, 5),
        )
