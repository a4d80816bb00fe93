"""PostgreSQL keeps the promise, and any number of servers share it politely."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from proffer.model.identity import IdentityKey
from proffer.store.errors import StoreUnavailable
from proffer.store.ports import Store
from proffer.store.postgres import listening, vacuum
from proffer.store.postgres.errors import redacted_url
from proffer.store.postgres.store import PostgresStore
from proffer.testing.caps_contract import CapsContract
from proffer.testing.counting_contract import CountingContract
from proffer.testing.customer_contract import CustomerContract, a_record, an_event
from proffer.testing.feedback_contract import FeedbackContract
from proffer.testing.store_contract import (
    HARD_JSON,
    NOON,
    StoreContract,
    a_container,
    a_token,
    a_version,
    with_encoded_documents,
)
from support.postgres import PooledStore, a_database


class TestPostgresStore(StoreContract):
    async def open(self, tmp_path: Path) -> Store:
        return await PooledStore.create()


class TestPostgresCaps(CapsContract):
    async def open(self, tmp_path: Path) -> Store:
        return await PooledStore.create()


class TestPostgresFeedback(FeedbackContract):
    async def open(self, tmp_path: Path) -> Store:
        return await PooledStore.create()


class TestPostgresCounting(CountingContract):
    async def open(self, tmp_path: Path) -> Store:
        return await PooledStore.create()


class TestPostgresCustomers(CustomerContract):
    async def open(self, tmp_path: Path) -> Store:
        return await PooledStore.create()


@asynccontextmanager
async def two_stores() -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    """Open two stores on one database that has one container."""
    async with a_database() as url:
        here, there = [await PostgresStore.open(url) for _ in range(2)]
        await here.ensure_container(a_container())
        try:
            yield here, there
        finally:
            await here.close()
            await there.close()


async def test_reopening_gives_everything_back() -> None:
    """Containers, versions and tokens are the same in the next life of the process."""
    written = [a_version(1, document=HARD_JSON), a_version(2, etag=2), a_version(3, "two")]

    async with a_database() as url:
        first = await PostgresStore.open(url)
        await first.ensure_container(a_container())
        await first.commit("c1", 0, written)
        await first.add_token(a_token())
        await first.revoke_token("t1", 5)
        await first.close()
        second = await PostgresStore.open(url)
        assert with_encoded_documents(written) == with_encoded_documents(await second.since("c1", 0))
        assert (3, tuple(written[1:])) == await second.live("c1")
        assert (a_token(revoked_us=5),) == await second.tokens()
        await second.commit("c1", 3, [a_version(4, "three")])
        await second.close()


async def test_two_servers_see_each_other() -> None:
    """What one has committed is in the other's next answer."""
    async with two_stores() as (here, there):
        for revision in range(1, 11):
            writer, reader = (here, there) if revision % 2 else (there, here)
            await writer.commit("c1", revision - 1, [a_version(revision, f"n{revision}")])
            assert {"c1": revision} == dict(await reader.revisions())
            assert revision == (await reader.live("c1"))[0]


async def test_a_change_is_told_to_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to look: with a poll that never comes, a waiting server wakes for each commit."""
    monkeypatch.setattr(listening, "POLL_LISTENING_S", 60)

    async with two_stores() as (here, there):
        await until_it_listens(there)
        for revision in range(1, 4):
            waiting = asyncio.create_task(there.await_change())
            await asyncio.sleep(0)
            await here.commit("c1", revision - 1, [a_version(revision, f"n{revision}")])
            await asyncio.wait_for(waiting, timeout=20)


async def test_a_lost_channel_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its connection cut, a server goes on looking by itself until it listens again."""
    monkeypatch.setattr(listening, "POLL_LISTENING_S", 60)

    async with two_stores() as (here, there):
        await until_it_listens(there)
        assert there._listener is not None
        quiet = asyncio.create_task(there._listener.not_listening.wait())
        await asyncio.sleep(0)
        await here._connections.write(cut_others)
        await asyncio.wait_for(quiet, timeout=20)
        await asyncio.wait_for(there.await_change(), timeout=20)  # the poll that is the net
        await until_it_listens(there)
        waiting = asyncio.create_task(there.await_change())
        await here.commit("c1", 0, [a_version(1)])
        await asyncio.wait_for(waiting, timeout=20)


async def until_it_listens(store: PostgresStore) -> None:
    while store._listener is None or not store._listener.listening:
        await store.await_change()


async def cut_others(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


async def test_servers_that_claim_the_same_people_lose_nothing() -> None:
    """Two servers name, link and merge the same few people at once: every word of each record is kept."""
    chance = random.Random(11)  # noqa: S311 - not a secret

    async with two_stores() as (here, there):
        people = [IdentityKey("CRMID", str(number)) for number in range(12)]
        said = {}
        jobs = []
        for number in range(120):
            named = chance.sample(people, chance.choice([1, 1, 1, 2, 3]))
            said[f"n{number}"] = number
            record = a_record(*named, at=number, words={f"n{number}": number})
            event = an_event(chance.choice(people), key=f"e{number}", at=number)
            store = chance.choice([here, there])
            jobs.append(store.apply_changes("c1", [record, event], now_us=NOON))
        await asyncio.gather(*jobs)

        everybody = await here.page("c1", 0, 100)
        heard = {key: n for one in everybody for key, n in one.attributes["words"].items()}
        assert said == heard
        assert (await there.customer_count("c1"))[0] == len(everybody)
        named_once = sorted(identity for one in everybody for identity in one.identities)
        assert sorted(people) == named_once
        for one in everybody:
            for identity in one.identities:
                assert [one] == list(await there.customers("c1", [identity]))
        events = [event for one in everybody for event in await here.events("c1", [one.key], 0)]
        assert len(events) == min(120, len(events)) > 0


async def test_erasing_while_others_write_leaves_no_half_of_anybody() -> None:
    """A person erased while records of them come in is either gone or begun anew, whole."""
    async with two_stores() as (here, there):
        ann, cookie = IdentityKey("Email", "ann@x"), IdentityKey("ECID", "1")
        for _ in range(10):
            await here.apply_changes("c1", [a_record(ann, cookie, city="Ulm")], now_us=NOON)
            await asyncio.gather(
                here.erase("c1", ann),
                there.apply_changes("c1", [a_record(cookie, zip="1")], now_us=NOON),
                here.apply_changes("c1", [an_event(cookie, ann)], now_us=NOON),
            )
            everybody = await here.page("c1", 0, 10)
            assert (await here.customer_count("c1"))[0] == len(everybody)
            found = {one.key for one in await here.customers("c1", [ann, cookie])}
            assert found == {one.key for one in everybody}


async def test_bulk_imports_at_once_share_the_people() -> None:
    """Two servers bring in overlapping blocks: everybody is there once."""
    async with two_stores() as (here, there):

        def block(first: int) -> list[tuple[tuple[tuple[str, str], ...], str, int, bytes]]:
            return [
                ((("CRMID", str(number)),), "crm", NOON, b'{"n":%d}' % number) for number in range(first, first + 300)
            ]

        await asyncio.gather(
            *(
                store.bulk_apply("c1", block(first), now_us=NOON)
                for store, first in ((here, 0), (there, 150), (here, 300), (there, 450), (here, 0))
            )
        )
        everybody = await here.page("c1", 0, 1000)
        assert list(range(750)) == sorted(one.attributes["n"] for one in everybody)
        assert (await here.customer_count("c1"))[0] == 750


async def test_a_lost_connection_is_replaced() -> None:
    """Reads and writes go on as if nothing had been, though every connection was cut between them."""
    async with two_stores() as (here, there):
        for revision in range(1, 6):
            await here.commit("c1", revision - 1, [a_version(revision, f"n{revision}")])
            await there._connections.write(cut_others)
            assert (await here.live("c1"))[0] == revision


async def test_connections_cut_under_load_lose_nothing_acknowledged() -> None:
    """While writers write, somebody keeps cutting all connections: what was acknowledged is there, once."""
    async with two_stores() as (here, there):
        acknowledged: list[int] = []

        async def write(number: int) -> None:
            person = IdentityKey("CRMID", str(number % 7))
            try:
                await here.apply_changes("c1", [an_event(person, key=f"e{number}")], now_us=NOON)
            except StoreUnavailable:
                return
            acknowledged.append(number)

        async def cut() -> None:
            for _ in range(6):
                await asyncio.sleep(0.02)
                await there._connections.write(cut_others)

        await asyncio.gather(cut(), *(write(number) for number in range(80)))
        people = [IdentityKey("CRMID", str(number)) for number in range(7)]
        keys = [one.key for one in await here.customers("c1", people)]
        kept = [event["_id"] for key in keys for event in await here.events("c1", [key], 0)]
        assert {f"e{number}" for number in acknowledged} <= set(kept)
        assert len(kept) == len(set(kept))


async def test_a_commit_that_nobody_answered_is_asked_about() -> None:
    """The connection dies while COMMIT is carried out: the write is known to be done, and not done twice."""
    async with two_stores() as (here, there):

        class Dying:
            """A connection whose answer to COMMIT is lost."""

            def __init__(self, connection: asyncpg.Connection) -> None:
                self._connection = connection

            def __getattr__(self, name: str) -> object:
                return getattr(self._connection, name)

            async def execute(self, statement: str, *values: object) -> object:
                said = await self._connection.execute(statement, *values)
                if statement == "COMMIT":
                    raise ConnectionResetError("cut")
                return said

        runs = []

        async def work(connection: asyncpg.Connection) -> str:
            runs.append(1)
            await connection.execute("INSERT INTO tokens VALUES ('t', 'd', '', '', '[]', '', 0, NULL, NULL)")
            return "done"

        async def dying(connection: asyncpg.Connection) -> str:
            return await here._pool._transaction(Dying(connection), work)

        attempt = here._pool._attempt

        async def attempted(asked: Any) -> Any:
            return await attempt(asked if runs else dying)

        here._pool._attempt = attempted  # type: ignore[assignment,method-assign]
        assert await here._connections.write(work) == "done"
        assert (len(runs), len(await there.tokens())) == (1, 1)


def test_what_is_not_there_says_so() -> None:
    """A server that cannot be reached is named, with the reason and without the password."""
    url = "postgresql://me:secret@127.0.0.1:1/proffer"

    async def opened() -> None:
        await PostgresStore.open(url)

    with pytest.raises(StoreUnavailable, match=r"postgresql://me@127.0.0.1:1/proffer.*Connect call failed"):
        asyncio.run(opened())
    several = "postgresql://me:sec@ret@a:1,b:2/proffer?password=secret"
    assert redacted_url(several) == "postgresql://me@a:1,b:2/proffer"


async def test_a_closed_store_says_so() -> None:
    """Reading and writing raise StoreUnavailable; nothing hangs."""
    async with two_stores() as (_, there):
        await there.close()
        for asked in (there.revisions(), there.containers(), there.add_token(a_token())):
            with pytest.raises(StoreUnavailable, match="closed"):
                await asked


async def test_a_database_in_another_language_keeps_our_order() -> None:
    """Ids are compared by their bytes, as everywhere else."""
    async with two_stores() as (here, _):
        for key in ("a1", "B1", "Ä1", "_1"):
            await here.ensure_container(a_container(key, sandbox=key))
        ids = [each.id for each in await here.containers()]
        assert sorted(ids) == ids


async def test_vacuum_writes_every_table_anew() -> None:
    """What was removed takes no room any more; what is there is still there."""
    async with a_database() as url:
        store = await PostgresStore.open(url)
        await store.ensure_container(a_container())
        await store.commit("c1", 0, [a_version(1, document={"text": "x" * 1_000_000})])
        before, after = await vacuum.vacuum(url)
        assert before > 0 < after
        assert (await store.live("c1"))[0] == 1
        await store.close()
