"""What an installation consists of, in words that both databases and a backup share: tables, rows and their sums."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol, TypeAlias

import msgspec

from proffer.store.errors import StoreUnavailable
from proffer.store.sql.migrations import PROGRESS

Value: TypeAlias = int | str | bytes | None
Row: TypeAlias = tuple[Value, ...]

NOT_MOVED = frozenset(
    {"schema_version", "write_marks", PROGRESS, "decision_edge_ids", "decision_edge_spans"}
)
"""What says how things stand in one database; the index of the edge's ids is made anew where it is asked for."""
PAGE_ROWS = 1000
PAGE_BYTES = 8_000_000

_encode = msgspec.msgpack.Encoder().encode


class MoveRefused(StoreUnavailable):
    """A database, or a backup, that cannot be moved from or to. Nothing of it was changed."""

    default_code = "move-refused"


@dataclass(frozen=True, slots=True)
class Table:
    """A table by name; its columns but for those that one database alone keeps, and those of its key, in order."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    def key_of(self, row: Row) -> Row:
        return tuple(row[self.columns.index(name)] for name in self.key)


@dataclass(slots=True)
class Sum:
    """How many rows there were, and a checksum of them in whatever order."""

    rows: int = 0
    checksum: int = 0

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            digest = blake2b(_encode(row), digest_size=8).digest()
            self.checksum = (self.checksum + int.from_bytes(digest)) % 2**64
            self.rows += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far each table has come: the key of its last row that is there."""

    last: Mapping[str, Row] = field(default_factory=dict)


class Source(Protocol):
    """Where an installation is read from, as it stands at one moment."""

    @property
    def origin(self) -> str:
        """What it goes by, without passwords."""
        ...

    async def open(self) -> tuple[int, Sequence[Table]]:
        """Begin to read: the version of its schema, and its tables, those that others refer to first."""
        ...

    async def count(self, table: Table) -> int:
        """How many rows a table has."""
        ...

    def pages(self, table: Table) -> AsyncIterator[list[Row]]:
        """Every row of a table, some at a time, in order of the key."""
        ...

    async def close(self) -> None: ...


class Target(Protocol):
    """Where an installation is written to."""

    async def open(
        self, schema: int, tables: Sequence[Table], origin: str, *, resume: bool
    ) -> Progress:
        """Make ready for these tables. Raises `MoveRefused` where something is there already.

        What an earlier move from the same origin has left is gone on from, if that is asked for.
        """
        ...

    async def put(self, table: Table, rows: Sequence[Row]) -> None:
        """Write these rows, which follow those written before, and note how far that is."""
        ...

    async def sums(self, tables: Sequence[Table]) -> Mapping[str, Sum]:
        """What was written, read anew."""
        ...

    async def finish(self) -> None:
        """Say that it is whole: from now on servers may use it."""
        ...

    async def close(self) -> None: ...


def check_tables(known: Iterable[Table], wanted: Iterable[Table], origin: str) -> None:
    """Raise unless these tables are those of the target: what a file says is not to be taken at its word."""
    ours = {one.name: (set(one.columns), one.key) for one in known}
    strange = [one.name for one in wanted if ours.get(one.name) != (set(one.columns), one.key)]
    if strange:
        raise MoveRefused(f"`{origin}` has tables of another form: {', '.join(strange)}"[:500])


def page_rows(rows: Sequence[Row], asked: int) -> int:
    """How many rows to ask for next, so that a page stays of a bearable size."""
    size = sum(len(value) for row in rows for value in row if isinstance(value, str | bytes))
    if size > PAGE_BYTES:
        return max(1, asked // 2)
    return min(PAGE_ROWS, asked * 2) if size < PAGE_BYTES // 4 else asked
