"""Spool files for decision and feedback events while the database is down.

Each process writes its own files in one folder and locks the one it writes; an unlocked file is complete
or was left by a process that ended, and any process may drain it. An event is on the disk before `keep`
returns. A file is a sequence of records: length, checksum, event. Records that cannot be read do not hide
those behind them.
"""

import asyncio
import errno
import fcntl
import os
import re
import uuid
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from proffer.model.attribution import AttributedFeedback
from proffer.model.events import DecisionEvent
from proffer.store.common.event_codec import decode_event, encode_event
from proffer.store.common.feedback import decode_feedback, encode_feedback

Event = TypeVar("Event")

_MAX_FILE_BYTES = 1_000_000
"""Size at which a file is complete: what is drained frees its space soon."""
_PROBE_BYTES = 4096
_DAMAGED = ".damaged"
_HEADER_BYTES = 8
_RECORD_START = re.compile(rb"\0(?!\0\0\0)", re.DOTALL)
"""Possible start of a record behind a damaged one: a length between 1 and 16 MB."""


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
        records = b"".join(_encode_record(self.encode(event)) for event in events)
        file = self._file or self._create_file()
        self._file = file
        start = file.tell()
        self._check_room(len(records))
        try:
            write_all(file, records)
            os.fsync(file.fileno())
        except OSError:
            self._undo(file, start)
            raise
        if start + len(records) >= _MAX_FILE_BYTES:
            self._close_file()

    def _undo(self, file: FileIO, start: int) -> None:
        """Remove what a failed write left; if that fails, write to this file no more."""
        try:
            file.truncate(start)
            file.seek(start)
        except OSError:
            self._close_file()

    def _create_file(self) -> FileIO:
        """Create a file that is locked before it has a name that other processes look for."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = uuid.uuid4()
        private_path = self._folder / f"{name}.new"
        file = open_unbuffered(private_path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            private_path.rename(self._folder / f"{name}{self.suffix}")
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)  # the name must survive a power cut, too
            finally:
                os.close(folder)
        except OSError:
            file.close()
            raise
        return file

    def _close_file(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # everything acknowledged is on the disk
                self._file.close()
            self._file = None

    def waiting_bytes(self) -> int:
        """Return the size of all files that wait to be drained."""
        size = 0
        for path in self._folder.glob(f"*{self.suffix}"):
            with suppress(FileNotFoundError):  # drained by another process meanwhile
                size += path.stat().st_size
        return size

    def refusal(self) -> str | None:
        """Return why no event can be kept now, or None; writes and removes a small file."""
        path = self._folder / f"{uuid.uuid4()}.new"
        try:
            self._check_room(_PROBE_BYTES)
            self._folder.mkdir(parents=True, exist_ok=True)
            with open_unbuffered(path) as file:
                try:
                    write_all(file, bytes(_PROBE_BYTES))
                finally:
                    path.unlink()
        except (OSError, SpoolFull) as error:
            return str(error)
        return None

    def _check_room(self, size: int) -> None:
        if self.waiting_bytes() + size > self._max_bytes:
            raise SpoolFull(f"the spool holds at most {self._max_bytes:,} bytes")

    def damaged_files(self) -> Sequence[Path]:
        """Return the files that were kept because some of their records could not be read."""
        return sorted(self._folder.glob(f"*{self.suffix}{_DAMAGED}"))

    async def seal(self) -> None:
        """Close this process's file, so that it can be drained; the next event starts a new one."""
        while self._writer is not None:
            await asyncio.wait([self._writer])
        self._close_file()

    def unowned_files(self) -> Iterator["WaitingFile[Event]"]:
        """Yield the files that no process writes: sealed ones, and those of ended processes.

        Each is locked until the next one is requested.
        """
        for path in sorted(self._folder.glob(f"*{self.suffix}")):
            with suppress(FileNotFoundError, BlockingIOError), path.open("rb", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.stat().st_ino == os.fstat(file.fileno()).st_ino:  # else another process drained it
                    yield WaitingFile(path, file, self.decode)


class WaitingFile(Generic[Event]):
    """A spool file to drain, locked for this process."""

    def __init__(self, path: Path, file: FileIO, decode: Callable[[bytes], Event]) -> None:
        self.path = path
        self._file = file
        self._decode = decode
        self.damaged = False
        """Whether the file is to be kept: some of its records could not be read or stored."""

    def batches(self, size: int) -> Iterator[list[Event]]:
        """Yield the events of all readable records in lists of at most `size`; sets `damaged`."""
        events: list[Event] = []
        for record in self._records(self._file.read()):
            try:
                events.append(self._decode(record))
            except (ValueError, TypeError, IndexError):
                self.damaged = True
            if len(events) == size:
                yield events
                events = []
        if events:
            yield events

    def _records(self, content: bytes) -> Iterator[bytes]:
        offset = 0
        while offset < len(content):
            record = _record_at(content, offset)
            if record is not None:
                yield record
                offset += _HEADER_BYTES + len(record)
                continue
            is_cut_short = offset + _HEADER_BYTES + int.from_bytes(content[offset : offset + 4]) > len(content)
            starts = (match.start() for match in _RECORD_START.finditer(content, offset + 1))
            next_offset = next((start for start in starts if _record_at(content, start) is not None), None)
            if next_offset is None:
                # A record cut short at the end was not acknowledged: its writer was killed.
                self.damaged = self.damaged or not is_cut_short
                return
            self.damaged = True
            offset = next_offset

    def finish(self) -> Path | None:
        """Delete the file; keep a damaged one under another name, which is returned."""
        if not self.damaged:
            self.path.unlink(missing_ok=True)
            return None
        return self.path.rename(self.path.with_name(self.path.name + _DAMAGED))


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


def open_unbuffered(path: Path) -> FileIO:
    """Create a file for unbuffered writes."""
    return path.open("xb", buffering=0)


def write_all(file: FileIO, content: bytes) -> None:
    """Write all of the content: an unbuffered write may come back short without an error."""
    remaining = memoryview(content)
    while remaining:
        written = file.write(remaining)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        remaining = remaining[written:]


def _encode_record(text: bytes) -> bytes:
    return len(text).to_bytes(4) + zlib.crc32(text).to_bytes(4) + text


def _record_at(content: bytes, offset: int) -> bytes | None:
    """Return the record at this offset; None where there is no sound one."""
    start = offset + _HEADER_BYTES
    size = int.from_bytes(content[offset : offset + 4])
    if not size or start + size > len(content):
        return None
    text = content[start : start + size]
    return text if zlib.crc32(text) == int.from_bytes(content[offset + 4 : start]) else None
