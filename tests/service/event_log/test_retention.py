"""Old events are forgotten behind, by age and by room."""

import asyncio
from pathlib import Path

import pytest

from proffer.app import Services
from proffer.model.capping import Repeat, RepeatUnit
from proffer.service.event_log import retention
from proffer.service.event_log.retention import LogLimits, Retention, SweepResult
from proffer.store.errors import StoreUnavailable
from proffer.store.memory.store import MemoryStore
from proffer.testing.caps_contract import ANN, a_limit, caps_of, create_caps, try_record, usage_of
from proffer.testing.feedback_contract import a_decision_event, an_event, create_container
from proffer.testing.store_contract import NOON, SECOND
from properties.test_caps_oracle import Opening, in_a_file, in_memory, on_a_server


async def test_sweeping_forgets_by_age() -> None:
    """Of both kinds, what is older than the limit in days."""
    store = MemoryStore()
    await create_container(store)
    for day in range(4):
        await store.record("c1", a_decision_event(at=day * 86_400))
        await store.add_feedback("c1", [an_event(f"e{day}", at=day * 86_400)])
    services = Services(store, lambda: NOON + 4 * 86_400 * SECOND, retention_limits=LogLimits(days=2))
    assert (await services.retention.sweep()) == SweepResult(decisions=2, feedback=2)


async def test_the_sweeper_goes_on_after_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is away for a while is asked again; stopping ends it."""
    monkeypatch.setattr(retention, "SWEEP_SECONDS", 0)
    asked: list[int] = []
    enough = asyncio.Event()

    class Away(MemoryStore):
        async def purge_decisions(self, before_us: int, max_bytes: int | None = None) -> int:
            asked.append(before_us)
            if len(asked) == 5:
                enough.set()
            if len(asked) < 3:
                raise StoreUnavailable("away")
            return 0

    services = Services(Away())
    services.retention.start()
    await asyncio.wait_for(enough.wait(), 10)
    await services.retention.stop()
    count = len(asked)
    await asyncio.sleep(0.01)
    assert len(asked) == count


DAY = 86_400 * SECOND


@pytest.mark.parametrize("opening", [in_memory, in_a_file, on_a_server], ids=["memory", "SQLite", "PostgreSQL"])
async def test_a_clock_that_jumps_ahead_and_back_gives_no_cap_anew(opening: Opening, tmp_path: Path) -> None:
    """What ended by the wrong clock is still there; by the right one it goes after forty days."""
    moment = [NOON]
    store = await opening(tmp_path)
    try:
        end = NOON + 10 * DAY
        limits = (a_limit(1), a_limit(1, "profile", name="2", repeat=Repeat(RepeatUnit.MONTH)))
        await create_caps(store, caps_of(*limits, end_us=end))
        assert await try_record(store)
        sweeper = Retention(store, lambda: moment[0])
        for days in (*range(9), 400, 400, 9, 2000, 9):
            moment[0] = NOON + days * DAY
            await sweeper.sweep_counters()
            await store.catch_up(moment[0])
        assert not await try_record(store, now=NOON + 9 * DAY)
        assert await usage_of(store, *limits, who=[ANN], now=NOON + 9 * DAY) == [1, 1]
        deleted = 0
        for days in range(10, 100):
            moment[0] = NOON + days * DAY
            deleted += await sweeper.sweep_counters()
        assert deleted == 1 + isinstance(store, MemoryStore), "a database keeps the total that moved last"
    finally:
        await store.close()


async def test_a_clock_that_jumps_ahead_deletes_no_record() -> None:
    """Decisions and feedback go after as many days on which a server ran; a command obeys the clock."""
    moment = [NOON]
    store = MemoryStore()
    await create_container(store)
    for at in range(2):
        await store.record("c1", a_decision_event(at=at))
    services = Services(store, lambda: moment[0], retention_limits=LogLimits(days=30))
    left = []
    for days in (*range(9), 400, 9, *range(10, 40)):
        moment[0] = NOON + days * DAY
        await services.retention._sweep_all()
        left.append(len(await store.decision_events("c1", 0, 10)))
    assert left == [2] * 32 + [1] * 9, "after 30 days the older one goes; the newest always stays"
