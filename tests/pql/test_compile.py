"""The front door: what a compiled rule tells about itself, and what it promises."""

import inspect
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from proffer.pql import (
    CompiledFormula,
    CompiledRule,
    CompileErrors,
    Environment,
    compile_formula,
    compile_rule,
)

NOW = datetime(2024, 11, 20, 12, tzinfo=UTC)


def rule(text: str) -> CompiledRule:
    compiled = compile_rule(text)
    assert isinstance(compiled, CompiledRule), compiled.diagnostics
    return compiled


def formula(text: str) -> CompiledFormula:
    compiled = compile_formula(text)
    assert isinstance(compiled, CompiledFormula), compiled.diagnostics
    return compiled


def test_reads_are_paths_with_their_root() -> None:
    """The implicit root is spelled out."""
    text = 'age > 3 and profile.person.name = "x" and @{a.b;version=1}.weather = "hot"'

    assert {"profile.age", "profile.person.name", "context:a.b;version=1.weather"} == rule(text).reads


def test_a_field_of_an_arrays_items_is_read_through_functions_that_return_them() -> None:
    """The path goes on, whichever of these functions is called."""
    calls = ["filter(id = 1)", "topN(id, 1)", "bottomN(id, 1)", "head()", "distinct()", "intersection(other)"]

    assert all("profile.orders.price" in rule(f"orders.{call}.price.isNotNull()").reads for call in calls)


def test_the_same_rule_gives_the_same_bytes() -> None:
    """Whenever and wherever it is compiled."""
    text = 'a.b in ["x", "y"] and not (c = 3 or d.isNull())'

    assert rule(text).source == rule(text).source


def test_rule_text_reaches_the_source_only_as_a_literal() -> None:
    """A rule cannot smuggle code in."""
    text = "a.`b')` = \"'''\\n__import__\" and `\n` = 1"

    assert rule(text).holds(Environment({"a": {"b')": "'''\n__import__"}, "\n": 1}, NOW))


@pytest.mark.parametrize("profile", [None, {}, {"a": []}, {"a": {"b": object()}}, {"a": [{"b": [[]]}]}])
def test_no_profile_makes_a_rule_raise(profile: Any) -> None:
    """What cannot be compared is false."""
    assert not rule('a.b = "x" or a.b >= 3 or a.b in [1, "y"]').holds(Environment(profile, NOW))


@pytest.mark.parametrize(
    ("value", "score"),
    [(3, 3), (2.5, 2.5), (None, None), ("3", None), (float("nan"), None), (True, None)],
)
def test_a_score_is_a_finite_number_or_a_fault(value: Any, score: float | None) -> None:
    """Null, text, NaN and the like are faults."""
    assert score == formula("offer.x").score(Environment({}, NOW, offer={"x": value}))


def test_the_text_is_kept_beside_its_canonical_form() -> None:
    """What was saved is what is shown again."""
    compiled = rule('(a="x")  AND b.isNull( )')

    assert (
        compiled.text,
        compiled.canonical,
    ) == ('(a="x")  AND b.isNull( )', 'a = "x" and b.isNull()')


def test_constants_are_made_once() -> None:
    """They stand in the head of the function, not in its body."""
    source = rule("a in [1, 2] and b occurs on date(2024, 1, 1)").source

    assert source.startswith("def rule(env, K0=[1, 2], K1=make_date(2024, 1, 1)):\n")


def test_an_evaluation_has_an_allowance_of_work() -> None:
    """A rule that would look at too many items is false, in a moment."""
    text = "exists a from xs where exists b from xs where exists c from xs where a + b + c < 0"

    assert not rule(text).holds(Environment({"xs": list(range(1000))}, NOW))


def test_the_allowance_is_for_each_evaluation() -> None:
    """One environment may be asked again and again."""
    env, compiled = (
        Environment({"xs": list(range(100_000))}, NOW),
        rule("xs[n => n = 1].count() = 1"),
    )

    assert [compiled.holds(env) for _ in range(3)] == [True] * 3


def test_the_deepest_accepted_rule_runs() -> None:
    """What the parser lets through, Python's own compiler takes too."""
    text = "a"
    for level in range(28):
        text = f"({text} {'and' if level % 2 else 'or'} not b{level % 20} + -c * 2 > 1)"
    chain = "d" + " + e" * 100 + " > 3"

    assert rule(f"{text} or {chain}").holds(Environment({"d": 4, "e": 0}, NOW))


def test_a_caller_deep_down_gets_a_diagnostic() -> None:
    """Even when the interpreter's own stack is nearly spent."""

    def down(levels: int) -> CompiledRule | CompileErrors:
        return down(levels - 1) if levels else compile_rule("[" * 33 + "a" + "]" * 33)

    room = sys.getrecursionlimit() - len(inspect.stack())
    results = [down(levels) for levels in range(0, room - 100, 50)]

    assert {type(result) for result in results} == {CompiledRule, CompileErrors}
