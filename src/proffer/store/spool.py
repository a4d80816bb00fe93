"""Decisions and feedback that cannot be put on record now, kept in files until they can.

Each process writes files of its own in one folder, and holds a lock on the one it writes; a file that
nobody holds was left by a process that ended, and whoever finds it takes it over. What is kept is on the disk
before `keep` returns. A line of a file is a checksum and an event; one that a kill cut short is no event.
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

from proffer.model.attribution import Attributed
from proffer.model.events import DecisionEvent
from proffer.store.common.event_codec import decode_event, encode_event
from proffer.store.common.feedback import decode_feedback, encode_feedback

Event = TypeVar("Event")


class SpoolFull(Exception):
    """There is no room for more: the bound is reached, or the disk is."""


class FileSpool(ABC, Generic[Event]):
    """The files of all processes in `folder`, which is made when it is needed, and together hold `most_bytes`."""

    suffix: ClassVar[str]

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._file: FileIO | None = None
        self._waiting: list[tuple[Event, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    @abstractmethod
    def encoded(self, event: Event) -> bytes: ...

    @abstractmethod
    def decoded(self, text: bytes) -> Event: ...

    async def keep(self, event: Event) -> None:
        """Return once it is on the disk; raises SpoolFull, with nothing kept. Calls at once share a sync."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, future))
        if self._writer is None:
            self._writer = asyncio.create_task(self._keep_all())
        await future

    async def _keep_all(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                try:
                    await asyncio.to_thread(self._write, [event for event, _ in group])
                except Exception as error:  # noqa: BLE001 - those who wait must hear of it
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
        file = self._own()
        start = file.tell()
        lines = b"".join(_line(self.encoded(event)) for event in events)
        if self._size() + len(lines) > self._most_bytes:
            raise SpoolFull(f"it holds at most {self._most_bytes:,} bytes")
        try:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                file.truncate(start)
                file.seek(start)
            raise

    def _own(self) -> FileIO:
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{uuid.uuid4()}{self.suffix}"
            file = path.open("xb", buffering=0)
            fcntl.flock(file, fcntl.LOCK_EX)
            self._file = file
        return self._file

    def _size(self) -> int:
        return sum(path.stat().st_size for path in self._folder.glob(f"*{self.suffix}"))

    def is_empty(self) -> bool:
        """Whether nothing is kept by anybody who may have left it. Cheap."""
        if not self._folder.exists():
            return True
        return not any(path.stat().st_size for path in self._folder.glob(f"*{self.suffix}"))

    async def seal(self) -> None:
        """End this process's file, so that it is among those that are left; the next event begins another."""
        while self._writer is not None:
            await asyncio.wait([self._writer])
        if self._file is not None:
            self._file.close()
            self._file = None

    def left(self) -> Iterator[tuple[Path, Iterator[Event]]]:
        """Files that nobody writes: sealed ones, and those of processes that ended.

        Whoever has put their events on record calls `forget` for each.
        """
        if not self._folder.exists():
            return
        for path in sorted(self._folder.glob(f"*{self.suffix}")):
            with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield path, map(self.decoded, _texts(file.read()))

    def forget(self, path: Path) -> None:
        """What this file held is on record."""
        path.unlink(missing_ok=True)

    async def close(self) -> None:
        """Finish what is being kept; it stays for the next process."""
        await self.seal()


class Spool(FileSpool[DecisionEvent]):
    """Decisions that wait."""

    suffix = ".spool"

    def encoded(self, event: DecisionEvent) -> bytes:
        return encode_event(event)

    def decoded(self, text: bytes) -> DecisionEvent:
        return decode_event(text)


class FeedbackSpool(FileSpool[tuple[str, Attributed]]):
    """Events of feedback that wait, each with its container."""

    suffix = ".feedback"

    def encoded(self, event: tuple[str, Attributed]) -> bytes:
        container, feedback = event
        return container.encode() + b"\0" + encode_feedback(feedback)

    def decoded(self, text: bytes) -> tuple[str, Attributed]:
        container, _, feedback = text.partition(b"\0")
        return container.decode(), decode_feedback(feedback)


def _line(text: bytes) -> bytes:
    return len(text).to_bytes(4) + zlib.crc32(text).to_bytes(4) + text


def _texts(content: bytes) -> Iterator[bytes]:
    place = 0
    while place + 8 <= len(content):
        size = int.from_bytes(content[place : place + 4])
        check = int.from_bytes(content[place + 4 : place + 8])
        text = content[place + 8 : place + 8 + size]
        if len(text) < size or zlib.crc32(text) != check:
            break  # cut short: nobody was answered from here on
        yield text
        place += 8 + size
