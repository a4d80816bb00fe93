"""While the database is away feedback waits on disk, and is counted when it is back: once, under its own time."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proffer.app import DEV_CONTAINER, Services
from proffer.model.attribution import AttributedFeedback
from proffer.model.capping import NO_SUBJECTS, OfferCaps, OfferLimits
from proffer.model.events import DecisionEvent
from proffer.model.feedback import Feedback, FeedbackKind, PropositionReport
from proffer.model.identity import IdentityKey
from proffer.service.event_log.feedback import FeedbackResult
from proffer.store.errors import StoreUnavailable
from proffer.store.memory.store import MemoryStore
from proffer.store.spool import FeedbackSpool
from proffer.testing.feedback_contract import GOLD, a_decision_event, a_limit
from proffer.testing.store_contract import NOON, SECOND
from support.containers import access_to

ANN = IdentityKey("Email", "ann@x")
LIMIT = a_limit()


class MovableStore(MemoryStore):
    """A store that can be away."""

    away = False

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable("it is away")

    async def revisions(self) -> Any:
        self._check()
        return await super().revisions()

    async def decisions_of(self, container_id: str, propositions: Sequence[str]) -> Mapping[str, DecisionEvent]:
        self._check()
        return await super().decisions_of(container_id, propositions)

    async def add_feedback(self, container_id: str, events: Sequence[AttributedFeedback]) -> Sequence[bool]:
        self._check()
        return await super().add_feedback(container_id, events)


@asynccontextmanager
async def started(store: MemoryStore, folder: Path | None, most: int = 1_000_000) -> AsyncIterator[Services]:
    spool = None if folder is None else FeedbackSpool(folder, most)
    services = Services(store, lambda: NOON + SECOND, feedback_spool=spool)
    await services.start(dev=True)
    await store.ensure_caps(DEV_CONTAINER, 1, [OfferCaps(offer=GOLD, limits=(LIMIT,), approved=True)])
    try:
        yield services
    finally:
        await services.stop()


def seen(key: str, decision: DecisionEvent) -> Feedback:
    reported = (PropositionReport(decision.id),)
    return Feedback(
        id=key,
        kind=FeedbackKind.DISPLAY,
        at_us=NOON,
        propositions=reported,
        document={"_id": key, "wide": 2**70},
    )


async def take(services: Services, *events: Feedback) -> Sequence[FeedbackResult]:
    return await services.feedback.record(access_to(services), events)


async def kept(store: MemoryStore) -> list[AttributedFeedback]:
    return [event for _, event in await store.feedback_events(DEV_CONTAINER, 0, 100)]


async def until_kept(store: MemoryStore, count: int) -> list[AttributedFeedback]:
    async with asyncio.timeout(20):
        while len(found := await kept(store)) < count:  # noqa: ASYNC110 - it is the store that is asked
            await asyncio.sleep(0.01)
    return found


async def counted(store: MemoryStore) -> int:
    used = await store.usage(DEV_CONTAINER, OfferLimits([(GOLD, LIMIT)]), NO_SUBJECTS, NOON)
    return sum(used.counts.values())


async def test_feedback_waits_and_is_counted_when_the_database_is_back(tmp_path: Path) -> None:
    """Whoever sends it is told that it waits; what was sent twice counts once; nothing is left on the disk."""
    store = MovableStore()
    async with started(store, tmp_path / "spool") as services:
        decision = a_decision_event(ANN, container=DEV_CONTAINER)
        await store.record(DEV_CONTAINER, decision)
        store.away = True
        (first,) = await take(services, seen("e1", decision))
        again = await take(services, seen("e1", decision), seen("e2", decision))
        assert [one.is_spooled for one in (first, *again)] == [True] * 3
        assert await kept(store) == []

        store.away = False
        found = await until_kept(store, 2)
        assert [one.feedback for one in found] == [seen("e1", decision), seen("e2", decision)]
        assert [one.delivered_offers[0].offer for one in found] == [GOLD, GOLD]
        assert {one.received_us for one in found} == {NOON + SECOND}
        assert await counted(store) == 2
        (later,) = await take(services, seen("e1", decision))
        assert (later.is_duplicate, later.is_spooled) == (True, False)
    assert list((tmp_path / "spool").iterdir()) == []


async def test_the_next_process_takes_in_what_was_left(tmp_path: Path) -> None:
    """What waited when the server stopped."""
    store = MovableStore()
    decision = a_decision_event(ANN, container=DEV_CONTAINER)
    async with started(store, tmp_path) as services:
        await store.record(DEV_CONTAINER, decision)
        store.away = True
        await take(services, seen("e1", decision))
    store.away = False
    async with started(store, tmp_path):
        await until_kept(store, 1)
        assert await counted(store) == 1


async def test_without_room_it_is_refused(tmp_path: Path) -> None:
    """And nothing is said to be kept that is not."""
    store = MovableStore()
    decision = a_decision_event(container=DEV_CONTAINER)
    for folder in (None, tmp_path):
        store.away = False
        async with started(store, folder, most=10) as services:
            store.away = True
            with pytest.raises(StoreUnavailable):
                await take(services, seen("e1", decision))
    assert await kept(store) == []


async def test_feedback_of_a_container_that_is_not_here_is_kept_aside(tmp_path: Path) -> None:
    """As after another database was put in place; what belongs to this one is recorded."""
    store = MovableStore()
    decision = a_decision_event(ANN, container=DEV_CONTAINER)
    async with started(store, None):
        await store.record(DEV_CONTAINER, decision)
    spool = FeedbackSpool(tmp_path, 1_000_000)
    for container, key in (("elsewhere", "e1"), (DEV_CONTAINER, "e2")):
        await spool.keep((container, AttributedFeedback(feedback=seen(key, decision), received_us=NOON)))
    await spool.seal()
    async with started(store, tmp_path):
        assert [event.feedback.id for event in await until_kept(store, 1)] == ["e2"]
        async with asyncio.timeout(20):
            while [path.suffix for path in tmp_path.iterdir()] != [".damaged"]:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
