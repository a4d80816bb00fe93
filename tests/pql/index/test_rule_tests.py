"""The tests of a rule, and those that make it false."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from proffer.pql import CompiledRule, Environment, compile_rule
from proffer.pql.index.rule_tests import RuleTestEvaluator, RuleTestResult, rule_tests

MISSING = "missing"
NOW = 1_767_268_800_000_000


def compiled(text: str) -> CompiledRule:
    rule = compile_rule(text)
    assert isinstance(rule, CompiledRule), rule
    return rule


def failures(text: str, profile: dict[str, Any]) -> list[RuleTestResult]:
    rule = compiled(text)
    return RuleTestEvaluator(Environment(profile, NOW)).failures(rule_tests(rule.checked, rule.text))


def shown(result: RuleTestResult) -> tuple[Any, ...]:
    """Return field, operator, wanted and value; None where there is none, `MISSING` for no value."""
    parts = (result.field, result.operator, result.wanted, MISSING if result.missing else result.value)
    return tuple(None if part is UNSET else part for part in parts)


@pytest.mark.parametrize(
    ("text", "profile", "expected"),
    [
        ("_acme.openTickets = 0", {"_acme": {"openTickets": 1}}, [("_acme.openTickets", "=", 0, 1)]),
        ("18 <= person.age", {"person": {"age": 17}}, [("person.age", ">=", 18, 17)]),
        ('tier in ["gold", "silver"]', {"tier": "none"}, [("tier", "in", ["gold", "silver"], "none")]),
        ("tier.isNotNull()", {}, [("tier", "isNotNull", None, MISSING)]),
        ('tier.startsWith("g", false)', {"tier": "silver"}, [("tier", "startsWith", ["g", False], "silver")]),
        ("score.visits > score.churn", {"score": {"visits": 3, "churn": 5}}, [("score.visits", ">", 5, 3)]),
        ("(a + b) * 2 > 9", {"a": 1, "b": 2}, [(None, ">", 9, 6)]),
        ("optIn", {"optIn": False}, [("optIn", "is true", None, False)]),
        ('"x" in tags', {"tags": ["y"]}, [("tags", "contains", "x", None)]),
        ("exists o from orders where o.price > 3", {"orders": []}, [(None, None, None, None)]),
    ],
)
def test_a_test_has_field_operator_and_values(text: str, profile: dict[str, Any], expected: list[Any]) -> None:
    """Whatever its form; a test of another form has its text alone."""
    results = failures(text, profile)

    assert [shown(result) for result in results] == expected
    assert [result.source for result in results] == [text]
    assert [result.span for result in results] == [(0, len(text))]


def test_all_failing_tests_of_a_conjunction_are_named() -> None:
    """In the order of the text, each with its place in it; those that hold are not."""
    text = 'person.age >= 18 and (tier = "gold") and country = "FR" and points < 10'
    results = failures(text, {"person": {"age": 12}, "tier": "gold", "country": "DE"})

    assert [result.source for result in results] == ["person.age >= 18", 'country = "FR"', "points < 10"]
    for result in results:
        assert result.span is not UNSET
        assert text[slice(*result.span)] == result.source
    assert [result.branch for result in results] == [UNSET] * 3


def test_each_branch_of_an_or_is_named() -> None:
    """With its place, so that one condition can be told from several: of a branch only the tests that fail."""
    text = "a = 1 and (b = 2 or (c = 3 and d = 4)) and (e = 5 or f = 6)"
    results = failures(text, {"a": 0, "c": 3, "e": 5})

    assert [(result.source, result.branch) for result in results] == [
        ("a = 1", UNSET),
        ("b = 2", (2, 1)),
        ("d = 4", (2, 2)),
    ]


def test_a_negated_test_excludes_if_it_holds() -> None:
    """`not` is resolved: of `not (a or b)` each part that holds is named."""
    results = failures("not (a = 1 or b = 2) and not c", {"a": 1, "b": 3, "c": True})

    assert [(result.source, result.holds, result.negated) for result in results] == [
        ("a = 1", True, True),
        ("c", True, True),
    ]


def test_several_tests_of_one_field_are_told_apart() -> None:
    """A range has two tests, of which one fails."""
    assert [result.source for result in failures("x >= 1 and x < 5", {"x": 7})] == ["x < 5"]


def test_brackets_belong_to_the_source() -> None:
    """Of operands, on both sides."""
    for text in ("(a + b) > 3", "3 < (a + b)", "((a + b)) > 3"):
        (result,) = failures(f"x = 1 and {text} and y = 2", {"x": 1, "y": 2})
        assert result.source == text


LEAVES = st.sampled_from(
    [
        "a = 1", "a != 1", "a >= 2", "a < 2", 'b = "x"', 'b in ["x", "y"]', "b.isNull()", "a = c", "a + c > 2",
        "d", 'b.startsWith("x")', "list.count() > 1", "1 / a > 0", "a notIn [1, 2]",
    ]
)  # fmt: skip
RULES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda parts: f"({' '.join(parts)})"),
        inner.map(lambda text: f"not ({text})"),
    ),
    max_leaves=6,
)
PROFILES = st.fixed_dictionaries(
    {},
    optional={
        "a": st.sampled_from([0, 1, 2, 3, "1", None]),
        "b": st.sampled_from(["x", "y", "z", 1, None]),
        "c": st.sampled_from([0, 1, 2]),
        "d": st.booleans(),
        "list": st.lists(st.integers(0, 2), max_size=3),
    },
)


@given(RULES, PROFILES)
def test_a_rule_has_failing_tests_if_and_only_if_it_is_false(text: str, profile: dict[str, Any]) -> None:
    """Except that a fault elsewhere may make a rule false; a rule that holds never has any."""
    rule = compiled(text)
    environment = Environment(profile, NOW)
    results = RuleTestEvaluator(environment).failures(rule_tests(rule.checked, rule.text))

    if "/" not in text:
        assert bool(results) is not rule.holds(environment)
    elif rule.holds(environment):
        assert results == []
    assert all(result.holds is result.negated for result in results if "/" not in text)
