"""Reading a database file without writing to it, while a server writes."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from proffer.app import DEV_CONTAINER
from proffer.model.customer import ExperienceEvent, ProfileRecord
from proffer.model.identity import IdentityKey
from proffer.store.errors import SchemaMismatch
from proffer.store.sqlite.reader import SqliteReader
from proffer.store.sqlite.store import SqliteStore
from support.containers import on_file, tag


def profile(number: int) -> ProfileRecord:
    identity = IdentityKey("CRMID", str(number))
    return ProfileRecord(identities=(identity,), dataset="crm", stamped_us=1, attributes={"number": number})


async def test_a_reader_sees_what_a_server_writes_meanwhile(tmp_path: Path) -> None:
    """Libraries, customers and events are those of the store, at once."""
    path = tmp_path / "p.db"
    async with on_file(path) as services:
        store = services.store
        assert isinstance(store, SqliteStore)
        reader = await SqliteReader.open(path)
        try:
            assert await reader.customer_count(DEV_CONTAINER) == (0, 1, 0)
            assert await reader.page(DEV_CONTAINER, 0, 10) == ()
            for number in range(1, 4):
                await tag(services, f"tag {number}")
                event = ExperienceEvent(
                    identities=(IdentityKey("CRMID", str(number)),),
                    id=f"e{number}",
                    stamped_us=5,
                    document={"n": number},
                )
                await store.apply_changes(DEV_CONTAINER, [profile(number), event], now_us=10)

                assert await reader.containers() == await store.containers()
                assert await reader.live(DEV_CONTAINER) == await store.live(DEV_CONTAINER)
                assert await reader.customer_count(DEV_CONTAINER) == await store.customer_count(DEV_CONTAINER)
                page = await reader.page(DEV_CONTAINER, 0, 10)
                keys = [customer.key for customer in page]
                assert [customer.attributes["number"] for customer in page] == list(range(1, number + 1))
                assert page == await store.page(DEV_CONTAINER, 0, 10)
                assert await reader.page(DEV_CONTAINER, keys[0], 1) == page[1:2]
                assert await reader.customers_by_key(DEV_CONTAINER, keys) == await store.customers_by_key(
                    DEV_CONTAINER, keys
                )
                assert await reader.events(DEV_CONTAINER, keys, 0) == await store.events(DEV_CONTAINER, keys, 0)
        finally:
            await reader.close()


async def test_a_file_of_a_newer_version_or_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    with pytest.raises(SchemaMismatch, match="belongs to another program"):
        await SqliteReader.open(path)
    async with on_file(tmp_path / "p.db"):
        pass
    with closing(sqlite3.connect(tmp_path / "p.db")) as connection, connection:
        connection.execute("INSERT INTO schema_version (version, name, applied_us) VALUES (900, 'x', 1)")
    with pytest.raises(SchemaMismatch, match="schema version 900"):
        await SqliteReader.open(tmp_path / "p.db")
