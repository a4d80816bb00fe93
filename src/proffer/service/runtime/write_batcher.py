"""Write batcher: items that arrive while a write is running are written together next.

One record costs the database as many statements as fifty do, and every commit waits for the disk.
There is no added latency: if no write is running, items are written immediately.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from proffer.model.customer import Change, EventLimits, Qualify, Taken
from proffer.service.runtime.clock import Clock
from proffer.store.ports import ProfileStore

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_MOST = 500
"""Maximum items per write, unless one caller has more: bounds the latency under load."""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Item, Answer]):
    """One caller's items and the future that receives their results."""

    items: Sequence[Item]
    future: asyncio.Future[Sequence[Answer]]


class Gathering(Generic[Item, Answer]):
    """Batch concurrent calls into `write_items`, which returns one result per item."""

    def __init__(self, take: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]]) -> None:
        self._take = take
        self._waiting: list[_Waiting[Item, Answer]] = []
        self._writing: asyncio.Task[None] | None = None

    async def take_in(self, items: Sequence[Item]) -> Sequence[Answer]:
        """Return the result of each item once it is durable. Raises as `write_items` does."""
        loop = asyncio.get_running_loop()
        waiting: _Waiting[Item, Answer] = _Waiting(items, loop.create_future())
        self._waiting.append(waiting)
        if self._writing is None or self._writing.done():
            self._writing = loop.create_task(self._write())
        return await waiting.future

    async def _write(self) -> None:
        while self._waiting:
            group: list[_Waiting[Item, Answer]] = []
            count = 0
            while self._waiting and (not group or count + len(self._waiting[0].items) <= _MOST):
                group.append(self._waiting.pop(0))
                count += len(group[-1].items)
            await self._settle(group)

    async def _settle(self, group: Sequence[_Waiting[Item, Answer]]) -> None:
        try:
            taken = await self._take([item for one in group for item in one.items])
        except Exception as error:  # noqa: BLE001 - the waiting callers must get every error
            if len(group) > 1:  # one call that is too large must not fail the others
                for one in group:
                    await self._settle([one])
            elif not group[0].future.done():
                group[0].future.set_exception(error)
            return
        start = 0
        for one in group:
            end = start + len(one.items)
            if not one.future.done():  # its caller may have been cancelled
                one.future.set_result(taken[start:end])
            start = end


def of_changes(
    store: ProfileStore,
    container: str,
    clock: Clock,
    qualify: Callable[[], Qualify | None],
    limits: EventLimits,
) -> Gathering[Change, Taken]:
    """Return a batcher over the store's customer changes of one container."""

    async def take(changes: Sequence[Change]) -> Sequence[Taken]:
        return await store.take_in(
            container, changes, now_us=clock(), qualify=qualify(), limits=limits
        )

    return Gathering(take)
