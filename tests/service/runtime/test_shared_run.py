"""Shared runs: who waits for which run."""

import asyncio

import pytest

from proffer.service.runtime.shared_run import SharedRun

pytestmark = pytest.mark.anyio


class SteppedWork:
    """Work that ends when it is released; counts its runs."""

    def __init__(self) -> None:
        self.begun = 0
        self.release = asyncio.Event()

    async def __call__(self) -> None:
        self.begun += 1
        await self.release.wait()


async def _let_tasks_run() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_callers_that_come_during_a_run_share_the_next_one() -> None:
    work = SteppedWork()
    run = SharedRun(work)
    first = asyncio.create_task(run.wait())
    await _let_tasks_run()
    later = [asyncio.create_task(run.wait()) for _ in range(50)]
    await _let_tasks_run()
    assert work.begun == 1
    work.release.set()
    await asyncio.gather(first, *later)
    assert work.begun == 2


async def test_a_run_begins_after_each_of_its_callers_came() -> None:
    """Otherwise a caller could get a result from before its call."""
    committed = 0
    seen = 0

    async def read() -> None:
        nonlocal seen
        revision = committed
        await asyncio.sleep(0)
        seen = revision

    run = SharedRun(read)

    async def write_then_read() -> None:
        nonlocal committed
        committed += 1
        own_revision = committed
        await run.wait()
        assert seen >= own_revision

    await asyncio.gather(*(write_then_read() for _ in range(200)))


async def test_an_error_reaches_the_callers_of_its_run_and_no_others() -> None:
    errors = [OSError("first"), None]

    async def work() -> None:
        error = errors.pop(0)
        await asyncio.sleep(0)
        if error is not None:
            raise error

    run = SharedRun(work)
    first = asyncio.create_task(run.wait())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = asyncio.create_task(run.wait())
    with pytest.raises(OSError, match="first"):
        await first
    await second


async def test_a_cancelled_caller_leaves_the_run_to_the_others() -> None:
    work = SteppedWork()
    run = SharedRun(work)
    cancelled, patient = asyncio.create_task(run.wait()), asyncio.create_task(run.wait())
    await _let_tasks_run()
    cancelled.cancel()
    await _let_tasks_run()
    work.release.set()
    await patient
    assert work.begun == 1


async def test_stopping_cancels_the_run_and_the_waiting_one() -> None:
    work = SteppedWork()
    run = SharedRun(work)
    tasks = [asyncio.create_task(run.wait())]
    await _let_tasks_run()
    tasks.append(asyncio.create_task(run.wait()))
    await _let_tasks_run()
    await run.stop()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 2
