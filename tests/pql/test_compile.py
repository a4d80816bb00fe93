"""The front door: what a compiled rule tells about itself, and what it promises."""

from datetime import UTC, datetime
from typing import Any

import pytest

from proffer.pql import (
    CompiledFormula,
    CompiledRule,
    Environment,
    Rejected,
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

    assert {"profile.age", "profile.person.name", "context:a.b;version=1.weather"} == rule(
        text
    ).reads


def test_the_same_rule_gives_the_same_bytes() -> None:
    """Whenever and wherever it is compiled."""
    text = 'a.b in ["x", "y"] and not (c = 3 or d.isNull())'

    assert rule(text).source == rule(text).source


def test_rule_text_reaches_the_source_only_as_a_literal() -> None:
    """A rule cannot smuggle code in."""
    text = "a.`b')` = \"'''\\n__import__\" and `\n` = 1"

    assert rule(text).holds(Environment({"a": {"b')": "'''\n__import__"}, "\n": 1}, NOW))


@pytest.mark.parametrize(
    "profile", [None, {}, {"a": []}, {"a": {"b": object()}}, {"a": [{"b": [[]]}]}]
)
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


def test_a_tree_is_not_a_rule_yet() -> None:
    """The pql/json form is refused by name."""
    compiled = compile_rule({"nodeType": "literal"})

    assert isinstance(compiled, Rejected)
    assert [found.code for found in compiled.diagnostics] == ["pql.json-unsupported"]
