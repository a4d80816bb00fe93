"""`proffer library check --upgrade` with today's code on databases of earlier versions."""

import asyncio
import sqlite3
from contextlib import closing
from typing import Any

import asyncpg
import pytest

from cli.commands import Proffer
from proffer.app import open_reader
from proffer.config import Settings
from proffer.store.errors import StoreUnavailable
from proffer.store.sqlite.reader import SqliteReader
from upgrade.installations import Installation, execute
from upgrade.library import NO_JSON

_READ = {"sqlite": "CAST(document AS TEXT)", "postgres": "convert_from(document, 'UTF8')"}
_WRITTEN = {"sqlite": "CAST({} AS BLOB)", "postgres": "convert_to({}, 'UTF8')"}
_REPLACED = "replace(replace({}, '\"age\":36', '\"age\":\"36\"'), '2025-12-24', '2025-12-31')"
MAKE_DOUBTFUL = {
    kind: "UPDATE customers SET document = " + _WRITTEN[kind].format(_REPLACED.format(read))  # noqa: S608 - constants
    for kind, read in _READ.items()
}
"""A number becomes a text, and a day one that some months lack."""


def content(installation: Installation) -> list[Any]:
    """Return the schema version and the rows of libraries and customers."""
    statements = (
        "SELECT version, applied_us FROM schema_version ORDER BY version",
        "SELECT container_id, revision, document FROM versions ORDER BY container_id, revision",
        "SELECT customer, document, membership FROM customers ORDER BY customer",
    )

    async def of_postgres() -> list[Any]:
        connection = await asyncpg.connect(installation.database)
        try:
            return [[tuple(row) for row in await connection.fetch(statement)] for statement in statements]
        finally:
            await connection.close()

    if installation.kind == "postgres":
        return asyncio.run(of_postgres())
    with closing(sqlite3.connect(installation.database.removeprefix("sqlite:///"))) as connection:
        return [connection.execute(statement).fetchall() for statement in statements]


def test_rules_whose_meaning_may_change_are_listed_and_nothing_is_migrated(
    installation: Installation, proffer: Proffer
) -> None:
    """Each with the number of customers; without findings the exit code is 0 with `--strict` too."""
    command = ("library", "check", "--upgrade", "--strict", "--database", installation.database)
    ran = proffer(*command)
    assert ran.code == 0
    assert ran.out.splitlines()[-1].endswith(" live rules evaluated for 3 customers, 0 to look at")

    execute(installation, MAKE_DOUBTFUL[installation.kind])
    before = content(installation)
    ran = proffer(*command)

    lines = ran.out.splitlines()
    assert ran.code == 1
    assert [line for line in lines if line.startswith("eligibility rule")] == [
        (
            'eligibility rule `Adults`: `person.age >= 18`: 1 customer holds "36": it is not of the type that it is '
            "compared or calculated as, and is converted or left out"
        ),
        (
            "eligibility rule `Joined lately`: `loyalty.joinDate occurs < 24 months before now`: 1 customer holds "
            '"2025-12-31": some months lack that day: a month or year is complete on the first of the next one'
        ),
    ]
    assert lines[-1].endswith(" live rules evaluated for 3 customers, 2 to look at")
    assert content(installation) == before
    assert len(before[0]) == installation.version.schema


def test_the_library_of_an_earlier_version_is_checked(installation: Installation, proffer: Proffer) -> None:
    """It has no mistakes, except content that is not JSON where that version accepted it."""
    ran = proffer("library", "check", "--database", installation.database, "--sandbox", "prod")
    errors = int(NO_JSON in (installation.version.folder / "library.yaml").read_text(encoding="utf-8"))
    assert ran.code == errors
    assert ran.out.count("error: personalized offer `Card that is no JSON`") == errors
    assert f"{errors} errors, 0 warnings" in ran.out


def test_readers_of_a_database_cannot_write(installation: Installation) -> None:
    async def try_to_write() -> None:
        reader: Any = await open_reader(Settings(database=installation.database))
        try:
            if isinstance(reader, SqliteReader):
                reader._connection.execute("DELETE FROM customers")
            else:
                await reader._pool.read(lambda connection: connection.execute("DELETE FROM customers"))
        finally:
            await reader.close()

    with pytest.raises((sqlite3.OperationalError, StoreUnavailable), match=r"read-?only"):
        asyncio.run(try_to_write())
