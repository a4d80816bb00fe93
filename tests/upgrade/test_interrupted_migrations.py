"""A migration of a large database that is killed, or whose disk fills, loses nothing and is completed later."""

import asyncio
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from proffer.store.postgres import migrate as postgres_schema
from proffer.store.sqlite import migrate as sqlite_schema
from support.own_postgres import own_postgres
from support.postgres import drop_database
from support.process import PROFFER, environment
from support.small_disk import small_disk
from upgrade.installations import (
    VERSIONS,
    VERSIONS_TO_MIGRATE,
    Installation,
    StoredVersion,
    copy_installation,
    execute,
    for_versions,
)
from upgrade.scenario import serving
from upgrade.test_stored_installations import assert_same_answers

KILLS = int(os.environ.get("PROFFER_MIGRATION_KILLS", "2"))
ROWS = int(os.environ.get("PROFFER_MIGRATION_ROWS", "6000"))
_LAST_REWRITE = 6
"""The last migration that rewrites counters; a later one needs little space."""
_VERSIONS_TO_REWRITE = [version for version in VERSIONS if version.schema < _LAST_REWRITE]
_MIGRATE = "import sys; from proffer.cli.main import run; print(flush=True); sys.argv[0] = 'proffer'; run()"
_COUNTERS = """
    INSERT INTO cap_counters (owner, identity, counter, placement, window_us, count, expires_us)
    SELECT -1, 'Email: ' || n || '@example.com ', l.counter, '', 0, 1 + n % 3, NULL FROM numbers, cap_limits l
    WHERE l.counter = 3
    UNION ALL SELECT -1, 'Email:' || n || '@example.com', 4, '', 1769904000000000, 1, 1769904000000001 FROM numbers"""
"""Counters of people without a record: of ids with blanks around them, and of a month."""
_NOT_COMPARED = {"applied_us", "changed", "mover"}
"""Columns that name the time or the transaction of a migration."""


def enlarge(installation: Installation) -> None:
    """Add many counters that the migrations change."""
    numbers = f"SELECT 1 AS n UNION ALL SELECT n + 1 FROM numbers WHERE n < {ROWS}"  # noqa: S608 - a number
    execute(installation, _COUNTERS.replace("INSERT", f"WITH RECURSIVE numbers AS ({numbers}) INSERT", 1))


def rows_of(database: str) -> dict[str, list[str]]:
    """Return the rows of all tables, in order."""
    if database.startswith("sqlite:"):
        with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as connection:
            connection.row_factory = sqlite3.Row
            assert [tuple(row) for row in connection.execute("PRAGMA integrity_check")] == [("ok",)]
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {name: _compared(map(dict, connection.execute(f"SELECT * FROM {name}"))) for name in names}  # noqa: S608

    async def fetch() -> dict[str, list[str]]:
        connection = await asyncpg.connect(database)
        try:
            tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            return {
                name: _compared(map(dict, await connection.fetch(f"SELECT * FROM {name}")))  # noqa: S608
                for (name,) in tables
            }
        finally:
            await connection.close()

    return asyncio.run(fetch())


def _compared(rows: Any) -> list[str]:
    return sorted(str({name: value for name, value in row.items() if name not in _NOT_COMPARED}) for row in rows)


def schema_version(database: str) -> int:
    (row,) = (eval(row) for row in rows_of(database)["schema_version"][-1:])  # noqa: S307 - written above
    return int(row["version"])


def migrating(database: str) -> subprocess.Popen[str]:
    """Begin to migrate; the process has said its first line when this returns."""
    command = [sys.executable, "-c", _MIGRATE, "migrate", "--database", database]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment())
    assert process.stdout is not None
    process.stdout.readline()
    return process


@for_versions(VERSIONS_TO_MIGRATE)
def test_a_killed_migration_is_completed_later(
    version: StoredVersion, tmp_path: Path, installation: Installation
) -> None:
    """Killed at any moments, the database is at one of the versions; in the end it is as without kills."""
    control_folder = tmp_path / "control"
    control_folder.mkdir()
    control = copy_installation(version, installation.kind, control_folder)
    enlarge(control)
    with migrating(control.database) as process:
        begun = time.monotonic()
        assert process.wait(timeout=60) == 0
    took_s = time.monotonic() - begun

    enlarge(installation)
    chance = random.Random(7)  # noqa: S311 - not a secret
    killed = 0
    last = schema_version(installation.database)
    for _ in range(KILLS):
        with migrating(installation.database) as process:
            time.sleep(chance.uniform(0, took_s / 2))
            process.send_signal(signal.SIGKILL)
        killed += process.returncode == -signal.SIGKILL
        now = schema_version(installation.database)
        assert last <= now <= sqlite_schema.newest_version()
        last = now
    assert killed
    with migrating(installation.database) as process:
        assert process.wait(timeout=60) == 0
    assert rows_of(installation.database) == rows_of(control.database)
    if control.kind == "postgres":
        asyncio.run(drop_database(control.database))
    with serving(installation.database, installation.spool) as client:
        assert_same_answers(client, installation.facts)


@for_versions(_VERSIONS_TO_REWRITE)
@pytest.mark.parametrize("kilobytes", [200, 500])
def test_a_disk_that_fills_during_a_migration(version: StoredVersion, tmp_path: Path, kilobytes: int) -> None:
    """It is refused with what to do, the database stays as it was, and is migrated once there is space."""
    installation = copy_installation(version, "sqlite", tmp_path)
    enlarge(installation)
    path = Path(installation.database.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = schema_version(installation.database)
    counters = rows_of(installation.database)["cap_counters"]

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes << 10, resource.RLIM_INFINITY))

    command = [*PROFFER, "migrate", "--database", installation.database]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=environment(), preexec_fn=fill
    )
    assert ran.returncode == 1
    assert "make space on its disk, then start again" in ran.stderr
    assert "The database is as it was before this migration" in ran.stderr
    reached = schema_version(installation.database)
    assert before <= reached < sqlite_schema.newest_version()
    assert len(rows_of(installation.database)["cap_counters"]) == len(counters)

    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment())
    assert again.returncode == 0, again.stderr
    assert len(again.stdout.split()) == postgres_schema.newest_version() - reached
    with serving(installation.database, installation.spool) as client:
        assert_same_answers(client, installation.facts)


@for_versions(_VERSIONS_TO_REWRITE)
def test_a_disk_of_postgresql_that_fills_during_a_migration(version: StoredVersion, tmp_path: Path) -> None:
    """It is refused, the database stays at one of the versions, and is migrated once there is space."""
    with small_disk(tmp_path, 100) as disk, own_postgres() as server:
        database = asyncio.run(_restore(server.url, disk.add_tablespace(), version))
        installation = Installation("postgres", database, version.read("postgres"), version, tmp_path / "spool")
        enlarge(installation)
        before = schema_version(database)
        counters = rows_of(database)["cap_counters"]
        disk.fill(leave_kilobytes=300)

        command = [*PROFFER, "migrate", "--database", database]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment())
        assert ran.returncode == 1
        assert "make space on its disk, then start again" in ran.stderr
        assert "The database is as it was before this migration" in ran.stderr
        reached = schema_version(database)
        assert before <= reached < postgres_schema.newest_version()
        assert len(rows_of(database)["cap_counters"]) == len(counters)

        disk.resize(200)
        again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment())
        assert again.returncode == 0, again.stderr
        assert len(again.stdout.split()) == postgres_schema.newest_version() - reached
        with serving(database, installation.spool) as client:
            assert_same_answers(client, installation.facts)


async def _restore(server: str, create_tablespace: str, version: StoredVersion) -> str:
    """Restore the dump into a database on the tablespace `small`; return its URL."""
    connection = await asyncpg.connect(server)
    await connection.execute(create_tablespace)
    await connection.execute("CREATE DATABASE upgraded TABLESPACE small")
    await connection.close()
    database = server.replace("/postgres?", "/upgraded?")
    connection = await asyncpg.connect(database)
    await connection.execute((version.folder / "postgres.sql").read_text(encoding="utf-8"))
    await connection.close()
    return database
