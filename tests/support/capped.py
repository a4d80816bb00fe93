"""A library of capped offers, and a process that requests decisions on it concurrently.

cd tests && python -m support.capped <URL of a database> <decisions> <seed> <seconds that its clock is ahead>

requests so many decisions, four at a time, and prints the offers of each to stdout; now and then it merges
two customers. It ends by itself, or is killed.
"""

import asyncio
import random
import sqlite3
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from proffer.app import DEV_CONTAINER, Services, open_store
from proffer.config import Settings, sqlite_path
from proffer.model.capping import CapScope
from proffer.model.customer import ProfileRecord
from proffer.model.events import DecisionEvent
from proffer.model.identity import IdentityKey
from proffer.model.ids import EntityKind, kind_of
from proffer.model.offer import PersonalizedOffer
from proffer.model.outcome import Proposition
from proffer.model.parse import parse_entity
from proffer.model.profile import Profile, ProfileIdentity
from proffer.model.request import DecisionRequest
from proffer.service.runtime.clock import wall_clock
from proffer.store.ports import Store
from proffer.testing.builders import (
    NOON,
    SECOND,
    Document,
    a_cap,
    a_library,
    a_placement,
    a_scope,
    an_offer,
)
from support.containers import access_to, open_services

OFFERS = 50
PEOPLE = 400
CLIENTS_EACH = 4
SCOPES = (a_scope(placement="web", item_count=2), a_scope(placement="app"))
_ORDER = (
    EntityKind.PLACEMENT,
    EntityKind.FALLBACK,
    EntityKind.OFFER,
    EntityKind.COLLECTION,
    EntityKind.DECISION,
)


def the_library(limit: int) -> list[Document]:
    """Return fifty offers with a total cap of `limit`; some also have a cap per profile or placement."""
    kinds: Sequence[list[Document]] = (
        [],
        [a_cap(40, scope="profile")],
        [a_cap(limit, entity="placement")],
        [a_cap(30, scope="profile", entity="placement"), a_cap(limit + 10**6)],
        [a_cap(60, scope="profile") | {"xdm:repeat": {"xdm:enabled": True, "xdm:unit": "month"}}],
    )
    return a_library(
        *(
            an_offer(
                f"offer {number}",
                priority=number % 7,
                content=("web", "app"),
                window=(NOON, NOON + 50 * 365 * 86_400 * SECOND),
                cap=limit,
                caps=kinds[number % len(kinds)],
            )
            for number in range(OFFERS)
        ),
        a_placement("web"),
        a_placement("app"),
    )


async def open_database(database: str) -> Store:
    return await open_store(Settings(database=database, database_connections=4))


async def load(database: str, limit: int) -> None:
    """Create the database with the library."""
    await load_documents(database, the_library(limit))


async def load_documents(database: str, documents: Sequence[Document]) -> None:
    """Create the database with these objects."""
    async with open_services(await open_database(database)) as services:
        for kind in _ORDER:
            for document in documents:
                if kind_of(document["@id"]) is kind:
                    await services.catalog.create(access_to(services), kind, document)


def person(number: int) -> ProfileIdentity:
    return ProfileIdentity(namespace="Email", id=f"{number}@example.org", primary=True)


async def ask(services: Services, identity: ProfileIdentity) -> tuple[str, list[str]]:
    """Decide for two placements; return the decision's id and its offers, as `offer@placement`."""
    request_profile = Profile(identities=(identity,))
    profile = await services.profiles.resolve(access_to(services), request_profile)
    request = DecisionRequest(scopes=SCOPES)
    result = await services.decide.decide(access_to(services), request, profile, surface="ode")
    offers: list[str] = []
    for scope in result.outcome.scopes:
        assert isinstance(scope, Proposition)
        assert bool(scope.options) != (scope.fallback is not None)
        offers += [f"{option.offer.id}@{scope.placement.id}" for option in scope.options]
    return result.proposition_id, offers


async def merge(services: Services, first: ProfileIdentity, second: ProfileIdentity, now_us: int) -> None:
    """Merge two customers by a record with both identities."""
    record = ProfileRecord(
        identities=tuple(IdentityKey(each.namespace, each.id) for each in (first, second)),
        dataset="crm",
        stamped_us=now_us,
    )
    await services.store.apply_changes(DEV_CONTAINER, [record], now_us=now_us)


async def main(database: str, decisions: int, seed: int, ahead: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - not a secret
    remaining = decisions

    async def client(services: Services) -> None:
        nonlocal remaining
        while remaining > 0:
            remaining -= 1
            number = chance.randrange(PEOPLE)
            if chance.random() < 0.01:  # pairs only, so that the counts do not all end up with one customer
                await merge(services, person(number), person(number ^ 1), services.clock())
            decision, offers = await ask(services, person(number))
            sys.stdout.write(" ".join([decision, *offers]) + "\n")
            sys.stdout.flush()

    store = await open_database(database)
    async with open_services(store, lambda: wall_clock() + ahead * SECOND) as services:
        await asyncio.gather(*(client(services) for _ in range(CLIENTS_EACH)))


CapCounts = Counter[tuple[str, str, str, str]]
"""Counts by offer, limit name, placement and holder (empty: all customers)."""


@dataclass(frozen=True)
class CapEvidence:
    """Offers, decision events and counters of a database after all clients stopped."""

    offers: dict[str, PersonalizedOffer]
    events: dict[str, DecisionEvent]
    counters: CapCounts


def check_caps(database: str) -> CapEvidence:
    """Assert that counters equal the recorded decisions and that no limit is exceeded."""
    offers, events, holders = asyncio.run(read_evidence(database))
    counters = stored_counters(database)
    assert counters == _expected_counts(offers, events, holders)
    merged = Counter(holders.values())
    for (offer, name, _, holder), count in counters.items():
        limit = next(cap for cap in offers[offer].caps if cap.name == name)
        # Merged customers may each have reached the limit before the merge.
        max_count = limit.limit * (merged[int(holder)] if holder.isdigit() else 1)
        assert count <= max_count, (offer, name, holder)
    return CapEvidence(offers, events, counters)


async def read_evidence(
    database: str,
) -> tuple[dict[str, PersonalizedOffer], dict[str, DecisionEvent], dict[IdentityKey, int]]:
    """Return the offers, the recorded decisions, and the customer of each identity."""
    events: dict[str, DecisionEvent] = {}
    async with open_services(await open_database(database)) as services:
        live = access_to(services).state.catalog
        offers = {item.id: item for item in map(parse_entity, live) if isinstance(item, PersonalizedOffer)}
        after = 0
        while packs := await services.store.decision_events(DEV_CONTAINER, after, 200):
            after = packs[-1][0]
            for _, packed in packs:
                for event in packed:
                    assert event.id not in events, "a decision is on record twice"
                    events[event.id] = event
        keys = [IdentityKey("Email", person(item).id) for item in range(PEOPLE)]
        customers = await services.store.customers(DEV_CONTAINER, keys)
    holders = {identity: item.key for item in customers for identity in item.identities}
    return offers, events, holders


def _expected_counts(
    offers: dict[str, PersonalizedOffer],
    events: dict[str, DecisionEvent],
    holders: dict[IdentityKey, int],
) -> CapCounts:
    """Return the counts that follow from the recorded decisions."""
    counts: CapCounts = Counter()
    for event in events.values():
        (identity,) = event.identities
        holder = str(holders.get(identity, identity.id))
        for offer, placement in event.proposed_offers:
            for limit in offers[offer].caps:
                key = limit.counter_key(offer, placement)
                counts[*key, holder if limit.scope is CapScope.PROFILE else ""] += 1
    return counts


_COUNTERS = """
    SELECT l.offer, l.name, c.placement, '', c.count FROM cap_totals c JOIN cap_limits l USING (counter)
    UNION ALL SELECT l.offer, l.name, c.placement,
        CASE WHEN c.owner > 0 THEN CAST(c.owner AS TEXT) ELSE substr(c.identity, 7) END, c.count
    FROM cap_counters c JOIN cap_limits l USING (counter)"""


def stored_counters(database: str) -> CapCounts:
    """Return the stored counters."""
    counts: CapCounts = Counter()
    path = sqlite_path(database)
    rows = asyncio.run(_fetch_counters(database)) if path is None else _select_counters(path)
    for *key, count in rows:
        counts[tuple(map(str, key))] += count  # type: ignore[index]
    return counts


def _select_counters(path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute(_COUNTERS).fetchall()


async def _fetch_counters(database: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(database)
    try:
        return [tuple(row) for row in await connection.fetch(_COUNTERS)]
    finally:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
