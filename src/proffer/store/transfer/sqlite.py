"""Transfer source and target for SQLite. All calls block, so they run in threads."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import msgspec

from proffer.store.sql.migrations import PROGRESS
from proffer.store.sqlite.errors import unavailable
from proffer.store.sqlite.migrate import migrate, newest_version, schema_version
from proffer.store.transfer.tables import (
    NOT_MOVED,
    PAGE_ROWS,
    MoveRefused,
    Progress,
    Row,
    Sum,
    Table,
    Value,
    check_tables,
    page_rows,
)

OWN_COLUMNS: Mapping[str, Mapping[str, int]] = {
    "customer_spaces": {"newest": 0},  # set by `finish`
    "cap_limits": {"changed": 1},
    "cap_totals": {"moved": 1},
}
"""Columns that only this database has, with their initial values."""

_NEWEST_KEYS = """
    UPDATE customer_spaces SET newest = max(space << 40, coalesce(
        (SELECT max(customer) FROM customers
         WHERE customer > (space << 40) AND customer < ((space + 1) << 40)), 0))"""
_ADD_PROGRESS = f"CREATE TABLE {PROGRESS} (name TEXT NOT NULL PRIMARY KEY, note BLOB NOT NULL)"
_PUT_PROGRESS = f"INSERT OR REPLACE INTO {PROGRESS} (name, note) VALUES (?, ?)"  # noqa: S608 - a constant


class _File:
    """Base class of source and target."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    @property
    def origin(self) -> str:
        return f"sqlite:///{self._path.absolute()}"

    @property
    def _open(self) -> sqlite3.Connection:
        assert self._connection is not None  # set by `open`
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        self._connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=10,
            isolation_level=None,
            check_same_thread=False,
        )
        return self._connection

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def pages(self, table: Table) -> AsyncIterator[list[Row]]:
        after: Row | None = None
        asked = PAGE_ROWS
        while page := await asyncio.to_thread(self._page, table, after, asked):
            yield page
            after = table.key_of(page[-1])
            asked = page_rows(page, asked)

    def _page(self, table: Table, after: Row | None, limit: int) -> list[Row]:
        key = ", ".join(table.key)
        where = "" if after is None else f"WHERE ({key}) > ({', '.join('?' * len(table.key))})"
        statement = (
            f"SELECT {', '.join(table.columns)} FROM {table.name} {where} ORDER BY {key} LIMIT ?"  # noqa: S608 - names
        )
        with unavailable(self._path):
            return self._open.execute(statement, (*(after or ()), limit)).fetchall()


class SqliteSource(_File):
    """Reads one snapshot; servers may keep running."""

    async def open(self) -> tuple[int, Sequence[Table]]:
        return await asyncio.to_thread(self._begin)

    def _begin(self) -> tuple[int, Sequence[Table]]:
        if not self._path.exists():
            raise MoveRefused(f"there is no database `{self._path}`")
        with unavailable(self._path):
            connection = self._connect()
            version = schema_version(connection, self._path)
            if version != newest_version():
                raise MoveRefused(
                    f"the database `{self._path}` is not up to date: run `proffer migrate`"
                )
            connection.execute("BEGIN")
            return version, tables_of(connection)

    async def count(self, table: Table) -> int:
        return await asyncio.to_thread(self._count, table)

    def _count(self, table: Table) -> int:
        with unavailable(self._path):
            (count,) = self._open.execute(f"SELECT count(*) FROM {table.name}").fetchone()  # noqa: S608 - a name
        return int(count)


class SqliteTarget(_File):
    """Writes to an absent or empty file."""

    async def open(
        self, schema: int, tables: Sequence[Table], origin: str, *, resume: bool
    ) -> Progress:
        return await asyncio.to_thread(self._begin, schema, tables, origin, resume)

    def _begin(self, schema: int, tables: Sequence[Table], origin: str, resume: bool) -> Progress:
        left = self._left()
        if left is not None:
            if not resume:
                raise MoveRefused(
                    f"a move into `{self._path}` was begun and not finished: go on with `--resume`, or remove the file"
                )
            if left.pop("") != [origin]:
                raise MoveRefused(f"what is in `{self._path}` was moved from somewhere else")
            self._connect()
            return Progress(last={name: tuple(key) for name, key in left.items()})
        migrate(self._path, up_to=schema)
        with unavailable(self._path):
            connection = self._connect()
            connection.execute("PRAGMA foreign_keys = ON")
            check_tables(tables_of(connection), tables, origin)
            for table in tables:
                if connection.execute(f"SELECT 1 FROM {table.name} LIMIT 1").fetchone():  # noqa: S608 - a name
                    raise MoveRefused(f"`{self._path}` is not empty: it has {table.name}")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_ADD_PROGRESS)
            connection.execute(_PUT_PROGRESS, ("", _note((origin,))))
            connection.execute("COMMIT")
        return Progress()

    def _left(self) -> dict[str, list[Value]] | None:
        """Return the progress of an earlier transfer; None where there was none."""
        if not self._path.exists():
            return None
        with unavailable(self._path):
            connection = sqlite3.connect(self._path, isolation_level=None)
            try:
                names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
                if PROGRESS not in names:
                    return None
                rows = connection.execute(f"SELECT name, note FROM {PROGRESS}").fetchall()  # noqa: S608 - a constant
            finally:
                connection.close()
        return {name: msgspec.msgpack.decode(note) for name, note in rows}

    async def put(self, table: Table, rows: Sequence[Row]) -> None:
        await asyncio.to_thread(self._put, table, rows)

    def _put(self, table: Table, rows: Sequence[Row]) -> None:
        own = OWN_COLUMNS.get(table.name, {})
        names = ", ".join((*table.columns, *own))
        values = ", ".join([*("?" * len(table.columns)), *map(str, own.values())])
        with unavailable(self._path):
            connection = self._open
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany(
                    f"INSERT INTO {table.name} ({names}) VALUES ({values})",  # noqa: S608 - names
                    rows,
                )
                connection.execute(_PUT_PROGRESS, (table.name, _note(table.key_of(rows[-1]))))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    async def sums(self, tables: Sequence[Table]) -> Mapping[str, Sum]:
        found = {table.name: Sum() for table in tables}
        for table in tables:
            async for page in self.pages(table):
                found[table.name].add(page)
        return found

    async def finish(self) -> None:
        await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        with unavailable(self._path):
            self._open.execute("BEGIN IMMEDIATE")
            self._open.execute(_NEWEST_KEYS)
            self._open.execute(f"DROP TABLE {PROGRESS}")
            self._open.execute("COMMIT")
        migrate(self._path)


def tables_of(connection: sqlite3.Connection) -> list[Table]:
    """Return the tables in order of creation, so that referenced tables come first."""
    found = []
    statement = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid"
    for (name,) in connection.execute(statement).fetchall():
        if name in NOT_MOVED or name.startswith("sqlite_"):
            continue
        columns = connection.execute(f"PRAGMA table_info({name})").fetchall()
        key = sorted((column[5], column[1]) for column in columns if column[5])
        own = OWN_COLUMNS.get(name, {})
        found.append(
            Table(
                name=name,
                columns=tuple(column[1] for column in columns if column[1] not in own),
                key=tuple(column for _, column in key),
            )
        )
    return found


def _note(key: Row) -> bytes:
    return msgspec.msgpack.encode(key)
