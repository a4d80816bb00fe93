"""While the database is away decisions are made from memory, kept on disk, and put on record when it is back."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proffer.app import DEV_CONTAINER, Services
from proffer.model.customer import Customer, ProfileRecord
from proffer.model.identity import IdentityKey
from proffer.model.ids import EntityKind, kind_of
from proffer.model.outcome import Proposition
from proffer.model.profile import Profile, ProfileIdentity
from proffer.model.request import DecisionRequest
from proffer.service.decisions.decide import DecisionResult
from proffer.store.errors import StoreUnavailable
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from proffer.store.postgres.store import PostgresStore
from proffer.store.spool import Spool
from proffer.testing.builders import (
    NOON,
    Document,
    a_collection,
    a_constraint,
    a_criterion,
    a_decision,
    a_formula,
    a_library,
    a_rule,
    a_scope,
    an_offer,
)
from proffer.testing.caps_contract import a_decision as a_decision_event
from support.containers import access_to
from support.own_postgres import own_postgres

ORDER = tuple(
    EntityKind(kind)
    for kind in (
        EntityKind.PLACEMENT,
        EntityKind.RULE,
        EntityKind.FORMULA,
        EntityKind.FALLBACK,
        EntityKind.OFFER,
        EntityKind.COLLECTION,
        EntityKind.DECISION,
    )
)
MEGABYTE = 1_000_000


class MovableStore(MemoryStore):
    """A store that can be away."""

    away = False

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable("it is away")

    async def await_change(self) -> None:
        await asyncio.sleep(0.005)

    async def revisions(self) -> Any:
        self._check()
        return await super().revisions()

    async def customers(self, *asked: Any) -> Sequence[Customer]:
        self._check()
        return await super().customers(*asked)

    async def usage(self, *asked: Any) -> Any:
        self._check()
        return await super().usage(*asked)

    async def record(self, *asked: Any, **options: Any) -> Any:
        self._check()
        return await super().record(*asked, **options)

    async def catch_up(self, now_us: int) -> None:
        self._check()
        await super().catch_up(now_us)


@asynccontextmanager
async def library(
    store: Store, spool: Spool | None, *documents: Document, fresh: bool = True
) -> AsyncIterator[Services]:
    """Services over a library of these documents, with somewhere to keep decisions."""
    services = Services(store, lambda: NOON, spool=spool)
    await services.start(dev=True)
    try:
        if fresh:
            made = a_library(*documents)
            for kind in ORDER:
                for document in (one for one in made if kind_of(one["@id"]) is kind):
                    await services.catalog.create(access_to(services), kind, document)
        yield services
    finally:
        await services.stop()


async def decided(services: Services, *who: str, **options: Any) -> DecisionResult:
    profile = await services.profiles.resolve(
        access_to(services),
        Profile(identities=tuple(ProfileIdentity(namespace="Email", id=f"{one}@x") for one in who)),
    )
    request = DecisionRequest(
        scopes=(a_scope(item_count=30),),
        context={"weather": {"celsius": 30}},
    )
    return await services.decide.decide(access_to(services), request, profile, surface="ode", **options)


def given(one: DecisionResult) -> list[str]:
    """The names of the offers of the one scope, best first; or that it fell back."""
    (answer,) = one.outcome.scopes
    assert isinstance(answer, Proposition)
    return [offer.offer.name for offer in answer.options] or ["(fallback)"]


async def soon(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


async def on_record(services: Services) -> list[str]:
    packs = await services.store.decision_events(DEV_CONTAINER, 0, 1000)
    return [event.id for _, events in packs for event in events]


OFFERS = [
    an_offer("plain", priority=1),
    an_offer("capped", priority=9, cap=100),
    an_offer("each", priority=8, profile_cap=5),
    an_offer("young", priority=7, rule="young"),
    an_offer("not old", priority=6, rule="not old"),
    an_offer("listed", priority=5, constraint=a_constraint(any_audience=["a1"])),
    an_offer("sunny", priority=4, rule="sunny"),
    a_rule("young", "person.age < 30"),
    a_rule("not old", "not (person.age >= 60)"),
    a_rule("sunny", "true"),
]


async def test_what_cannot_be_known_is_held_back(tmp_path: Path) -> None:
    """Nothing that is counted, nothing that reads the customer, `not` included; for nobody, only what is counted."""
    store = MovableStore()
    async with library(store, Spool(tmp_path, MEGABYTE), *OFFERS) as services:
        known = ProfileRecord(
            identities=(IdentityKey("Email", "old@x"),),
            dataset="crm",
            stamped_us=NOON,
            attributes={"person": {"age": 70}},
        )
        await store.apply_changes(DEV_CONTAINER, [known], now_us=NOON)
        before = await decided(services, "old")
        assert given(before) == ["capped", "each", "sunny", "plain"]
        assert before.without == ""

        store.away = True
        during = await decided(services, "old", explain=True)
        assert given(during) == ["sunny", "plain"]
        assert during.without == "customer"
        (trace,) = during.outcome.trace or ()
        held = str(trace)
        assert held.count("the database is not available, so the caps") == 2
        assert held.count("the database is not available, and the offer depends") == 3
        nobody = await decided(services)
        assert given(nobody) == ["not old", "sunny", "plain"]
        assert nobody.without == "counters"
        with pytest.raises(StoreUnavailable):
            await decided(services, "old", reserve_us=1_000_000)

        store.away = False
        await soon(lambda: services.registry.database_status.outage is None)
        assert given(await decided(services, "old")) == ["capped", "each", "sunny", "plain"]


def test_when_everything_is_held_back_the_fallback_is_given(tmp_path: Path) -> None:
    """A criterion that is for some customers, or a formula that reads them, holds back all its offers."""
    for criterion in (
        a_criterion("everything", constraint=a_constraint(rule="young")),
        a_criterion("everything", formula="age"),
    ):
        documents = [
            an_offer("plain"),
            a_collection("everything", ["plain"]),
            a_rule("young", "person.age < 30"),
            a_formula("age", "person.age"),
            a_decision("decision", criterion),
        ]

        async def story(documents: list[Document] = documents) -> None:
            store = MovableStore()
            async with library(store, Spool(tmp_path, MEGABYTE), *documents) as services:
                store.away = True
                assert given(await decided(services, "ann")) == ["(fallback)"]

        asyncio.run(story())


async def test_identities_named_meanwhile_are_one_person_afterwards(tmp_path: Path) -> None:
    """They join when the decision is put on record; those of a dry run stay apart."""
    store = MovableStore()
    mail, number, other = (IdentityKey("Email", "ann@x"), IdentityKey("CRMID", "1"), IdentityKey("Phone", "2"))
    async with library(store, Spool(tmp_path, MEGABYTE), *OFFERS) as services:
        request = DecisionRequest(scopes=(a_scope(item_count=30),))
        store.away = True
        for key, dry_run in ((number, False), (other, True)):
            named = tuple(ProfileIdentity(namespace=one.namespace, id=one.id) for one in (mail, key))
            profile = await services.profiles.resolve(access_to(services), Profile(identities=named))
            await services.decide.decide(access_to(services), request, profile, surface="ode", dry_run=dry_run)
        store.away = False
        await soon(lambda: services.registry.database_status.outage is None)

        owners = [
            (await store.lookup_for_decision(DEV_CONTAINER, [one])).subjects.owners for one in (mail, number, other)
        ]
        assert owners[0] == owners[1] != ()
        assert owners[2] == ()


async def test_what_was_decided_meanwhile_is_on_record_afterwards(tmp_path: Path) -> None:
    """Every decision, once, as it was answered, and it can be made again; dry runs leave nothing."""
    store = MovableStore()
    async with library(store, Spool(tmp_path / "spool", MEGABYTE), *OFFERS) as services:
        first = await decided(services, "ann")
        store.away = True
        answers = await asyncio.gather(
            *(decided(services, *([f"p{number}"] if number % 3 else [])) for number in range(60))
        )
        await decided(services, "ann", dry_run=True)
        assert "deciding without the database" in (services.registry.database_status.reason() or "")
        store.away = False
        await soon(lambda: not services.decide.spool_replayer.pending)
        expected = [one.proposition_id for one in (first, *answers)]
        assert sorted(expected) == sorted(await on_record(services))
        assert list((tmp_path / "spool").iterdir()) == []
        for one in answers[:4]:
            replay = await services.replay.replay(access_to(services), one.proposition_id)
            assert replay.reproduced
            row = await services.event_export.row(access_to(services), replay.event)
            assert row["_proffer"]["without"] == one.without


async def test_beyond_the_bound_decisions_are_refused(tmp_path: Path) -> None:
    """What cannot be kept is not answered; without a spool nothing is decided, as ever."""
    for spool, served in ((Spool(tmp_path, 3_000), True), (None, False)):
        store = MovableStore()
        async with library(store, spool, an_offer("plain")) as services:
            store.away = True
            answers = await asyncio.gather(*(decided(services) for _ in range(50)), return_exceptions=True)
            answers += await asyncio.gather(*(decided(services) for _ in range(5)), return_exceptions=True)
            refused = [one for one in answers if isinstance(one, StoreUnavailable)]
            had = [one.proposition_id for one in answers if isinstance(one, DecisionResult)]
            assert len(refused) + len(had) == 55
            assert refused
            assert bool(had) is served or spool is not None
            store.away = False
            await soon(lambda: not services.decide.spool_replayer.pending)
            assert sorted(had) == sorted(await on_record(services))


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from proffer.store.spool import Spool
from proffer.testing.caps_contract import a_decision
async def main():
    spool = Spool(Path(sys.argv[1]), 1_000_000)
    for number in range(5):
        event = a_decision(who=[], container=sys.argv[2])
        await spool.keep(event)
        print(event.id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


async def test_what_a_killed_server_left_is_taken_over(tmp_path: Path) -> None:
    """All it had acknowledged, even if it was on record already, and though a last line was cut short."""
    child = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path, DEV_CONTAINER],
        capture_output=True,
        text=True,
        check=False,
    )
    kept = child.stdout.split()
    assert len(kept) == 5
    (left,) = tmp_path.iterdir()
    left.write_bytes(left.read_bytes() + b"\0\0\1\0half a line")

    async with library(MovableStore(), Spool(tmp_path, MEGABYTE), an_offer("plain")) as services:
        await soon(lambda: not list(tmp_path.iterdir()))
        assert sorted(kept) == sorted(await on_record(services))


async def test_another_live_servers_file_is_left_to_it(tmp_path: Path) -> None:
    """Nobody takes what its owner is still writing."""
    one, other = Spool(tmp_path, MEGABYTE), Spool(tmp_path, MEGABYTE)
    await one.keep(a_decision_event(who=[]))
    assert list(other.unowned_files()) == []
    await one.seal()
    assert len([event for file in other.unowned_files() for batch in file.batches(10) for event in batch]) == 1


async def test_postgresql_may_stop_and_start_under_load(tmp_path: Path) -> None:
    """Stopped and crashed while requests come in: each is answered, and all are on record once it is back."""
    with own_postgres() as database:
        store = await PostgresStore.open(database.url, patience_s=5)
        async with library(store, Spool(tmp_path, MEGABYTE), *OFFERS) as services:
            answers: list[DecisionResult] = []

            async def ask() -> None:
                for number in range(40):
                    answers.append(await decided(services, f"p{number % 7}"))
                    await asyncio.sleep(0.01)

            async def stop_and_start() -> None:
                for _ in range(2):
                    await asyncio.sleep(0.1)
                    await asyncio.to_thread(database.stop)
                    await asyncio.sleep(0.1)
                    await asyncio.to_thread(database.start)
                    await soon(lambda: services.registry.database_status.outage is None)

            await asyncio.gather(stop_and_start(), *(ask() for _ in range(3)))
            await soon(lambda: not services.decide.spool_replayer.pending)
            await soon(lambda: services.registry.database_status.outage is None)
            # Answers that were lost with the database may be on record too: none that was given is missing.
            recorded = await on_record(services)
            assert {one.proposition_id for one in answers} <= set(recorded)
            assert len(recorded) == len(set(recorded))
            assert any(one.without for one in answers)
            assert given(await decided(services, "new"))[0] == "capped"
