"""Old events are forgotten behind, by age and by room."""

import asyncio

import pytest

from proffer.app import Services
from proffer.service.event_log import retention
from proffer.service.event_log.retention import LogLimits, SweepResult
from proffer.store.errors import StoreUnavailable
from proffer.store.memory.store import MemoryStore
from proffer.testing.feedback_contract import a_decision_event, an_event, create_container
from proffer.testing.store_contract import NOON, SECOND


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
