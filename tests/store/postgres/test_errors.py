"""When PostgreSQL fails, callers are told why, nothing is half-written, and afterwards all goes on."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from asyncpg.exceptions import ConnectionDoesNotExistError

from proffer.model.identity import IdentityKey
from proffer.store.errors import StoreUnavailable
from proffer.store.postgres.store import PostgresStore
from proffer.testing.caps_contract import a_decision, a_limit, caps_of, try_record
from proffer.testing.customer_contract import a_record
from proffer.testing.store_contract import NOON, a_container, a_version
from support.own_postgres import own_postgres
from support.small_disk import small_disk


@pytest.fixture
async def accept_lost_connections() -> None:
    """Accept that asyncpg reports a lost connection to an operation that nobody awaits any more.

    It does so to a future of its own, which anyio's test runner would raise. Failures of tasks still fail the test.
    """
    loop = asyncio.get_running_loop()
    report = loop.get_exception_handler()
    assert report is not None

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        is_task = isinstance(context.get("future"), asyncio.Task)
        if is_task or not isinstance(context.get("exception"), ConnectionDoesNotExistError):
            report(loop, context)

    loop.set_exception_handler(handle)


@pytest.mark.usefixtures("accept_lost_connections")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restarted", "crashed"])
async def test_what_was_acknowledged_before_a_restart_is_there(how: signal.Signals) -> None:
    """Writers go on through two restarts: what they were told is written is there, once, and whole."""
    with own_postgres() as database:
        store = await PostgresStore.open(database.url, patience_s=3)
        await store.ensure_container(a_container())
        await store.ensure_caps("c1", 1, [caps_of(a_limit(10**6))])
        acknowledged: list[str] = []
        revisions: list[int] = []
        stop = asyncio.Event()

        async def decide() -> None:
            while not stop.is_set():
                event = a_decision(who=[IdentityKey("Email", f"{len(acknowledged) % 9}")])
                try:
                    await store.record("c1", event)
                except StoreUnavailable:
                    await asyncio.sleep(0.02)
                    continue
                acknowledged.append(event.id)
                await asyncio.sleep(0.002)

        async def write() -> None:
            while not stop.is_set():
                try:
                    at = (await store.revisions())["c1"]
                    await store.commit("c1", at, [a_version(at + 1, f"n{at}")])
                except StoreUnavailable:
                    await asyncio.sleep(0.02)
                    continue
                revisions.append(at + 1)
                await asyncio.sleep(0.005)

        async def restart() -> None:
            for _ in range(2):
                await asyncio.sleep(0.15)
                await asyncio.to_thread(database.stop, how)
                await asyncio.to_thread(database.start)
            await asyncio.sleep(0.2)
            stop.set()

        await asyncio.gather(restart(), decide(), decide(), decide(), write())
        packs = await store.decision_events("c1", 0, 10_000)
        recorded = [event.id for _, events in packs for event in events]
        assert set(acknowledged) <= set(recorded)
        assert len(recorded) == len(set(recorded))
        revision, alive = await store.live("c1")
        assert list(range(1, revision + 1)) == [each.revision for each in alive]
        assert max(revisions) <= revision
        await store.catch_up(NOON)
        totals = await store._connections.write(lambda one: one.fetchval("SELECT count FROM cap_totals"))
        assert totals == len(recorded)
        await store.close()


async def test_a_full_disk_fails_only_what_does_not_fit(tmp_path: Path) -> None:
    """A large write is refused whole and told; small ones go on, and all fits again once there is room."""
    with small_disk(tmp_path, 24) as disk, own_postgres(temp_file_limit="1MB") as database:
        store = await PostgresStore.open(database.url, patience_s=30)
        await store.ensure_container(a_container())
        await store.ensure_caps("c1", 1, [caps_of(a_limit(10))])
        connection = await store._pool.connect()
        await connection.execute(disk.add_tablespace())
        await connection.execute("ALTER TABLE versions SET TABLESPACE small")

        big = {"text": os.urandom(15_000_000).hex()}
        with pytest.raises(StoreUnavailable, match="space"):
            await store.commit("c1", 0, [a_version(1), a_version(2, "two", document=big)])
        assert await store.live("c1") == (0, ())
        assert await try_record(store)
        await store.apply_changes("c1", [a_record(IdentityKey("Email", "a"))], now_us=NOON)
        await connection.close()
        await asyncio.to_thread(disk.resize, 200)
        await store.commit("c1", 0, [a_version(1)])
        assert (await store.live("c1"))[0] == 1
        await store.close()
