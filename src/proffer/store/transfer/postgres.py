"""Transfer source and target for PostgreSQL."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
import msgspec

from proffer.store.postgres.errors import redacted_url, unavailable
from proffer.store.postgres.migrate import migrate, newest_version, schema_version
from proffer.store.sql.migrations import PROGRESS_TABLE
from proffer.store.transfer.tables import (
    EXCLUDED_TABLES,
    PagedDatabase,
    Row,
    TransferProgress,
    TransferRefused,
    TransferTable,
    check_tables,
    progress_of,
)

DATABASE_ONLY_COLUMNS: Mapping[str, Mapping[str, int]] = {
    "cap_limits": {"changed": 0},
    "cap_totals": {"moved": 0, "mover": 0},
}
"""Columns that only this database has, with their initial values."""

_TABLES = """
    SELECT c.relname, a.attname, coalesce(array_position(i.indkey::int[], a.attnum::int), -1)
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
    WHERE n.nspname = current_schema() AND c.relkind = 'r'
    ORDER BY c.oid, a.attnum"""
_REFERENCES = """
    SELECT c.relname, r.relname FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid
    JOIN pg_class r ON r.oid = k.confrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype = 'f' AND n.nspname = current_schema()
    ORDER BY r.oid"""
_ADD_PROGRESS = f"CREATE TABLE {PROGRESS_TABLE} (name TEXT NOT NULL PRIMARY KEY, note BYTEA NOT NULL)"
_PUT_PROGRESS = f"""
    INSERT INTO {PROGRESS_TABLE} (name, note) VALUES ($1, $2)
    ON CONFLICT (name) DO UPDATE SET note = excluded.note"""  # noqa: S608 - a constant
_SET_NEWEST_KEY = """
    SELECT setval('customer_keys', greatest(1,
        (SELECT max(customer & 1099511627775) FROM customers)))"""
_INCLUDE_OWNERS = """
    SELECT setval('customer_keys', greatest(1,
        (SELECT last_value FROM customer_keys),
        (SELECT max(owner & 1099511627775) FROM counting_identities)))"""
_IDENTITY_COLUMNS = """
    SELECT c.relname, a.attname FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attidentity <> ''
    WHERE n.nspname = current_schema()"""


class _PostgresDatabase(PagedDatabase):
    """Base class of source and target."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None

    @property
    def origin(self) -> str:
        return redacted_url(self._url)

    async def _connect(self) -> Any:
        with unavailable(self._url):
            self._connection = await asyncpg.connect(self._url, timeout=5)
        return self._connection

    async def close(self) -> None:
        if self._connection is not None:
            with unavailable(self._url):
                await self._connection.close()

    async def _page(self, table: TransferTable, after: Row | None, limit: int) -> list[Row]:
        key = ", ".join(table.key)
        places = ", ".join(f"${number}" for number in range(1, len(table.key) + 1))
        where = "" if after is None else f"WHERE ({key}) > ({places})"
        number = 1 if after is None else len(table.key) + 1
        statement = f"SELECT {', '.join(table.columns)} FROM {table.name} {where} ORDER BY {key} LIMIT ${number}"  # noqa: S608
        with unavailable(self._url):
            rows = await self._connection.fetch(statement, *(after or ()), limit)
        return [tuple(row) for row in rows]


class PostgresSource(_PostgresDatabase):
    """Reads one snapshot; servers may keep running."""

    async def open(self) -> tuple[int, Sequence[TransferTable]]:
        connection = await self._connect()
        with unavailable(self._url):
            version = await schema_version(connection, self._url)
            if version != newest_version():
                raise TransferRefused(f"the database `{self.origin}` is not up to date: run `proffer migrate`")
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return version, await tables_of(connection)

    async def count(self, table: TransferTable) -> int:
        with unavailable(self._url):
            return int(await self._connection.fetchval(f"SELECT count(*) FROM {table.name}"))  # noqa: S608


class PostgresTarget(_PostgresDatabase):
    """Writes to an empty database or schema."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._unmarked: tuple[str, Sequence[TransferTable]] | None = None
        """Origin and tables, until the database is marked as unfinished."""

    async def open(
        self, schema: int, tables: Sequence[TransferTable], origin: str, *, resume: bool
    ) -> TransferProgress:
        connection = await self._connect()
        with unavailable(self._url):
            if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", PROGRESS_TABLE):
                return await self._resume(origin, resume=resume)
        await migrate(self._url, up_to=schema)
        with unavailable(self._url):
            check_tables(await tables_of(connection), tables, origin)
            try:
                await self._check_empty(tables)
            except TransferRefused:
                if resume:
                    return TransferProgress(may_be_complete=True)
                raise
        self._unmarked = (origin, tables)
        return TransferProgress()

    async def _check_empty(self, tables: Sequence[TransferTable]) -> None:
        for table in tables:
            if await self._connection.fetchval(f"SELECT 1 FROM {table.name} LIMIT 1"):  # noqa: S608 - a name
                raise TransferRefused(f"`{self.origin}` is not empty: it has {table.name}")

    async def _mark(self) -> None:
        """Mark the database as unfinished, in the transaction of its first rows."""
        if self._unmarked is not None:
            origin, tables = self._unmarked
            await self._check_empty(tables)
            await self._connection.execute(_ADD_PROGRESS)
            await self._connection.execute(_PUT_PROGRESS, "", msgspec.msgpack.encode((origin,)))

    async def _resume(self, origin: str, *, resume: bool) -> TransferProgress:
        if not resume:
            raise TransferRefused(f"a move into `{self.origin}` is not finished: continue with `--resume`, or empty it")
        rows = await self._connection.fetch(f"SELECT name, note FROM {PROGRESS_TABLE}")  # noqa: S608 - a constant
        notes = {name: msgspec.msgpack.decode(note) for name, note in rows}
        return progress_of(notes, origin, self.origin)

    async def put(self, table: TransferTable, rows: Sequence[Row]) -> None:
        extra_columns = DATABASE_ONLY_COLUMNS.get(table.name, {})
        records = [(*row, *extra_columns.values()) for row in rows] if extra_columns else rows
        with unavailable(self._url):
            async with self._connection.transaction():
                await self._mark()
                await self._connection.copy_records_to_table(
                    table.name, columns=(*table.columns, *extra_columns), records=records
                )
                note = msgspec.msgpack.encode(table.key_of(rows[-1]))
                await self._connection.execute(_PUT_PROGRESS, table.name, note)
        self._unmarked = None

    async def finish(self) -> None:
        with unavailable(self._url):
            async with self._connection.transaction():
                await self._connection.execute(_SET_NEWEST_KEY)
                if await self._connection.fetchval("SELECT to_regclass('counting_identities')"):
                    await self._connection.execute(_INCLUDE_OWNERS)  # backups of earlier versions have none
                for table, column in await self._connection.fetch(_IDENTITY_COLUMNS):
                    await self._connection.execute(
                        f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), "  # noqa: S608 - names
                        f"greatest(1, (SELECT coalesce(max({column}), 0) FROM {table})))"
                    )
                await self._connection.execute(f"DROP TABLE IF EXISTS {PROGRESS_TABLE}")
            await self._connection.execute("ANALYZE")
        await migrate(self._url)


async def tables_of(connection: Any) -> list[TransferTable]:
    """Return the tables in creation order, each after those it references."""
    columns: dict[str, list[str]] = {}
    keys: dict[str, list[tuple[int, str]]] = {}
    for name, column, position in await connection.fetch(_TABLES):
        if name in EXCLUDED_TABLES:
            continue
        if column not in DATABASE_ONLY_COLUMNS.get(name, {}):
            columns.setdefault(name, []).append(column)
        if position >= 0:
            keys.setdefault(name, []).append((position, column))
    # `pg_restore` creates tables in order of name.
    references: dict[str, list[str]] = {}
    for name, referenced in await connection.fetch(_REFERENCES):
        references.setdefault(name, []).append(referenced)
    ordered: dict[str, None] = {}

    def add(name: str) -> None:
        for referenced in references.pop(name, ()):
            add(referenced)
        ordered[name] = None

    for name in columns:
        add(name)
    return [
        TransferTable(name, tuple(columns[name]), tuple(column for _, column in sorted(keys[name]))) for name in ordered
    ]
