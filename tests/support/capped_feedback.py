"""Offers whose caps count impressions and clicks, and a process that decides and reports on its decisions.

cd tests && python -m support.capped_feedback <URL of a database> <decisions> <seed> <journal>

First it reports all events of the journal again, as a client does that had no answer. Each new event is written to the
journal before it is sent. It prints the id of each event that was acknowledged.
"""

import asyncio
import random
import sys
from pathlib import Path
from typing import Any

from proffer.app import DEV_CONTAINER, Services
from proffer.model.capping import CapScope
from proffer.model.feedback import Feedback, FeedbackKind, PropositionReport
from proffer.testing.builders import Document, a_cap, a_library, a_placement, an_offer
from support import capped
from support.containers import access_to, open_services

PEOPLE = 40
CLIENTS = 4
LIMIT = 10**6
KINDS = (FeedbackKind.DISPLAY, FeedbackKind.INTERACT)


def the_library() -> list[Document]:
    """Return offers with caps on impressions, clicks and decisions, in total, per person and per placement."""

    def caps(*events: str) -> list[Document]:
        counted: dict[str, Any] = {"xdm:events": list(events)}
        return [
            a_cap(LIMIT, **counted),
            a_cap(LIMIT, scope="profile", **counted),
            a_cap(LIMIT, entity="placement", **counted),
        ]

    kinds = (["impression"], ["click"], ["impression", "click"], ["decisioning", "click"])
    offers = [
        an_offer(f"offer {number}", content=("web", "app"), caps=caps(*events)) for number, events in enumerate(kinds)
    ]
    return a_library(*offers, a_placement("web"), a_placement("app"))


async def load(database: str) -> None:
    await capped.load_documents(database, the_library())


async def main(database: str, decisions: int, seed: int, journal: Path) -> None:
    chance = random.Random(seed)  # noqa: S311 - not a secret
    earlier = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    remaining = decisions

    async def client(services: Services) -> None:
        nonlocal remaining
        while remaining > 0:
            remaining -= 1
            decision, _ = await capped.ask(services, capped.person(chance.randrange(PEOPLE)))
            for kind in KINDS if chance.random() < 0.5 else KINDS[:1]:
                line = f"{decision} {kind.value}"
                with journal.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
                await report(services, line)
                if chance.random() < 0.1:
                    await report(services, line)

    async with open_services(await capped.open_database(database)) as services:
        for line in earlier:
            await report(services, line)
        await asyncio.gather(*(client(services) for _ in range(CLIENTS)))


async def report(services: Services, line: str) -> None:
    """Report an event of the journal: `<decision> <kind>`."""
    decision, kind = line.split()
    event = Feedback(
        id=line.replace(" ", "-"),
        kind=FeedbackKind(kind),
        at_us=services.clock(),
        propositions=(PropositionReport(decision),),
        document={},
    )
    await services.feedback.record(access_to(services), [event])
    sys.stdout.write(event.id + "\n")
    sys.stdout.flush()


def check(database: str, journal: Path, acknowledged: set[str]) -> int:
    """Assert that what was acknowledged is on record once, and that the counters equal the record; return its size."""
    reported, expected = asyncio.run(_record(database))
    assert len(set(reported)) == len(reported), "an event is on record twice"
    assert acknowledged <= set(reported), "an acknowledged event is not on record"
    assert set(reported) == {line.replace(" ", "-") for line in journal.read_text(encoding="utf-8").splitlines()}
    assert capped.stored_counters(database) == expected
    return len(reported)


async def _record(database: str) -> tuple[list[str], capped.CapCounts]:
    """Return the ids of the events on record, and the counters that follow from it."""
    offers, decisions, holders = await capped.read_evidence(database)
    expected: capped.CapCounts = capped.CapCounts()
    reported: list[str] = []
    for event in decisions.values():
        (identity,) = event.identities
        holder = str(holders.get(identity, identity.id))
        for offer, placement in event.proposed_offers:
            for limit in offers[offer].caps:
                if "decisioning" in limit.events:
                    key = limit.counter_key(offer, placement)
                    expected[*key, holder if limit.scope is CapScope.PROFILE else ""] += 1
    async with open_services(await capped.open_database(database)) as services:
        after = 0
        while page := await services.store.feedback_events(DEV_CONTAINER, after, 500):
            after = page[-1][0]
            for _, stored in page:
                reported.append(stored.feedback.id)
                assert not stored.unattributed
                for increment in stored.increments:
                    (identity,) = increment.identities
                    holder = str(holders.get(identity, identity.id))
                    for limit in offers[increment.offer].caps:
                        if stored.counts_for(limit):
                            key = limit.counter_key(increment.offer, increment.placement)
                            expected[*key, holder if limit.scope is CapScope.PROFILE else ""] += 1
    return reported, expected


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
