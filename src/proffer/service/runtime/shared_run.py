"""Shared runs: concurrent callers of one operation wait for the same run of it."""

import asyncio
from collections.abc import Awaitable, Callable


class SharedRun:
    """Run `work` for all callers that wait, one run at a time.

    A run serves the callers that came before it began, so whatever had happened when a caller came
    happened before its run.
    """

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def wait(self) -> None:
        """Return when a run that began after this call has ended. Raises as `work` does."""
        if self._next is None:
            self._next = asyncio.create_task(self._run(self._running))
            self._next.add_done_callback(_retrieve)
        await asyncio.shield(self._next)

    async def stop(self) -> None:
        """Cancel the runs."""
        tasks = [task for task in (self._running, self._next) if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self, previous: asyncio.Task[None] | None) -> None:
        if previous is not None and not previous.done():
            await asyncio.wait([previous])
        self._running, self._next = self._next, None
        await self._work()


def _retrieve(run: asyncio.Task[None]) -> None:
    """Mark an error as retrieved: the callers may all have gone."""
    if not run.cancelled():
        run.exception()
