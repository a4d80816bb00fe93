"""What the cases and the laws of a decision do not say plainly."""

from collections import Counter
from itertools import product
from typing import Any

import pytest

from proffer.engine.decide import decide
from proffer.engine.index.pool import DEFAULT_TUNING
from proffer.engine.inputs import Inputs
from proffer.model.outcome import DecisionOutcome, Proposition
from proffer.model.profile import UNKNOWN_PROFILE
from proffer.pql import Environment
from proffer.pql.index.rule_tests import RuleFailures
from proffer.testing.builders import (
    ALWAYS_INDEXED,
    Document,
    a_collection,
    a_constraint,
    a_criterion,
    a_decision,
    a_formula,
    a_library,
    a_rule,
    a_scope,
    a_snapshot,
    an_offer,
    some_inputs,
)
from support.values import values_of


def decided(*documents: Document, inputs: Inputs | None = None, **asked: Any) -> DecisionOutcome:
    snapshot = a_snapshot(a_library(*documents))
    return decide(snapshot, inputs or some_inputs(**asked), explain=True)


def reasons(outcome: DecisionOutcome) -> dict[str, str]:
    assert outcome.trace is not None
    return {one.name: one.reason for trace in outcome.trace for one in trace.candidates}


def test_nobody_pays_for_a_trace_that_was_not_asked_for() -> None:
    """Without `explain` there is none."""
    snapshot = a_snapshot(a_library(an_offer("gold")))

    assert decide(snapshot, some_inputs()).trace is None


@pytest.mark.parametrize(
    "text",
    [
        'city = "a" and age < {}',
        'city in ["a", "b"] and age < {} and (city = "a" or age > 90)',
        '(city = "a" or city = "b") and city != "c" and age < {}',
        'not (city = "c" or age > {}) and city != "a"',
        "age > {} and age.isNotNull() and points > age",
    ],
)
def test_a_trace_names_the_same_tests_with_and_without_an_index(text: str) -> None:
    """Also where several parts of a rule test one field, alone or beside others."""
    numbers = range(6)
    library = a_library(
        *(an_offer(f"offer {number}", rule=f"rule {number}") for number in numbers),
        *(a_rule(f"rule {number}", text.format(number * 10)) for number in numbers),
    )
    for city, age in product("abc", (15, 35, None)):
        inputs = some_inputs(profile={"city": city, "age": age, "points": 20})
        indexed, whole = (
            decide(a_snapshot(library, tuning), inputs, explain=True) for tuning in (ALWAYS_INDEXED, DEFAULT_TUNING)
        )
        assert values_of(indexed.trace) == values_of(whole.trace)
        assert indexed.trace is not None
        for verdict in indexed.trace[0].candidates:
            if isinstance(verdict.why.tests, RuleFailures):
                failures = verdict.why.tests
                evaluated = failures.evaluator.failures(failures.tests)
                assert failures.results() == evaluated
                assert evaluated


def test_a_trace_tells_the_seed_and_the_order_of_candidates() -> None:
    """The ranked ones in order, beyond the number asked for as well; then the others by stage and name."""
    outcome = decided(
        an_offer("gold", priority=2),
        an_offer("silver", priority=1),
        an_offer("z draft", status="draft"),
        an_offer("capped", cap=1, rule="nobody"),
        an_offer("a draft", status="draft"),
        a_rule("nobody", "false"),
        seed="the seed",
    )
    assert outcome.trace is not None
    (trace,) = outcome.trace

    assert trace.seed == "the seed"
    assert [v.name for v in trace.candidates] == ["gold", "silver", "a draft", "z draft", "capped"]
    assert [v.rank for v in trace.candidates] == [1, 2, None, None, None]
    assert reasons(outcome)["silver"] == "rank 2, by priority 1; only 1 requested"


@pytest.mark.parametrize(("seed", "dropped"), [("10", (1, 0, 1, 1, 0, 0)), ("01", ())])
def test_one_decision_of_sixteen_counts_what_it_dropped(seed: str, dropped: tuple[int, ...]) -> None:
    """By the last digit of its id; drafts are no candidates, and each candidate counts once, where it fell."""
    (answer,) = decided(
        an_offer("gold"),
        an_offer("draft", status="draft", rule="nobody"),
        an_offer("over", window=(0, 1), rule="nobody"),
        an_offer("for nobody", cap=1, rule="nobody"),
        an_offer("spent", cap=0),
        a_rule("nobody", "false"),
        seed=seed,
    ).scopes

    assert isinstance(answer, Proposition)
    assert answer.dropped == dropped


def test_an_option_names_the_criterion_that_ranked_it() -> None:
    """Its place among all criteria of the decision; of two in a group, that whose formula gave the best score."""
    library = a_library(
        *(an_offer(name, priority=priority) for name, priority in (("gold", 1), ("silver", 2))),
        a_formula("low", "1"),
        a_formula("high", "9"),
        a_collection("all", ["gold", "silver"]),
        a_collection("one", ["silver"]),
        a_decision(
            "decision",
            a_criterion("one", placements=["app"], priority=5),
            a_criterion("all", formula="low"),
            a_criterion("one", formula="high"),
        ),
    )
    (answer,) = decide(a_snapshot(library), some_inputs(a_scope(item_count=2))).scopes

    assert isinstance(answer, Proposition)
    assert [(option.offer.name, option.criterion) for option in answer.options] == [("silver", 2), ("gold", 1)]


def test_options_have_no_score_where_priority_decides() -> None:
    """R20: a score is shown only where a formula or a model gave it."""
    (answer,) = decided(an_offer("gold", priority=7)).scopes

    assert isinstance(answer, Proposition)
    assert [option.score for option in answer.options] == [None]


@pytest.mark.parametrize(
    ("attributes", "shown"),
    [
        ({}, "is missing"),
        ({"a": None}, "is missing"),
        ({"a": {"b": None}}, "is missing"),
        ({"a": "text"}, "is missing"),
        ({"a": {"b": False}}, "is false"),
        ({"a": {"b": 17}}, "is 17"),
        ({"a": {"b": 1.5}}, "is 1.5"),
        ({"a": {"b": "x" * 99}}, 'is "' + "x" * 60 + '…"'),
        ({"a": {"b": [1]}}, "is a list or an object"),
        ({"a": {"b": {"c": 1}}}, "is a list or an object"),
        ({"a": [{"b": 1}]}, "is a list or an object"),
    ],
)
def test_a_reason_shows_the_value_that_decided(attributes: dict[str, Any], shown: str) -> None:
    """Short, and never a whole document."""
    outcome = decided(an_offer("gold", rule="r"), a_rule("r", "a.b = 99"), profile=attributes)

    assert reasons(outcome) == {"gold": f"`a.b = 99` fails: it {shown}"}


def test_a_rule_runs_once_in_a_request() -> None:
    """Whatever the number of offers and scopes that ask for it."""
    offers = [an_offer(f"o{n}") for n in range(5)]
    criterion = a_criterion("all", constraint=a_constraint(rule="adult"))
    collection = a_collection("all", [offer["@id"] for offer in offers])
    library = a_library(*offers, collection, a_decision("decision", criterion), a_rule("adult", "person.age >= 18"))
    snapshot = a_snapshot(library)
    runs: Counter[str] = Counter()
    (decision,) = snapshot.decisions.values()
    (scope,) = decision.scopes.values()
    constraint = scope.groups[0][0].constraint
    assert constraint is not None
    rule = constraint.rules[0].compiled
    assert rule is not None
    holds = rule.holds

    def counted(environment: Environment) -> bool:
        runs["adult"] += 1
        return holds(environment)

    rule._holds = counted
    decide(snapshot, some_inputs(a_scope(), a_scope()), explain=True)

    assert runs == {"adult": 1}


@pytest.mark.parametrize(
    "membership",
    [
        None,
        5,
        "x",
        [],
        {"ups": None},
        {"ups": {"vip": "realized"}},
        {"ups": {"vip": {"status": 1}}},
    ],
)
def test_a_membership_of_another_shape_is_none(membership: Any) -> None:
    """Profiles come from elsewhere: whatever stands there, the decision is made."""
    gold = an_offer(
        "gold",
        constraint={
            "xdm:profileConstraintType": "anySegments",
            "xdm:segmentIdentities": [{"xid": "vip"}],
        },
    )
    (answer,) = decided(gold, profile={"segmentMembership": membership}).scopes

    assert isinstance(answer, Proposition)
    assert answer.fallback is not None


def test_an_unknown_customer_is_an_empty_profile() -> None:
    """No error: rules about missing values do not hold, and offers for everybody are given."""
    outcome = decided(
        an_offer("gold", priority=1, rule="adult"),
        an_offer("silver"),
        a_rule("adult"),
        inputs=Inputs(
            request=some_inputs().request,
            now_us=some_inputs().now_us,
            seed="",
            profile=UNKNOWN_PROFILE,
        ),
    )
    (answer,) = outcome.scopes

    assert isinstance(answer, Proposition)
    assert [option.offer.name for option in answer.options] == ["silver"]
