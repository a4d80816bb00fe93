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
    CapLimit,
    CapRefusal,
    CapSubjects,
    CapUsage,
    DecisionRecorded,
    OfferCaps,
    Reservation,
    ReservationState,
)
from proffer.model.events import DecisionEvent
from proffer.store.common import proposition_index as edge_ids
from proffer.store.common.cap_cache import Book, Restricted
from proffer.store.common.caps import ROWS_TOGETHER, Subject, asked_for, check_settled
from proffer.store.common.reservations import Item
from proffer.store.errors import StoreUnavailable
from proffer.store.sql import cap_statements as sql
from proffer.store.sqlite import caps_tx as work
from proffer.store.sqlite.catalog_tx import surplus
from proffer.store.sqlite.group_commit import Batch, Job

Result = TypeVar("Result")
Entry = TypeVar("Entry")

_PACKS_TOGETHER = 50
"""Maximum packs deleted in one write."""


class SqliteCaps(ABC):
    """Cap mixin; needs point reads, reads in the reader thread, and writer jobs and batches."""

    def __init__(self) -> None:
        super().__init__()
        self._book = Book()
        self._recording = work.RecordBatch()
        self._restricted = Restricted()
        self._indexing = asyncio.Lock()
        self._left_out = False
        """Whether a look-up of edge ids failed while packs were unindexed."""

    @abstractmethod
    def submit(self, job: Job[Result]) -> asyncio.Future[Result]: ...

    @abstractmethod
    def submit_to(self, batch: Batch[Entry, Result], item: Entry) -> asyncio.Future[Result]: ...

    @abstractmethod
    def _space(self, container_id: str) -> int | None: ...

    @abstractmethod
    def _points_of(self, query: Callable[[sqlite3.Connection], Result]) -> Result: ...

    @abstractmethod
    async def _read(self, query: Callable[[sqlite3.Connection], Result]) -> Result: ...

    async def ensure_caps(
        self, container_id: str, revision: int, caps: Iterable[OfferCaps]
    ) -> None:
        if self._points_of(partial(work.cap_revision, container=container_id)) < revision:
            await self.submit(
                partial(
                    work.ensure_caps, container=container_id, revision=revision, caps=tuple(caps)
                )
            )
        self._look_again()

    async def usage(
        self,
        container_id: str,
        caps: Iterable[tuple[str, CapLimit]],
        subjects: CapSubjects,
        now_us: int,
    ) -> CapUsage:
        asked = tuple(caps)
        found = self._book.totals(container_id, asked, now_us)
        if subjects.customers or subjects.identities:
            offers = self._restricted.of(asked)
            strangers = len(subjects.identities) > subjects.linked_count
            space = self._space(container_id) if offers and strangers else None
            whose = asked_for(subjects, space) if offers else []
            if subjects.counters is not None:
                self._book.mine(subjects.counters, offers, now_us, found)
                whose = whose[len(subjects.customers) :]
            if whose:
                self._points_of(partial(self._mine, whose, offers, now_us, found))
        return CapUsage(found)

    def _mine(
        self,
        whose: Sequence[Subject],
        offers: frozenset[str],
        now_us: int,
        found: dict[CapKey, int],
        connection: sqlite3.Connection,
    ) -> None:
        for subject in whose:
            rows_ = connection.execute(sql.COUNTERS_NOW_OF, (*subject, now_us)).fetchall()
            if rows_:
                self._book.mine(rows_, offers, now_us, found)

    async def record(
        self,
        container_id: str,
        event: DecisionEvent,
        *,
        ttl_us: int | None = None,
        forced: bool = False,
    ) -> DecisionRecorded | CapRefusal:
        item = Item.of(container_id, event, ttl_us=ttl_us, forced=forced)
        answer = await self.submit_to(self._recording, item)
        if answer.totals:
            self._book.learn(answer.totals)
        return answer.outcome

    async def confirm(self, container_id: str, decision: str, now_us: int) -> Reservation:
        return await self._settle(container_id, decision, ReservationState.CONFIRMED, now_us)

    async def release(self, container_id: str, decision: str, now_us: int) -> Reservation:
        return await self._settle(container_id, decision, ReservationState.RELEASED, now_us)

    async def _settle(
        self, container_id: str, decision: str, wanted: ReservationState, now_us: int
    ) -> Reservation:
        settled = await self.submit(
            partial(
                work.settle,
                container=container_id,
                decision=decision,
                wanted=wanted,
                now_us=now_us,
            )
        )
        self._look_again()
        return check_settled(settled, wanted)

    async def reservation(
        self, container_id: str, decision: str, now_us: int
    ) -> Reservation | None:
        return self._points_of(
            partial(work.reservation, container=container_id, decision=decision, now_us=now_us)
        )

    async def catch_up(self, now_us: int) -> None:
        if self._points_of(partial(self._learn, now_us=now_us)):
            await self.submit(partial(work.give_back_expired, now_us=now_us))
            self._look_again()

    def _look_again(self) -> None:
        """Update the cache after a write; a failed read is ignored, since the write succeeded."""
        with suppress(StoreUnavailable):
            self._points_of(self._learn)

    def _learn(self, connection: sqlite3.Connection, now_us: int = 0) -> bool:
        """Read changes into the cache; return whether there are expired reservations."""
        book = self._book
        changed, moved, expired = connection.execute(sql.STATE, (now_us,)).fetchall()[0]
        if (changed or 0) > book.limits.newest:
            book.learn_limits(work.limits_since(connection, changed=book.limits.newest))
        if (moved or 0) > book.newest:
            rows_ = work.totals_since(connection, moved=book.newest)
            book.learn(rows_)
            book.newest = max([book.newest, *(row.moved for row in rows_)])
        return bool(expired)

    async def decision_event(self, container_id: str, proposition: str) -> DecisionEvent | None:
        return (await self.decisions_of(container_id, [proposition])).get(proposition)

    async def decisions_of(
        self, container_id: str, propositions: Sequence[str]
    ) -> Mapping[str, DecisionEvent]:
        look = partial(work.decisions_of, container=container_id, propositions=tuple(propositions))
        found = await self._read(look)
        wanted = edge_ids.alone(propositions, found)
        if not wanted:
            return found
        search = edge_ids.Search(wanted, edge_ids.MOST_AT_ONCE)
        await self._index(search)
        self._left_out = self._left_out or search.gave_up
        return await self._read(look)  # concurrent calls may have indexed the ids too

    async def index_edge_ids(self) -> None:
        if self._left_out:
            await self._index(edge_ids.Search(set()))
            self._left_out = False

    async def _index(self, search: edge_ids.Search) -> None:
        """Index packs slice by slice."""
        loop = asyncio.get_running_loop()
        while search.goes_on:
            begun = loop.time()
            async with self._indexing:  # concurrent calls would index the same packs
                left_out = partial(work.slice_left_out, wanted=frozenset(search.wanted))
                one = await self._read(left_out)
                if one is not None:
                    await self.submit(partial(work.put_slice, one=one))
                search.took(one)
            if search.rests:
                await asyncio.sleep(loop.time() - begun)

    async def decision_events(
        self, container_id: str, after: int, limit: int
    ) -> Sequence[tuple[int, Sequence[DecisionEvent]]]:
        return await self._read(
            partial(work.packs, container=container_id, after=after, limit=limit)
        )

    async def forget_counters(self, before_us: int) -> int:
        forgotten = await self.submit(partial(work.sweep_totals, before_us=before_us))
        forgotten += await self._sweep(partial(work.sweep_counters, before_us=before_us))
        await self._sweep(partial(work.sweep_reservations, before_us=before_us))
        await self._sweep(work.sweep_edge_ids)
        return forgotten

    async def _sweep(self, some: Callable[..., int]) -> int:
        """Run a deleting job until nothing is left; return the number of rows deleted."""
        forgotten, gone = 0, ROWS_TOGETHER
        while gone >= ROWS_TOGETHER:
            gone = await self.submit(partial(some, limit=ROWS_TOGETHER))
            forgotten += gone
        return forgotten

    async def forget_decisions(self, before_us: int, most_bytes: int | None = None) -> int:
        jobs: list[Job[tuple[int, int]]] = [
            partial(work.forget_old, before_ms=before_us // 1000, limit=_PACKS_TOGETHER)
        ]
        if most_bytes is not None:
            through = await self._read(
                partial(surplus, size=sql.PACKS_SIZE, sizes=sql.PACK_SIZES, most=most_bytes)
            )
            if through is not None:
                jobs.append(partial(work.forget_through, through=through, limit=_PACKS_TOGETHER))
        forgotten = 0
        for job in jobs:
            packs = _PACKS_TOGETHER
            while packs == _PACKS_TOGETHER:
                packs, events = await self.submit(job)
                forgotten += events
        return forgotten
