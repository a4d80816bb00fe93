"""Queue of events that wait on disk for the database."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Generic

from proffer.store.errors import StoreUnavailable
from proffer.store.spool import Event, FileSpool, SpoolFull

_BATCH = 500
"""Events recorded together while the queue is drained."""


class SpoolQueue(Generic[Event]):
    """Events on disk until `record` has stored them; `record` must store an event that is repeated once."""

    def __init__(self, spool: FileSpool[Event], record: Callable[[Sequence[Event]], Awaitable[object]]) -> None:
        self._spool = spool
        self._record = record
        self.pending = True
        """Whether the folder may hold events, possibly of an earlier process."""

    async def add(self, events: Sequence[Event]) -> None:
        """Write events to disk. Raises `StoreUnavailable` where there is no room."""
        try:
            await asyncio.gather(*map(self._spool.keep, events))
        except SpoolFull as error:
            raise StoreUnavailable(
                f"the database is not available, and no more {self._spool.content} can be spooled: {error}",
                code="spool-full",
            ) from error
        self.pending = True

    async def drain(self) -> None:
        """Record the events of all files that no process writes, and delete these files."""
        if not self.pending:
            return
        if not self._spool.is_empty():
            await self._spool.seal()
            for path, events in self._spool.unowned_files():
                while batch := list(islice(events, _BATCH)):
                    await self._record(batch)
                self._spool.delete(path)
        self.pending = not self._spool.is_empty()

    async def close(self) -> None:
        """Finish the writes in progress; the events stay for the next process."""
        await self._spool.seal()
