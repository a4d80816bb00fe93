"""Transfer source and target for SQLite. All calls block, so they run in threads."""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from proffer.store.sql.migrations import PROGRESS_TABLE
from proffer.store.sqlite.errors import unavailable
from proffer.store.sqlite.migrate import migrate, newest_version, schema_version
from proffer.store.transfer.tables import (
    EXCLUDED_TABLES,
    PagedDatabase,
    Row,
    TransferProgress,
    TransferRefused,
    TransferTable,
    Value,
    check_tables,
    progress_of,
)

DATABASE_ONLY_COLUMNS: Mapping[str, Mapping[str, int]] = {
    "customer_spaces": {"newest": 0},  # set by `finish`
    "cap_limits": {"changed": 1},
    "cap_totals": {"moved": 1},
}
"""Columns that only this database has, with their initial values."""

_SET_NEWEST_KEYS = """
    UPDATE customer_spaces SET newest = max(space << 40, coalesce(
        (SELECT max(customer) FROM customers
         WHERE customer > (space << 40) AND customer < ((space + 1) << 40)), 0))"""
_INCLUDE_OWNERS = """
    UPDATE customer_spaces SET newest = max(newest, coalesce(
        (SELECT max(owner) FROM counting_identities
         WHERE owner > (space << 40) AND owner < ((space + 1) << 40)), 0))"""
_ADD_PROGRESS = f"CREATE TABLE {PROGRESS_TABLE} (name TEXT NOT NULL PRIMARY KEY, note BLOB NOT NULL)"
_PUT_PROGRESS = f"INSERT OR REPLACE INTO {PROGRESS_TABLE} (name, note) VALUES (?, ?)"  # noqa: S608 - a constant


class _SqliteFile(PagedDatabase):
    """Base class of source and target."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    @property
    def origin(self) -> str:
        return f"sqlite:///{self._path.absolute()}"

    @property
    def _opened_connection(self) -> sqlite3.Connection:
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

    async def _page(self, table: TransferTable, after: Row | None, limit: int) -> list[Row]:
        return await asyncio.to_thread(self._read_page, table, after, limit)

    def _read_page(self, table: TransferTable, after: Row | None, limit: int) -> list[Row]:
        key = ", ".join(table.key)
        where = "" if after is None else f"WHERE ({key}) > ({', '.join('?' * len(table.key))})"
        statement = f"SELECT {', '.join(table.columns)} FROM {table.name} {where} ORDER BY {key} LIMIT ?"  # noqa: S608 - names
        with unavailable(self._path):
            return self._opened_connection.execute(statement, (*(after or ()), limit)).fetchall()


class SqliteSource(_SqliteFile):
    """Reads one snapshot; servers may keep running."""

    async def open(self) -> tuple[int, Sequence[TransferTable]]:
        return await asyncio.to_thread(self._begin)

    def _begin(self) -> tuple[int, Sequence[TransferTable]]:
        if not self._path.exists():
            raise TransferRefused(f"there is no database `{self._path}`")
        with unavailable(self._path):
            connection = self._connect()
            version = schema_version(connection, self._path)
            if version != newest_version():
                raise TransferRefused(f"the database `{self._path}` is not up to date: run `proffer migrate`")
            connection.execute("BEGIN")
            return version, tables_of(connection)

    async def count(self, table: TransferTable) -> int:
        return await asyncio.to_thread(self._count, table)

    def _count(self, table: TransferTable) -> int:
        with unavailable(self._path):
            (count,) = self._opened_connection.execute(
                f"SELECT count(*) FROM {table.name}"  # noqa: S608 - a name
            ).fetchone()
        return int(count)


class SqliteTarget(_SqliteFile):
    """Writes to an absent or empty file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._unmarked: tuple[str, Sequence[TransferTable]] | None = None
        """Origin and tables, until the database is marked as unfinished."""

    async def open(
        self, schema: int, tables: Sequence[TransferTable], origin: str, *, resume: bool
    ) -> TransferProgress:
        return await asyncio.to_thread(self._begin, schema, tables, origin, resume)

    def _begin(self, schema: int, tables: Sequence[TransferTable], origin: str, resume: bool) -> TransferProgress:
        notes = self._read_notes()
        if notes is not None:
            if not resume:
                raise TransferRefused(
                    f"a move into `{self._path}` is not finished: continue with `--resume`, or remove the file"
                )
            progress = progress_of(notes, origin, str(self._path))
            self._connect()
            return progress
        migrate(self._path, up_to=schema)
        with unavailable(self._path):
            connection = self._connect()
            connection.execute("PRAGMA foreign_keys = ON")
            check_tables(tables_of(connection), tables, origin)
            try:
                self._check_empty(tables)
            except TransferRefused:
                if resume:
                    return TransferProgress(may_be_complete=True)
                raise
        self._unmarked = (origin, tables)
        return TransferProgress()

    def _check_empty(self, tables: Sequence[TransferTable]) -> None:
        for table in tables:
            if self._opened_connection.execute(f"SELECT 1 FROM {table.name} LIMIT 1").fetchone():  # noqa: S608 - a name
                raise TransferRefused(f"`{self._path}` is not empty: it has {table.name}")

    def _mark(self) -> None:
        """Mark the database as unfinished, in the transaction of its first rows."""
        if self._unmarked is not None:
            origin, tables = self._unmarked
            self._check_empty(tables)
            self._opened_connection.execute(_ADD_PROGRESS)
            self._opened_connection.execute(_PUT_PROGRESS, ("", _note((origin,))))

    def _read_notes(self) -> dict[str, list[Value]] | None:
        """Return the notes of an unfinished transfer; None where there is none."""
        if not self._path.exists():
            return None
        with unavailable(self._path):
            connection = sqlite3.connect(self._path, isolation_level=None)
            try:
                names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
                if PROGRESS_TABLE not in names:
                    return None
                rows = connection.execute(f"SELECT name, note FROM {PROGRESS_TABLE}").fetchall()  # noqa: S608 - a constant
            finally:
                connection.close()
        return {name: msgspec.msgpack.decode(note) for name, note in rows}

    async def put(self, table: TransferTable, rows: Sequence[Row]) -> None:
        await asyncio.to_thread(self._put, table, rows)

    def _put(self, table: TransferTable, rows: Sequence[Row]) -> None:
        extra_columns = DATABASE_ONLY_COLUMNS.get(table.name, {})
        names = ", ".join((*table.columns, *extra_columns))
        values = ", ".join([*("?" * len(table.columns)), *map(str, extra_columns.values())])
        with unavailable(self._path):
            connection = self._opened_connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._mark()
                connection.executemany(
                    f"INSERT INTO {table.name} ({names}) VALUES ({values})",  # noqa: S608 - names
                    rows,
                )
                connection.execute(_PUT_PROGRESS, (table.name, _note(table.key_of(rows[-1]))))
                connection.execute("COMMIT")
                self._unmarked = None
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    async def finish(self) -> None:
        await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        with unavailable(self._path):
            self._opened_connection.execute("BEGIN IMMEDIATE")
            self._opened_connection.execute(_SET_NEWEST_KEYS)
            if any(table.name == "counting_identities" for table in tables_of(self._opened_connection)):
                self._opened_connection.execute(_INCLUDE_OWNERS)  # backups of earlier versions have none
            self._opened_connection.execute(f"DROP TABLE IF EXISTS {PROGRESS_TABLE}")
            self._opened_connection.execute("COMMIT")
        migrate(self._path)


def tables_of(connection: sqlite3.Connection) -> list[TransferTable]:
    """Return the tables in creation order, so that referenced tables come first."""
    tables = []
    statement = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid"
    for (name,) in connection.execute(statement).fetchall():
        if name in EXCLUDED_TABLES or name.startswith("sqlite_"):
            continue
        columns = connection.execute(f"PRAGMA table_info({name})").fetchall()
        key = sorted((column[5], column[1]) for column in columns if column[5])
        extra_columns = DATABASE_ONLY_COLUMNS.get(name, {})
        tables.append(
            TransferTable(
                name=name,
                columns=tuple(column[1] for column in columns if column[1] not in extra_columns),
                key=tuple(column for _, column in key),
            )
        )
    return tables


def _note(key: Row) -> bytes:
    return msgspec.msgpack.encode(key)
