"""Ranking formulas over many offers: whole, in parts and in bulk.

    python bench/formulas.py [--quick]

Times are processor time; every call is for another customer. "Whole" evaluates the compiled formula for each
offer, as before formulas were split into parts. "In parts" evaluates the parts without arrays, "in bulk" with
arrays. "A whole decision" includes everything else that a decision does; all offers are eligible.
"""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import cycle
from random import Random
from typing import Any

from _library import WORDS, profiles
from _measure import Row, by_turns, compare_rounds, run_standalone
from proffer.engine.compile.compiler import SnapshotBuilder
from proffer.engine.decide import decide
from proffer.engine.formula_table import OfferTerms
from proffer.engine.scoring import OfferScorer
from proffer.engine.snapshot import Snapshot
from proffer.model.ids import EntityKind
from proffer.pql import Environment
from proffer.testing.builders import (
    Document,
    a_collection,
    a_criterion,
    a_decision,
    a_fallback,
    a_formula,
    a_placement,
    a_scope,
    an_offer,
    entities,
    id_of,
    some_inputs,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
FORMULAS = {
    "a sum": "offer.rank.priority * 2 + score.value",
    "a boost where cities agree": (
        'if(offer.characteristics.get("city") = homeAddress.city, offer.rank.priority * 2, offer.rank.priority)'
    ),
    "two choices and a quotient": (
        "if(score.value > 50, offer.rank.priority * score.value / 100, offer.rank.priority)"
        ' + if(offer.characteristics.get("city") = homeAddress.city, 10, 0)'
    ),
}


def rows(*, quick: bool) -> Iterator[Row]:
    for name, text in FORMULAS.items():
        for offers in (20, 100, 1_000):
            yield from scored(name, build_snapshot(offers, text), offers, 0.2 if quick else 0.5)


def build_snapshot(offers: int, text: str) -> Snapshot:
    random = Random(1)
    documents: list[Document] = [
        a_placement("web"),
        a_fallback(content=["web"]),
        a_collection("all", any_tags=["t"]),
        a_formula("formula", text),
        a_decision("decision", a_criterion("all", placements=["web"], formula="formula")),
    ]
    cities = WORDS["homeAddress.city"]
    for number in range(max(offers, 100)):
        more: Any = {"xdm:characteristics": {"city": random.choice(cities)}}
        priority = random.randrange(100)
        documents.append(an_offer(f"offer {number}", priority=priority, content=["web"], tags=["t"], **more))
    return SnapshotBuilder("bench").apply(entities(documents).items(), 1)


def scored(name: str, snapshot: Snapshot, offers: int, seconds: float) -> Iterator[Row]:
    decision = snapshot.decisions[id_of(EntityKind.DECISION, "decision")]
    (criterion,) = decision.scopes[id_of(EntityKind.PLACEMENT, "web")].groups[0]
    (table,) = criterion.tables
    assert table.vectorized is not None
    positions = list(range(offers))
    ways = {
        "whole": replace(table, formula=replace(table.formula, split=None)),
        "in parts": replace(table, vectorized=None),
        "in bulk": replace(table, pool=replace(table.pool, max_scalar_offers=0)),
    }
    customers = [Environment(profile, NOW) for profile in profiles()]
    expected = [OfferScorer(environment).score(ways["whole"], positions) for environment in customers]
    for way in ways.values():
        assert [OfferScorer(environment).score(way, positions) for environment in customers] == expected

    def asking(way: OfferTerms) -> object:
        return OfferScorer(next(environments)).score(way, positions)

    environments = cycle(customers)
    calls: dict[str, Callable[[], object]] = {environment: partial(asking, ways[environment]) for environment in ways}
    if offers == 1_000:
        inputs = cycle(
            some_inputs(a_scope(), profile=profile, seed=f"seed {number}") for number, profile in enumerate(profiles())
        )
        calls["a whole decision, in bulk"] = lambda: decide(snapshot, next(inputs))
    took = by_turns(calls, seconds=seconds)
    for done, times in took.items():
        ratio, spread = compare_rounds(times, took["whole"])
        yield Row(
            table=f"Scoring by a formula: {name}",
            name=done,
            at=offers,
            value=statistics.median(times),
            unit="µs",
            baseline="whole",
            ratio=ratio,
            spread=spread,
        )


if __name__ == "__main__":
    run_standalone(rows, __doc__)
