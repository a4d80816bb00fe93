"""Copies of stored installations. The folder of a version is never written."""

import asyncio
import gzip
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from proffer.store.sqlite.migrate import newest_version
from support.postgres import new_database

KINDS = ("sqlite", "postgres")


@dataclass(frozen=True)
class StoredVersion:
    """The fixtures written by one version."""

    folder: Path

    def __str__(self) -> str:
        return self.folder.name

    @property
    def commit(self) -> str:
        """The commit whose code wrote the fixtures."""
        return str(self.read("version")["commit"])

    @property
    def schema(self) -> int:
        """The last migration of the databases. The code of 0.1.0 did not write it into `version.json`."""
        return int(self.read("version").get("schema", 3))

    @property
    def meaning(self) -> int:
        """The version of the meaning of rules by which it decided; like events, 1 without it."""
        return int(self.read("version").get("meaning", 1))

    def read(self, name: str) -> Any:
        """Return the content of a JSON file by its name without suffix."""
        return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Installation:
    """A database written by a stored version, and its expected content."""

    kind: str
    database: str
    facts: dict[str, Any]
    version: StoredVersion
    spool: Path


VERSIONS = [StoredVersion(path.parent) for path in sorted(Path(__file__).parent.glob("*/version.json"))]
VERSIONS_TO_MIGRATE = [version for version in VERSIONS if version.schema < newest_version()]


def for_versions(versions: Sequence[StoredVersion]) -> pytest.MarkDecorator:
    """Return the mark of a test, or of a module, that only these versions are for."""
    return pytest.mark.parametrize("version", versions, indirect=True, ids=str)


def versions_with(fact: str) -> list[StoredVersion]:
    """Return the versions whose scenario has this fact."""
    return [version for version in VERSIONS if fact in version.read("sqlite")]


def copy_installation(version: StoredVersion, kind: str, folder: Path) -> Installation:
    """Copy the stored database of this kind. A SQLite file is put into `folder`."""
    if kind == "postgres":
        database = asyncio.run(new_database(template=_template(version.folder)))
    else:
        path = folder / "proffer.db"
        path.write_bytes(gzip.decompress((version.folder / "proffer.db.gz").read_bytes()))
        database = f"sqlite:///{path}"
    return Installation(kind, database, version.read(kind), version, folder / "spool")


def execute(installation: Installation, statement: str) -> None:
    """Run a statement in the copy, before it is served."""

    async def in_postgres() -> None:
        connection = await asyncpg.connect(installation.database)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    if installation.kind == "postgres":
        asyncio.run(in_postgres())
        return
    with closing(sqlite3.connect(installation.database.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute(statement)


@cache
def _template(folder: Path) -> str:
    """Return the name of a template database restored from the stored dump."""

    async def restore() -> str:
        url = await new_database()
        connection = await asyncpg.connect(url)
        try:
            await connection.execute((folder / "postgres.sql").read_text(encoding="utf-8"))
        finally:
            await connection.close()
        return urlsplit(url).path[1:]

    return asyncio.run(restore())
