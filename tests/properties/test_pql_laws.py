"""Laws of the rule language: round-trip, json-form, checked-never-crashes, three-ways, fold-is-silent, same-bytes."""

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pql.cases import unguarded
from pql.trees import profiles, trees, values
from proffer.pql import CompiledFormula, CompiledRule, Environment, compile_formula, compile_rule
from proffer.pql.check.declared import DeclaredTypes
from proffer.pql.check.inference import Inference
from proffer.pql.check.resolver import Resolver
from proffer.pql.check.schema import XDM
from proffer.pql.forms.from_json import from_json
from proffer.pql.forms.printer import print_tree
from proffer.pql.forms.to_json import to_json
from proffer.pql.run.interpret import evaluate, interpret
from proffer.pql.syntax.parser import parse
from proffer.pql.syntax.source import SourceText
from proffer.pql.values.environment import WorkLimitExceeded
from proffer.pql.values.values import truth

law = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
environments = st.builds(
    lambda profile, events, now, zone: Environment(profile, now, {"c;version=1": profile}, events, None, {}, zone),
    profiles,
    values,
    st.sampled_from(
        [
            datetime(2024, 11, 20, 12, tzinfo=UTC),
            datetime(1, 1, 1, tzinfo=UTC),
            datetime(9999, 12, 31, 23, tzinfo=UTC),
        ]
    ),
    st.sampled_from([ZoneInfo("UTC"), ZoneInfo("Asia/Kolkata"), ZoneInfo("America/New_York")]),
)


def compiled(tree: Any) -> CompiledRule:
    rule = compile_rule(print_tree(tree))
    assume(isinstance(rule, CompiledRule))
    assert isinstance(rule, CompiledRule)
    return rule


def told(value: Any) -> Any:
    """A result that can be compared: NaN equals itself, an array is a list."""
    return repr(list(value) if isinstance(value, tuple) else value)


@law
@given(trees())
def test_printing_and_parsing_is_a_round_trip(tree: Any) -> None:
    """round-trip: parse(print(tree)) == tree."""
    assert parse(SourceText(print_tree(tree))) == tree


@law
@given(trees())
def test_the_json_form_is_a_round_trip(tree: Any) -> None:
    """json-form: from_json(to_json(tree)) == tree, through JSON text."""
    assert from_json(json.loads(json.dumps(to_json(tree)))) == tree


@law
@given(trees(), environments)
def test_a_rule_that_checks_never_crashes(tree: Any, env: Environment) -> None:
    """checked-never-crashes: nothing but the allowance of work ends an evaluation, whatever the profile."""
    rule = compiled(tree)

    try:
        unguarded(rule)(env)
        interpret(rule.checked, env)
    except WorkLimitExceeded:
        assert rule.holds(env) is False


@law
@given(trees(), st.lists(environments, min_size=1, max_size=3))
def test_three_evaluators_agree(tree: Any, envs: list[Environment]) -> None:
    """three-ways: interpreter, generated Python and columns."""
    rule, formula = compiled(tree), compile_formula(print_tree(tree))
    assert isinstance(formula, CompiledFormula)

    for env in envs:
        expected = interpret(formula.checked, env)
        assert told(unguarded(formula)(env)) == told(expected)
        assert rule.holds(env) is truth(expected)


@law
@given(trees(2), st.lists(profiles, min_size=1, max_size=4))
def test_columns_agree_with_rows(tree: Any, rows: list[Any]) -> None:
    """three-ways: the column form, where there is one, answers as each row does."""
    pytest.importorskip("numpy")
    pytest.importorskip("pyarrow")
    from proffer.pql.columns.columns import ProfileTable
    from proffer.pql.columns.rule_columns import ColumnRule, NoColumnForm, to_columns

    rule = compiled(tree)
    plan = to_columns(rule.checked)
    assume(not isinstance(plan, NoColumnForm))
    assert isinstance(plan, ColumnRule)
    now = datetime(2024, 11, 20, 12, tzinfo=UTC)

    found = plan.holds(ProfileTable.of(rows, plan.paths), Environment({}, now)).tolist()

    assert found == [rule.holds(Environment(row, now)) for row in rows]


@law
@given(trees(), environments)
def test_folding_is_silent(tree: Any, env: Environment) -> None:
    """fold-is-silent: the settled tree and its folded form have the same value."""
    rule = compiled(tree)
    core = Resolver(("profile", "xEvent")).resolve_all(rule.checked.tree)
    inference = Inference(XDM)
    inference.infer(core)
    core = DeclaredTypes(inference.types).condition(core)

    try:
        before = evaluate(core, env)
    except WorkLimitExceeded:
        return
    env.left = 10**9

    assert told(evaluate(rule.checked.core, env)) == told(before)


@law
@given(trees())
def test_compiling_twice_gives_the_same_bytes(tree: Any) -> None:
    """same-bytes: and the canonical text gives them too."""
    rule = compiled(tree)

    assert compiled(tree).source == rule.source == compiled(rule.checked.tree).source
