"""Counters and decisions of a `PostgresStore`, with its cache."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from proffer.errors import ProfferError
from proffer.model.capping import (
    DAY_US,
    CapKey,
    CapRefusal,
    CapSubjects,
    CapUsage,
    DecisionRecorded,
    OfferCaps,
    OfferLimits,
    Reservation,
    ReservationState,
)
from proffer.model.events import DecisionEvent, decision_time_ms
from proffer.store.common import proposition_index as edge_ids
from proffer.store.common.cap_cache import CapCache, TotalRow
from proffer.store.common.caps import (
    CounterValue,
    EndMove,
    StoredLimit,
    changed_limits,
    check_not_outdated,
    check_settled,
    counter_subjects,
    moved_ends,
)
from proffer.store.common.deletion import ROWS_TOGETHER, delete_in_batches
from proffer.store.common.event_codec import PACK_SPAN_MS, PackReader, decode_pack
from proffer.store.common.reservations import HOUR_MS, RecordItem, RecordResult
from proffer.store.ports import MAX_SEEN_DAYS
from proffer.store.postgres import cap_statements as sql
from proffer.store.postgres import owners
from proffer.store.postgres import statements as pg
from proffer.store.postgres.connections import Connection, Connections, execute_and_count, rows_changed
from proffer.store.postgres.counters import (
    columns,
    release_expired,
    reservation,
    settle,
)
from proffer.store.postgres.record_batch import (
    CommittedLimits,
    ExpiredReservations,
    Recorder,
    RecordGroup,
    WriteGroup,
    container_lock_number,
    limits_since,
)
from proffer.store.postgres.statements import dollar
from proffer.store.sql import cap_statements as cap_rows
from proffer.store.sql import statements

_PACKS_PER_DELETE = 50
_MOVE_COUNTERS_END = cap_rows.MOVE_COUNTERS_END.replace("LIMIT ?", "LIMIT ? FOR UPDATE SKIP LOCKED")


class PostgresCaps(ABC):
    """Cap mixin; needs the connections and space numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._cap_cache = CapCache()
        self._horizon = 0
        self._update_lock = asyncio.Lock()
        self._limits = CommittedLimits()
        self._group = RecordGroup(self._limits)
        self._recorder = Recorder(self._record)
        self._index_lock = asyncio.Lock()
        self._has_unindexed_packs = False
        """Whether a look-up of edge ids failed while packs were unindexed."""

    @property
    @abstractmethod
    def _connections(self) -> Connections: ...

    @abstractmethod
    async def _space(self, container_id: str) -> int | None: ...

    @abstractmethod
    async def _ensure_space(self, container_id: str) -> int: ...

    @property
    def pending_writes(self) -> int:
        return self._recorder.pending

    def on_group_commit(self, callback: Callable[[int], object]) -> None:
        self._recorder.on_commit = callback

    async def ensure_caps(self, container_id: str, revision: int, caps: Iterable[OfferCaps]) -> None:
        caps_list = tuple(caps)

        async def work(connection: Connection) -> None:
            await connection.fetchval(pg.LOCK_REVISION, container_id)
            if await cap_revision(connection, container_id) >= revision:
                return
            current = await connection.fetchval(dollar(statements.REVISION_OF), container_id)
            check_not_outdated(container_id, current or 0, revision)
            offers = {offer_caps.offer for offer_caps in caps_list}
            limited = await connection.fetch(dollar(cap_rows.OFFERS_LIMITED), container_id)
            removed = [OfferCaps(offer=offer) for (offer,) in limited if offer not in offers]
            await put_limits(connection, container_id, [*caps_list, *removed])
            await connection.execute(dollar(cap_rows.PUT_CAP_REVISION), container_id, revision)

        stored_revision = await self._connections.read(lambda connection: cap_revision(connection, container_id))
        if stored_revision < revision:
            await self._connections.write(work)
        await self._refresh_cache()

    async def usage(
        self,
        container_id: str,
        limits: OfferLimits,
        subjects: CapSubjects,
        now_us: int,
    ) -> CapUsage:
        counts = self._cap_cache.totals(container_id, limits, now_us)
        has_no_subjects = not subjects.owners and not subjects.identities
        offers = frozenset[str]() if has_no_subjects else limits.profile_offers
        if offers:
            space = await self._space(container_id) if subjects.identities else None
            subject_list = counter_subjects(subjects, space)
            rows = await self._connections.read(
                lambda connection: connection.fetch(sql.COUNTERS_NOW_OF, *columns(subject_list, 2), now_us)
            )
            self._cap_cache.add_subject_counts((tuple(row[2:]) for row in rows), offers, now_us, counts)
        return CapUsage(counts)

    async def global_usage(self, container_id: str, offer: str, now_us: int) -> Mapping[CapKey, int]:
        return self._cap_cache.global_usage(container_id, offer, now_us)

    async def record(
        self,
        container_id: str,
        event: DecisionEvent,
        *,
        ttl_us: int | None = None,
        forced: bool = False,
    ) -> DecisionRecorded | CapRefusal:
        item = RecordItem.from_event(container_id, event, ttl_us=ttl_us, forced=forced)
        result = await self._recorder.record((item, await self._ensure_space(container_id)))
        self._cap_cache.update_totals(result.totals)
        return result.outcome

    async def _record(self, group: WriteGroup) -> list[RecordResult]:
        now_us = max(item.request.now_us for item, _ in group.items)

        async def work(connection: Connection) -> list[RecordResult]:
            results = await self._group(connection, group.items)
            group.begin()
            return results

        while True:
            try:
                return await self._connections.write(work, first=self._group.locks(group.items, group.lock_wait_s))
            except ExpiredReservations:
                await self._connections.write(lambda connection: release_expired(connection, now_us))

    async def confirm(self, container_id: str, decision: str, now_us: int) -> Reservation:
        return await self._settle(container_id, decision, ReservationState.CONFIRMED, now_us)

    async def release(self, container_id: str, decision: str, now_us: int) -> Reservation:
        return await self._settle(container_id, decision, ReservationState.RELEASED, now_us)

    async def _settle(
        self, container_id: str, decision: str, target_state: ReservationState, now_us: int
    ) -> Reservation:
        settled = await self._connections.write(
            lambda connection: settle(connection, container_id, decision, target_state, now_us)
        )
        await self._refresh_cache()
        return check_settled(settled, target_state)

    async def reservation(self, container_id: str, decision: str, now_us: int) -> Reservation | None:
        return await self._connections.read(lambda connection: reservation(connection, container_id, decision, now_us))

    async def catch_up(self, now_us: int) -> None:
        if await self._update_cache(now_us):
            await self._connections.write(lambda connection: release_expired(connection, now_us))
            await self._refresh_cache()

    async def _refresh_cache(self) -> None:
        """Update the cache after a write; a failed read is ignored, since the write succeeded."""
        try:
            await self._update_cache()
        except ProfferError:
            return

    async def _update_cache(self, now_us: int = 0) -> bool:
        """Read changes into the cache; return whether there are expired reservations."""

        async def query(connection: Connection) -> bool:
            horizon, changed, expired = await connection.fetchrow(sql.STATE, self._horizon, now_us)
            limits = await limits_since(connection, self._horizon) if changed else []
            read_all = self._cap_cache.update_limits(limits)
            totals = await connection.fetch(sql.TOTALS_SINCE, 0 if read_all else self._horizon)
            self._cap_cache.update_totals(TotalRow(tuple(row[:3]), CounterValue(*row[3:5]), row[5]) for row in totals)
            self._horizon = horizon
            return bool(expired)

        async with self._update_lock:  # an older read must not overwrite a newer one
            return await self._connections.read(query)

    async def check_writable(self) -> None:
        # Every transaction writes its mark. A lock on a whole table holds up all decisions.
        await self._connections.write(lambda _: asyncio.sleep(0), first=sql.LOCK_TABLES_TO_WRITE)

    async def decision_event(self, container_id: str, proposition: str) -> DecisionEvent | None:
        return (await self.decisions_of(container_id, [proposition])).get(proposition)

    async def decisions_of(self, container_id: str, propositions: Sequence[str]) -> Mapping[str, DecisionEvent]:
        async def query(connection: Connection) -> dict[str, DecisionEvent]:
            decisions: dict[str, DecisionEvent] = {}
            open_packs: dict[int, PackReader] = {}
            ids = {proposition: edge_ids.normalize_id(proposition) for proposition in propositions}
            candidates = await _candidate_packs(connection, container_id, ids.values())
            for proposition, proposition_id in ids.items():
                for number in candidates.get(proposition_id, ()):
                    if number not in open_packs:
                        body = await connection.fetchval(dollar(cap_rows.PACK_OF), number, container_id)
                        if body is None:
                            continue  # of another container, or deleted
                        open_packs[number] = PackReader(body)
                    pack = open_packs[number]
                    is_edge = edge_ids.is_edge_id(proposition_id)
                    event = pack.find_edge(proposition_id) if is_edge else pack.find(proposition_id)
                    if event is not None:
                        decisions[proposition] = event
                        break
            return decisions

        decisions = await self._connections.read(query)
        missing_ids = edge_ids.missing_edge_ids(propositions, decisions)
        if not missing_ids:
            return decisions
        scan = edge_ids.PropositionScan(missing_ids, edge_ids.MOST_AT_ONCE)
        await self._index_packs(scan)
        self._has_unindexed_packs = self._has_unindexed_packs or scan.is_incomplete
        return await self._connections.read(query)  # concurrent calls may have indexed them too

    async def index_edge_ids(self) -> None:
        if self._has_unindexed_packs:
            await self._index_packs(edge_ids.PropositionScan(set()))
            self._has_unindexed_packs = False

    async def _index_packs(self, scan: edge_ids.PropositionScan) -> None:
        """Index the packs present now, slice by slice."""
        loop = asyncio.get_running_loop()
        newest = await newest_number(self._connections, 0, cap_rows.NEWEST_PACK)
        while scan.should_continue:
            started = loop.time()
            async with self._index_lock:  # concurrent calls would index the same packs
                scan.add_slice(await self._index_next_slice(newest, frozenset(scan.missing_ids)))
            if scan.is_background:
                await asyncio.sleep(loop.time() - started)

    async def _index_next_slice(self, newest: int, searched_ids: frozenset[str]) -> edge_ids.IndexSlice | None:
        range_and_packs = await self._connections.read(lambda connection: _read_next_packs(connection, newest))
        if range_and_packs is None:
            return None
        # CPU-bound, so it runs in a thread.
        new_slice = await asyncio.to_thread(edge_ids.index_slice, *range_and_packs, searched_ids)
        await self._connections.write(partial(_add_slice, new_slice))
        return new_slice

    async def decision_events(
        self, container_id: str, after: int, limit: int
    ) -> Sequence[tuple[int, Sequence[DecisionEvent]]]:
        up_to = await newest_number(self._connections, 0, cap_rows.NEWEST_PACK)
        rows = await self._connections.read(
            lambda connection: connection.fetch(sql.PACKS_BETWEEN, container_id, after, up_to, limit)
        )
        return [(number, tuple(decode_pack(body))) for number, body in rows]

    async def record_day(self, day: int, count: int) -> int | None:
        async def work(connection: Connection) -> int | None:
            await connection.execute(dollar(cap_rows.ADD_SEEN_DAY), day)
            oldest = await connection.fetchval(dollar(cap_rows.SEEN_DAY), day, MAX_SEEN_DAYS - 1)
            if oldest is not None:
                await connection.execute(dollar(cap_rows.REMOVE_SEEN_DAYS), oldest)
            first: int | None = await connection.fetchval(dollar(cap_rows.SEEN_DAY), day, count - 1)
            return first

        return await self._connections.write(work)

    async def purge_counters(self, before_us: int) -> int:
        async def delete_totals(connection: Connection) -> int:
            # Marks of ended connections: their last transactions are no longer in doubt.
            await connection.execute(pg.PURGE_MARKS, time.time_ns() // 1000 - DAY_US)
            return rows_changed(await connection.execute(dollar(cap_rows.SWEEP_TOTALS), before_us))

        async def delete_edge_ids(connection: Connection) -> int:
            oldest = await connection.fetchval(cap_rows.SPAN_ON_RECORD)
            if oldest is None:
                return 0
            bound = edge_ids.first_key_of_day(oldest - HOUR_MS)
            return rows_changed(await connection.execute(dollar(cap_rows.SWEEP_EDGE_IDS), bound, ROWS_TOGETHER))

        delete_counters = execute_and_count(cap_rows.SWEEP_COUNTERS, before_us, before_us, ROWS_TOGETHER)
        delete_reservations = execute_and_count(cap_rows.SWEEP_RESERVATIONS, before_us, ROWS_TOGETHER)
        write = self._connections.write
        limits = await self._connections.read(lambda connection: connection.fetch(cap_rows.LIMITS_WITH_TERMS))
        for move in moved_ends(map(tuple, limits), before_us):
            await write(partial(_move_totals_end, move))
            await delete_in_batches(
                partial(write, execute_and_count(_MOVE_COUNTERS_END, *move, ROWS_TOGETHER)), ROWS_TOGETHER
            )
        deleted = await write(delete_totals)
        deleted += await delete_in_batches(partial(write, delete_counters), ROWS_TOGETHER)
        await delete_in_batches(partial(write, delete_reservations), ROWS_TOGETHER)
        await delete_in_batches(partial(write, delete_edge_ids), ROWS_TOGETHER)
        last: int | None = 0
        while last is not None:
            last = await write(partial(owners.delete_unused, after=last, before_us=before_us, limit=ROWS_TOGETHER))
        return deleted

    async def purge_decisions(self, before_us: int, max_bytes: int | None = None) -> int:
        deleted = 0

        async def delete_old(connection: Connection) -> tuple[int, int]:
            rows = await connection.fetch(dollar(cap_rows.OLD_PACKS), before_us // 1000, _PACKS_PER_DELETE)
            return await _delete_packs(connection, rows)

        through: int | None = None

        async def delete_surplus(connection: Connection) -> tuple[int, int]:
            rows = await connection.fetch(dollar(cap_rows.PACKS_THROUGH), through, _PACKS_PER_DELETE)
            return await _delete_packs(connection, rows)

        if max_bytes is not None:
            through = await self._connections.read(lambda connection: connection.fetchval(sql.SURPLUS_PACK, max_bytes))
        for work in (delete_old, delete_surplus) if through is not None else (delete_old,):
            packs = _PACKS_PER_DELETE
            while packs == _PACKS_PER_DELETE:
                packs, events = await self._connections.write(work)
                deleted += events
        return deleted


async def newest_number(connections: Connections, lock_id: int, statement: str) -> int:
    """Return the newest number; the exclusive lock ensures no lower one is still uncommitted."""

    async def newest(connection: Connection) -> int:
        async with connection.transaction():
            await connection.execute(sql.LOCK_ONE, sql.PACK_LOCK, lock_id)
            return int(await connection.fetchval(statement))

    return await connections.read(newest)


async def _move_totals_end(move: EndMove, connection: Connection) -> None:
    await connection.execute(dollar(cap_rows.MOVE_TOTALS_END), *move)


async def _delete_packs(connection: Connection, rows: Sequence[Sequence[int]]) -> tuple[int, int]:
    await connection.execute(sql.REMOVE_PACKS, [row[0] for row in rows])
    return len(rows), sum(row[1] for row in rows)


async def cap_revision(connection: Connection, container: str) -> int:
    return await connection.fetchval(dollar(cap_rows.CAP_REVISION), container) or 0


async def put_limits(connection: Connection, container: str, caps: Iterable[OfferCaps]) -> None:
    """Activate these limits, while the container's row is locked.

    If any limit changes, counting in this container waits until the end of the transaction.
    """
    caps_list = list(caps)
    offers = [offer_caps.offer for offer_caps in caps_list]
    rows = await connection.fetch(sql.LIMITS_OF_OFFERS, container, offers)
    if not rows and not any(offer_caps.limits for offer_caps in caps_list):
        return
    stored_by_offer: dict[str, list[StoredLimit]] = {}
    for row in rows:
        stored_by_offer.setdefault(row[0], []).append(StoredLimit(*row[1:]))
    await connection.execute(sql.LOCK_ONE, sql.NUMBERING_LOCK, 0)
    last_counter = int(await connection.fetchval(sql.NEWEST_COUNTER))
    changed: list[tuple[str, StoredLimit]] = []
    for offer_caps in caps_list:
        stored = stored_by_offer.get(offer_caps.offer, [])
        for row in changed_limits(stored, offer_caps, last_counter + 1):
            last_counter = max(last_counter, row.counter)
            changed.append((offer_caps.offer, row))
    if not changed:
        return
    await connection.execute(sql.LOCK_ONE, sql.LIMIT_LOCK, container_lock_number(container))
    await connection.execute(sql.PUT_LIMITS, container, *columns([(offer, *row) for offer, row in changed], 9))


async def _candidate_packs(
    connection: Connection, container: str, proposition_ids: Iterable[str]
) -> dict[str, list[int]]:
    """Return the packs that may contain the decisions of these ids. They are decision ids or edge ids."""
    candidates: dict[str, list[int]] = {}
    moments = {key: moment for key in proposition_ids if (moment := decision_time_ms(key)) is not None}
    if moments:
        rows = await connection.fetch(sql.PACKS_AT_MANY, container, list(moments), list(moments.values()), PACK_SPAN_MS)
        for key, number in rows:
            candidates.setdefault(key, []).append(number)
    edge = [key for key in proposition_ids if key not in moments and edge_ids.is_edge_id(key)]
    if edge:
        oldest, newest = await connection.fetchrow(cap_rows.SPAN_ON_RECORD)
        for key in edge if oldest is not None else ():
            keys = edge_ids.candidate_keys(key, oldest - HOUR_MS, newest)
            candidates[key] = [number for (number,) in await connection.fetch(sql.PACKS_OF_EDGE, keys)]
    return candidates


async def _read_next_packs(
    connection: Connection, newest: int
) -> tuple[edge_ids.PackRange, list[tuple[int, bytes]]] | None:
    """Read the newest unindexed packs up to `newest`, for one slice; None if all are indexed."""
    gap = edge_ids.newest_gap(await _indexed_ranges(connection), newest)
    if gap is None:
        return None
    rows = await connection.fetch(dollar(cap_rows.PACKS_WITHIN), *gap, edge_ids.PACKS_TOGETHER)
    pack_range, packs = edge_ids.next_packs([edge_ids.PackInfo(*row) for row in rows], gap)
    bodies = await connection.fetch(sql.BODIES, packs)
    return pack_range, [(number, body) for number, body in bodies]


async def _add_slice(new_slice: edge_ids.IndexSlice, connection: Connection) -> None:
    """Insert a slice into the index of edge proposition ids."""
    await connection.execute(sql.LOCK_ONE, sql.INDEX_LOCK, 0)
    rows = sorted((key, number) for number, keys in new_slice.keys for key in keys)
    await connection.execute(sql.ADD_EDGE_IDS, *columns(rows, 2))
    ranges = edge_ids.add_range(await _indexed_ranges(connection), new_slice.pack_range)
    await connection.execute(cap_rows.REMOVE_EDGE_SPANS)
    await connection.execute(sql.ADD_EDGE_SPANS, *columns(ranges, 2))


async def _indexed_ranges(connection: Connection) -> list[edge_ids.PackRange]:
    return [edge_ids.PackRange(*row) for row in await connection.fetch(cap_rows.EDGE_SPANS)]
