"""Events whose decisions come on record after them are attributed then, and counted once."""

import asyncio
from typing import Any

import pytest

from proffer.app import Services
from proffer.model.events import DecisionEvent
from proffer.model.feedback import Feedback, FeedbackKind, PropositionReport
from proffer.model.identity import IdentityKey
from proffer.service.event_log import feedback as module
from proffer.service.library.registry import AuthorizedContainer
from proffer.store.memory.store import MemoryStore
from proffer.testing.feedback_contract import (
    GOLD,
    WEB,
    a_decision_event,
    a_limit,
    create_container,
    usage_of,
)
from proffer.testing.store_contract import NOON, SECOND
from support.containers import OWNER

ANN = IdentityKey("Email", "ann@x")
HOUR = 3_600 * SECOND


def seen(key: str, *decisions: DecisionEvent) -> Feedback:
    return Feedback(
        id=key,
        kind=FeedbackKind.DISPLAY,
        at_us=NOON,
        propositions=tuple(PropositionReport(one.id) for one in decisions),
        document={"_id": key},
    )


class World:
    """Services over a store in memory, at a moment of the test's choice."""

    def __init__(self) -> None:
        self.now_us = NOON + SECOND
        self.store = MemoryStore()
        self.services = Services(self.store, lambda: self.now_us)
        self.limit = a_limit()

    async def start(self) -> None:
        await create_container(self.store, self.limit)
        await self.services.registry.start()

    async def take(self, *events: Feedback) -> None:
        (state,) = self.services.registry.all_states()
        access = AuthorizedContainer(OWNER, state)
        await self.services.feedback.record(access, events)

    async def missed(self) -> list[str]:
        found = await self.store.feedback_events("c1", 0, 1000, unattributed_only=True)
        return [event.feedback.id for _, event in found]

    async def counted(self) -> Any:
        return await usage_of(self.store, self.limit)


async def test_a_decision_that_comes_later_is_found() -> None:
    """Counted then, and once, however often one looks; what was attributed before is not counted again."""
    world = World()
    await world.start()
    early, late = a_decision_event(ANN), a_decision_event(ANN)
    await world.store.record("c1", early)
    await world.take(seen("e1", late), seen("e2", early, late), seen("e3", early))
    assert (await world.missed(), await world.counted()) == (["e1", "e2"], {("1", ""): 2})
    assert await world.services.feedback.attribute_late() == 0

    await world.store.record("c1", late)
    assert await world.services.feedback.attribute_late() == 2
    assert await world.services.feedback.attribute_late() == 0
    assert (await world.missed(), await world.counted()) == ([], {("1", ""): 4})
    ((_, event), *_) = await world.store.feedback_events("c1", 0, 10)
    assert [(one.event, one.offer, one.placement) for one in event.delivered_offers] == [(late.id, GOLD, WEB)]
    await world.services.stop()


async def test_nobody_waits_for_ever() -> None:
    """After a day an event stays as it is."""
    world = World()
    await world.start()
    late = a_decision_event(ANN)
    await world.take(seen("e1", late))
    world.now_us += 25 * HOUR
    await world.store.record("c1", late)
    assert await world.services.feedback.attribute_late() == 0
    assert await world.missed() == ["e1"]
    await world.services.stop()


async def test_rubbish_does_not_keep_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much of it there is, one goes round: each time some are looked at, and all in the end."""
    monkeypatch.setattr(module, "_PAGE", 5)
    monkeypatch.setattr(module, "_PAGES_PER_RUN", 2)

    world = World()
    await world.start()
    late = a_decision_event(ANN)
    await world.take(*(seen(f"x{number}", a_decision_event()) for number in range(37)))
    await world.take(seen("e1", late))
    await world.store.record("c1", late)
    found = [await world.services.feedback.attribute_late() for _ in range(6)]
    assert sum(found) == 1
    assert await world.counted() == {("1", ""): 1}
    await world.services.stop()


async def test_the_server_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Now and then, until it stops."""
    monkeypatch.setattr(module, "LATE_INTERVAL_SECONDS", 0.01)

    world = World()
    await world.start()
    world.services.feedback.start()
    late = a_decision_event(ANN)
    await world.take(seen("e1", late))
    await world.store.record("c1", late)
    async with asyncio.timeout(20):
        while await world.missed():  # noqa: ASYNC110 - it is the store that is asked
            await asyncio.sleep(0.01)
    await world.services.stop()
