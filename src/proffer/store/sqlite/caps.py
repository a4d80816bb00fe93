"""Counters and decisions of a `SqliteStore`, with its cache."""

import asyncio
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from proffer.model.capping import (
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
from proffer.model.events import DecisionEvent
from proffer.store.common import proposition_index as edge_ids
from proffer.store.common.cap_cache import CapCache
from proffer.store.common.caps import Subject, check_settled, counter_subjects
from proffer.store.common.deletion import ROWS_TOGETHER, delete_in_batches
from proffer.store.common.reservations import RecordItem
from proffer.store.errors import StoreUnavailable
from proffer.store.sql import cap_statements as sql
from proffer.store.sqlite import caps_tx as work
from proffer.store.sqlite import owners
from proffer.store.sqlite.catalog_tx import surplus_through
from proffer.store.sqlite.group_commit import BatchHandler, Job

Result = TypeVar("Result")
Entry = TypeVar("Entry")

_PACKS_PER_DELETE = 50
"""Maximum packs deleted in one write."""


class SqliteCaps(ABC):
    """Cap mixin; needs point reads, reads in the reader thread, and writer jobs and batches."""

    def __init__(self) -> None:
        super().__init__()
        self._cap_cache = CapCache()
        self._record_batch = work.RecordBatch()
        self._index_lock = asyncio.Lock()
        self._has_unindexed_packs = False
        """Whether a look-up of edge ids failed while packs were unindexed."""

    @abstractmethod
    def submit(self, job: Job[Result]) -> asyncio.Future[Result]: ...

    @abstractmethod
    def submit_to(
        self, batch: BatchHandler[Entry, Result], item: Entry, *, may_be_withdrawn: bool = False
    ) -> asyncio.Future[Result]: ...

    @abstractmethod
    def _space(self, container_id: str) -> int | None: ...

    @abstractmethod
    def _read_on_loop(self, query: Callable[[sqlite3.Connection], Result]) -> Result: ...

    @abstractmethod
    async def _read_in_thread(self, query: Callable[[sqlite3.Connection], Result]) -> Result: ...

    async def ensure_caps(self, container_id: str, revision: int, caps: Iterable[OfferCaps]) -> None:
        if self._read_on_loop(partial(work.cap_revision, container=container_id)) < revision:
            await self.submit(partial(work.ensure_caps, container=container_id, revision=revision, caps=tuple(caps)))
        self._refresh_cache()

    async def usage(
        self,
        container_id: str,
        limits: OfferLimits,
        subjects: CapSubjects,
        now_us: int,
    ) -> CapUsage:
        counts = self._cap_cache.totals(container_id, limits, now_us)
        if subjects.owners or subjects.identities:
            offers = limits.profile_offers
            space = self._space(container_id) if offers and subjects.identities else None
            subjects_to_read = counter_subjects(subjects, space) if offers else []
            if subjects.counters is not None:
                self._cap_cache.add_subject_counts(subjects.counters, offers, now_us, counts)
                subjects_to_read = subjects_to_read[len(subjects.owners) :]
            if subjects_to_read:
                self._read_on_loop(partial(self._read_subject_counts, subjects_to_read, offers, now_us, counts))
        return CapUsage(counts)

    def _read_subject_counts(
        self,
        subject_list: Sequence[Subject],
        offers: frozenset[str],
        now_us: int,
        counts: dict[CapKey, int],
        connection: sqlite3.Connection,
    ) -> None:
        for subject in subject_list:
            rows = connection.execute(sql.COUNTERS_NOW_OF, (*subject, now_us)).fetchall()
            if rows:
                self._cap_cache.add_subject_counts(rows, offers, now_us, counts)

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
        result = await self.submit_to(self._record_batch, item, may_be_withdrawn=True)
        if result.totals:
            self._cap_cache.update_totals(result.totals)
        return result.outcome

    async def confirm(self, container_id: str, decision: str, now_us: int) -> Reservation:
        return await self._settle(container_id, decision, ReservationState.CONFIRMED, now_us)

    async def release(self, container_id: str, decision: str, now_us: int) -> Reservation:
        return await self._settle(container_id, decision, ReservationState.RELEASED, now_us)

    async def _settle(
        self, container_id: str, decision: str, target_state: ReservationState, now_us: int
    ) -> Reservation:
        settled = await self.submit(
            partial(
                work.settle,
                container=container_id,
                decision=decision,
                target_state=target_state,
                now_us=now_us,
            )
        )
        self._refresh_cache()
        return check_settled(settled, target_state)

    async def reservation(self, container_id: str, decision: str, now_us: int) -> Reservation | None:
        return self._read_on_loop(partial(work.reservation, container=container_id, decision=decision, now_us=now_us))

    async def catch_up(self, now_us: int) -> None:
        if self._read_on_loop(partial(self._update_cache, now_us=now_us)):
            await self.submit(partial(work.release_expired, now_us=now_us))
            self._refresh_cache()

    def _refresh_cache(self) -> None:
        """Update the cache after a write; a failed read is ignored, since the write succeeded."""
        with suppress(StoreUnavailable):
            self._read_on_loop(self._update_cache)

    def _update_cache(self, connection: sqlite3.Connection, now_us: int = 0) -> bool:
        """Read changes into the cache; return whether there are expired reservations."""
        cache = self._cap_cache
        changed, moved, expired = connection.execute(sql.STATE, (now_us,)).fetchall()[0]
        if (changed or 0) > cache.limits.last_change:
            limits = work.limits_since(connection, change_number=cache.limits.last_change)
            if cache.update_limits(limits):
                cache.last_move = 0
        if (moved or 0) > cache.last_move:
            rows = work.totals_since(connection, move_number=cache.last_move)
            cache.update_totals(rows)
            cache.last_move = max([cache.last_move, *(row.move_number for row in rows)])
        return bool(expired)

    async def check_writable(self) -> None:
        await self.submit(work.rewrite_header)

    async def decision_event(self, container_id: str, proposition: str) -> DecisionEvent | None:
        return (await self.decisions_of(container_id, [proposition])).get(proposition)

    async def decisions_of(self, container_id: str, propositions: Sequence[str]) -> Mapping[str, DecisionEvent]:
        query = partial(work.decisions_of, container=container_id, propositions=tuple(propositions))
        decisions = await self._read_in_thread(query)
        missing_ids = edge_ids.missing_edge_ids(propositions, decisions)
        if not missing_ids:
            return decisions
        scan = edge_ids.PropositionScan(missing_ids, edge_ids.MOST_AT_ONCE)
        await self._index_packs(scan)
        self._has_unindexed_packs = self._has_unindexed_packs or scan.is_incomplete
        return await self._read_in_thread(query)  # concurrent calls may have indexed the ids too

    async def index_edge_ids(self) -> None:
        if self._has_unindexed_packs:
            await self._index_packs(edge_ids.PropositionScan(set()))
            self._has_unindexed_packs = False

    async def _index_packs(self, scan: edge_ids.PropositionScan) -> None:
        """Index packs slice by slice."""
        loop = asyncio.get_running_loop()
        while scan.should_continue:
            started = loop.time()
            async with self._index_lock:  # concurrent calls would index the same packs
                query = partial(work.read_next_slice, searched_ids=frozenset(scan.missing_ids))
                new_slice = await self._read_in_thread(query)
                if new_slice is not None:
                    await self.submit(partial(work.add_slice, new_slice=new_slice))
                scan.add_slice(new_slice)
            if scan.is_background:
                await asyncio.sleep(loop.time() - started)

    async def decision_events(
        self, container_id: str, after: int, limit: int
    ) -> Sequence[tuple[int, Sequence[DecisionEvent]]]:
        return await self._read_in_thread(partial(work.read_packs, container=container_id, after=after, limit=limit))

    async def record_day(self, day: int, count: int) -> int | None:
        return await self.submit(partial(work.record_day, day=day, count=count))

    async def purge_counters(self, before_us: int) -> int:
        delete_counters = partial(work.delete_ended_counters, before_us=before_us, limit=ROWS_TOGETHER)
        delete_reservations = partial(work.delete_settled_reservations, before_us=before_us, limit=ROWS_TOGETHER)
        delete_edge_ids = partial(work.delete_old_edge_ids, limit=ROWS_TOGETHER)
        for move in await self._read_in_thread(partial(work.moves_due, before_us=before_us)):
            move_end = partial(work.move_counters_end, move=move, limit=ROWS_TOGETHER)
            await delete_in_batches(partial(self.submit, move_end), ROWS_TOGETHER)
        deleted = await self.submit(partial(work.delete_ended_totals, before_us=before_us))
        deleted += await delete_in_batches(partial(self.submit, delete_counters), ROWS_TOGETHER)
        await delete_in_batches(partial(self.submit, delete_reservations), ROWS_TOGETHER)
        await delete_in_batches(partial(self.submit, delete_edge_ids), ROWS_TOGETHER)
        last: int | None = 0
        while last is not None:
            last = await self.submit(
                partial(owners.delete_unused, after=last, before_us=before_us, limit=ROWS_TOGETHER)
            )
        return deleted

    async def purge_decisions(self, before_us: int, max_bytes: int | None = None) -> int:
        jobs: list[Job[tuple[int, int]]] = [
            partial(work.delete_old_packs, before_ms=before_us // 1000, limit=_PACKS_PER_DELETE)
        ]
        if max_bytes is not None:
            through = await self._read_in_thread(
                partial(surplus_through, size=sql.PACKS_SIZE, sizes=sql.PACK_SIZES, max_bytes=max_bytes)
            )
            if through is not None:
                jobs.append(partial(work.delete_packs_through, through=through, limit=_PACKS_PER_DELETE))
        deleted = 0
        for job in jobs:
            packs = _PACKS_PER_DELETE
            while packs == _PACKS_PER_DELETE:
                packs, events = await self.submit(job)
                deleted += events
        return deleted
