"""What holds for every decision, whatever the library and the request: see PROPERTIES.md."""

from collections import Counter
from itertools import combinations
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proffer.engine.decide import decide
from proffer.engine.inputs import Inputs
from proffer.model.capping import CapEntity, CapLimit
from proffer.model.decision import Criterion, Decision
from proffer.model.ids import EntityKind
from proffer.model.outcome import DecisionOutcome, Proposition
from proffer.testing import strategies
from proffer.testing.builders import (
    Document,
    a_library,
    a_rule,
    a_scope,
    a_snapshot,
    an_offer,
    entities,
    id_of,
    some_inputs,
)
from proffer.testing.oracle import Oracle
from support.values import values_of


def propositions(outcome: DecisionOutcome) -> list[Proposition]:
    return [scope for scope in outcome.scopes if isinstance(scope, Proposition)]


def offered(proposition: Proposition) -> list[str]:
    return [option.offer.id for option in proposition.options]


@given(strategies.libraries, strategies.requests)
def test_every_scope_has_an_answer(library: list[Document], inputs: Inputs) -> None:
    """always-answers: one answer a scope, in order; options or the fallback, never neither, never both."""
    outcome = decide(a_snapshot(library), inputs)

    assert len(inputs.request.scopes) == len(outcome.scopes)
    for asked, answer in zip(inputs.request.scopes, outcome.scopes, strict=True):
        if isinstance(answer, Proposition):
            assert (asked.decision, asked.placement) == (answer.decision.id, answer.placement.id)
            assert bool(answer.options) == (answer.fallback is None)
            assert len(answer.options) == len(set(offered(answer))) <= asked.item_count
        else:
            assert (asked.decision, asked.placement) == (answer.decision, answer.placement)


@given(strategies.libraries, strategies.requests)
def test_a_later_group_never_overtakes_an_earlier_one(library: list[Document], inputs: Inputs) -> None:
    """groups-hold: options stand in the order of the first group that has them, then of score, then of priority."""
    for document in library:  # a criterion for some customers only may leave an offer to a later group
        for criterion in document.get("xdm:criteria", ()):
            criterion.pop("xdm:profileConstraint", None)
    oracle = Oracle(entities(library))

    def place(decision: Decision, placement: str, offer: str) -> int:
        of_offer = [
            criterion.priority
            for criterion in decision.criteria
            if placement in criterion.placements and any(member.id == offer for member in oracle.members(criterion))
        ]
        return -max(of_offer)

    for answer in propositions(decide(a_snapshot(library), inputs)):
        standing = [
            (
                place(answer.decision, answer.placement.id, option.offer.id),
                -(option.offer.priority if option.score is None else option.score),
                -option.offer.priority,
            )
            for option in answer.options
        ]
        assert sorted(standing) == standing


@given(strategies.libraries, strategies.requests)
def test_duplicates_occur_only_where_they_are_allowed(library: list[Document], inputs: Inputs) -> None:
    """dedup-honest: disallowed across decisions, or placements, no offer goes to two that differ in it."""
    request = inputs.request
    answers = propositions(decide(a_snapshot(library), inputs))
    for one, other in combinations(answers, 2):
        across_decisions = one.decision.id != other.decision.id
        across_placements = one.placement.id != other.placement.id
        twice = set(offered(one)) & set(offered(other))
        if twice:
            assert request.across_decisions or not across_decisions
            assert request.across_placements or not across_placements
            assert request.across_decisions or request.across_placements


@given(strategies.libraries, strategies.requests)
def test_no_request_is_given_more_than_the_caps_leave(library: list[Document], inputs: Inputs) -> None:
    """caps-hold-within: what all scopes of one request are given is at most the limit less what was used."""
    answers = propositions(decide(a_snapshot(library), inputs))
    offers = {option.offer.id: option.offer for answer in answers for option in answer.options}
    for offer in offers.values():
        for cap in (one for one in offer.caps if "decisioning" in one.events):
            given_in = [a.placement.id for a in answers if offer.id in offered(a)]
            for placement in set(given_in):
                assert given_now(cap, placement, given_in) <= max(
                    0, cap.limit - inputs.usage.counts.get(cap.counter_key(offer.id, placement), 0)
                )


def given_now(cap: CapLimit, placement: str, given_in: list[str]) -> int:
    """How many of these count against the limit as it stands in this placement."""
    if not cap.counts_in(placement):
        return 0
    apart = cap.entity is CapEntity.PLACEMENT
    return sum(cap.counts_in(one) and (one == placement or not apart) for one in given_in)


def reached_rules(oracle: Oracle, decision: Decision) -> set[str]:
    def of(criterion: Criterion) -> set[str]:
        members = oracle.members(criterion)
        return {rule for one in members for rule in one.constraint.rules} | {*criterion.constraint.rules}

    return set().union(*map(of, decision.criteria))


@given(
    strategies.libraries,
    strategies.SEEDS,
    st.sampled_from(strategies.RULES),
    st.sampled_from(strategies.BROKEN),
)
def test_a_broken_rule_harms_nobody_else(library: list[Document], seed: int, rule: str, text: str) -> None:
    """one-bad-apple: a rule that does not compile counts as false, and who does not use it decides as before."""
    inputs = strategies.a_random_request(seed, odd=1, scopes=1)
    others = [one for one in library if one["@id"] != id_of(EntityKind.RULE, rule)]
    before, false, broken = (
        values_of(decide(a_snapshot([*others, a_rule(rule, condition)]), inputs))
        for condition in ("true", "false", text)
    )
    oracle = Oracle(entities(library))
    decision = oracle.entities.get(inputs.request.scopes[0].decision)

    assert false == broken
    if not isinstance(decision, Decision) or id_of(EntityKind.RULE, rule) not in reached_rules(oracle, decision):
        assert before == broken


SEEDS = [str(UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)) for number in range(3000)]
"""Ids such as propositions have; always the same, so that chance never fails the test."""


@pytest.mark.parametrize("count", [2, 3, 7])
def test_equals_win_equally_often(count: int) -> None:
    """fair-ties: over many seeds each of several equals takes each place about as often as any other."""
    library = a_library(*(an_offer(f"equal {number}") for number in range(count)))
    snapshot = a_snapshot(library)
    places: Counter[tuple[int, str]] = Counter()
    for seed in SEEDS:
        (answer,) = propositions(decide(snapshot, some_inputs(a_scope(item_count=9), seed=seed)))
        places.update(enumerate(offered(answer)))
    expected = len(SEEDS) / count

    for place in range(count):
        counts = [places[place, id_of(EntityKind.OFFER, f"equal {n}")] for n in range(count)]
        chi_square = sum((found - expected) ** 2 / expected for found in counts)
        assert chi_square < 25  # for 6 degrees of freedom exceeded by chance once in 3,000 times
