"""A database is created, brought up to date, or left alone with a reason."""

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from proffer.store.errors import SchemaMismatch, StoreUnavailable
from proffer.store.sqlite import migrate
from proffer.store.sqlite.store import SqliteStore
from proffer.testing.store_contract import a_container

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


async def opened_and_closed(path: Path, **options: bool) -> list[str]:
    """The ids of the containers found; one is created on the first visit."""
    store = await SqliteStore.open(path, **options)  # type: ignore[arg-type]
    await store.ensure_container(a_container())
    found = [each.id for each in await store.containers()]
    await store.close()
    return found


def test_migrations_are_numbered_without_gaps() -> None:
    """The files count from 1, so that a version says which of them were applied."""

    assert list(range(1, len(TODAY) + 1)) == [each.version for each in TODAY]


def test_an_absent_database_is_created(tmp_path: Path) -> None:
    """It needs every migration, and none once it is there."""
    path = tmp_path / "proffer.db"

    assert [each.name for each in TODAY] == list(migrate.pending_migrations(path))
    assert not path.exists()
    assert asyncio.run(opened_and_closed(path)) == ["c1"]
    assert (list(migrate.pending_migrations(path)), list(migrate.migrate(path))) == ([], [])


def test_an_empty_file_counts_as_absent(tmp_path: Path) -> None:
    """A process killed just after it created the file leaves such a one behind."""
    (tmp_path / "proffer.db").touch()

    assert asyncio.run(opened_and_closed(tmp_path / "proffer.db")) == ["c1"]


def test_a_database_that_is_behind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says which migration is next and what applies it; the database is not touched."""
    path = tmp_path / "proffer.db"
    asyncio.run(opened_and_closed(path))
    know(monkeypatch, [*TODAY, NEXT])

    with pytest.raises(SchemaMismatch, match=r"the next being next.sql.*proffer serve"):
        asyncio.run(opened_and_closed(path))
    assert list(migrate.pending_migrations(path)) == ["next.sql"]


def test_a_database_that_is_behind_is_migrated_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was in it is still there."""
    path = tmp_path / "proffer.db"
    asyncio.run(opened_and_closed(path))
    know(monkeypatch, [*TODAY, NEXT])

    assert asyncio.run(opened_and_closed(path, migrate=True)) == ["c1"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT n FROM next").fetchall() == [(1,)]


@pytest.mark.parametrize("migrating", [False, True])
def test_a_database_that_is_ahead_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, migrating: bool
) -> None:
    """An older Proffer does not write into what a newer one has changed, and says who can."""
    path = tmp_path / "proffer.db"
    with monkeypatch.context() as newer:
        know(newer, [*TODAY, NEXT])
        migrate.migrate(path)

    with pytest.raises(SchemaMismatch, match=rf"version {NEXT.version} .* up to {len(TODAY)}: run"):
        asyncio.run(opened_and_closed(path, migrate=migrating))
    with pytest.raises(SchemaMismatch, match="restore a backup"):
        migrate.migrate(path)


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first statements are undone, and the database still opens as what it was."""
    path = tmp_path / "proffer.db"
    asyncio.run(opened_and_closed(path))
    with monkeypatch.context() as newer:
        know(newer, [*TODAY, BROKEN])
        with pytest.raises(StoreUnavailable, match="NONSENSE"):
            migrate.migrate(path)

    assert asyncio.run(opened_and_closed(path)) == ["c1"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM sqlite_master WHERE name = 'next'").fetchall() == []


def test_migrating_twice_at_once_is_migrating_once(tmp_path: Path) -> None:
    """Of eight that try together one does it, and all find it done."""
    path = tmp_path / "proffer.db"
    with ThreadPoolExecutor(8) as eight:
        applied = list(eight.map(migrate.migrate, [path] * 8))

    assert [each.name for each in TODAY] == [name for names in applied for name in names]


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    """Tables without our version among them are not ours to change."""
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE tracks (name TEXT)")
    before = path.read_bytes()

    with pytest.raises(SchemaMismatch, match="another program"):
        asyncio.run(opened_and_closed(path, migrate=True))
    assert before == path.read_bytes()
