"""Bring a PostgreSQL database to the schema this Proffer speaks: numbered files, each whole or not at all.

As with SQLite, a migration and the row that says it was applied are one transaction; whoever migrates holds
a lock of the database, so two servers that start at once do it once.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import asyncpg

from proffer.store.errors import SchemaMismatch
from proffer.store.postgres.errors import shown, unavailable
from proffer.store.postgres.statements import MIGRATING, dollar
from proffer.store.sql import migrations as scripts
from proffer.store.sql.migrations import PROGRESS, Migration, migrations_of

__all__ = ["Migration", "ensure_schema", "known_migrations", "migrate", "pending_migrations"]

_TABLES = """
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'S', 'v')"""


def known_migrations() -> Sequence[Migration]:
    """Every migration of PostgreSQL that this Proffer brings along, in order."""
    return migrations_of("postgres")


def newest_version() -> int:
    """The schema version this Proffer speaks."""
    return known_migrations()[-1].version


async def pending_migrations(url: str) -> Sequence[str]:
    """The names of the migrations the database still needs; all of them when it is empty.

    Raises SchemaMismatch when the database is ahead of this Proffer, or is no database of Proffer's.
    """
    with unavailable(url):
        connection = await asyncpg.connect(url, timeout=5)
        try:
            version = await schema_version(connection, url)
        finally:
            await connection.close()
    return tuple(each.name for each in known_migrations() if each.version > version)


async def migrate(url: str, *, up_to: int | None = None) -> Sequence[str]:
    """Bring the database up to date; the names of the migrations applied.

    With `up_to` no further than this version.

    Safe to be killed in, safe to run from several processes at once, and nothing to do the second time.
    Raises SchemaMismatch when the database is ahead of this Proffer.
    """
    applied = []
    with unavailable(url):
        connection = await asyncpg.connect(url, timeout=5)
        try:
            last = newest_version() if up_to is None else up_to
            while (name := await _apply_next(connection, url, last)) is not None:
                applied.append(name)
        finally:
            await connection.close()
    return tuple(applied)


async def _apply_next(connection: Any, url: str, last: int) -> str | None:
    """Apply the first migration that is missing, in a transaction of its own; None where none is."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATING)
        version = await schema_version(connection, url)
        pending = [each for each in known_migrations() if version < each.version <= last]
        if not pending:
            return None
        migration = pending[0]
        await connection.execute(scripts.VERSION_TABLE)
        await connection.execute(migration.script)
        await connection.execute(
            dollar(scripts.ADD_VERSION),
            migration.version,
            migration.name,
            time.time_ns() // 1000,
        )
        return migration.name


async def schema_version(connection: Any, url: str) -> int:
    """The version of the schema in the database, 0 for one without tables.

    Raises SchemaMismatch when it is ahead of this Proffer, or not Proffer's at all.
    """
    tables = {row[0] for row in await connection.fetch(_TABLES)}
    if not tables:
        return 0
    if PROGRESS in tables:
        raise SchemaMismatch(scripts.unfinished(shown(url)))
    if "schema_version" not in tables:
        raise SchemaMismatch(
            f"`{shown(url)}` is a database of another program: choose another, or a schema of its own"
        )
    version = int(await connection.fetchval(scripts.SCHEMA_VERSION))
    if version > newest_version():
        raise SchemaMismatch(scripts.ahead(shown(url), version, newest_version()))
    return version


async def ensure_schema(url: str, *, migrating: bool) -> None:
    """Leave a database that is at the version this Proffer speaks, or raise SchemaMismatch.

    An empty one is always brought there, an older one when `migrating` says so.
    """
    pending = await pending_migrations(url)
    if not pending:
        return
    if not migrating and len(pending) < len(known_migrations()):
        # Another server may just be creating it, one migration after the other: ask again when it is done.
        await asyncio.sleep(0.2)
        pending = await pending_migrations(url)
        if not pending:
            return
        raise SchemaMismatch(scripts.behind(shown(url), pending))
    await migrate(url)
