"""Test cases of rules: an expression, an environment and the expected result, for every evaluator.

`docs/reference/rule-cases.md` defines the format. The column form is included if the extra `columns` is
installed and the expression has a column form.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from proffer.pql.compile import FORMULA_SPACE, CompiledFormula, compile_formula, load
from proffer.pql.run.interpret import interpret
from proffer.pql.values.environment import Environment, TooMuchWork
from proffer.pql.values.values import truth

ROOTS = ("profile", "xEvent", "offer", "$2")
NOON = "2024-11-20T12:00:00Z"
REFUSED = {"$error": "parse"}


@dataclass(frozen=True, slots=True)
class CaseResult:
    """Outcome of a case: the result per evaluator, and whether columns were included."""

    passed: bool
    in_columns: bool
    got: Mapping[str, Any]


def run_case(case: Mapping[str, Any]) -> CaseResult:
    """Run one case through the interpreter, the generated Python and, if possible, columns.

    The roots are those named in the case's `env`; no schema is applied and event history is allowed.
    Raises `ValueError`, `KeyError` or `TypeError` for an invalid `env`.
    """
    given = case.get("env") or {}
    roots = (*ROOTS, *given.get("vars", {}))
    compiled = compile_formula(case["expr"], roots=roots)
    if not isinstance(compiled, CompiledFormula):
        said = "; ".join(one.message for one in compiled.diagnostics if one.is_error)
        passed = case["expect"] == REFUSED
        return CaseResult(passed, False, {"compiler": f"refused: {said}"})
    got: dict[str, Any] = {
        "interpreter": _interpreted(compiled, environment(given)),
        "python": value_of(compiled)(environment(given)),
    }
    held = _in_columns(compiled, given)
    expected = case["expect"]
    if isinstance(expected, bool):  # a rule is compared by the truth of its value
        got = {evaluator: truth(found) for evaluator, found in got.items()}
    passed = all(agrees(found, expected) for found in got.values())
    if held is not None:
        got["columns"] = held
        passed = passed and held == truth(got["interpreter"])
    return CaseResult(passed, held is not None, got)


def environment(given: Mapping[str, Any]) -> Environment:
    """Return the environment described by the `env` of a case."""
    parameters = given.get("params", [])
    variables = {f"${at}": value for at, value in enumerate(parameters, 1)} | given.get("vars", {})
    return Environment(
        profile=parameters[0] if parameters else given.get("profile", {}),
        now=datetime.fromisoformat(given.get("now", NOON)),
        context=given.get("context", {}),
        events=given.get("xEvent"),
        offer=given.get("offer"),
        variables=variables,
        tz=ZoneInfo(given.get("tz", "UTC")),
    )


def value_of(compiled: CompiledFormula) -> Callable[[Environment], Any]:
    """Load the generated function so that it returns the value, not the score."""
    space = {**FORMULA_SPACE, "score": lambda value: value}
    return load(compiled.source, "case", space)


def _interpreted(compiled: CompiledFormula, env: Environment) -> Any:
    try:
        return interpret(compiled.checked, env)
    except TooMuchWork:
        return None


def _in_columns(compiled: CompiledFormula, given: Mapping[str, Any]) -> bool | None:
    """Evaluate the rule in columns; None if it has no column form or the extra is missing."""
    try:
        from proffer.pql.columns.columns import Table  # needs an extra
        from proffer.pql.columns.rule_columns import ColumnRule, to_columns
    except ImportError:
        return None
    from proffer.pql.compile import CompiledRule, compile_rule

    rule = compile_rule(compiled.text, roots=(*ROOTS, *given.get("vars", {})))
    plan = to_columns(rule.checked) if isinstance(rule, CompiledRule) else None
    if not isinstance(plan, ColumnRule):
        return None
    env = environment(given)
    return bool(plan.holds(Table.of([env.profile], plan.paths), env)[0])


def agrees(found: Any, expected: Any) -> bool:
    """Return whether a result equals the expected one: numbers by value, times as instants."""
    if isinstance(found, date):
        return isinstance(expected, str) and _instant(found) == _instant(
            datetime.fromisoformat(expected)
        )
    if isinstance(found, (list, tuple)):
        return (
            isinstance(expected, list)
            and len(found) == len(expected)
            and all(agrees(mine, yours) for mine, yours in zip(found, expected, strict=True))
        )
    if isinstance(found, dict):
        return (
            isinstance(expected, dict)
            and found.keys() == expected.keys()
            and all(agrees(found[key], expected[key]) for key in found)
        )
    if isinstance(found, bool) or isinstance(expected, bool) or not isinstance(found, (int, float)):
        return type(found) is type(expected) and bool(found == expected)
    return isinstance(expected, (int, float)) and math.isclose(found, expected, rel_tol=1e-9)


def _instant(value: date) -> datetime:
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value if value.tzinfo else value.replace(tzinfo=UTC)
