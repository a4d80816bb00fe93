"""Spool files for decision and feedback events while the database is down.

Each process writes its own files in one folder and locks the one it writes; an unlocked file was left by
a process that ended, and any process may replay it. An event is on the disk before `keep` returns. A
file is a sequence of frames: length, checksum, event. A frame cut short by a kill is ignored.
"""

import asyncio
import fcntl
import os
import uuid
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from proffer.model.attribution import AttributedFeedback
from proffer.model.events import DecisionEvent
from proffer.store.common.event_codec import decode_event, encode_event
from proffer.store.common.feedback import decode_feedback, encode_feedback

Event = TypeVar("Event")


class SpoolFull(Exception):
    """The spool is at its size limit, or a disk write failed."""


class FileSpool(ABC, Generic[Event]):
    """Spool files of all processes in `folder`, at most `max_bytes` together. The folder is created on demand."""

    suffix: ClassVar[str]
    content: ClassVar[str]
    """What the files contain, in messages."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._file: FileIO | None = None
        self._pending: list[tuple[Event, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    @abstractmethod
    def encode(self, event: Event) -> bytes: ...

    @abstractmethod
    def decode(self, text: bytes) -> Event: ...

    async def keep(self, event: Event) -> None:
        """Write an event to disk, or raise SpoolFull. Concurrent calls share one sync."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((event, future))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_pending())
        await future

    async def _write_pending(self) -> None:
        try:
            while self._pending:
                group, self._pending = self._pending, []
                try:
                    await asyncio.to_thread(self._write, [event for event, _ in group])
                except Exception as error:  # noqa: BLE001 - waiting callers need an answer
                    full = SpoolFull(str(error))
                    for _, future in group:
                        if not future.done():
                            future.set_exception(full)
                    continue
                for _, future in group:
                    if not future.done():
                        future.set_result(None)
        finally:
            self._writer = None

    def _write(self, events: Sequence[Event]) -> None:
        file = self._open_file()
        start = file.tell()
        lines = b"".join(_frame(self.encode(event)) for event in events)
        if self._total_size() + len(lines) > self._max_bytes:
            raise SpoolFull(f"it holds at most {self._max_bytes:,} bytes")
        try:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                file.truncate(start)
                file.seek(start)
            raise

    def _open_file(self) -> FileIO:
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{uuid.uuid4()}{self.suffix}"
            file = path.open("xb", buffering=0)
            fcntl.flock(file, fcntl.LOCK_EX)
            self._file = file
        return self._file

    def _total_size(self) -> int:
        return sum(path.stat().st_size for path in self._folder.glob(f"*{self.suffix}"))

    def is_empty(self) -> bool:
        """Return whether no spool file contains anything. Cheap."""
        if not self._folder.exists():
            return True
        return not any(path.stat().st_size for path in self._folder.glob(f"*{self.suffix}"))

    async def seal(self) -> None:
        """Close this process's file, so that it can be replayed; the next event starts a new one."""
        while self._writer is not None:
            await asyncio.wait([self._writer])
        if self._file is not None:
            self._file.close()
            self._file = None

    def unowned_files(self) -> Iterator[tuple[Path, Iterator[Event]]]:
        """Yield the files that no process writes: sealed ones, and those of ended processes.

        The caller stores the events of a file and then calls `delete` for it.
        """
        if not self._folder.exists():
            return
        for path in sorted(self._folder.glob(f"*{self.suffix}")):
            with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield path, map(self.decode, _parse_frames(file.read()))

    def delete(self, path: Path) -> None:
        """Delete a file whose events are stored."""
        path.unlink(missing_ok=True)


class Spool(FileSpool[DecisionEvent]):
    """Spool of decision events."""

    suffix = ".spool"
    content = "decisions"

    def encode(self, event: DecisionEvent) -> bytes:
        return encode_event(event)

    def decode(self, text: bytes) -> DecisionEvent:
        return decode_event(text)


class FeedbackSpool(FileSpool[tuple[str, AttributedFeedback]]):
    """Spool of (container id, feedback event) pairs."""

    suffix = ".feedback"
    content = "feedback"

    def encode(self, event: tuple[str, AttributedFeedback]) -> bytes:
        container, feedback = event
        return container.encode() + b"\0" + encode_feedback(feedback)

    def decode(self, text: bytes) -> tuple[str, AttributedFeedback]:
        container, _, feedback = text.partition(b"\0")
        return container.decode(), decode_feedback(feedback)


def _frame(text: bytes) -> bytes:
    return len(text).to_bytes(4) + zlib.crc32(text).to_bytes(4) + text


def _parse_frames(content: bytes) -> Iterator[bytes]:
    offset = 0
    while offset + 8 <= len(content):
        size = int.from_bytes(content[offset : offset + 4])
        check = int.from_bytes(content[offset + 4 : offset + 8])
        text = content[offset + 8 : offset + 8 + size]
        if len(text) < size or zlib.crc32(text) != check:
            break  # cut short: no caller got an answer for this or later frames
        yield text
        offset += 8 + size
