"""A database that is busy holds a decision only for a while; each is on record exactly once, whatever stalls."""

import asyncio
import os
import sqlite3
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proffer.app import Services
from proffer.model.identity import IdentityKey
from proffer.service.decisions.decide import DecisionResult
from proffer.service.runtime.database_status import DatabaseStatus
from proffer.store.common.caps import subject_of
from proffer.store.errors import StoreUnavailable, WriteDelayed
from proffer.store.postgres.cap_statements import COUNTER_LOCK
from proffer.store.postgres.counters import subject_lock_stripe
from proffer.store.postgres.store import PostgresStore
from proffer.store.spool import Spool
from proffer.store.sqlite.store import SqliteStore
from proffer.store.sqlite.write_lock import WriteLock
from proffer.testing.builders import an_offer
from service.decisions.test_degraded import MEGABYTE, decided, library, on_record, soon
from support.own_postgres import own_postgres

OFFERS = [
    an_offer("plain", priority=1),
    an_offer("capped", priority=9, cap=1000),
    an_offer("each", priority=8, profile_cap=100),
]
WAIT_S = 0.05
EXAMPLES = int(os.environ.get("PROFFER_STALL_EXAMPLES", "8"))


def is_bypassed(services: Services) -> bool:
    return services.registry.database_status.is_bypassed


async def settled(services: Services) -> None:
    """Wait until everything spooled is recorded."""
    await soon(lambda: services.registry.database_status.outage is None and not services.decide.spool_replayer.pending)


async def assert_recorded_once(services: Services, answers: Sequence[DecisionResult]) -> int:
    """Assert that these decisions are on record, each once; return how many of them counted."""
    await settled(services)
    recorded = await on_record(services)
    assert sorted(recorded) == sorted(answer.proposition_id for answer in answers)
    return sum(not answer.without for answer in answers)


@given(st.lists(st.tuples(st.sampled_from(["lock", "commit"]), st.integers(0, 150)), min_size=1, max_size=4))
@settings(max_examples=EXAMPLES)
def test_each_decision_is_recorded_once_under_stalls(stalls: list[tuple[str, int]]) -> None:
    """Another process holds the database, or commits take long, up to three waits: counters equal the record."""

    async def story(path: Path) -> None:
        store = await SqliteStore.open(path, synchronous="OFF", write_wait_s=WAIT_S)
        sleeps: deque[float] = deque()
        store.on_group_commit(lambda _: time.sleep(sleeps.popleft() if sleeps else 0))
        other = WriteLock(path, 5)

        def hold(seconds: float) -> None:
            with other.held():
                time.sleep(seconds)

        async with library(store, Spool(path.with_name("spool"), MEGABYTE), *OFFERS) as services:
            tasks: list[asyncio.Task[DecisionResult]] = []
            for kind, milliseconds in stalls:
                if kind == "commit":
                    sleeps.append(milliseconds / 1000)
                stall = asyncio.to_thread(hold if kind == "lock" else time.sleep, milliseconds / 1000)
                stalling = asyncio.ensure_future(stall)
                for number in range(4):
                    tasks.append(asyncio.create_task(decided(services, f"p{number}")))
                    await asyncio.sleep(milliseconds / 4000)
                await stalling
            counted = await assert_recorded_once(services, await asyncio.gather(*tasks))
        other.close()
        with sqlite3.connect(path) as connection:
            used = connection.execute(
                "SELECT (SELECT sum(count) FROM cap_totals), (SELECT sum(count) FROM cap_counters)"
            ).fetchone()
        connection.close()
        assert used == ((counted, counted) if counted else (None, None))

    with TemporaryDirectory() as folder:
        asyncio.run(story(Path(folder) / "proffer.db"))


async def test_a_database_held_by_another_process_is_bypassed(tmp_path: Path) -> None:
    """The first decision waits, then it is degraded, and the others are at once; when it is free, all is as before."""
    path = tmp_path / "proffer.db"
    store = await SqliteStore.open(path, write_wait_s=WAIT_S)
    other = WriteLock(path, 5)
    async with library(store, Spool(tmp_path / "spool", MEGABYTE), *OFFERS) as services:
        with other.held():
            first = await decided(services, "ann")
            assert first.without == "counters"
            assert is_bypassed(services)
            assert (await decided(services, "bob")).without == "customer"
            with pytest.raises(StoreUnavailable):
                await decided(services, "ann", reserve_us=1_000_000)
            assert await on_record(services) == []
        await settled(services)
        assert (await decided(services, "ann")).without == ""
        assert len(await on_record(services)) == 3
    other.close()


async def test_a_commit_that_has_begun_is_awaited(tmp_path: Path) -> None:
    """However long it takes; one that waits behind it goes on without the database."""
    store = await SqliteStore.open(tmp_path / "proffer.db", write_wait_s=WAIT_S)
    async with library(store, Spool(tmp_path / "spool", MEGABYTE), *OFFERS) as services:
        store.on_group_commit(lambda _: time.sleep(WAIT_S * 6))
        begun = asyncio.create_task(decided(services, "ann"))
        await asyncio.sleep(WAIT_S)
        behind = await decided(services, "bob")
        assert behind.without
        store.on_group_commit(lambda _: None)
        assert (await begun).without == ""
        await assert_recorded_once(services, [await begun, behind])


async def test_a_slow_write_among_others_opens_no_breaker() -> None:
    """Only when nothing else was written either."""
    status = DatabaseStatus(lambda: 0)
    status.write_wait_s = 0.01
    status.record_failure(WriteDelayed(WAIT_S, stalled=False))
    assert status.outage is None
    slow = asyncio.create_task(status.in_time(asyncio.sleep(60)))
    await asyncio.sleep(0)
    status.note_write()
    with pytest.raises(WriteDelayed) as among_others:
        await slow
    with pytest.raises(WriteDelayed) as alone:
        await status.in_time(asyncio.sleep(60))
    assert (among_others.value.stalled, alone.value.stalled) == (False, True)
    status.record_failure(alone.value)
    assert status.outage is not None


async def test_locks_of_postgresql_hold_up_those_who_need_them(tmp_path: Path) -> None:
    """A locked customer goes without counters, alone; with all locked the breaker opens, and nothing is lost."""
    with own_postgres() as database:
        store = await PostgresStore.open(database.url, write_wait_s=0.4)
        other = await asyncpg.connect(database.url)
        async with library(store, Spool(tmp_path, MEGABYTE), *OFFERS) as services:
            answers = [await decided(services, name) for name in ("ann", "bob")]
            space = await other.fetchval("SELECT max(space) FROM customer_spaces")
            stripe = subject_lock_stripe(subject_of(space, IdentityKey("Email", "ann@x")))
            await other.execute("SELECT pg_advisory_lock($1, $2)", COUNTER_LOCK, stripe)
            together = await asyncio.gather(*(decided(services, name) for name in ("ann", "bob", "cay", "dan")))
            assert [answer.without for answer in together] == ["counters", "", "", ""]
            assert not is_bypassed(services)
            await other.execute("SELECT pg_advisory_unlock_all()")
            answers += together
            await settled(services)

            transaction = other.transaction()
            await transaction.start()
            await other.execute("LOCK TABLE cap_totals IN ACCESS EXCLUSIVE MODE")
            answers += await asyncio.gather(*(decided(services, name) for name in ("ann", "bob", "cay")))
            assert all(answer.without for answer in answers[-3:])
            assert is_bypassed(services)
            await transaction.rollback()
            counted = await assert_recorded_once(services, answers)
            assert counted == await other.fetchval("SELECT sum(count) FROM cap_counters")
        await other.close()
