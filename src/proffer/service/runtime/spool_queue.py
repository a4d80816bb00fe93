"""Queue of events that wait on disk for the database."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, Generic

from proffer.errors import Busy, Unavailable
from proffer.store.errors import StoreUnavailable
from proffer.store.spool import Event, FileSpool, SpoolFull, WaitingFile
from proffer.telemetry import log_failure, log_warning

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
        """Record the events of all files that no process writes, and delete these files.

        Raises `StoreUnavailable`. Files with events that cannot be read or recorded are kept.
        """
        if not self.pending:
            return
        if self._spool.waiting_bytes():
            await self._spool.seal()
            for file in self._spool.unowned_files():
                await self._drain_file(file)
        self.pending = self._spool.waiting_bytes() > 0

    async def _drain_file(self, file: WaitingFile[Event]) -> None:
        batches = file.batches(_BATCH)
        reading = _read_next(batches)
        while (batch := await reading) is not None:
            reading = _read_next(batches)  # during the write
            await _finish(self._record_batch(file, batch))
        kept_path = file.finish()
        if kept_path is not None:
            log_warning(
                f"a spool file with {self._spool.content} is damaged: what could be read is recorded, "
                f"and the file is kept as `{kept_path}`"
            )

    async def _record_batch(self, file: WaitingFile[Event], batch: Sequence[Event]) -> None:
        try:
            await self._record(batch)
        except (Unavailable, Busy):
            raise
        except Exception:  # noqa: BLE001 - one event must not hold up the others
            await self._record_singly(file, batch)

    async def _record_singly(self, file: WaitingFile[Event], events: Sequence[Event]) -> None:
        for event in events:
            try:
                await self._record([event])
            except (Unavailable, Busy):
                raise
            except Exception as error:  # noqa: BLE001 - logged, and the file is kept
                file.damaged = True
                log_failure(f"an event of `{file.path}` cannot be recorded", error)

    @property
    def content(self) -> str:
        """What the queue contains: `decisions` or `feedback`."""
        return self._spool.content

    def waiting_bytes(self) -> int:
        """Return the size of what all processes still have to record."""
        return self._spool.waiting_bytes()

    def damaged_files(self) -> int:
        """Return the number of files kept because they are damaged."""
        return len(self._spool.damaged_files())

    def refusal(self) -> str | None:
        """Return why no event can be added now, or None."""
        return self._spool.refusal()

    def reason(self) -> str | None:
        """Return what waits and what is damaged for the health report, or None."""
        reasons = []
        if waiting := self.waiting_bytes():
            reasons.append(f"{waiting:,} bytes of {self.content} wait to be recorded")
        if damaged := self._spool.damaged_files():
            names = ", ".join(f"`{path}`" for path in damaged[:3])
            files = f"file of {self.content} is" if len(damaged) == 1 else f"files of {self.content} are"
            reasons.append(
                f"{len(damaged)} spool {files} damaged ({names}): what could be read is recorded; examine, then "
                "remove what is named"
            )
        return "; ".join(reasons) or None

    async def close(self) -> None:
        """Finish the writes in progress; the events stay for the next process."""
        await self._spool.seal()


async def _finish(work: Coroutine[Any, Any, None]) -> None:
    """Await this work to its end, even when the caller is cancelled.

    Until then its file stays locked, so that no other process records the same events meanwhile.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _read_next(batches: Iterator[Sequence[Event]]) -> "asyncio.Task[Sequence[Event] | None]":
    """Read the next batch in a thread; None after the last one."""
    return asyncio.create_task(asyncio.to_thread(next, batches, None))
