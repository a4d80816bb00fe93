"""Work that is done now and then as long as the server runs, whatever becomes of it the first time."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from proffer.errors import ProfferError
from proffer.telemetry import failure


class Repeating:
    """Does `work` about every so many seconds. `what` says in the log what went wrong."""

    def __init__(self, work: Callable[[], Awaitable[object]], seconds: float, what: str) -> None:
        self._work = work
        self._seconds = seconds
        self._what = what
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._go_on())

    async def stop(self) -> None:
        """End it, in the middle of its work if need be. Without effect where it was not started."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _go_on(self) -> None:
        while True:
            # Several workers on one database do not come at the same moment.
            await asyncio.sleep(self._seconds * random.uniform(0.5, 1.5))  # noqa: S311
            try:
                await self._work()
            except ProfferError:
                continue  # the store is away for now
            except Exception as error:  # noqa: BLE001 - what ends for ever because of one error is missed
                failure(f"{self._what} failed", error)
