"""Write batching of decisions: those that arrive during a write form the next group.

A group is one transaction and costs the same few statements, whatever its size. Groups of other servers
run concurrently; those that need the same counters wait.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from proffer.model.capping import CapScope
from proffer.model.identity import IdentityKey
from proffer.store.common.cap_cache import LimitRow, Limits
from proffer.store.common.caps import (
    TOTAL,
    Count,
    KeptLimit,
    KeptRow,
    Slot,
    Subject,
    needs_of,
    public,
    subjects_of,
)
from proffer.store.common.event_codec import in_packs
from proffer.store.common.reservations import Answer, Item, judge_group
from proffer.store.postgres import cap_statements as sql
from proffer.store.postgres.connections import Again, Connection
from proffer.store.postgres.counters import columns, lock, stripe, stripe_of
from proffer.store.postgres.statements import dollar
from proffer.store.sql import statements

LARGEST_GROUP = 128

Placed = tuple[Item, int]
"""A decision to record, with the number of its container's space."""


Holders = dict[int, dict[IdentityKey, int]]
"""Space → identity → customer."""


class Expired(Exception):
    """There are expired reservations, which must be released first."""


class Recorder:
    """Writes queued decisions group by group. `write` makes a group durable, or raises."""

    def __init__(self, write: Callable[[Sequence[Placed]], Awaitable[list[Answer]]]) -> None:
        self._write = write
        self._waiting: list[tuple[Placed, asyncio.Future[Answer]]] = []
        self._writer: asyncio.Task[None] | None = None
        self.told: Callable[[int], object] = lambda _: None
        """Called with the size of each committed group."""

    @property
    def waiting(self) -> int:
        """Number of decisions that wait for the next group."""
        return len(self._waiting)

    async def record(self, item: Placed) -> Answer:
        """Queue a decision; return its result once that is durable."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        return await future

    async def close(self) -> None:
        """Finish all queued decisions."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                group = self._waiting[:LARGEST_GROUP]
                del self._waiting[:LARGEST_GROUP]
                await self._write_group(group)
        finally:
            self._writer = None

    async def _write_group(self, group: Sequence[tuple[Placed, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._write([item for item, _ in group])
        except Exception as error:  # noqa: BLE001 - waiting callers need an answer
            if len(group) == 1 or not isinstance(error, ValueError | TypeError):
                for _, future in group:
                    _fail(future, error)
                return
            for one in group:  # an item that cannot be written must not fail the others
                await self._write_group([one])
            return
        self.told(len(group))
        for (_, future), answer in zip(group, answers, strict=True):
            if not future.done():
                future.set_result(answer)


def _fail(future: asyncio.Future[Answer], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


class KnownLimits:
    """Cache of the limits in force; reads only committed limits, so it survives rollbacks."""

    def __init__(self) -> None:
        self._limits = Limits()
        self._horizon = 0
        self._learning = asyncio.Lock()

    async def learn(self, connection: Connection, now_us: int = 0) -> bool:
        """Read changed limits; the shared limit lock keeps them constant afterwards.

        Returns whether there are expired reservations.
        """
        async with self._learning:  # an older read must not overwrite a newer one
            horizon, changed, expired = await connection.fetchrow(sql.STATE, self._horizon, now_us)
            if changed:
                self._limits.learn(await limits_since(connection, self._horizon))
            self._horizon = horizon
            return bool(expired)

    def of(self, container: str) -> Mapping[str, Sequence[KeptLimit]]:
        """Return offer id → limits in force."""
        return self._limits.of(container)


class RecordGroup:
    """Processes decisions in order, writes counters and events together."""

    def __init__(self, limits: KnownLimits) -> None:
        self._limits = limits

    async def __call__(self, connection: Connection, items: Sequence[Placed]) -> list[Answer]:
        if await self._limits.learn(connection, max(item.claim.now_us for item, _ in items)):
            raise Expired
        subjects = await self._subjects(connection, items)
        needs = [
            needs_of(item.claim, self._limits.of(item.container), whose)
            for (item, _), whose in zip(items, subjects, strict=True)
        ]
        slots = dict.fromkeys(slot for of in needs for need in of for slot in need.slots)
        reserving = [
            whose[0]
            for (item, _), whose in zip(items, subjects, strict=True)
            if item.ttl_us is not None and whose
        ]
        await lock(connection, [*map(stripe, slots), *map(stripe_of, reserving)])
        asked = self._asked(items)
        holders, counters, moved = await _read(connection, asked, slots)
        if subjects != self._whose(items, holders):
            raise Again  # a subject was assigned or merged before the locks were taken
        found = judge_group([item for item, _ in items], subjects, needs, counters, moved)
        revision_of = dollar(statements.REVISION_OF)
        revisions = {
            name: await connection.fetchval(revision_of, name) or 0 for name in found.refusing
        }
        if found.reserved:
            await connection.execute(sql.ADD_RESERVATIONS, *columns(found.reserved, 6))
        await _write(connection, found.counters, moved, found.kept)
        return found.answers(revisions)

    def locks(self, items: Sequence[Placed]) -> str:
        """Return the first statement: the shared locks of limits and packs."""
        containers = {number_of(item.container) for item, _ in items}
        locks = sorted((sql.CAPPING, number) for number in containers)
        calls = (f"pg_advisory_xact_lock_shared({a}, {b})" for a, b in (*locks, (sql.PACKING, 0)))
        return f"SELECT {', '.join(calls)}"

    async def _subjects(
        self, connection: Connection, items: Sequence[Placed]
    ) -> list[list[Subject]]:
        """Resolve the subjects of each item; empty where they do not matter."""
        return self._whose(items, await holders_of(connection, self._asked(items)))

    def _asked(self, items: Sequence[Placed]) -> set[tuple[int, str, str]]:
        return {
            (space, *identity)
            for item, space in items
            if self._wants_subjects(item)
            for identity in item.claim.identities
        }

    def _whose(self, items: Sequence[Placed], holders: Holders) -> list[list[Subject]]:
        return [
            subjects_of(item.claim.identities, holders.get(space, {}), space)
            if self._wants_subjects(item)
            else []
            for item, space in items
        ]

    def _wants_subjects(self, item: Item) -> bool:
        if item.ttl_us is not None:
            return True
        limits = self._limits.of(item.container)
        return any(
            kept.limit.scope is CapScope.PROFILE and kept.limit.counts_in(placement)
            for offer, placement in item.claim.given
            for kept in limits.get(offer, ())
        )


async def holders_of(connection: Connection, asked: Collection[tuple[int, str, str]]) -> Holders:
    """Return space → identity → customer for these (space, namespace, id) triples."""
    holders: Holders = {}
    if asked:
        for space, namespace, name, key in await connection.fetch(
            sql.HOLDERS, *columns(sorted(asked), 3)
        ):
            holders.setdefault(space, {})[IdentityKey(namespace, name)] = key
    return holders


def number_of(container: str) -> int:
    """Return the second key of a container's advisory lock."""
    return zlib.crc32(container.encode()) & 0x7FFF_FFFF


async def limits_since(connection: Connection, horizon: int) -> list[LimitRow]:
    rows = await connection.fetch(sql.LIMITS_SINCE, horizon)
    return [LimitRow(row[0], row[1], KeptRow(*row[2:9]), row[9]) for row in rows]


async def _read(
    connection: Connection, asked: Collection[tuple[int, str, str]], slots: Iterable[Slot]
) -> tuple[Holders, dict[Slot, Count], int]:
    """Read the holders of identities, values of counters, and this group's move number."""
    totals = [slot[2:] for slot in slots if slot.owner == TOTAL]
    others = [slot for slot in slots if slot.owner != TOTAL]
    holders: Holders = {}
    counters: dict[Slot, Count] = {}
    moved = 0
    for kind, a, b, c, d, e, f, g in await connection.fetch(
        sql.READ_GROUP, *columns(sorted(asked), 3), *columns(totals, 3), *columns(others, 5)
    ):
        if kind == 0:
            holders.setdefault(a, {})[IdentityKey(b, c)] = d
        elif kind == 1:
            counters[Slot(TOTAL, "", a, b, d)] = Count(e, f)
        elif kind == 2:
            counters[Slot(a, b, d, c, e)] = Count(f, g)
        else:
            moved = a
    return holders, counters, moved


async def _write(
    connection: Connection,
    counters: Mapping[Slot, Count],
    moved: int,
    kept: Sequence[tuple[Item, Subject | None]],
) -> None:
    """Write the new values of counters, and the events in packs."""
    totals = sorted((*slot[2:], *count) for slot, count in counters.items() if slot.owner == TOTAL)
    others = sorted((*slot, *count) for slot, count in counters.items() if slot.owner != TOTAL)
    packs = list(
        in_packs(
            (item.container, item.decision, item.event, public(subject)) for item, subject in kept
        )
    )
    if totals or others or packs:
        await connection.execute(
            sql.WRITE_GROUP, *columns(totals, 5), moved, *columns(others, 7), *columns(packs, 5)
        )
