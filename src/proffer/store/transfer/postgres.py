"""Transfer source and target for PostgreSQL."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import asyncpg
import msgspec

from proffer.store.postgres.errors import shown, unavailable
from proffer.store.postgres.migrate import migrate, newest_version, schema_version
from proffer.store.sql.migrations import PROGRESS
from proffer.store.transfer.tables import (
    NOT_MOVED,
    PAGE_ROWS,
    MoveRefused,
    Progress,
    Row,
    Sum,
    Table,
    check_tables,
    page_rows,
)

OWN_COLUMNS: Mapping[str, Mapping[str, int]] = {
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
_ADD_PROGRESS = f"CREATE TABLE {PROGRESS} (name TEXT NOT NULL PRIMARY KEY, note BYTEA NOT NULL)"
_PUT_PROGRESS = f"""
    INSERT INTO {PROGRESS} (name, note) VALUES ($1, $2)
    ON CONFLICT (name) DO UPDATE SET note = excluded.note"""  # noqa: S608 - a constant
_NEWEST_KEY = """
    SELECT setval('customer_keys', greatest(1,
        (SELECT coalesce(max(customer & 1099511627775), 0) FROM customers)))"""
_OF_IDENTITIES = """
    SELECT c.relname, a.attname FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attidentity <> ''
    WHERE n.nspname = current_schema()"""


class _Database:
    """Base class of source and target."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None

    @property
    def origin(self) -> str:
        return shown(self._url)

    async def _connect(self) -> Any:
        with unavailable(self._url):
            self._connection = await asyncpg.connect(self._url, timeout=5)
        return self._connection

    async def close(self) -> None:
        if self._connection is not None:
            with unavailable(self._url):
                await self._connection.close()

    async def pages(self, table: Table) -> AsyncIterator[list[Row]]:
        after: Row | None = None
        asked = PAGE_ROWS
        while page := await self._page(table, after, asked):
            yield page
            after = table.key_of(page[-1])
            asked = page_rows(page, asked)

    async def _page(self, table: Table, after: Row | None, limit: int) -> list[Row]:
        key = ", ".join(table.key)
        places = ", ".join(f"${number}" for number in range(1, len(table.key) + 1))
        where = "" if after is None else f"WHERE ({key}) > ({places})"
        number = 1 if after is None else len(table.key) + 1
        statement = f"SELECT {', '.join(table.columns)} FROM {table.name} {where} ORDER BY {key} LIMIT ${number}"  # noqa: S608
        with unavailable(self._url):
            rows = await self._connection.fetch(statement, *(after or ()), limit)
        return [tuple(row) for row in rows]


class PostgresSource(_Database):
    """Reads one snapshot; servers may keep running."""

    async def open(self) -> tuple[int, Sequence[Table]]:
        connection = await self._connect()
        with unavailable(self._url):
            version = await schema_version(connection, self._url)
            if version != newest_version():
                raise MoveRefused(
                    f"the database `{self.origin}` is not up to date: run `proffer migrate`"
                )
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return version, await tables_of(connection)

    async def count(self, table: Table) -> int:
        with unavailable(self._url):
            return int(await self._connection.fetchval(f"SELECT count(*) FROM {table.name}"))  # noqa: S608


class PostgresTarget(_Database):
    """Writes to an empty database or schema."""

    async def open(
        self, schema: int, tables: Sequence[Table], origin: str, *, resume: bool
    ) -> Progress:
        connection = await self._connect()
        with unavailable(self._url):
            if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", PROGRESS):
                return await self._go_on(origin, resume=resume)
        await migrate(self._url, up_to=schema)
        with unavailable(self._url):
            check_tables(await tables_of(connection), tables, origin)
            for table in tables:
                if await connection.fetchval(f"SELECT 1 FROM {table.name} LIMIT 1"):  # noqa: S608 - a name
                    raise MoveRefused(f"`{self.origin}` is not empty: it has {table.name}")
            async with connection.transaction():
                await connection.execute(_ADD_PROGRESS)
                await connection.execute(_PUT_PROGRESS, "", msgspec.msgpack.encode((origin,)))
        return Progress()

    async def _go_on(self, origin: str, *, resume: bool) -> Progress:
        if not resume:
            raise MoveRefused(
                f"a move into `{self.origin}` was begun and not finished: go on with `--resume`, or empty it"
            )
        rows = await self._connection.fetch(f"SELECT name, note FROM {PROGRESS}")  # noqa: S608 - a constant
        left = {name: msgspec.msgpack.decode(note) for name, note in rows}
        if left.pop("") != [origin]:
            raise MoveRefused(f"what is in `{self.origin}` was moved from somewhere else")
        return Progress(last={name: tuple(key) for name, key in left.items()})

    async def put(self, table: Table, rows: Sequence[Row]) -> None:
        own = OWN_COLUMNS.get(table.name, {})
        records = [(*row, *own.values()) for row in rows] if own else rows
        with unavailable(self._url):
            async with self._connection.transaction():
                await self._connection.copy_records_to_table(
                    table.name, columns=(*table.columns, *own), records=records
                )
                note = msgspec.msgpack.encode(table.key_of(rows[-1]))
                await self._connection.execute(_PUT_PROGRESS, table.name, note)

    async def sums(self, tables: Sequence[Table]) -> Mapping[str, Sum]:
        found = {table.name: Sum() for table in tables}
        for table in tables:
            async for page in self.pages(table):
                found[table.name].add(page)
        return found

    async def finish(self) -> None:
        with unavailable(self._url):
            async with self._connection.transaction():
                await self._connection.execute(_NEWEST_KEY)
                for table, column in await self._connection.fetch(_OF_IDENTITIES):
                    await self._connection.execute(
                        f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), "  # noqa: S608 - names
                        f"greatest(1, (SELECT coalesce(max({column}), 0) FROM {table})))"
                    )
                await self._connection.execute(f"DROP TABLE {PROGRESS}")
            await self._connection.execute("ANALYZE")
        await migrate(self._url)


async def tables_of(connection: Any) -> list[Table]:
    """Return the tables in order of creation, each after the tables it references."""
    columns: dict[str, list[str]] = {}
    keys: dict[str, list[tuple[int, str]]] = {}
    for name, column, place in await connection.fetch(_TABLES):
        if name in NOT_MOVED:
            continue
        if column not in OWN_COLUMNS.get(name, {}):
            columns.setdefault(name, []).append(column)
        if place >= 0:
            keys.setdefault(name, []).append((place, column))
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
        Table(name, tuple(columns[name]), tuple(column for _, column in sorted(keys[name])))
        for name in ordered
    ]
