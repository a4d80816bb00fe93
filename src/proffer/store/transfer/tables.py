"""Transfer format shared by both databases and backups: tables, rows, checksums."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol, TypeAlias

import msgspec

from proffer.store.errors import StoreUnavailable
from proffer.store.sql.migrations import PROGRESS_TABLE

Value: TypeAlias = int | str | bytes | None
Row: TypeAlias = tuple[Value, ...]

EXCLUDED_TABLES = frozenset(
    {"schema_version", "write_marks", PROGRESS_TABLE, "decision_edge_ids", "decision_edge_spans", "leases"}
)
"""Tables not copied: state of one database; the edge id index is rebuilt on demand."""
PAGE_ROWS = 1000
PAGE_BYTES = 8_000_000

_encode = msgspec.msgpack.Encoder().encode


class TransferRefused(StoreUnavailable):
    """The source or target of a transfer is not usable. It was not changed."""

    default_code = "move-refused"


class TransferComplete(Exception):
    """The transfer to be resumed is finished: the target is a complete copy. The text says so."""


@dataclass(frozen=True, slots=True)
class TransferTable:
    """A table: name, columns shared by all databases, and primary key columns in order."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    def key_of(self, row: Row) -> Row:
        return tuple(row[self.columns.index(name)] for name in self.key)


@dataclass(slots=True)
class TableSum:
    """Number of rows, and their order-independent checksum."""

    rows: int = 0
    checksum: int = 0

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            digest = blake2b(_encode(row), digest_size=8).digest()
            self.checksum = (self.checksum + int.from_bytes(digest)) % 2**64
            self.rows += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferProgress:
    """Progress of a transfer: the key of the last row written, by table.

    `may_be_complete`: the target has rows, and no mark of an unfinished transfer.
    """

    last: Mapping[str, Row] = field(default_factory=dict)
    may_be_complete: bool = False


class TransferSource(Protocol):
    """Source of a transfer: a consistent snapshot of an installation."""

    @property
    def origin(self) -> str:
        """Name of the source for messages and resuming, without passwords."""
        ...

    async def open(self) -> tuple[int, Sequence[TransferTable]]:
        """Begin the snapshot; return schema version and tables, referenced tables first."""
        ...

    async def count(self, table: TransferTable) -> int:
        """Return the number of rows of a table."""
        ...

    def pages(self, table: TransferTable) -> AsyncIterator[list[Row]]:
        """Yield the rows of a table in pages, in key order."""
        ...

    async def close(self) -> None: ...


class TransferTarget(Protocol):
    """Target of a transfer."""

    async def open(
        self, schema: int, tables: Sequence[TransferTable], origin: str, *, resume: bool
    ) -> TransferProgress:
        """Prepare for these tables. Raises `TransferRefused` when the target is not empty.

        With `resume`, an unfinished transfer from the same origin is continued, and a target that is not
        empty otherwise is reported as `may_be_complete`. The target is marked as unfinished by the first
        `put`: a transfer that fails before leaves it usable.
        """
        ...

    async def put(self, table: TransferTable, rows: Sequence[Row]) -> None:
        """Write the next rows of a table and record the progress."""
        ...

    async def sums(self, tables: Sequence[TransferTable]) -> Mapping[str, TableSum]:
        """Read back what was written; return its sums by table."""
        ...

    async def finish(self) -> None:
        """Mark the transfer as complete: servers may use the target from now on."""
        ...

    async def close(self) -> None: ...


class PagedDatabase(ABC):
    """Base class of database sources and targets: reads tables in pages."""

    @abstractmethod
    async def _page(self, table: TransferTable, after: Row | None, limit: int) -> list[Row]:
        """Return at most `limit` rows with keys above `after`, in key order."""

    async def pages(self, table: TransferTable) -> AsyncIterator[list[Row]]:
        after: Row | None = None
        limit = PAGE_ROWS
        while page := await self._page(table, after, limit):
            yield page
            after = table.key_of(page[-1])
            limit = page_rows(page, limit)

    async def sums(self, tables: Sequence[TransferTable]) -> Mapping[str, TableSum]:
        sums = {table.name: TableSum() for table in tables}
        for table in tables:
            async for page in self.pages(table):
                sums[table.name].add(page)
        return sums


def progress_of(notes: Mapping[str, Sequence[Value]], origin: str, target: str) -> TransferProgress:
    """Return the progress of an unfinished transfer from its notes.

    The note of a table is its last key, that of `""` the origin. Raises `TransferRefused` for another one.
    """
    if notes[""] != [origin]:
        raise TransferRefused(f"the data in `{target}` was moved from another database")
    return TransferProgress(last={name: tuple(key) for name, key in notes.items() if name})


def check_tables(target_tables: Iterable[TransferTable], source_tables: Iterable[TransferTable], origin: str) -> None:
    """Raise unless the tables match the target's; backup files are not trusted."""
    target_forms = {table.name: (set(table.columns), table.key) for table in target_tables}
    different = [
        table.name for table in source_tables if target_forms.get(table.name) != (set(table.columns), table.key)
    ]
    if different:
        raise TransferRefused(f"`{origin}` has tables with different columns or keys: {', '.join(different)}"[:500])


def page_rows(rows: Sequence[Row], limit: int) -> int:
    """Return the next page's number of rows, to keep its size bounded."""
    size = sum(len(value) for row in rows for value in row if isinstance(value, str | bytes))
    if size > PAGE_BYTES:
        return max(1, limit // 2)
    return min(PAGE_ROWS, limit * 2) if size < PAGE_BYTES // 4 else limit
