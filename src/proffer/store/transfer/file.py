"""Backup of an installation in one file, which either database can restore.

The file is gzip-compressed MessagePack messages, each preceded by its length in four bytes: a header,
then for each table its name, pages of rows and checksum, and an end message. A truncated or changed file
is rejected before anything is restored.
"""

import asyncio
import gzip
import os
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from proffer.store.transfer.tables import (
    Row,
    TableSum,
    TransferProgress,
    TransferRefused,
    TransferTable,
)

FORMAT = "proffer backup 1"
_LEVEL = 4
_MAX_MESSAGE_BYTES = 1_000_000_000
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class BackupSource:
    """Reads a backup file, after checking all of it once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sums: dict[str, TableSum] = {}
        self._schema = 0
        self._tables: list[TransferTable] = []
        self.created_us = 0

    @property
    def origin(self) -> str:
        return f"backup of {self.created_us}"

    async def open(self) -> tuple[int, Sequence[TransferTable]]:
        await asyncio.to_thread(self.check)
        return self._schema, self._tables

    def check(self) -> Mapping[str, TableSum]:
        """Read and verify the file; return sums by table. Raises `TransferRefused` if invalid."""
        table: TransferTable | None = None
        sums: dict[str, TableSum] = {}
        tables: list[TransferTable] = []
        ended = False
        for kind, *values in self._messages():
            if kind == "table":
                table = TransferTable(values[0], tuple(values[1]), tuple(values[2]))
                tables.append(table)
                sums[table.name] = TableSum()
            elif kind == "rows" and table is not None:
                sums[table.name].add(tuple(row) for row in values[0])
            elif kind == "sum" and table is not None:
                if sums[table.name] != TableSum(*values):
                    raise self._damaged(f"the checksum of table {table.name} does not match")
            elif kind == "end":
                ended = True
        if not ended:
            raise self._damaged("the end is missing")
        self._sums, self._tables = sums, tables
        return sums

    async def count(self, table: TransferTable) -> int:
        return self._sums[table.name].rows

    async def pages(self, table: TransferTable) -> AsyncIterator[list[Row]]:
        pages = self._pages(table)
        while (page := await asyncio.to_thread(next, pages, None)) is not None:
            yield page

    def _pages(self, table: TransferTable) -> Iterator[list[Row]]:
        in_table = False
        for kind, *values in self._messages():
            if kind == "table":
                if in_table:
                    return
                in_table = values[0] == table.name
            elif kind == "rows" and in_table:
                yield [tuple(row) for row in values[0]]

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _messages(self) -> Iterator[Any]:
        try:
            with gzip.GzipFile(self._path) as file:
                head = _read(file)
                if not isinstance(head, list) or head[:1] != [FORMAT]:
                    raise TransferRefused(f"`{self._path}` is not a Proffer backup, or a newer version made it")
                _, self._schema, self.created_us = head
                while (message := _read(file)) is not None:
                    yield message
        except (EOFError, gzip.BadGzipFile, zlib.error, ValueError, TypeError) as error:
            raise self._damaged(str(error)) from error
        except OSError as error:
            raise TransferRefused(f"cannot read `{self._path}`: {error.strerror or error}") from error

    def _damaged(self, why: str) -> TransferRefused:
        return TransferRefused(f"the backup `{self._path}` is truncated or damaged: {why}")


class BackupTarget:
    """Writes a backup to a `.part` file, and renames it when complete."""

    def __init__(self, path: Path, now_us: int) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._now_us = now_us
        self._file: gzip.GzipFile | None = None
        self._table: TransferTable | None = None
        self._tables: Sequence[TransferTable] = ()
        self._sum = TableSum()

    async def open(
        self, schema: int, tables: Sequence[TransferTable], origin: str, *, resume: bool
    ) -> TransferProgress:
        del origin, resume  # a backup is one snapshot, so it cannot be resumed
        self._tables = tables
        try:
            self._file = gzip.GzipFile(self._part, "wb", compresslevel=_LEVEL)
        except OSError as error:
            raise TransferRefused(f"cannot write `{self._part}`: {error.strerror}") from error
        self._write([FORMAT, schema, self._now_us])
        return TransferProgress()

    async def put(self, table: TransferTable, rows: Sequence[Row]) -> None:
        await asyncio.to_thread(self._put, table, rows)

    def _put(self, table: TransferTable, rows: Sequence[Row]) -> None:
        if self._table is not table:
            self._begin(table)
        self._sum.add(rows)
        self._write(["rows", rows])

    def _begin(self, table: TransferTable | None) -> None:
        """End the previous table and begin this one; empty tables between are written too."""
        if self._table is not None:
            self._write(["sum", self._sum.rows, self._sum.checksum])
        done = 0 if self._table is None else self._tables.index(self._table) + 1
        upto = len(self._tables) if table is None else self._tables.index(table)
        for empty in self._tables[done:upto]:
            self._write(["table", empty.name, empty.columns, empty.key])
            self._write(["sum", 0, 0])
        self._table, self._sum = table, TableSum()
        if table is not None:
            self._write(["table", table.name, table.columns, table.key])

    def _write(self, message: Sequence[Any]) -> None:
        assert self._file is not None  # set by `open`
        text = _encode(message)
        try:
            self._file.write(len(text).to_bytes(4) + text)
        except OSError as error:
            raise TransferRefused(f"cannot write `{self._part}`: {error.strerror}") from error

    async def sums(self, tables: Sequence[TransferTable]) -> Mapping[str, TableSum]:
        del tables  # a backup contains all tables
        return await asyncio.to_thread(self._finish_and_check)

    def _finish_and_check(self) -> Mapping[str, TableSum]:
        self._begin(None)
        self._write(["end"])
        assert self._file is not None  # open: it was just written to
        self._file.close()
        self._file = None
        return BackupSource(self._part).check()

    async def finish(self) -> None:
        await asyncio.to_thread(self._publish)

    def _publish(self) -> None:
        with self._part.open("rb") as file:
            os.fsync(file.fileno())
        self._part.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    async def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._part.unlink(missing_ok=True)


def _read(file: gzip.GzipFile) -> Any:
    """Read the next message; None at the end."""
    length = file.read(4)
    if not length:
        return None
    if len(length) < 4 or (size := int.from_bytes(length)) > _MAX_MESSAGE_BYTES:
        raise EOFError("it ends within a message")
    text = file.read(size)
    if len(text) < size:
        raise EOFError("it ends within a message")
    return _decode(text)
