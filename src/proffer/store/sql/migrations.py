"""The numbered files that make a database what this Proffer speaks; one folder for each dialect, numbered alike."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

_FILE = re.compile(r"(\d{3})_\w+\.sql")

PROGRESS = "move_progress"
"""The table of a database that is being filled: no server serves it until it is whole."""
VERSION_TABLE = """
    CREATE TABLE IF NOT EXISTS schema_version (
        version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_us BIGINT NOT NULL)"""
SCHEMA_VERSION = "SELECT coalesce(max(version), 0) FROM schema_version"
ADD_VERSION = "INSERT INTO schema_version (version, name, applied_us) VALUES (?, ?, ?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema: its number, the name of its file, and the SQL in it."""

    version: int
    name: str
    script: str


@cache
def migrations_of(dialect: str) -> Sequence[Migration]:
    """Every migration for `sqlite` or `postgres` that this Proffer brings along, in order."""
    folder = resources.files("proffer") / "migrations" / dialect
    found = (
        Migration(version=int(match[1]), name=match[0], script=file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if (match := _FILE.fullmatch(file.name))
    )
    return tuple(sorted(found, key=lambda migration: migration.version))


def ahead(database: str, version: int, newest: int) -> str:
    """Why a database that a newer Proffer migrated is left alone."""
    return (
        f"the database `{database}` is at schema version {version} and this Proffer knows versions up to "
        f"{newest}: run the newer Proffer that migrated it, or restore a backup from before"
    )


def behind(database: str, pending: Sequence[str]) -> str:
    """Why a database that needs migrations is not opened, and what to do."""
    return (
        f"the database `{database}` needs {len(pending)} migrations, the next being {pending[0]}: back it "
        "up, then start `proffer serve`, which applies them"
    )


def unfinished(database: str) -> str:
    """Why a database that is being filled is not opened."""
    return (
        f"a move or a restore into `{database}` was begun and is not finished: run it again with `--resume`, "
        "or empty the database"
    )
