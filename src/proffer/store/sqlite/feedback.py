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
from proffer.store.common.cap_cache import Book
from proffer.store.sql import feedback_statements as sql
from proffer.store.sqlite import feedback_tx as work
from proffer.store.sqlite.catalog_tx import surplus
from proffer.store.sqlite.group_commit import Batch, Job

Result = TypeVar("Result")
Item = TypeVar("Item")

_TOGETHER = 500
"""Maximum events deleted, or scanned for anonymisation, in one write."""
_PACKS_TOGETHER = 50


class SqliteFeedback(ABC):
    """Feedback mixin; needs reads, writer jobs and batches, and the cap cache."""

    _book: Book

    def __init__(self) -> None:
        super().__init__()
        self._reporting = work.FeedbackBatch()

    @abstractmethod
    def submit(self, job: Job[Result]) -> asyncio.Future[Result]: ...

    @abstractmethod
    def submit_to(self, batch: Batch[Item, Result], item: Item) -> asyncio.Future[Result]: ...

    @abstractmethod
    def _points_of(self, query: Callable[[sqlite3.Connection], Result]) -> Result: ...

    @abstractmethod
    async def _read(self, query: Callable[[sqlite3.Connection], Result]) -> Result: ...

    async def take_feedback(
        self, container_id: str, events: Sequence[AttributedFeedback]
    ) -> Sequence[bool]:
        if not events:
            return ()
        item = work.Item(container_id, tuple(events))
        answer = await self.submit_to(self._reporting, item)
        self._book.learn(answer.totals)
        return answer.fresh

    async def feedback_events(
        self, container_id: str, after: int, limit: int, *, missed: bool = False
    ) -> Sequence[tuple[int, AttributedFeedback]]:
        return await self._read(
            partial(work.after, container=container_id, after=after, limit=limit, missed=missed)
        )

    async def attribute_late(
        self, container_id: str, events: Sequence[tuple[int, AttributedFeedback]]
    ) -> int:
        batch = work.FeedbackBatch()  # a job may run twice, so it needs its own limits cache
        count, totals = await self.submit(
            partial(batch.late, container=container_id, events=tuple(events))
        )
        self._book.learn(totals)
        return count

    async def oldest_decision_ms(self, container_id: str) -> int | None:
        return self._points_of(partial(work.oldest_ms, container=container_id))

    async def forget_feedback(self, before_us: int, most_bytes: int | None = None) -> int:
        jobs: list[Job[int]] = [partial(work.forget_old, before_us=before_us, limit=_TOGETHER)]
        if most_bytes is not None:
            through = await self._read(
                partial(surplus, size=sql.SIZE, sizes=sql.SIZES, most=most_bytes)
            )
            if through is not None:
                jobs.append(partial(work.forget_through, through=through, limit=_TOGETHER))
        forgotten = 0
        for job in jobs:
            gone = _TOGETHER
            while gone == _TOGETHER:
                gone = await self.submit(job)
                forgotten += gone
        return forgotten

    async def redact(
        self,
        container_id: str,
        identities: Iterable[IdentityKey],
        after: tuple[int, int] = (0, 0),
    ) -> RedactionResult:
        wanted = frozenset(identities)
        decisions: list[str] = []
        pack, number = after
        last: int | None = pack
        while last is not None and wanted:
            pack = last
            last, found = await self.submit(
                partial(
                    work.redact_decisions,
                    container=container_id,
                    identities=wanted,
                    after=last,
                    limit=_PACKS_TOGETHER,
                )
            )
            decisions += found
        feedback = 0
        last = number
        while last is not None and wanted:
            number = last
            last, count = await self.submit(
                partial(
                    work.redact_feedback,
                    container=container_id,
                    identities=wanted,
                    decisions=frozenset(decisions),
                    after=last,
                    limit=_TOGETHER,
                )
            )
            feedback += count
        return RedactionResult(
            decisions=len(decisions), feedback=feedback, scanned_through=(pack, number)
        )
