"""Bring a SQLite database to the schema this Proffer speaks: numbered files, each applied whole or not at all.

A migration and the row that says it was applied are one transaction, so a kill in the middle leaves
the schema before it. Whoever migrates holds the turn to write, so two at once do it once.
"""

import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from proffer.store.errors import SchemaMismatch
from proffer.store.sql.faults import unavailable
from proffer.store.turns import Turns

_FILE = re.compile(r"(\d{3})_\w+\.sql")
_VERSION_TABLE = """
    CREATE TABLE IF NOT EXISTS schema_version (
        version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_us BIGINT NOT NULL)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema: its number, the name of its file, and the SQL in it."""

    version: int
    name: str
    script: str

    def statements(self) -> Iterator[str]:
        """The script, one statement at a time."""
        statement = ""
        for line in self.script.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                yield statement
                statement = ""


@cache
def known_migrations() -> Sequence[Migration]:
    """Every migration this Proffer brings along, in order."""
    folder = resources.files("proffer") / "migrations" / "sqlite"
    found = (
        Migration(version=int(match[1]), name=match[0], script=file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if (match := _FILE.fullmatch(file.name))
    )
    return tuple(sorted(found, key=lambda migration: migration.version))


def newest_version() -> int:
    """The schema version this Proffer speaks."""
    return known_migrations()[-1].version


def pending_migrations(path: Path) -> Sequence[str]:
    """The names of the migrations the database at `path` still needs; all of them when it is absent.

    Raises SchemaMismatch when the database is ahead of this Proffer, or is no database of Proffer's.
    """
    version = 0
    if path.exists():
        with unavailable(path), closing(sqlite3.connect(path, isolation_level=None)) as connection:
            version = schema_version(connection, path)
    return tuple(each.name for each in known_migrations() if each.version > version)


def migrate(path: Path, *, patience_s: float = 10) -> Sequence[str]:
    """Create the database at `path` or bring it up to date; the names of the migrations applied.

    Safe to be killed in, safe to run from several processes at once, and nothing to do the second
    time. Raises SchemaMismatch when the database is ahead of this Proffer.
    """
    with (
        unavailable(path),
        closing(Turns(path, patience_s)) as turns,
        turns.taken(),
        closing(sqlite3.connect(path, timeout=patience_s, isolation_level=None)) as connection,
    ):
        version = schema_version(connection, path)
        # Kept in the file: readers go on while one writes, and a commit is one write and one sync.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        pending = [each for each in known_migrations() if each.version > version]
        for migration in pending:
            _apply(connection, migration)
        return tuple(each.name for each in pending)


def _apply(connection: sqlite3.Connection, migration: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(_VERSION_TABLE)
        for statement in migration.statements():
            connection.execute(statement)
        connection.execute(
            "INSERT INTO schema_version (version, name, applied_us) VALUES (?, ?, ?)",
            (migration.version, migration.name, time.time_ns() // 1000),
        )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of the schema in the database, 0 for one without tables.

    Raises SchemaMismatch when it is ahead of this Proffer, or not Proffer's at all.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not tables:
        return 0
    if "schema_version" not in tables:
        raise SchemaMismatch(f"`{path}` is a database of another program: choose another file")
    (version,) = connection.execute(
        "SELECT coalesce(max(version), 0) FROM schema_version"
    ).fetchone()
    if version > newest_version():
        raise SchemaMismatch(
            f"the database `{path}` is at schema version {version} and this Proffer knows versions up to "
            f"{newest_version()}: run the newer Proffer that migrated it, or restore a backup from before"
        )
    return int(version)


def ensure_schema(path: Path, *, migrating: bool, patience_s: float = 10) -> None:
    """Leave a database at `path` that is at the version this Proffer speaks, or raise SchemaMismatch.

    An absent or empty one is always brought there, an older one when `migrating` says so.
    """
    pending = pending_migrations(path)
    if not pending:
        return
    if not migrating and len(pending) < len(known_migrations()):
        # Another process may just be creating it, one migration after the other: ask again when it is done.
        with unavailable(path), closing(Turns(path, patience_s)) as turns, turns.taken():
            pending = pending_migrations(path)
        if not pending:
            return
        raise SchemaMismatch(
            f"the database `{path}` needs {len(pending)} migrations, the next being {pending[0]}: back it "
            "up, then start `proffer serve`, which applies them"
        )
    migrate(path, patience_s=patience_s)
