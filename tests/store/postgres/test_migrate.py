"""A PostgreSQL database is filled, brought up to date, or left alone with a reason; a kill harms nothing."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from proffer.store.errors import SchemaMismatch, StoreUnavailable
from proffer.store.postgres import migrate
from proffer.store.postgres.store import PostgresStore
from proffer.testing.store_contract import a_container
from support.postgres import drop_database, new_database

CHILD = Path(__file__).with_name("child.py")
TODAY = migrate.known_migrations()
NEXT = migrate.Migration(
    version=len(TODAY) + 1,
    name="next.sql",
    script="-- a remark; with a semicolon\nCREATE TABLE next (n INTEGER);\nINSERT INTO next VALUES (1);",
)
BROKEN = migrate.Migration(
    version=len(TODAY) + 1, name="broken.sql", script="CREATE TABLE next (n INTEGER);\nNONSENSE;"
)


def know(monkeypatch: pytest.MonkeyPatch, migrations: Sequence[migrate.Migration]) -> None:
    monkeypatch.setattr(migrate, "known_migrations", lambda: tuple(migrations))


@asynccontextmanager
async def empty_database() -> AsyncIterator[str]:
    """Create an empty database; it is dropped in the end."""
    url = await new_database()
    try:
        yield url
    finally:
        await drop_database(url)


async def asked(url: str, statement: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def opened_and_closed(url: str, *, migrate: bool = False) -> list[str]:
    store = await PostgresStore.open(url, migrate=migrate)
    await store.ensure_container(a_container())
    found = [each.id for each in await store.containers()]
    await store.close()
    return found


async def test_an_empty_database_is_filled() -> None:
    """It needs every migration, and none afterwards."""
    async with empty_database() as url:
        assert [each.name for each in TODAY] == list(await migrate.pending_migrations(url))
        assert await opened_and_closed(url) == ["c1"]
        assert list(await migrate.pending_migrations(url)) == list(await migrate.migrate(url)) == []


async def test_one_that_is_behind_is_migrated_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it is left alone, with the next migration and what applies it; what was in it is still there."""
    async with empty_database() as url:
        await opened_and_closed(url)
        know(monkeypatch, [*TODAY, NEXT])
        with pytest.raises(SchemaMismatch, match=r"the next being next.sql.*proffer serve"):
            await opened_and_closed(url)
        assert await opened_and_closed(url, migrate=True) == ["c1"]
        assert await asked(url, "SELECT n FROM next") == [(1,)]
        know(monkeypatch, TODAY)
        for migrating in (False, True):
            with pytest.raises(SchemaMismatch, match=r"up to \d+: run"):
                await opened_and_closed(url, migrate=migrating)


async def test_a_migration_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first statements are undone, and the database still opens as what it was."""
    async with empty_database() as url:
        await opened_and_closed(url)
        with monkeypatch.context() as newer:
            know(newer, [*TODAY, BROKEN])
            with pytest.raises(StoreUnavailable, match="NONSENSE"):
                await migrate.migrate(url)
        assert await opened_and_closed(url) == ["c1"]
        assert await asked(url, "SELECT 1 FROM pg_class WHERE relname = 'next'") == []


async def test_migrating_twice_at_once_is_migrating_once() -> None:
    """Of eight that try together each migration is applied by one, and all find it done."""
    async with empty_database() as url:
        applied = await asyncio.gather(*(migrate.migrate(url) for _ in range(8)))
        assert [each.name for each in TODAY] == sorted(name for names in applied for name in names)


async def test_the_database_of_another_program_is_left_alone() -> None:
    """Tables without our version among them are not ours to change; a schema of its own is."""
    async with empty_database() as url:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE tracks (name TEXT)")
        await connection.execute("CREATE SCHEMA ours")
        await connection.close()
        with pytest.raises(SchemaMismatch, match="another program"):
            await opened_and_closed(url, migrate=True)
        ours = f"{url}&options=-csearch_path%3Dours"
        assert await opened_and_closed(ours) == ["c1"]
        assert len(await asked(url, "SELECT 1 FROM pg_tables WHERE schemaname = 'public'")) == 1


def test_a_killed_migration_has_not_happened() -> None:
    """The schema is the one before or the one after, never one between; the next try completes it."""
    url = asyncio.run(new_database())
    asyncio.run(migrate.migrate(url))
    chance = random.Random(7)  # noqa: S311 - not a secret
    before = len(TODAY)
    for _ in range(3):
        with subprocess.Popen([sys.executable, CHILD, url], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(chance.uniform(0, 0.1))
            child.send_signal(signal.SIGKILL)
        found = asyncio.run(schema(url))
        assert found in [(before, set()), (before + 1, {"before", "after"})]
    again = subprocess.run([sys.executable, CHILD, url], check=False, capture_output=True)
    assert again.returncode == 0
    assert asyncio.run(schema(url)) == (before + 1, {"before", "after"})
    asyncio.run(drop_database(url))


async def schema(url: str) -> tuple[object, set[object]]:
    ((version,),) = await asked(url, "SELECT max(version) FROM schema_version")
    tables = await asked(url, "SELECT relname FROM pg_class WHERE relname IN ('before', 'after')")
    return version, {name for (name,) in tables}
