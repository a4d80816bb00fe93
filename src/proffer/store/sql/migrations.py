"""Numbered migration files, one folder for each dialect, with the same numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

_FILE = re.compile(r"(\d{3})_\w+\.sql")

PROGRESS_TABLE = "move_progress"
"""Table that marks an unfinished transfer: no server opens the database while it exists."""
VERSION_TABLE = """
    CREATE TABLE IF NOT EXISTS schema_version (
        version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_us BIGINT NOT NULL)"""
SCHEMA_VERSION = "SELECT coalesce(max(version), 0) FROM schema_version"
ADD_VERSION = "INSERT INTO schema_version (version, name, applied_us) VALUES (?, ?, ?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """A migration: its version, file name and SQL script."""

    version: int
    name: str
    script: str


@cache
def migrations_of(dialect: str) -> Sequence[Migration]:
    """Return the migrations for `sqlite` or `postgres`, in order."""
    folder = resources.files("proffer") / "migrations" / dialect
    migrations = (
        Migration(version=int(match[1]), name=match[0], script=file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if (match := _FILE.fullmatch(file.name))
    )
    return tuple(sorted(migrations, key=lambda migration: migration.version))


def newer_schema_message(database: str, version: int, newest: int) -> str:
    """Return the error message for a database migrated by a newer Proffer."""
    return (
        f"the database `{database}` is at schema version {version} and this Proffer knows versions up to "
        f"{newest}: run the newer Proffer that migrated it, or restore a backup from before"
    )


def pending_migrations_message(database: str, pending: Sequence[str]) -> str:
    """Return the error message for a database with pending migrations."""
    return (
        f"the database `{database}` needs {len(pending)} migrations, the next being {pending[0]}: back it "
        "up, then start `proffer serve`, which applies them"
    )


def failed_message(database: str, migration: Migration, error: Exception, *, is_full: bool) -> str:
    """Return the error message for a migration that failed and was rolled back."""
    help_text = "make space on its disk, then start again" if is_full else "start again once this is mended"
    return (
        f"the migration {migration.name} of the database `{database}` failed: {error}. The database is as it was "
        f"before this migration; {help_text}"
    )


def unfinished_message(database: str) -> str:
    """Return the error message for a database with an unfinished transfer."""
    return f"a move or a restore into `{database}` is not finished: run it again with `--resume`, or empty the database"
