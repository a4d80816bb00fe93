"""Tasks that one server at a time does."""

import asyncio
from dataclasses import replace

import pytest

from proffer.model.lease import Lease
from proffer.service.runtime import leases as module
from proffer.service.runtime.leases import LEASE_SECONDS, ExclusiveTask
from proffer.store.errors import StoreUnavailable
from proffer.store.memory.store import MemoryStore
from support.clock import SetClock

pytestmark = pytest.mark.anyio
SECOND = 1_000_000


async def _let_tasks_run() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_only_one_process_at_a_time_works() -> None:
    store, clock = MemoryStore(), SetClock()
    running = most = runs = 0

    async def work() -> None:
        nonlocal running, most, runs
        running += 1
        runs += 1
        most = max(most, running)
        await _let_tasks_run()
        running -= 1

    for _ in range(5):
        tasks = [ExclusiveTask(store, clock, "task") for _ in range(8)]
        results = await asyncio.gather(*(task.run(work) for task in tasks))
        assert any(results)
    assert most == 1
    assert runs >= 5


async def test_the_lease_is_free_after_the_work_and_after_its_failure() -> None:
    store, clock = MemoryStore(), SetClock()

    async def fail() -> None:
        raise RuntimeError("failed")

    with pytest.raises(RuntimeError):
        await ExclusiveTask(store, clock, "task").run(fail)
    assert (await store.lease("task")).owner == ""


async def test_another_process_takes_over_when_the_lease_has_ended() -> None:
    store, clock = MemoryStore(), SetClock()
    await store.put_lease(Lease(name="task", owner="killed", until_us=clock() + LEASE_SECONDS * SECOND))
    done = 0

    async def work() -> None:
        nonlocal done
        done += 1

    task = ExclusiveTask(store, clock, "task")
    clock.now_us += (LEASE_SECONDS - 1) * SECOND
    assert not await task.run(work)
    clock.now_us += 2 * SECOND
    assert await task.run(work)
    assert done == 1


async def test_long_work_renews_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RENEW_SECONDS", 0.001)
    store, clock = MemoryStore(), SetClock()
    versions: list[int] = []

    async def work() -> None:
        while len(set(versions)) < 4:
            clock.now_us += LEASE_SECONDS * SECOND // 2
            lease = await store.lease("task")
            assert lease.owner
            versions.append(lease.version)
            await asyncio.sleep(0.003)

    assert await ExclusiveTask(store, clock, "task").run(work)


async def test_work_is_cancelled_when_the_lease_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RENEW_SECONDS", 0.001)
    store, clock = MemoryStore(), SetClock()
    ended = False

    async def work() -> None:
        nonlocal ended
        await store.put_lease(replace(await store.lease("task"), owner="another"))
        await asyncio.sleep(30)
        ended = True

    assert not await ExclusiveTask(store, clock, "task").run(work)
    assert not ended
    assert (await store.lease("task")).owner == "another"


async def test_work_is_cancelled_before_the_lease_ends_if_it_cannot_be_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RENEW_SECONDS", 0.001)
    clock = SetClock()

    class SilentStore(MemoryStore):
        away = False

        async def put_lease(self, lease: Lease) -> Lease | None:
            if self.away:
                raise StoreUnavailable("it is away")
            return await super().put_lease(lease)

    store = SilentStore()
    until_us = 0

    async def work() -> None:
        nonlocal until_us
        store.away = True
        until_us = (await store.lease("task")).until_us
        while True:
            clock.now_us += SECOND
            await asyncio.sleep(0.001)

    assert not await ExclusiveTask(store, clock, "task").run(work)
    assert clock.now_us <= until_us
