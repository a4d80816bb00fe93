"""Periodic background tasks that survive failures of single runs."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from proffer.errors import ProfferError
from proffer.telemetry import log_failure

_JITTER = random.Random()  # noqa: S311 - not a secret; the global generator is the callers'


class PeriodicTask:
    """Run `work` about every `seconds` (±50 %); `description` names it in the log."""

    def __init__(self, work: Callable[[], Awaitable[object]], seconds: float, description: str) -> None:
        self._work = work
        self._seconds = seconds
        self._description = description
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._loop())

    async def stop(self) -> None:
        """Cancel the task, even during a run. No effect if it was not started."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _loop(self) -> None:
        while True:
            # Jitter, so that several workers on one database do not run at the same moment.
            await asyncio.sleep(self._seconds * _JITTER.uniform(0.5, 1.5))
            try:
                await self._work()
            except ProfferError:
                continue  # the store is unavailable for now
            except Exception as error:  # noqa: BLE001 - one error must not end the task for ever
                log_failure(f"{self._description} failed", error)
