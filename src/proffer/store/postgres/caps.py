"""Counters and decisions of a `PostgresStore`, with its cache."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from proffer.errors import ProfferError
from proffer.model.capping import (
    CapLimit,
    CapRefusal,
    CapSubjects,
    CapUsage,
    DecisionRecorded,
    OfferCaps,
    Reservation,
    ReservationState,
    lifetime_end,
)
from proffer.model.events import DecisionEvent, decision_time_ms
from proffer.store.common import proposition_index as edge_ids
from proffer.store.common.cap_cache import Book, Restricted, TotalRow
from proffer.store.common.caps import (
    ROWS_TOGETHER,
    Count,
    KeptRow,
    Slot,
    asked_for,
    carried,
    check_not_moved,
    check_settled,
    put_in_force,
)
from proffer.store.common.event_codec import SPAN_MS, OpenPack, unpack
from proffer.store.common.reservations import HOUR_MS, Answer, Item
from proffer.store.postgres import cap_statements as sql
from proffer.store.postgres import statements as pg
from proffer.store.postgres.connections import Connection, Connections, Work
from proffer.store.postgres.counters import (
    columns,
    give_back_expired,
    lock,
    reservation,
    settle,
    stripe,
)
from proffer.store.postgres.record_batch import (
    Expired,
    KnownLimits,
    Placed,
    Recorder,
    RecordGroup,
    limits_since,
    number_of,
)
from proffer.store.postgres.statements import dollar
from proffer.store.sql import cap_statements as cap_rows
from proffer.store.sql import statements

_PACKS_TOGETHER = 50
_MARKS_US = 86_400_000_000


class PostgresCaps(ABC):
    """Cap mixin; needs the connections and space numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._book = Book()
        self._restricted = Restricted()
        self._horizon = 0
        self._learning = asyncio.Lock()
        self._limits = KnownLimits()
        self._group = RecordGroup(self._limits)
        self._recorder = Recorder(self._record)
        self._indexing = asyncio.Lock()
        self._left_out = False
        """Whether a look-up of edge ids failed while packs were unindexed."""

    @property
    @abstractmethod
    def _connections(self) -> Connections: ...

    @abstractmethod
    async def _space(self, container_id: str) -> int | None: ...

    @abstractmethod
    async def _own_space(self, container_id: str) -> int: ...

    @property
    def writes_waiting(self) -> int:
        return self._recorder.waiting

    def watch_groups(self, told: Callable[[int], object]) -> None:
        self._recorder.told = told

    async def ensure_caps(
        self, container_id: str, revision: int, caps: Iterable[OfferCaps]
    ) -> None:
        said = tuple(caps)

        async def work(connection: Connection) -> None:
            await connection.fetchval(pg.LOCK_REVISION, container_id)
            if await cap_revision(connection, container_id) >= revision:
                return
            current = await connection.fetchval(dollar(statements.REVISION_OF), container_id)
            check_not_moved(container_id, current or 0, revision)
            named = {one.offer for one in said}
            limited = await connection.fetch(dollar(cap_rows.OFFERS_LIMITED), container_id)
            gone = [OfferCaps(offer=offer) for (offer,) in limited if offer not in named]
            await put_limits(connection, container_id, [*said, *gone])
            await connection.execute(dollar(cap_rows.PUT_CAP_REVISION), container_id, revision)

        known = await self._connections.read(
            lambda connection: cap_revision(connection, container_id)
        )
        if known < revision:
            await self._connections.write(work)
        await self._look_again()

    async def usage(
        self,
        container_id: str,
        caps: Iterable[tuple[str, CapLimit]],
        subjects: CapSubjects,
        now_us: int,
    ) -> CapUsage:
        asked = tuple(caps)
        found = self._book.totals(container_id, asked, now_us)
        nobody = not subjects.customers and not subjects.identities
        offers = frozenset[str]() if nobody else self._restricted.of(asked)
        if offers:
            strangers = len(subjects.identities) > subjects.linked_count
            space = await self._space(container_id) if strangers else None
            whose = asked_for(subjects, space)
            rows = await self._connections.read(
                lambda connection: connection.fetch(sql.COUNTERS_NOW_OF, *columns(whose, 2), now_us)
            )
            self._book.mine((tuple(row[2:]) for row in rows), offers, now_us, found)
        return CapUsage(found)

    async def record(
        self,
        container_id: str,
        event: DecisionEvent,
        *,
        ttl_us: int | None = None,
        forced: bool = False,
    ) -> DecisionRecorded | CapRefusal:
        item = Item.of(container_id, event, ttl_us=ttl_us, forced=forced)
        answer = await self._recorder.record((item, await self._own_space(container_id)))
        self._book.learn(answer.totals)
        return answer.outcome

    async def _record(self, items: Sequence[Placed]) -> list[Answer]:
        now_us = max(item.claim.now_us for item, _ in items)
        while True:
            try:
                return await self._connections.write(
                    lambda connection: self._group(connection, items),
                    first=self._group.locks(items),
                )
            except Expired:
                await self._connections.write(
                    lambda connection: give_back_expired(connection, now_us)
                )

    async def confirm(self, container_id: str, decision: str, now_us: int) -> Reservation:
        return await self._settle(container_id, decision, ReservationState.CONFIRMED, now_us)

    async def release(self, container_id: str, decision: str, now_us: int) -> Reservation:
        return await self._settle(container_id, decision, ReservationState.RELEASED, now_us)

    async def _settle(
        self, container_id: str, decision: str, wanted: ReservationState, now_us: int
    ) -> Reservation:
        settled = await self._connections.write(
            lambda connection: settle(connection, container_id, decision, wanted, now_us)
        )
        await self._look_again()
        return check_settled(settled, wanted)

    async def reservation(
        self, container_id: str, decision: str, now_us: int
    ) -> Reservation | None:
        return await self._connections.read(
            lambda connection: reservation(connection, container_id, decision, now_us)
        )

    async def catch_up(self, now_us: int) -> None:
        if await self._learn(now_us):
            await self._connections.write(lambda connection: give_back_expired(connection, now_us))
            await self._look_again()

    async def _look_again(self) -> None:
        """Update the cache after a write; a failed read is ignored, since the write succeeded."""
        try:
            await self._learn()
        except ProfferError:
            return

    async def _learn(self, now_us: int = 0) -> bool:
        """Read changes into the cache; return whether there are expired reservations."""

        async def look(connection: Connection) -> bool:
            horizon, changed, expired = await connection.fetchrow(sql.STATE, self._horizon, now_us)
            limits = await limits_since(connection, self._horizon) if changed else []
            totals = await connection.fetch(sql.TOTALS_SINCE, self._horizon)
            self._book.learn_limits(limits)
            self._book.learn(TotalRow(tuple(row[:3]), Count(*row[3:5]), row[5]) for row in totals)
            self._horizon = horizon
            return bool(expired)

        async with self._learning:  # an older read must not overwrite a newer one
            return await self._connections.read(look)

    async def decision_event(self, container_id: str, proposition: str) -> DecisionEvent | None:
        return (await self.decisions_of(container_id, [proposition])).get(proposition)

    async def decisions_of(
        self, container_id: str, propositions: Sequence[str]
    ) -> Mapping[str, DecisionEvent]:
        async def look(connection: Connection) -> dict[str, DecisionEvent]:
            found: dict[str, DecisionEvent] = {}
            opened: dict[int, OpenPack] = {}
            for proposition in propositions:
                wanted = edge_ids.spelled(proposition)
                for number in await _packs_of(connection, container_id, wanted):
                    if number not in opened:
                        body = await connection.fetchval(
                            dollar(cap_rows.PACK_OF), number, container_id
                        )
                        if body is None:
                            continue  # of another container, or deleted
                        opened[number] = OpenPack(body)
                    pack = opened[number]
                    of_edge = edge_ids.is_of_edge(wanted)
                    event = pack.find_edge(wanted) if of_edge else pack.find(wanted)
                    if event is not None:
                        found[proposition] = event
                        break
            return found

        found = await self._connections.read(look)
        wanted = edge_ids.alone(propositions, found)
        if not wanted:
            return found
        search = edge_ids.Search(wanted, edge_ids.MOST_AT_ONCE)
        await self._index(search)
        self._left_out = self._left_out or search.gave_up
        return await self._connections.read(look)  # concurrent calls may have indexed them too

    async def index_edge_ids(self) -> None:
        if self._left_out:
            await self._index(edge_ids.Search(set()))
            self._left_out = False

    async def _index(self, search: edge_ids.Search) -> None:
        """Index the packs present now, slice by slice."""
        loop = asyncio.get_running_loop()
        newest = await newest_number(self._connections, 0, cap_rows.NEWEST_PACK)
        while search.goes_on:
            begun = loop.time()
            async with self._indexing:  # concurrent calls would index the same packs
                search.took(await self._slice(newest, frozenset(search.wanted)))
            if search.rests:
                await asyncio.sleep(loop.time() - begun)

    async def _slice(self, newest: int, wanted: frozenset[str]) -> edge_ids.Slice | None:
        listed = await self._connections.read(lambda connection: _left_out(connection, newest))
        if listed is None:
            return None
        # CPU-bound, so it runs in a thread.
        one = await asyncio.to_thread(edge_ids.taken_apart, *listed, wanted)
        await self._connections.write(partial(_put_slice, one))
        return one

    async def decision_events(
        self, container_id: str, after: int, limit: int
    ) -> Sequence[tuple[int, Sequence[DecisionEvent]]]:
        up_to = await newest_number(self._connections, 0, cap_rows.NEWEST_PACK)
        rows = await self._connections.read(
            lambda connection: connection.fetch(
                sql.PACKS_BETWEEN, container_id, after, up_to, limit
            )
        )
        return [(number, tuple(unpack(body))) for number, body in rows]

    async def forget_counters(self, before_us: int) -> int:
        async def totals(connection: Connection) -> int:
            # Marks of ended connections: their last transactions are no longer in doubt.
            await connection.execute(pg.FORGET_MARKS, time.time_ns() // 1000 - _MARKS_US)
            return rows_changed(await connection.execute(dollar(cap_rows.SWEEP_TOTALS), before_us))

        async def ids(connection: Connection) -> int:
            oldest = await connection.fetchval(cap_rows.SPAN_ON_RECORD)
            if oldest is None:
                return 0
            bound = edge_ids.before(oldest - HOUR_MS)
            return rows_changed(
                await connection.execute(dollar(cap_rows.SWEEP_EDGE_IDS), bound, ROWS_TOGETHER)
            )

        forgotten = await self._connections.write(totals)
        forgotten += await self._sweep(
            _changing(cap_rows.SWEEP_COUNTERS, before_us, before_us, ROWS_TOGETHER)
        )
        await self._sweep(_changing(cap_rows.SWEEP_RESERVATIONS, before_us, ROWS_TOGETHER))
        await self._sweep(ids)
        return forgotten

    async def _sweep(self, some: Work[int]) -> int:
        """Run a deleting transaction until nothing is left; return the number of rows deleted."""
        forgotten, gone = 0, ROWS_TOGETHER
        while gone >= ROWS_TOGETHER:
            gone = await self._connections.write(some)
            forgotten += gone
        return forgotten

    async def forget_decisions(self, before_us: int, most_bytes: int | None = None) -> int:
        forgotten = 0

        async def old(connection: Connection) -> tuple[int, int]:
            rows = await connection.fetch(
                dollar(cap_rows.OLD_PACKS), before_us // 1000, _PACKS_TOGETHER
            )
            return await _forget(connection, rows)

        through: int | None = None

        async def much(connection: Connection) -> tuple[int, int]:
            rows = await connection.fetch(dollar(cap_rows.PACKS_THROUGH), through, _PACKS_TOGETHER)
            return await _forget(connection, rows)

        if most_bytes is not None:
            through = await self._connections.read(
                lambda connection: connection.fetchval(sql.SURPLUS_PACK, most_bytes)
            )
        for work in (old, much) if through is not None else (old,):
            packs = _PACKS_TOGETHER
            while packs == _PACKS_TOGETHER:
                packs, events = await self._connections.write(work)
                forgotten += events
        return forgotten


def _changing(statement: str, *values: int) -> Work[int]:
    """Return a transaction that runs this statement and returns the number of rows changed."""

    async def work(connection: Connection) -> int:
        return rows_changed(await connection.execute(dollar(statement), *values))

    return work


def rows_changed(status: str) -> int:
    """Return the number of rows in a command status such as `DELETE 3`."""
    return int(status.rpartition(" ")[2])


async def newest_number(connections: Connections, of: int, statement: str) -> int:
    """Return the newest number; the exclusive lock ensures no lower one is still uncommitted."""

    async def newest(connection: Connection) -> int:
        async with connection.transaction():
            await connection.execute(sql.LOCK_ONE, sql.PACKING, of)
            return int(await connection.fetchval(statement))

    return await connections.read(newest)


async def _forget(connection: Connection, rows: Sequence[Sequence[int]]) -> tuple[int, int]:
    await connection.execute(sql.REMOVE_PACKS, [row[0] for row in rows])
    return len(rows), sum(row[1] for row in rows)


async def cap_revision(connection: Connection, container: str) -> int:
    return await connection.fetchval(dollar(cap_rows.CAP_REVISION), container) or 0


async def put_limits(connection: Connection, container: str, caps: Iterable[OfferCaps]) -> None:
    """Activate these limits, while the container's row is locked.

    If any limit changes, counting in this container waits until the end of the transaction.
    """
    said = list(caps)
    offers = [one.offer for one in said]
    rows = await connection.fetch(sql.LIMITS_OF_OFFERS, container, offers)
    if not rows and not any(one.limits for one in said):
        return
    before: dict[str, list[KeptRow]] = {}
    for row in rows:
        before.setdefault(row[0], []).append(KeptRow(*row[1:]))
    await connection.execute(sql.LOCK_ONE, sql.NUMBERING, 0)
    newest = int(await connection.fetchval(sql.NEWEST_COUNTER))
    changed: list[tuple[str, KeptRow]] = []
    carry: list[tuple[KeptRow, int]] = []
    for one in said:
        of_offer = before.get(one.offer, [])
        known = {row.counter: row for row in of_offer}
        for row in put_in_force(of_offer, one, newest + 1):
            newest = max(newest, row.counter)
            changed.append((one.offer, row))
            if carried(known.get(row.counter), row):
                carry.append((row, one.moment_us))
    if not changed:
        return
    await connection.execute(sql.LOCK_ONE, sql.CAPPING, number_of(container))
    await connection.execute(
        sql.PUT_LIMITS, container, *columns([(offer, *row) for offer, row in changed], 8)
    )
    await lock(connection, (stripe(Slot(0, "", row.counter, "", 0)) for row, _ in carry))
    for row, moment_us in carry:
        ends = lifetime_end(row.start_us, row.end_us, moment_us)
        await connection.execute(sql.CARRY_TOTALS, ends, row.counter, moment_us)


async def _packs_of(connection: Connection, container: str, wanted: str) -> list[int]:
    """Return the packs that may contain the decision of this decision or edge id."""
    at = decision_time_ms(wanted)
    if at is not None:
        rows = await connection.fetch(dollar(cap_rows.PACKS_AT), container, at, at + SPAN_MS, at)
        return [number for (number,) in rows]
    oldest, newest = await connection.fetchrow(cap_rows.SPAN_ON_RECORD)
    if oldest is None or not edge_ids.is_of_edge(wanted):
        return []
    keys = edge_ids.keys_of(wanted, oldest - HOUR_MS, newest)
    return [number for (number,) in await connection.fetch(sql.PACKS_OF_EDGE, keys)]


async def _left_out(
    connection: Connection, newest: int
) -> tuple[edge_ids.Span, list[tuple[int, bytes]]] | None:
    """Read the newest unindexed packs up to `newest`, for one slice; None if all are indexed."""
    gap = edge_ids.left_out(await _spans(connection), newest)
    if gap is None:
        return None
    rows = await connection.fetch(dollar(cap_rows.PACKS_WITHIN), *gap, edge_ids.PACKS_TOGETHER)
    span, packs = edge_ids.together([edge_ids.Listed(*row) for row in rows], gap)
    bodies = await connection.fetch(sql.BODIES, packs)
    return span, [(number, body) for number, body in bodies]


async def _put_slice(one: edge_ids.Slice, connection: Connection) -> None:
    """Insert a slice into the index of edge proposition ids."""
    await connection.execute(sql.LOCK_ONE, sql.INDEXING, 0)
    rows = sorted((key, number) for number, keys in one.keys for key in keys)
    await connection.execute(sql.ADD_EDGE_IDS, *columns(rows, 2))
    spans = edge_ids.with_span(await _spans(connection), one.span)
    await connection.execute(cap_rows.REMOVE_EDGE_SPANS)
    await connection.execute(sql.ADD_EDGE_SPANS, *columns(spans, 2))


async def _spans(connection: Connection) -> list[edge_ids.Span]:
    return [edge_ids.Span(*row) for row in await connection.fetch(cap_rows.EDGE_SPANS)]
