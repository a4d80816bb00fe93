"""Copies of stored installations: what is in the folder of a version is never written to."""

import asyncio
import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from support.postgres import new_database

KINDS = ("sqlite", "postgres")


@dataclass(frozen=True)
class StoredVersion:
    """The fixtures that one version has written."""

    folder: Path

    def __str__(self) -> str:
        return self.folder.name

    @property
    def commit(self) -> str:
        """The commit whose code wrote them."""
        return str(self.read("version")["commit"])

    def read(self, name: str) -> Any:
        """What is known of them: a JSON file by its name without the ending."""
        return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Installation:
    """A database that a stored version has written, and what is known of it."""

    kind: str
    database: str
    facts: dict[str, Any]
    version: StoredVersion
    spool: Path


VERSIONS = [StoredVersion(path.parent) for path in sorted(Path(__file__).parent.glob("*/version.json"))]


def copy_installation(version: StoredVersion, kind: str, folder: Path) -> Installation:
    """A copy of the stored database of this kind; a file of SQLite is put into `folder`."""
    if kind == "postgres":
        database = asyncio.run(new_database(template=_template(version.folder)))
    else:
        path = folder / "proffer.db"
        path.write_bytes(gzip.decompress((version.folder / "proffer.db.gz").read_bytes()))
        database = f"sqlite:///{path}"
    return Installation(kind, database, version.read(kind), version, folder / "spool")


@cache
def _template(folder: Path) -> str:
    """The name of a database into which the stored dump was read, to be copied."""

    async def restore() -> str:
        url = await new_database()
        connection = await asyncpg.connect(url)
        try:
            await connection.execute((folder / "postgres.sql").read_text(encoding="utf-8"))
        finally:
            await connection.close()
        return urlsplit(url).path[1:]

    return asyncio.run(restore())
