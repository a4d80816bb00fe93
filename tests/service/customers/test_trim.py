"""Ids that an earlier version stored with blanks around them are trimmed when the database is opened."""

import logging
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from proffer.app import open_store
from proffer.config import load_settings
from proffer.model.customer import Change, MembershipChange, MembershipStatus
from proffer.model.identity import BLANKS, IdentityKey
from proffer.store.sql.migrations import migrations_of
from proffer.testing.customer_contract import a_record
from proffer.testing.store_contract import NOON, a_container
from support.postgres import a_database

ANN, BOB, EVE = (IdentityKey("Email", text) for text in ("ann@x", "bob@x", "eve@x"))
COUNTERS = """
    INSERT INTO cap_counters (owner, identity, counter, placement, window_us, count, expires_us) VALUES
        (-1, 'Email: bob@x', 7, '', 0, 1, NULL),
        (-1, 'Email:eve@x', 7, '', 0, 2, NULL),
        (-1, 'Email:eve@x\u2003', 7, '', 0, 3, NULL),
        (-1, 'Email: ann@x', 7, '', 0, 4, NULL)"""
"""Counters of identities that had no customer: of three persons, one of them with both spellings."""


class Database:
    """A database of either kind, for statements of its own and for `open_store`."""

    def __init__(self, url: str) -> None:
        self.settings = load_settings({"database": url})
        self.url = url
        self.is_sqlite = url.startswith("sqlite:///")

    async def rows(self, statement: str) -> Sequence[tuple[Any, ...]]:
        if self.is_sqlite:
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection:
                return connection.execute(statement).fetchall()
        postgres = await asyncpg.connect(self.url)
        found = await postgres.fetch(statement)
        await postgres.close()
        return [tuple(row) for row in found]

    async def run(self, script: str) -> None:
        if self.is_sqlite:
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection:
                connection.executescript(script)
            return
        postgres = await asyncpg.connect(self.url)
        await postgres.execute(script)
        await postgres.close()

    async def migrate(self) -> None:
        """Run the migration again, as on a database of an earlier version."""
        (migration,) = (
            each
            for each in migrations_of("sqlite" if self.is_sqlite else "postgres")
            if each.name.endswith("untrimmed_identities.sql")
        )
        await self.run("DROP TABLE untrimmed_identities")
        await self.run(migration.script)


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        yield Database(f"sqlite:///{tmp_path / 'p.db'}")
        return
    async with a_database() as url:
        yield Database(url)


async def test_stored_ids_lose_their_blanks_once(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Customers with equal ids merge, counters follow, and the log has the numbers; opening again does nothing."""
    store = await open_store(database.settings)
    await store.ensure_container(a_container())
    changes: list[Change] = [
        a_record(IdentityKey("Email", f" {ANN.id}\xa0"), city="Ulm"),
        a_record(ANN, at=1, dataset="web", plan="gold"),
        MembershipChange(
            identities=(IdentityKey("Email", f"\ufeff{BOB.id}"),), audience="a", columns={"t": "1"}, stamped_us=NOON
        ),
    ]
    for change in changes:
        await store.apply_changes("c1", [change], now_us=NOON)
    await store.close()
    await database.run(COUNTERS)
    await database.migrate()
    with caplog.at_level(logging.WARNING):
        store = await open_store(database.settings)
        await (await open_store(database.settings)).close()

    (ann,) = await store.customers("c1", [ANN])
    (bob,) = await store.customers("c1", [BOB])
    assert (ann.identities, ann.attributes) == ((ANN,), {"city": "Ulm", "plan": "gold"})
    assert [source.origin for source in ann.sources] == [ANN, ANN]
    assert (bob.identities, bob.membership["a"].status) == ((BOB,), MembershipStatus.REALIZED)
    assert (await store.customer_count("c1"))[0] == 2
    await store.close()
    counted = await database.rows("SELECT owner, identity, count FROM cap_counters ORDER BY count")
    assert counted == [(bob.key, "", 1), (ann.key, "", 4), (-1, f"Email:{EVE.id}", 5)]
    (line,) = [record.getMessage() for record in caplog.records if "blanks" in record.getMessage()]
    assert line.startswith("2 identities were stored with blanks")
    assert "1 of them were those of another customer" in line
    assert await database.rows("SELECT count(*) FROM untrimmed_identities") == [(0,)]


async def test_the_migration_knows_the_same_blanks(database: Database) -> None:
    """An id with any of the blanks around it is listed, one of blanks alone is not."""
    store = await open_store(database.settings)
    await store.ensure_container(a_container())
    for number, blank in enumerate(BLANKS):
        await store.apply_changes("c1", [a_record(IdentityKey("CRMID", f"{number}{blank}"), n=number)], now_us=NOON)
        await store.apply_changes("c1", [a_record(IdentityKey("CRMID", blank))], now_us=NOON)
    await store.close()
    await database.migrate()
    store = await open_store(database.settings)

    for number in range(len(BLANKS)):
        (customer,) = await store.customers("c1", [IdentityKey("CRMID", str(number))])
        assert customer.attributes == {"n": number}
    await store.close()
