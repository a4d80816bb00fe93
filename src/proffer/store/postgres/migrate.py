"""Migration of a PostgreSQL database to the current schema, by numbered files.

As with SQLite, a migration and its version row are one transaction; migrating holds an advisory lock,
so servers that start at the same time apply each file once.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import asyncpg

from proffer.store.errors import SchemaMismatch, StoreUnavailable
from proffer.store.postgres.errors import is_lost, redacted_url, unavailable
from proffer.store.postgres.statements import MIGRATION_LOCK, dollar
from proffer.store.sql import migrations as scripts
from proffer.store.sql.migrations import PROGRESS_TABLE, Migration, migrations_of

__all__ = ["Migration", "ensure_schema", "known_migrations", "migrate", "pending_migrations"]

_TABLES = """
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'S', 'v')"""


def known_migrations() -> Sequence[Migration]:
    """Return the PostgreSQL migrations, in order."""
    return migrations_of("postgres")


def newest_version() -> int:
    """Return the current schema version."""
    return known_migrations()[-1].version


async def pending_migrations(url: str) -> Sequence[str]:
    """Return the names of the migrations pending; all when the database is empty.

    Raises SchemaMismatch when the schema is newer, or the database is not Proffer's.
    """
    with unavailable(url):
        connection = await asyncpg.connect(url, timeout=5)
        try:
            version = await schema_version(connection, url)
        finally:
            await connection.close()
    return tuple(each.name for each in known_migrations() if each.version > version)


async def migrate(url: str, *, up_to: int | None = None) -> Sequence[str]:
    """Migrate the database; return the names of the migrations applied.

    `up_to` limits the version.

    Idempotent, safe against kills and concurrent processes. Raises SchemaMismatch when the schema is
    newer than this Proffer's.
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
    """Apply the next pending migration in its own transaction; None where there is none."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
        version = await schema_version(connection, url)
        pending = [each for each in known_migrations() if version < each.version <= last]
        if not pending:
            return None
        migration = pending[0]
        try:
            await connection.execute(scripts.VERSION_TABLE)
            await connection.execute(migration.script)
            await connection.execute(
                dollar(scripts.ADD_VERSION),
                migration.version,
                migration.name,
                time.time_ns() // 1000,
            )
        except asyncpg.PostgresError as error:
            if is_lost(error):
                raise
            is_full = isinstance(error, asyncpg.DiskFullError)
            raise StoreUnavailable(
                scripts.failed_message(redacted_url(url), migration, error, is_full=is_full)
            ) from error
        return migration.name


async def schema_version(connection: Any, url: str) -> int:
    """Return the schema version of the database, 0 for one without tables.

    Raises SchemaMismatch when it is newer than this Proffer's, or not Proffer's at all.
    """
    tables = {row[0] for row in await connection.fetch(_TABLES)}
    if not tables:
        return 0
    if PROGRESS_TABLE in tables:
        raise SchemaMismatch(scripts.unfinished_message(redacted_url(url)))
    if "schema_version" not in tables:
        raise SchemaMismatch(f"`{redacted_url(url)}` belongs to another program: use another database or schema")
    version = int(await connection.fetchval(scripts.SCHEMA_VERSION))
    if version > newest_version():
        raise SchemaMismatch(scripts.newer_schema_message(redacted_url(url), version, newest_version()))
    return version


async def ensure_schema(url: str, *, migrating: bool) -> None:
    """Make sure that the database has the current schema, or raise SchemaMismatch.

    An empty database is always migrated, an older one only with `migrating`.
    """
    pending = await pending_migrations(url)
    if not pending:
        return
    if not migrating and len(pending) < len(known_migrations()):
        # Another server may be creating it, one migration at a time: check again after a while.
        await asyncio.sleep(0.2)
        pending = await pending_migrations(url)
        if not pending:
            return
        raise SchemaMismatch(scripts.pending_migrations_message(redacted_url(url), pending))
    await migrate(url)
