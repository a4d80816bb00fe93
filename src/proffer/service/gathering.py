"""Changes that come in while others are being written wait for these, and are then written together.

One record costs the database as many statements as fifty do, and a commit is a wait for the disk
whatever is in it. Nobody waits longer for this: who comes while nothing is written is written at once.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proffer.model.customer import Change, EventLimits, Qualify, Taken
from proffer.service.clock import Clock
from proffer.store.ports import ProfileStore

_MOST = 500
"""Changes written together, unless one caller has more: so that under a flood the first does not wait for the last."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """One caller's changes, and whoever waits to hear what became of them."""

    changes: Sequence[Change]
    future: asyncio.Future[Sequence[Taken]]


class Gathering:
    """`take_in` of a store for one container, for callers that come at the same time."""

    def __init__(
        self,
        store: ProfileStore,
        container: str,
        clock: Clock,
        qualify: Callable[[], Qualify | None],
        limits: EventLimits,
    ) -> None:
        self._store = store
        self._container = container
        self._clock = clock
        self._qualify = qualify
        self._limits = limits
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None

    async def take_in(self, changes: Sequence[Change]) -> Sequence[Taken]:
        """What became of each of these changes, once they are durable. Raises as the store does."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(changes, loop.create_future())
        self._waiting.append(waiting)
        if self._writing is None or self._writing.done():
            self._writing = loop.create_task(self._write())
        return await waiting.future

    async def _write(self) -> None:
        while self._waiting:
            group: list[_Waiting] = []
            count = 0
            while self._waiting and (not group or count + len(self._waiting[0].changes) <= _MOST):
                group.append(self._waiting.pop(0))
                count += len(group[-1].changes)
            await self._settle(group)

    async def _settle(self, group: Sequence[_Waiting]) -> None:
        try:
            taken = await self._take([change for one in group for change in one.changes])
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            if len(group) > 1:  # what is too much for the disk must not fail what came with it
                for one in group:
                    await self._settle([one])
            elif not group[0].future.done():
                group[0].future.set_exception(error)
            return
        start = 0
        for one in group:
            end = start + len(one.changes)
            if not one.future.done():  # its caller may have gone
                one.future.set_result(taken[start:end])
            start = end

    async def _take(self, changes: Sequence[Change]) -> Sequence[Taken]:
        return await self._store.take_in(
            self._container,
            changes,
            now_us=self._clock(),
            qualify=self._qualify(),
            limits=self._limits,
        )
