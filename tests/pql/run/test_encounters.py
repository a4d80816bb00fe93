"""Values that evaluations meet and that are not of the type that they are compared as."""

from typing import Any

import pytest

from pql.cases import ACCEPTED, TYPES, as_formula, environment
from proffer.pql import CompileErrors, Environment, compile_formula, compile_rule, encounters, schema_with

SCHEMA = schema_with(
    {"profile": {"points": "number", "flag": "boolean", "name": "text", "seen": "date-time", "born": "date"}}
).lenient()
BERLIN = "2026-01-01T01:00:00+01:00"
SAME_IN_UTC = "2026-01-01T00:00:00Z"
OTHER_OFFSET = "2025-12-31T23:30:00-05:00"


def met(expression: str, profile: dict[str, Any], **inputs: Any) -> list[tuple[str, str, Any]]:
    compiler = compile_formula if expression.startswith("=") else compile_rule
    compiled = compiler(expression.removeprefix("="), schema=SCHEMA)
    assert not isinstance(compiled, CompileErrors), compiled.diagnostics
    environment = Environment(profile, 1_780_000_000_000_000, **inputs)
    return [
        (str(encounter.kind), compiled.text[encounter.span.start : encounter.span.end], encounter.value)
        for encounter in encounters(compiled.checked, environment)
    ]


@pytest.mark.parametrize(
    ("rule", "profile", "kind", "value"),
    [
        ("points >= 1000", {"points": "900"}, "converted", "900"),
        ("1000 > points", {"points": "abc"}, "incomparable", "abc"),
        ("points > other", {"points": 1, "other": "x"}, "incomparable", "x"),
        ("optOut != true", {"optOut": "yes"}, "incomparable", "yes"),
        ("optOut != true", {"optOut": "TRUE"}, "converted", "TRUE"),
        ("flag", {"flag": "no"}, "incomparable", "no"),
        ("flag", {"flag": 1}, "converted", 1),
        ("other", {"other": "False"}, "converted", "False"),
        ('name = "5"', {"name": 5}, "converted", 5),
        ("name = 7030", {"name": "07030"}, "converted", "07030"),
        ('x in ["a", 5]', {"x": "5"}, "converted", "5"),
        ("x notIn [1, 2]", {"x": "b"}, "incomparable", "b"),
        ('tags.includes("a")', {"tags": [3, "a"]}, "incomparable", 3),
        ("equals(points, 3)", {"points": "3"}, "converted", "3"),
        ("x = 1", {"x": [1]}, "incomparable", [1]),
        ("seen > date(2026, 1, 1)", {"seen": "soon"}, "incomparable", "soon"),
        (f'seen = "{SAME_IN_UTC}"', {"seen": BERLIN}, "zone", BERLIN),
        (f'x > "{SAME_IN_UTC}"', {"x": OTHER_OFFSET}, "zone", OTHER_OFFSET),
        ("age(born) >= 18", {"born": "2008-02-29"}, "month-end", "2008-02-29"),
        ("ageInMonths(born) >= 18", {"born": "2008-03-31"}, "month-end", "2008-03-31"),
        ("born occurs > 3 months before now", {"born": "2008-03-31"}, "month-end", "2008-03-31"),
        ("seen occurs > 3 months before now", {"seen": BERLIN}, "zone", BERLIN),
    ],
)
def test_a_part_of_a_rule_that_meets_another_type_is_named(
    rule: str, profile: dict[str, Any], kind: str, value: Any
) -> None:
    """The part is the whole comparison, and the value is the stored one."""
    assert met(rule, profile) == [(kind, rule.removesuffix(" >= 18"), value)]


@pytest.mark.parametrize(
    ("expression", "profile", "part", "kind"),
    [
        ("=points + 1", {"points": "3"}, "points + 1", "converted"),
        ("=-other", {"other": "3"}, "-other", "converted"),
        ('=max([other, "b"])', {"other": "3"}, 'max([other, "b"])', "converted"),
        ("=other * 2", {"other": "3"}, "other * 2", "converted"),
        ("=sum(orders.price)", {"orders": [{"price": "3"}]}, "sum(orders.price)", "converted"),
        ("orders.sum(o => o.price) > 3", {"orders": [{"price": "3"}]}, "orders.sum(o => o.price)", "converted"),
        ("sum O.x over O from orders > 3", {"orders": [{"x": "3"}]}, "sum O.x over O from orders", "converted"),
        ("orders[paid].count() > 0", {"orders": [{"paid": "false"}]}, "paid", "converted"),
        ("extractHours(seen) = 3", {"seen": BERLIN}, "extractHours(seen)", "zone"),
        ("orders.topN(at, 1).count() > 0", {"orders": [{"at": BERLIN}, {"at": SAME_IN_UTC[:11] + "00:30:00Z"}]},
         "orders.topN(at, 1)", "zone"),
        ("distinct(times).count() = 2", {"times": [BERLIN, SAME_IN_UTC]}, "distinct(times)", "zone"),
        ("orders[price > 3].count() = 1", {"orders": [{"price": 2}, {"price": "x"}]}, "price > 3", "incomparable"),
    ],
)  # fmt: skip
def test_calculations_functions_and_items_are_observed(
    expression: str, profile: dict[str, Any], part: str, kind: str
) -> None:
    assert [(found_kind, found_part) for found_kind, found_part, _ in met(expression, profile)] == [(kind, part)]


@pytest.mark.parametrize(
    ("rule", "profile"),
    [
        ("points >= 1000", {"points": 900}),
        ("points >= 1000", {}),
        ("points >= 1000", {"points": None}),
        (f'seen = "{SAME_IN_UTC}"', {"seen": SAME_IN_UTC}),
        ('seen > "2026-01-01"', {"seen": BERLIN[:10]}),
        ("seen > now", {"seen": "2026-01-01"}),
        ("extractHours(seen) = 3", {"seen": SAME_IN_UTC}),
        ("isBefore(seen, now)", {"seen": BERLIN}),
        ("age(born) >= 18", {"born": "2008-03-31"}),
        ("ageInMonths(born) >= 18", {"born": "2008-03-28"}),
        ("born occurs > 3 years before now", {"born": "2008-03-31"}),
        ("orders.price = 3", {"orders": []}),
        ("isNull(x)", {"x": "3"}),
        ('x = "a" and points > 3', {"x": "b", "points": "900"}),
    ],
)
def test_values_of_their_type_and_parts_that_are_not_reached_are_not_named(rule: str, profile: dict[str, Any]) -> None:
    assert met(rule, profile) == []


def test_whether_a_comparison_that_cannot_be_made_is_true_is_told() -> None:
    for rule, holds in (
        ("x != 1", True),
        ("x notIn [1]", True),
        ("x = 1", False),
        ("x < 1", False),
        ("x in [1]", False),
    ):
        compiled = compile_rule(rule)
        assert not isinstance(compiled, CompileErrors)
        environment = Environment({"x": "yes"}, 0)
        (encounter,) = encounters(compiled.checked, environment)
        assert encounter.holds is holds is compiled.holds(environment), rule


def test_the_table_of_types_agrees() -> None:
    """Exactly those orders are impossible that are neither `=`, `<` nor `>`, but `!=`."""
    checked = 0
    for case in TYPES:
        compiled = as_formula(case)
        inputs = environment(case["env"])
        parts = {
            compiled.text[encounter.span.start : encounter.span.end]
            for encounter in encounters(compiled.checked, inputs)
            if encounter.kind == "incomparable"
        }
        first, _, order = case["expr"][1:-1].split(", ")[:3]
        if not (first.startswith("a = ") and order.startswith("a < ")):
            continue
        equal, differs, less, greater = case["expect"][:4]
        is_impossible = differs and not (equal or less or greater)
        assert first not in parts or (differs and not equal), (case["id"], parts)
        assert order not in parts or is_impossible, (case["id"], parts)
        if "true" not in case["id"].lower():  # Booleans have no order
            assert (order in parts) is is_impossible, (case["id"], parts)
        checked += 1
    assert checked > 50


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: str(case["id"]))
def test_every_case_can_be_observed(case: dict[str, Any]) -> None:
    """Values are those of the inputs, and every part is in the text."""
    compiled = as_formula(case)
    for encounter in encounters(compiled.checked, environment(case["env"])):
        assert 0 <= encounter.span.start < encounter.span.end <= len(compiled.text)
