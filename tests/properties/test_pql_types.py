"""Laws of declared types and times: both-orders, instants, three-ways."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pql.cases import unguarded
from pql.test_types import in_index
from proffer.pql import CompiledFormula, CompiledRule, Environment, compile_formula, compile_rule, schema_with
from proffer.pql.run.interpret import interpret
from proffer.pql.values.values import truth

Time = tuple[datetime, timezone, bool]
"""An instant, the offset in which it is written, and whether it is written in UTC with all digits."""
NOW = datetime(2025, 5, 5, 12, tzinfo=UTC)
REVERSED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
law = settings(max_examples=150, deadline=None)

types = st.sampled_from(["any", "number", "integer", "text", "boolean", "date", "date-time"])
types_of_times = st.sampled_from(["any", "text", "date-time"])
signs = st.sampled_from(sorted(REVERSED))
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
instants = st.integers(0, 3_000_000).map(lambda micros: NOW + timedelta(microseconds=micros))


def spelled(instant: datetime, offset: timezone, zulu: bool) -> str:
    """A full date-time as senders write it: any offset, no fraction if there is none."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if zulu else instant.astimezone(offset).isoformat()


times = st.tuples(instants, offsets, st.booleans())
moments = times.map(lambda time: spelled(*time))
numbers = st.integers(-3, 12) | st.sampled_from([0.5, 7.0, -0.0, 1e3, 10**30])
texts = st.sampled_from(
    ["", "x", "7", "07", "7.0", "+7", " 7", "1e1", "true", "TRUE", "False", "2025-05-05", "2025-05-05T10:00:00", "NaN"]
)
scalars = st.none() | st.booleans() | numbers | texts | moments | numbers.map(str)
values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.just("k"), scalars, max_size=1)
literals = st.one_of(
    st.sampled_from(["0", "1", "7", "7.0", "07", "10", "true", "false", "date(2025, 5, 5)", "-1", "null"]),
    texts.map(json.dumps),
    moments.map(json.dumps),
)


def rule(text: str, schema: dict[str, Any]) -> CompiledRule:
    compiled = compile_rule(text, schema=schema_with({"profile": schema}))
    assert isinstance(compiled, CompiledRule), compiled
    return compiled


@law
@given(types, types, values, values, signs)
def test_both_orders_of_a_comparison_agree(left: str, right: str, a: Any, b: Any, sign: str) -> None:
    """both-orders: `a < b` is `b > a`, for all types and values."""
    schema, env = {"a": left, "b": right}, Environment({"a": a, "b": b}, NOW)

    assert rule(f"a {sign} b", schema).holds(env) is rule(f"b {REVERSED[sign]} a", schema).holds(env)


@law
@given(types, literals, values, signs)
def test_both_orders_of_a_comparison_with_a_literal_agree(type_: str, literal: str, a: Any, sign: str) -> None:
    """both-orders: and with what is written in the rule."""
    env = Environment({"a": a}, NOW)

    assert rule(f"a {sign} {literal}", {"a": type_}).holds(env) is rule(
        f"{literal} {REVERSED[sign]} a", {"a": type_}
    ).holds(env)


@law
@given(types, types, literals, signs, st.lists(st.tuples(values, values), min_size=1, max_size=3))
def test_evaluators_agree_whatever_is_declared(
    left: str, right: str, literal: str, sign: str, rows: list[tuple[Any, Any]]
) -> None:
    """three-ways: interpreter, generated Python, columns and index, of types and values of every kind."""
    pytest.importorskip("numpy")
    pytest.importorskip("pyarrow")
    from proffer.pql.columns.columns import ProfileTable
    from proffer.pql.columns.rule_columns import ColumnRule, to_columns

    schema = {"a": left, "b": right, "list": [left]}
    total = "a + 1" if left in ("any", "number", "integer", "text") else "a"
    text = (
        f"a {sign} {literal} or not (a {sign} b) and a in [{literal}, b] or a and b notIn [{literal}] "
        f"or {literal} in list or {total} {sign} b or a.equals({literal}, b)"
    )
    compiled, formula = rule(text, schema), compile_formula(text, schema=schema_with({"profile": schema}))
    assert isinstance(formula, CompiledFormula)
    profiles = [{"a": a, "b": b, "list": [b, a]} for a, b in rows]
    expected = [truth(interpret(formula.checked, Environment(profile, NOW))) for profile in profiles]
    plan = to_columns(compiled.checked)
    assert isinstance(plan, ColumnRule)

    assert [truth(unguarded(formula)(Environment(profile, NOW))) for profile in profiles] == expected
    assert [compiled.holds(Environment(profile, NOW)) for profile in profiles] == expected
    assert plan.holds(ProfileTable.of(profiles, plan.paths), Environment({}, NOW)).tolist() == expected
    for part in (f"a {sign} {literal}", f"a {sign} {literal} and a", f"not (a {sign} b)", f"a in [{literal}]"):
        one = rule(part, schema)
        assert [in_index(one, profile) for profile in profiles] == [
            one.holds(Environment(profile, NOW)) for profile in profiles
        ]


@law
@given(times, times, types_of_times)
def test_times_are_instants(one: Time, other: Time, type_: str) -> None:
    """instants: order, equality, extremes and distinct values of full date-times are those of the instants."""
    first, second = one[0], other[0]
    profile = {"a": spelled(*one), "b": spelled(*other)}
    env = Environment(profile, NOW)

    for sign, expected in (("=", first == second), ("!=", first != second), ("<", first < second)):
        assert rule(f"a {sign} b", {"a": type_, "b": type_}).holds(env) is expected
    assert rule("a in [b]", {"a": type_, "b": type_}).holds(env) is (first == second)
    assert rule("[a, b].distinct().count() = 1", {"a": type_, "b": type_}).holds(env) is (first == second)
    assert rule("[a, b].max() = b", {"a": type_, "b": type_}).holds(env) is (second >= first)
    assert rule("[b, a].topN(t => t, 1).head() = b", {"a": type_, "b": type_}).holds(env) is (second >= first)
    assert rule("[b, a].min() = b", {"a": type_, "b": type_}).holds(env) is (second <= first)
