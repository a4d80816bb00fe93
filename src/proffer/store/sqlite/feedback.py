"""Feedback of a `SqliteStore`, and anonymisation of stored events."""

import asyncio
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from proffer.model.attribution import AttributedFeedback
from proffer.model.customer import RedactionResult
from proffer.model.identity import IdentityKey
from proffer.store.common.cap_cache import CapCache
from proffer.store.common.deletion import delete_in_batches
from proffer.store.sql import feedback_statements as sql
from proffer.store.sqlite import feedback_tx as work
from proffer.store.sqlite.catalog_tx import surplus_through
from proffer.store.sqlite.group_commit import BatchHandler, Job

Result = TypeVar("Result")
Item = TypeVar("Item")

_EVENTS_PER_WRITE = 500
"""Maximum events deleted, or scanned for anonymisation, in one write."""
_PACKS_PER_WRITE = 50


class SqliteFeedback(ABC):
    """Feedback mixin; needs reads, writer jobs and batches, and the cap cache."""

    _cap_cache: CapCache

    def __init__(self) -> None:
        super().__init__()
        self._feedback_batch = work.FeedbackBatch()

    @abstractmethod
    def submit(self, job: Job[Result]) -> asyncio.Future[Result]: ...

    @abstractmethod
    def submit_to(self, batch: BatchHandler[Item, Result], item: Item) -> asyncio.Future[Result]: ...

    @abstractmethod
    def _read_on_loop(self, query: Callable[[sqlite3.Connection], Result]) -> Result: ...

    @abstractmethod
    async def _read_in_thread(self, query: Callable[[sqlite3.Connection], Result]) -> Result: ...

    async def add_feedback(self, container_id: str, events: Sequence[AttributedFeedback]) -> Sequence[bool]:
        if not events:
            return ()
        item = work.FeedbackItem(container_id, tuple(events))
        result = await self.submit_to(self._feedback_batch, item)
        self._cap_cache.update_totals(result.totals)
        return result.new_flags

    async def feedback_events(
        self, container_id: str, after: int, limit: int, *, unattributed_only: bool = False
    ) -> Sequence[tuple[int, AttributedFeedback]]:
        return await self._read_in_thread(
            partial(
                work.read_events,
                container=container_id,
                after=after,
                limit=limit,
                unattributed_only=unattributed_only,
            )
        )

    async def attribute_late(self, container_id: str, events: Sequence[tuple[int, AttributedFeedback]]) -> int:
        batch = work.FeedbackBatch()  # a job may run twice, so it needs its own limits cache
        count, totals = await self.submit(partial(batch.attribute_late, container=container_id, events=tuple(events)))
        self._cap_cache.update_totals(totals)
        return count

    async def oldest_decision_ms(self, container_id: str) -> int | None:
        return self._read_on_loop(partial(work.oldest_ms, container=container_id))

    async def purge_feedback(self, before_us: int, max_bytes: int | None = None) -> int:
        jobs: list[Job[int]] = [partial(work.delete_old_events, before_us=before_us, limit=_EVENTS_PER_WRITE)]
        if max_bytes is not None:
            through = await self._read_in_thread(
                partial(surplus_through, size=sql.SIZE, sizes=sql.SIZES, max_bytes=max_bytes)
            )
            if through is not None:
                jobs.append(partial(work.delete_events_through, through=through, limit=_EVENTS_PER_WRITE))
        total = 0
        for job in jobs:
            total += await delete_in_batches(partial(self.submit, job), _EVENTS_PER_WRITE)
        return total

    async def redact(
        self,
        container_id: str,
        identities: Iterable[IdentityKey],
        after: tuple[int, int] = (0, 0),
    ) -> RedactionResult:
        identity_set = frozenset(identities)
        decisions: list[str] = []
        pack, number = after
        last: int | None = pack
        while last is not None and identity_set:
            pack = last
            last, decision_ids = await self.submit(
                partial(
                    work.redact_decisions,
                    container=container_id,
                    identities=identity_set,
                    after=last,
                    limit=_PACKS_PER_WRITE,
                )
            )
            decisions += decision_ids
        feedback = 0
        last = number
        while last is not None and identity_set:
            number = last
            last, count = await self.submit(
                partial(
                    work.redact_feedback,
                    container=container_id,
                    identities=identity_set,
                    decisions=frozenset(decisions),
                    after=last,
                    limit=_EVENTS_PER_WRITE,
                )
            )
            feedback += count
        return RedactionResult(decisions=len(decisions), feedback=feedback, scanned_through=(pack, number))
