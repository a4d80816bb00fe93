"""Write batcher: items that arrive while a write is running are written together next.

One record costs the database as many statements as fifty do, and every commit waits for the disk.
There is no added latency: if no write is running, items are written immediately.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from proffer.model.customer import Change, ChangeResult, EventLimits, MembershipEvaluator
from proffer.service.runtime.clock import Clock
from proffer.store.ports import ProfileStore

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_MAX_ITEMS = 500
"""Maximum items per write, unless one caller has more: bounds the latency under load."""


@dataclass(frozen=True, slots=True)
class _PendingCall(Generic[Item, Answer]):
    """One caller's items and the future that receives their results."""

    items: Sequence[Item]
    future: asyncio.Future[Sequence[Answer]]


class WriteBatcher(Generic[Item, Answer]):
    """Batch concurrent calls into `write_items`, which returns one result per item."""

    def __init__(self, write_items: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]]) -> None:
        self._write_items = write_items
        self._queue: list[_PendingCall[Item, Answer]] = []
        self._writer: asyncio.Task[None] | None = None

    async def submit(self, items: Sequence[Item]) -> Sequence[Answer]:
        """Return the result of each item once it is durable. Raises as `write_items` does."""
        loop = asyncio.get_running_loop()
        call: _PendingCall[Item, Answer] = _PendingCall(items, loop.create_future())
        self._queue.append(call)
        if self._writer is None or self._writer.done():
            self._writer = loop.create_task(self._drain())
        return await call.future

    async def _drain(self) -> None:
        while self._queue:
            group: list[_PendingCall[Item, Answer]] = []
            count = 0
            while self._queue and (not group or count + len(self._queue[0].items) <= _MAX_ITEMS):
                group.append(self._queue.pop(0))
                count += len(group[-1].items)
            await self._write_group(group)

    async def _write_group(self, group: Sequence[_PendingCall[Item, Answer]]) -> None:
        try:
            results = await self._write_items([item for call in group for item in call.items])
        except Exception as error:  # noqa: BLE001 - the waiting callers must get every error
            if len(group) > 1:  # one call that is too large must not fail the others
                for call in group:
                    await self._write_group([call])
            elif not group[0].future.done():
                group[0].future.set_exception(error)
            return
        start = 0
        for call in group:
            end = start + len(call.items)
            if not call.future.done():  # its caller may have been cancelled
                call.future.set_result(results[start:end])
            start = end


def change_batcher(
    store: ProfileStore,
    container: str,
    clock: Clock,
    qualify: Callable[[], MembershipEvaluator | None],
    limits: EventLimits,
) -> WriteBatcher[Change, ChangeResult]:
    """Return a batcher over the store's customer changes of one container."""

    async def write_changes(changes: Sequence[Change]) -> Sequence[ChangeResult]:
        return await store.apply_changes(container, changes, now_us=clock(), qualify=qualify(), limits=limits)

    return WriteBatcher(write_changes)
