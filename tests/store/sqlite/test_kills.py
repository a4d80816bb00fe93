"""`kill -9` at any moment: what was acknowledged is there, what is there is whole."""

import asyncio
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from proffer.store.sqlite import migrate
from proffer.store.sqlite.store import SqliteStore

CHILD = Path(__file__).with_name("child.py")
ROUNDS = 8


def killed(task: str, database: Path, delay_s: float) -> list[str]:
    """What a child had said before it was killed, `delay_s` after its first word."""
    with subprocess.Popen([sys.executable, CHILD, task, database], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(delay_s)
        child.send_signal(signal.SIGKILL)
        return [line for line in (first + child.stdout.read()).split("\n")[:-1] if line]


def checked(database: Path) -> list[object]:
    """What SQLite itself finds wrong with the file."""
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("PRAGMA integrity_check").fetchall()
        return [
            *(row for row in found if row != ("ok",)),
            *connection.execute("PRAGMA foreign_key_check"),
        ]


async def check_pairs(database: Path, acknowledged: Mapping[str, int]) -> None:
    store = await SqliteStore.open(database)
    for container, revision in (await store.revisions()).items():
        versions = await store.since(container, 0)
        assert list(range(1, revision + 1)) == [each.revision for each in versions]
        assert revision % 2 == 0, "half a commit was written"
        assert revision >= acknowledged.get(container, 0), "an acknowledged commit is gone"
    await store.close()


def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    """Eight times over: eight tasks write, the process is killed, and the next one goes on from there."""
    database, chance = tmp_path / "proffer.db", random.Random(7)  # noqa: S311 - not a secret
    acknowledged: dict[str, int] = {}
    for _ in range(ROUNDS):
        for line in killed("pairs", database, chance.uniform(0, 0.3)):
            container, revision = line.split()
            acknowledged[container] = max(acknowledged.get(container, 0), int(revision))

        assert checked(database) == []
        asyncio.run(check_pairs(database, acknowledged))
    assert len(acknowledged) == 8


def test_a_killed_migration_has_not_happened(tmp_path: Path) -> None:
    """The schema is the one before or the one after, never one between; the next try completes it."""
    chance = random.Random(7)  # noqa: S311 - not a secret
    before = migrate.newest_version()
    after = before + 1
    lives = [tmp_path / f"{life}.db" for life in range(4)]
    for database in lives:
        migrate.migrate(database)
        killed("migrate", database, chance.uniform(0, 0.08))

        assert checked(database) == []
        assert schema(database) in [(before, set()), (after, {"before", "after"})]
    again = subprocess.run([sys.executable, CHILD, "migrate", lives[-1]], check=False)
    assert (0, (after, {"before", "after"})) == (again.returncode, schema(lives[-1]))


def schema(database: Path) -> tuple[int, set[str]]:
    """The version the database says it is at, and which tables of the second migration it has."""
    with closing(sqlite3.connect(database)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        (version,) = connection.execute("SELECT max(version) FROM schema_version").fetchone()
    return version, tables & {"before", "after"}
