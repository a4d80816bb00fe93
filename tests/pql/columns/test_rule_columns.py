"""The column form: the same answers as row by row, and a reason where there is none."""

import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from pql.cases import ACCEPTED, Case, as_formula, as_rule, environment
from proffer.pql import CompiledFormula, CompiledRule, Environment, compile_formula, compile_rule
from proffer.pql.columns.columns import EncodedColumn, ProfileTable
from proffer.pql.columns.rule_columns import ColumnFormula, ColumnRule, NoColumnForm, to_columns

NOW = datetime(2024, 11, 20, 12, tzinfo=UTC)
IN_COLUMNS = [case for case in ACCEPTED if not isinstance(to_columns(as_rule(case).checked), NoColumnForm)]


def rule(text: str) -> CompiledRule:
    compiled = compile_rule(text)
    assert isinstance(compiled, CompiledRule), compiled.diagnostics
    return compiled


def both_ways(compiled: CompiledRule, profiles: list[Any]) -> tuple[list[bool], list[bool]]:
    """What the columns say, and what the rows say."""
    plan = to_columns(compiled.checked)
    assert isinstance(plan, ColumnRule), plan
    columns = plan.holds(ProfileTable.of(profiles, plan.paths), Environment({}, NOW)).tolist()
    return columns, [compiled.holds(Environment(profile, NOW)) for profile in profiles]


@pytest.mark.parametrize("case", IN_COLUMNS, ids=lambda case: case["id"])
def test_a_case_holds_in_columns(case: Case) -> None:
    """A profile, an empty one and the profile again: as the rows say."""
    compiled, given = as_rule(case), case["env"]
    plan = to_columns(compiled.checked)
    assert isinstance(plan, ColumnRule)
    profile = environment(given).profile
    rows = [
        environment({**given, "profile": row, "params": [row, *given.get("params", [])[1:]]})
        for row in (profile, {}, profile)
    ]

    found = plan.holds(ProfileTable.of([row.profile for row in rows], plan.paths), rows[0])

    assert found.tolist() == [compiled.holds(row) for row in rows]


@pytest.mark.parametrize("case", IN_COLUMNS, ids=lambda case: case["id"])
def test_a_case_scores_in_columns(case: Case) -> None:
    """The score of a row is the formula's, and a fault is one in both."""
    formula, env = as_formula(case), environment(case["env"])
    plan = to_columns(formula.checked)
    assert isinstance(plan, ColumnFormula)

    found = plan.scores(ProfileTable.of([env.profile], plan.paths), env)

    assert (float(found.values[0]) if found.valid[0] else None) == formula.score(env)


def test_most_cases_run_in_columns(record_property: Any) -> None:
    """The rest say why they cannot; nothing is left without either."""
    plans = [to_columns(as_rule(case).checked) for case in ACCEPTED]
    reasons = Counter(plan.reason for plan in plans if isinstance(plan, NoColumnForm))
    record_property("in columns", len(IN_COLUMNS))
    record_property("row by row", dict(reasons))

    assert (len(IN_COLUMNS) > len(ACCEPTED) * 0.6, all(reasons)) == (True, True)


@pytest.mark.parametrize(
    "text",
    [
        "a > 3 and b < 2.5 or not (a = b)",
        "a + b * 2 >= 7",
        "a / b = 1 and a % 2 = 1",
        'a in [1, "x", true]',
        "a = b",
        'a.startsWith("x") or a.isNull()',
        "if(a > 1, b, a) > 2",
        "-a < 0 and a != 5",
    ],
)
def test_columns_of_anything_agree_with_rows(text: str) -> None:
    """Numbers, texts, Booleans, arrays and integers that no double holds, in one column."""
    values = [
        None,
        0,
        1,
        1.0,
        True,
        "x",
        "1",
        [1],
        {"k": 1},
        2**60 + 1,
        -3,
        2.5,
        float("nan"),
        float("inf"),
        "",
    ]
    profiles = [{"a": mine, "b": yours} for mine in values for yours in values]

    columns, rows = both_ways(rule(text), profiles)

    assert columns == rows


def test_integers_beyond_doubles_stay_exact() -> None:
    """A product that a double cannot hold is computed as the rows compute it."""
    columns, rows = both_ways(rule("a * a = 9007199254740994 * 1 or a * 3 > b"), [{"a": 3**33, "b": 3**34 - 1}])

    assert columns == rows


def test_a_missing_root_is_the_same_for_every_row() -> None:
    """Offer and context are asked once."""
    formula = compile_formula("if(a = offer.x, offer.y + 1, a)")
    assert isinstance(formula, CompiledFormula)
    plan = to_columns(formula.checked)
    assert isinstance(plan, ColumnFormula)

    found = plan.scores(
        ProfileTable.of([{"a": 1}, {"a": 2}, {}], plan.paths),
        Environment({}, NOW, offer={"x": 1, "y": 9}),
    )

    assert (found.values[:2].tolist(), found.valid.tolist()) == ([10.0, 2.0], [True, True, False])


def test_membership_is_a_column() -> None:
    """`inSegment` reads the memberships of each row."""
    member = {"segmentMembership": {"ups": {"x": {"status": "realized"}}}}
    columns, rows = both_ways(rule('inSegment("x") and a = 1'), [{**member, "a": 1}, {"a": 1}, member])

    assert columns == rows == [True, False, False]


def test_what_needs_items_says_why() -> None:
    """Quantifiers, conditions on items and chains go row by row."""
    assert to_columns(rule("exists o from orders where o.price > 3").checked) == NoColumnForm(
        "a quantifier reads the items of an array"
    )


def test_values_of_different_types_are_different() -> None:
    """1, 1.0 and true are three; arrays are never looked at."""
    assert EncodedColumn.of([1, True, 1.0, [1], [1], 1, None]).values == [
        None,
        1,
        True,
        1.0,
        [1],
        [1],
    ]


def test_the_language_loads_no_numpy_until_columns_are_used() -> None:
    code = "import sys, proffer.pql; print([name for name in ('numpy',) if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_integers_among_fractions_are_exact() -> None:
    """A column of integers and fractions computes the integers exactly, as row by row."""
    profiles = [{"a": 2**52 + 1}, {"a": 0.5}, {"a": 3}, {}]

    columns, rows = both_ways(rule("a * 2 + 1 - a * 2 = 1"), profiles)

    assert columns == rows == [True, True, True, False]
