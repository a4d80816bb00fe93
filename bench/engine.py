"""Decisions per second of the engine, beside a loop written by hand and beside the naive engine.

    python bench/engine.py [--quick]

Every offer has a rule of its own, of three tests over attributes that most rules share. The yardstick
does the same tests as Python lambdas over the profile, keeps what passes and sorts it; it knows no
calendar, caps, criteria, placements or duplicates. Profiles differ from call to call. Times are those of
the processor, so that other work on the machine does not count.
"""

import argparse
import gc
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

from proffer.engine.build import Builder
from proffer.engine.decide import decide
from proffer.engine.inputs import Inputs
from proffer.engine.snapshot import Snapshot
from proffer.model.ids import EntityKind
from proffer.model.offer import PersonalizedOffer
from proffer.model.reading import Entity
from proffer.testing.builders import (
    Document,
    a_collection,
    a_criterion,
    a_decision,
    a_fallback,
    a_placement,
    a_rule,
    a_scope,
    an_offer,
    entities,
    some_inputs,
    the,
)
from proffer.testing.oracle import Oracle

Profile = dict[str, Any]
PLACES = ("web", "app", "mail")
COUNTRIES = ("FR", "DE", "NL", "AT", "BE", "IE")
AS_LIST = "[" + ", ".join(f'"{country}"' for country in COUNTRIES) + "]"


@dataclass
class Library:
    """A library of so many offers, as the engine has it and as one might write it by hand."""

    offers: int
    entities: dict[str, Entity]
    by_hand: list[tuple[int, str, Callable[[Profile], bool]]]


def a_library(offers: int) -> Library:
    """All of its rules hold for the rich profiles, one in ten for the poor ones."""
    random = Random(offers)
    documents: list[Document] = [a_placement(place) for place in PLACES]
    documents += [a_fallback(content=PLACES), a_collection("all", any_tags=["t"])]
    documents.append(a_decision("decision", a_criterion("all", placements=PLACES)))
    by_hand = []
    for number in range(offers):
        text, test = a_test(number % 3, random.randint(18, 29), for_poor=number % 10 == 0)
        name, priority = f"offer {number}", random.randrange(100)
        documents.append(a_rule(name, text))
        documents.append(an_offer(name, priority=priority, content=PLACES, tags=["t"], rule=name))
        by_hand.append((priority, the(EntityKind.OFFER, name), test))
    return Library(offers, entities(documents), by_hand)


def a_test(form: int, age: int, *, for_poor: bool) -> tuple[str, Callable[[Profile], bool]]:
    """One rule in both spellings. Where it does not hold it fails at its second or third test."""
    if form == 0:
        least = age if for_poor else age + 40
        return (
            f"person.age >= {age} and homeAddress.country in {AS_LIST} and score.value >= {least}",
            lambda p: (
                p["person"]["age"] >= age
                and p["homeAddress"]["country"] in COUNTRIES
                and p["score"]["value"] >= least
            ),
        )
    if form == 1:
        most = age + 70 if for_poor else age + 20
        return (
            f'person.age >= {age} and score.churn < {most} and loyalty.tier != "none"',
            lambda p: (
                p["person"]["age"] >= age
                and p["score"]["churn"] < most
                and p["loyalty"]["tier"] != "none"
            ),
        )
    least = age if for_poor else age + 40
    return (
        f'loyalty.tier in ["bronze", "gold"] and score.value >= {least} and person.age < 100',
        lambda p: (
            p["loyalty"]["tier"] in ("bronze", "gold")
            and p["score"]["value"] >= least
            and p["person"]["age"] < 100
        ),
    )


def profiles(value: tuple[int, int], churn: tuple[int, int]) -> list[Profile]:
    random = Random(1)
    return [
        {
            "person": {"age": random.randint(30, 80)},
            "homeAddress": {"country": random.choice(COUNTRIES)},
            "loyalty": {"tier": random.choice(("bronze", "gold"))},
            "score": {"churn": random.randint(*churn), "value": random.randint(*value)},
        }
        for _ in range(64)
    ]


PROFILES = {"100%": profiles((70, 99), (1, 37)), "10%": profiles((30, 57), (50, 87))}


def requests(scopes: int, eligible: str) -> Iterator[Inputs]:
    asked = [a_scope(placement=place) for place in PLACES[:scopes]]
    return cycle(
        [
            some_inputs(*asked, profile=profile, seed=f"seed {number}")
            for number, profile in enumerate(PROFILES[eligible])
        ]
    )


def by_hand(library: Library, profile: Profile, scopes: int) -> list[str]:
    """The best offer for each scope, none twice."""
    given: list[str] = []
    for _ in range(scopes):
        found = [
            (priority, offer)
            for priority, offer, test in library.by_hand
            if offer not in given and test(profile)
        ]
        found.sort(reverse=True)
        given += [offer for _, offer in found[:1]]
    return given


def microseconds(call: Callable[[], object], seconds: float) -> float:
    """How long one call takes: the median of five rounds."""
    begun = time.process_time()
    call()
    once = max(time.process_time() - begun, 1e-6)
    count = max(1, int(seconds / 5 / once))
    rounds = []
    for _ in range(5 if once < seconds else 1):
        begun = time.process_time()
        for _ in range(count):
            call()
        rounds.append((time.process_time() - begun) / count)
    return statistics.median(rounds) * 1e6


def resident_kb() -> int:
    """What this process holds in memory now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize() // 1024


def built(library: Library) -> Snapshot:
    gc.collect()
    before, begun = resident_kb(), time.process_time()
    builder = Builder("bench")
    snapshot = builder.apply(library.entities.items(), 1)
    took = time.process_time() - begun
    gc.collect()
    grown = (resident_kb() - before) / 1024
    changed = library.entities[the(EntityKind.OFFER, "offer 1")]
    assert isinstance(changed, PersonalizedOffer)
    priorities = cycle(range(100))

    def publish() -> None:
        one = replace(changed, priority=next(priorities))
        builder.apply([(one.id, one)], 2)

    one = microseconds(publish, 0.3) / 1e3
    print(
        f"{library.offers:>7,}   built in {took:6.2f} s"
        f" ({took / library.offers * 1e6:4.0f} µs an offer), {grown:6.1f} MB;"
        f" one changed offer in force after {one:7.2f} ms"
    )
    return snapshot


def measure(
    library: Library, snapshot: Snapshot, scopes: int, eligible: str, seconds: float
) -> None:
    asked = requests(scopes, eligible)
    profile = cycle(PROFILES[eligible])
    plain = microseconds(lambda: decide(snapshot, next(asked)), seconds)
    told = microseconds(lambda: decide(snapshot, next(asked), explain=True), seconds)
    hand = microseconds(lambda: by_hand(library, next(profile), scopes), seconds)
    slow = ""
    if library.offers <= 1_000:
        oracle = Oracle(library.entities)
        took = microseconds(lambda: oracle.decide(next(asked)), seconds)
        slow = f"{took / plain:8.1f}×"
    print(
        f"{library.offers:>7,} {eligible:>9} {scopes:>7} {plain:>11,.1f} {1e6 / plain:>11,.0f}"
        f" {hand:>11,.1f} {hand / plain:>8.2f}× {told:>11,.1f} {told / plain:>8.2f}× {slow:>9}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smaller libraries, shorter rounds")
    quick = parser.parse_args().quick
    sizes, seconds = ((100, 1_000), 0.1) if quick else ((100, 1_000, 10_000), 0.25)
    libraries = [a_library(size) for size in sizes]
    print(f"{'offers':>7}")
    snapshots = [built(library) for library in libraries]
    print(
        f"\n{'':>25} {'µs each':>11} {'decisions':>11} {'µs by':>11} {'hand':>9}"
        f" {'µs with':>11} {'trace':>9} {'naive':>9}\n"
        f"{'offers':>7} {'eligible':>9} {'scopes':>7} {'':>11} {'per second':>11} {'hand':>11}"
        f" {'/engine':>9} {'trace':>11} {'/engine':>9} {'/engine':>9}"
    )
    for library, snapshot in zip(libraries, snapshots, strict=True):
        for eligible in PROFILES:
            for scopes in (1, 3):
                measure(library, snapshot, scopes, eligible, seconds)


if __name__ == "__main__":
    main()
