"""Decisions over capped offers: exact against whatever others do meanwhile, and honest when the database fails."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from proffer.app import DEV_CONTAINER, Services
from proffer.errors import Unavailable
from proffer.model.capping import CapKey
from proffer.model.ids import EntityKind, kind_of
from proffer.model.outcome import Proposition
from proffer.model.profile import Profile, ProfileIdentity
from proffer.model.request import DecisionRequest
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from proffer.store.sqlite.store import SqliteStore
from proffer.testing.builders import NOON, Document, a_cap, a_library, a_scope, an_offer, id_of
from support.containers import access_to, open_services

ORDER = (
    EntityKind.PLACEMENT,
    EntityKind.FALLBACK,
    EntityKind.OFFER,
    EntityKind.COLLECTION,
    EntityKind.DECISION,
)
GOLD, SILVER = (id_of(EntityKind.OFFER, name) for name in ("gold", "silver"))


def at_noon() -> int:
    return NOON


@asynccontextmanager
async def library(*documents: Document, store: Store | None = None) -> AsyncIterator[Services]:
    """Services over a library of these offers and one decision."""
    async with open_services(store, at_noon) as services:
        await fill(services, *documents)
        yield services


async def fill(services: Services, *documents: Document) -> None:
    made = a_library(*documents)
    for kind in ORDER:
        for document in (one for one in made if kind_of(one["@id"]) is kind):
            await services.catalog.create(access_to(services), kind, document)


async def give(services: Services, who: str = "ann", **options: Any) -> list[str]:
    """What one decision gives this one; nothing where it falls back."""
    identity = ProfileIdentity(namespace="Email", id=f"{who}@x")
    profile = await services.profiles.resolve(access_to(services), Profile(identities=(identity,)))
    request = DecisionRequest(scopes=(a_scope(),))
    decided = await services.decide.decide(access_to(services), request, profile, surface="ode", **options)
    (answer,) = decided.outcome.scopes
    assert isinstance(answer, Proposition)
    assert bool(answer.options) != (answer.fallback is not None)
    return [one.offer.id for one in answer.options]


async def cap_gold(services: Services, limit: int) -> None:
    """Change how often gold may be given in all."""
    instance = services.catalog.look_up(access_to(services), EntityKind.OFFER, GOLD)
    await services.catalog.revise(
        access_to(services),
        instance.instance_id,
        lambda before: {**before.document, "xdm:cappingConstraint": {"xdm:globalCap": limit}},
    )


async def on_record(services: Services) -> list[str]:
    """Every offer given by a decision on record, with its number."""
    packs = await services.store.decision_events(DEV_CONTAINER, 0, 1000)
    return sorted(offer for _, events in packs for event in events for offer, _ in event.proposed_offers)


async def test_what_others_took_meanwhile_is_decided_without() -> None:
    """Twenty at once see three left of the best; three get it, the others the next best, and each is answered."""
    async with library(an_offer("gold", priority=2, cap=3), an_offer("silver", priority=1, cap=12)) as services:
        found = await asyncio.gather(*(give(services, str(number)) for number in range(20)))
        assert [found.count([GOLD]), found.count([SILVER]), found.count([])] == [3, 12, 5]
        assert await on_record(services) == sorted([GOLD] * 3 + [SILVER] * 12)


async def test_refusals_are_counted(tmp_path: Path) -> None:
    """How often a decision was made again because others had been quicker."""
    store = await SqliteStore.open(tmp_path / "proffer.db")
    async with library(an_offer("gold", cap=1), store=store) as services:
        found = await asyncio.gather(*(give(services, str(number)) for number in range(9)))
        assert found.count([GOLD]) == 1
        assert services.decide.refusals == 8


async def test_a_cap_that_another_process_lowered_holds_here(tmp_path: Path) -> None:
    """Even before this process has heard of it; it reads the library again and decides by that."""
    path = tmp_path / "proffer.db"
    here = await SqliteStore.open(path)
    async with (
        library(an_offer("gold", cap=100), store=here) as services,
        open_services(await SqliteStore.open(path), at_noon) as elsewhere,
    ):
        await services.registry.stop()  # hears of nothing from now on
        assert [await give(services) for _ in range(2)] == [[GOLD]] * 2
        for limit, expected in ((2, []), (3, [GOLD]), (3, [])):
            await cap_gold(elsewhere, limit)
            # The second of these is believed to be spent until others' changes are heard of.
            if expected:
                await services.registry.catch_up()
                await services.store.catch_up(NOON)
            assert await give(services) == expected
        assert await on_record(services) == [GOLD] * 3


async def test_a_cap_that_this_process_knows_nothing_of_holds(tmp_path: Path) -> None:
    """An offer without limits is given one elsewhere: the next decision here is refused by it, and decided anew."""
    path = tmp_path / "proffer.db"
    here = await SqliteStore.open(path)
    async with (
        library(an_offer("gold", priority=1), an_offer("silver"), store=here) as services,
        open_services(await SqliteStore.open(path), at_noon) as elsewhere,
    ):
        await services.registry.stop()
        await cap_gold(elsewhere, 1)
        assert [await give(services) for _ in range(3)] == [[GOLD], [SILVER], [SILVER]]


def leave_pages(connection: sqlite3.Connection, count: int) -> None:
    connection.execute("VACUUM")  # migrations may have left free pages
    (used,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {used + count}")


def read_only(connection: sqlite3.Connection, on: bool) -> None:
    connection.execute(f"PRAGMA query_only = {int(on)}")


BREAKAGES: list[tuple[Callable[[sqlite3.Connection], None], Callable[[sqlite3.Connection], None]]] = [
    (partial(leave_pages, count=0), partial(leave_pages, count=10_000)),
    (partial(read_only, on=True), partial(read_only, on=False)),
]


@pytest.mark.parametrize(("breaking", "mending"), BREAKAGES, ids=["the disk is full", "the database is read-only"])
async def test_what_cannot_be_recorded_is_not_given(
    tmp_path: Path, breaking: Callable[..., None], mending: Callable[..., None]
) -> None:
    """Decisions are refused with a reason while it lasts, dry runs are answered; nothing of it is counted."""
    store = await SqliteStore.open(tmp_path / "proffer.db")
    caps = [a_cap(2, scope="profile")]
    async with library(an_offer("gold", cap=40, caps=caps), store=store) as services:
        assert await give(services, "first") == [GOLD]
        held: list[sqlite3.Connection] = []
        await store.submit(held.append)
        breaking(held[0])
        answers = await asyncio.gather(*(give(services, str(number)) for number in range(200)), return_exceptions=True)
        refused = [one for one in answers if isinstance(one, Unavailable)]
        had = answers.count([GOLD])
        assert refused
        assert all(one.retry_after == 1 for one in refused)
        assert len(refused) + had + answers.count([]) == 200
        assert await give(services, "another", dry_run=True) in ([GOLD], [])

        mending(held[0])
        left = [await give(services, f"later {number}") for number in range(50)]
        assert left.count([GOLD]) == 39 - had
        assert await on_record(services) == [GOLD] * 40


async def test_a_caller_who_leaves_is_counted_all_the_same() -> None:
    """The decision is made and on record, or it is not; nothing is half done (R22)."""
    async with library(an_offer("gold", cap=5)) as services:
        leaving = [asyncio.create_task(give(services, str(number))) for number in range(4)]
        for task in leaving:
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        left = [await give(services) for _ in range(6)]
        given = await on_record(services)
        assert len(given) == 5
        assert left.count([GOLD]) == 5 - (len(given) - left.count([GOLD]))


async def test_caps_of_a_database_from_before_are_put_in_force(tmp_path: Path) -> None:
    """A library written without a word of limits has them from the moment it is opened."""
    path = tmp_path / "proffer.db"
    async with library(an_offer("gold", cap=1), store=await SqliteStore.open(path)):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM cap_limits")
        connection.execute("DELETE FROM cap_revisions")
    connection.close()
    async with open_services(await SqliteStore.open(path), at_noon) as services:
        assert [await give(services) for _ in range(2)] == [[GOLD], []]


async def test_a_clock_set_back_or_forward_neither_doubles_nor_loses(tmp_path: Path) -> None:
    """An hour back over midnight, a month forward and back again: each day has its own one, once."""
    hour, day = 3_600_000_000, 86_400_000_000
    midnight = NOON // day * day + day

    now = midnight - hour // 2
    daily = a_cap(1, scope="profile") | {"xdm:repeat": {"xdm:enabled": True}}
    always = (NOON - 90 * day, NOON + 90 * day)
    store = await SqliteStore.open(tmp_path / "proffer.db")
    services = Services(store, lambda: now)
    await services.start(dev=True)
    await fill(services, an_offer("gold", cap=4, caps=[daily], window=always))
    found = []
    for moment in (
        midnight - hour // 2,
        midnight + hour // 2,
        midnight - hour // 2,
        midnight + 30 * day,
        midnight + hour,
        midnight + 30 * day + hour,
        midnight + day,
        midnight + 2 * day,
    ):
        now = moment
        await services.store.catch_up(now)
        found.append(bool(await give(services)))
    assert found == [True, True, False, True, False, False, True, False]
    assert await on_record(services) == [GOLD] * 4
    await services.stop()


async def test_a_decision_says_what_it_was_given_to_know() -> None:
    """The counts that mattered are on record with it, and its own id is the seed."""
    async with library(an_offer("gold", cap=2)) as services:
        assert [await give(services) for _ in range(3)] == [[GOLD], [GOLD], []]
        packs = await services.store.decision_events(DEV_CONTAINER, 0, 10)
        events = [event for _, packed in packs for event in packed]
        key: CapKey = (GOLD, "globalCap", "")
        assert [event.usage for event in events] == [{}, {key: 1}, {key: 2}]
        assert all(event.seed == event.id for event in events)


async def test_memory_keeps_the_same_promises() -> None:
    """The double that tests use counts as the real one does."""
    async with library(an_offer("gold", cap=1), store=MemoryStore()) as services:
        assert [await give(services, who) for who in ("a", "b")] == [[GOLD], []]
