"""split-is-whole: however a formula is asked, of whatever offers, it gives the same scores and the same faults."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from proffer.engine.compile.bind import bind_formula
from proffer.engine.compiled import BoundFormula, BoundOffer
from proffer.engine.formula_table import OfferTermCache
from proffer.engine.index.pool import DEFAULT_TUNING, IndexTuning, Pool, build_pool
from proffer.engine.scoring import OfferScorer
from proffer.engine.steps import run_to_completion
from proffer.model.lifecycle import OfferStatus
from proffer.model.offer import PersonalizedOffer
from proffer.model.ranking import RankingFormula
from proffer.pql import Environment
from proffer.pql.check.schema import XDM
from proffer.testing.builders import ALWAYS_INDEXED

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WAYS = [
    pytest.param(DEFAULT_TUNING, id="offer by offer"),
    pytest.param(ALWAYS_INDEXED, id="in bulk"),
]

NUMBERS: list[Any] = [
    *(0, 1, -1, 3, 7, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**62, 2**63 - 1, 2**70),
    *(0.0, -0.0, 0.1, 0.5, -2.5, 1e16, 1e154, 1e300, 1.7e308, 5e-324, 0.1 + 0.2),
    *(float("inf"), float("nan")),
]
OTHERS: list[Any] = [
    *(None, True, False, "", "x", "y", "3", " 2.5 ", "1e400", "true", "2025-12-31T12:00:00Z"),
    *([], [1, 2], ["x"], {}, {"a": 3}),
]
values = st.one_of(st.sampled_from(NUMBERS), st.sampled_from(NUMBERS), st.sampled_from(OTHERS))
few = st.sampled_from([1, 2, 3, 0.5, None, "x"])
objects = st.one_of(st.dictionaries(st.sampled_from("abc"), values), st.dictionaries(st.sampled_from("abc"), few))

PATHS = ("offer.a", "offer.a", "offer.b", "offer.c.a", "_p.a", "_p.a", "_p.b", "@{w}.a")
paths = st.sampled_from(PATHS)
leaves = st.sampled_from(
    [
        *PATHS,
        *("0", "1", "2", "0.5", "1000000", "9007199254740993", "null", '"x"', '"3"'),
        *("count(_p.c)", "_p.c.a", 'offer.get("a")', "now", "offer", "profile"),
    ]
)


def numbers_of(below: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    test = st.one_of(
        st.builds("({} {} {})".format, below, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), below),
        st.builds("({} {} [1, {}])".format, below, st.sampled_from(["in", "notIn"]), below),
        st.builds("({}.isNull())".format, below),
        st.builds("({} occurs <= 2 days before now)".format, paths),
        below,
    )
    tests = st.one_of(
        test,
        test,
        st.builds("(not {})".format, test),
        st.builds("({} {} {})".format, test, st.sampled_from(["and", "or"]), test),
    )
    return st.one_of(
        st.builds("({} {} {})".format, below, st.sampled_from(["+", "-", "*", "/", "%"]), below),
        st.builds("if({}, {}, {})".format, tests, below, below),
        st.builds("(-{})".format, below),
        st.builds("(let V = {} in V + {})".format, below, below),
        st.builds("(let V = {} in {})".format, below, below),
        st.builds("count(select X from [1, 2, {}] where X > {})".format, below, below),
    )


formulas = st.recursive(leaves, numbers_of, max_leaves=8)


def bound(text: str) -> BoundFormula:
    """The formula; what is no formula is no example."""
    formula = bind_formula(RankingFormula(id="f", name="f", etag=1, instance_id="i", expression=text), XDM)
    assert formula.compiled is None or formula.split is not None
    return formula


def a_pool(offers: list[dict[str, Any]], sizes: IndexTuning) -> Pool:
    playable = [
        BoundOffer(
            offer=PersonalizedOffer(
                id=f"o{at:03}",
                name="o",
                etag=1,
                instance_id="i",
                status=OfferStatus.APPROVED,
                representations={},
                attributes=one,
                priority=at % 3,
            ),
            constraint=None,
            id_hash=at,
            sort_key=(-(at % 3), f"o{at:03}"),
            schema=XDM,
        )
        for at, one in enumerate(offers)
    ]
    return run_to_completion(build_pool(playable, sizes))


def told(score: float) -> tuple[type, str]:
    """A score to the last bit: 1 is not 1.0, and 0.0 is not -0.0."""
    return type(score), repr(score)


def asked_whole(formula: BoundFormula, pool: Pool, environment: Environment) -> tuple[list[tuple[type, str]], int]:
    """What the compiled formula says, one by one, and how often it faults."""
    found, faults = [], 0
    assert formula.compiled is not None
    for one in pool.offers:
        environment.offer = one.offer.attributes
        score = formula.compiled.score(environment)
        faults += score is None
        found.append(told(one.offer.priority if score is None else score))
    environment.offer = None
    return found, faults


def asked_in_parts(formula: BoundFormula, pool: Pool, environment: Environment) -> tuple[list[tuple[type, str]], int]:
    everyone = range(len(pool.offers))
    table = run_to_completion(OfferTermCache(formula).build_terms(pool, (1 << len(everyone)) - 1, everyone))
    scores = OfferScorer(environment)
    return [told(one) for one in scores.score(table, list(everyone))], scores.faults.get("f", 0)


@pytest.mark.parametrize("sizes", WAYS)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(formulas, st.lists(objects, min_size=1, max_size=8), objects, objects)
@example("offer.a * _p.a + 1", [{"a": 2**53}, {"a": 0}], {"a": -1}, {})
@example("offer.a / (_p.a * offer.b)", [{"a": 1, "b": 0}, {"a": 1, "b": -1}], {"a": 0}, {})
@example("if(_p.a > 1, offer.a, offer.b)", [{"a": 1, "b": 0.5}, {"a": 1.0}], {"a": 2}, {})
def test_a_formula_in_parts_says_what_it_says_whole(
    sizes: IndexTuning,
    text: str,
    offers: list[dict[str, Any]],
    profile: dict[str, Any],
    context: dict[str, Any],
) -> None:
    """split-is-whole: scalar, split and in bulk, to the last bit and the same number of faults."""
    formula, pool = bound(text), a_pool(offers * 2, sizes)  # so that some are alike
    assume(formula.compiled is not None)
    environment = Environment({"_p": profile}, NOON, {"w": context})

    whole = asked_whole(formula, pool, environment)

    assert asked_in_parts(formula, pool, environment) == whole


@pytest.mark.parametrize("sizes", WAYS)
@pytest.mark.parametrize(
    "text",
    [
        "count(select X from _p.many) + offer.a",
        "if(offer.a > 1, count(select X from _p.many), offer.a)",
        "count(select X from offer.many) + _p.a",
        "count(select X from _p.many where X = offer.a) + count(select X from _p.many)",
        "let V = count(select X from _p.too) in offer.a + _p.a",
        "if(offer.a > 1, count(select X from _p.too), offer.a)",
        "if(_p.a > offer.a, count(select X from offer.too), _p.a)",
    ],
)
def test_the_allowance_of_work_is_that_of_the_whole(sizes: IndexTuning, text: str) -> None:
    """split-is-whole: a part that spends more than its share is no fault unless the whole is one."""
    many, too = [1] * 90_000, [1] * 200_001
    formula = bound(text)
    pool = a_pool([{"a": 1, "many": many, "too": too}, {"a": 2}, {"many": [1]}], sizes)
    environment = Environment({"_p": {"a": 2, "many": many, "too": too}}, NOON)

    whole = asked_whole(formula, pool, environment)

    assert asked_in_parts(formula, pool, environment) == whole
