"""Many who want what there is little of: a library of capped offers, and a process of its own that asks for them.

capped.py <database> <decisions> <seed>

asks for so many decisions, four at a time, and says on stdout what each of them was given; now and then it
says of two people that they are one. Ends by itself, or is killed.
"""

import asyncio
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from proffer.app import DEV_CONTAINER, DEV_ORGANISATION, DEV_SANDBOX, Services
from proffer.auth.principal import Permission, Principal
from proffer.model.customer import Record
from proffer.model.identity import IdentityKey
from proffer.model.ids import EntityKind, kind_of
from proffer.model.outcome import Proposition
from proffer.model.profile import Identity, Profile
from proffer.model.request import DecisionRequest
from proffer.store.sqlite import SqliteStore
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

OFFERS = 50
PEOPLE = 400
CLIENTS_EACH = 4
BY = Principal(
    organisation=DEV_ORGANISATION,
    sandbox=DEV_SANDBOX,
    permissions=frozenset({Permission.ADMIN}),
    user="law@AdobeID",
    client="tests",
)
_ORDER = (
    EntityKind.PLACEMENT,
    EntityKind.FALLBACK,
    EntityKind.OFFER,
    EntityKind.COLLECTION,
    EntityKind.DECISION,
)


def the_library(limit: int) -> list[Document]:
    """Fifty offers, each given `limit` times in total and no more; some also seldom to one person, or in one place."""
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


async def load(database: Path, limit: int) -> None:
    """Make the database with the library in it."""
    services = Services(await SqliteStore.open(database))
    await services.start(dev=True)
    documents = the_library(limit)
    for kind in _ORDER:
        for document in (one for one in documents if kind_of(one["@id"]) is kind):
            await services.catalog.create(BY, DEV_CONTAINER, kind, document)
    await services.stop()


def person(number: int) -> Identity:
    return Identity(namespace="Email", id=f"{number}@example.org", primary=True)


async def ask(services: Services, who: Identity) -> tuple[str, list[str]]:
    """One decision for two placements: its id, and the offers it gave, each with its placement."""
    asked = Profile(identities=(who,))
    profile = await services.profiles.asked_for(BY, DEV_CONTAINER, asked)
    request = DecisionRequest(
        scopes=(a_scope(placement="web", item_count=2), a_scope(placement="app"))
    )
    decided = await services.decide.decide(BY, DEV_CONTAINER, request, profile, surface="ode")
    given: list[str] = []
    for scope in decided.outcome.scopes:
        assert isinstance(scope, Proposition)
        assert bool(scope.options) != (scope.fallback is not None)
        given += [f"{one.offer.id}@{scope.placement.id}" for one in scope.options]
    return decided.proposition_id, given


async def merge(services: Services, one: Identity, other: Identity, now_us: int) -> None:
    """Say that these two are one person."""
    record = Record(
        identities=tuple(IdentityKey(each.namespace, each.id) for each in (one, other)),
        dataset="crm",
        stamped_us=now_us,
    )
    await services.store.take_in(DEV_CONTAINER, [record], now_us=now_us)


async def main(database: str, decisions: int, seed: int) -> None:
    services = Services(await SqliteStore.open(database))
    await services.start(dev=True)
    chance = random.Random(seed)  # noqa: S311 - not a secret
    left = decisions

    async def client() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            number = chance.randrange(PEOPLE)
            if (
                chance.random() < 0.01
            ):  # pairs only, so that nobody comes to have everybody's counts
                await merge(services, person(number), person(number ^ 1), services.clock())
            decision, given = await ask(services, person(number))
            sys.stdout.write(" ".join([decision, *given]) + "\n")
            sys.stdout.flush()

    await asyncio.gather(*(client() for _ in range(CLIENTS_EACH)))
    await services.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
