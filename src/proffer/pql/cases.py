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

from proffer.pql.check.schema import Schema, schema_with
from proffer.pql.compile import VALUE_NAMESPACE, CompiledFormula, compile_formula, load
from proffer.pql.run.interpret import interpret
from proffer.pql.values.environment import Environment, WorkLimitExceeded
from proffer.pql.values.times import as_instant
from proffer.pql.values.values import truth

ROOTS = ("profile", "xEvent", "offer", "$2")
NOON = "2024-11-20T12:00:00Z"
REFUSED = {"$error": "parse"}


@dataclass(frozen=True, slots=True)
class CaseResult:
    """Outcome of a case: the result per evaluator, and whether columns were included."""

    passed: bool
    in_columns: bool
    results: Mapping[str, Any]


def run_case(case: Mapping[str, Any]) -> CaseResult:
    """Run one case through the interpreter, generated Python and, if possible, columns.

    The roots are those named in the case's `env`; event history is allowed. `schema` declares the types of
    roots, as `Schema.of` does; without it they are those of XDM. Raises `ValueError`, `KeyError` or
    `TypeError` for an invalid `env` or `schema`.
    """
    env_document = case.get("env") or {}
    roots = (*ROOTS, *env_document.get("vars", {}))
    schema = schema_with(case.get("schema") or {})
    compiled = compile_formula(case["expr"], roots=roots, schema=schema)
    if not isinstance(compiled, CompiledFormula):
        messages = "; ".join(diagnostic.message for diagnostic in compiled.diagnostics if diagnostic.is_error)
        passed = case["expect"] == REFUSED
        return CaseResult(passed, False, {"compiler": f"refused: {messages}"})
    results: dict[str, Any] = {
        "interpreter": _interpret_or_null(compiled, environment(env_document)),
        "python": load_value_function(compiled)(environment(env_document)),
    }
    column_result = _evaluate_in_columns(compiled, env_document, schema)
    expected = case["expect"]
    if isinstance(expected, bool):  # a rule is compared by the truth of its value
        results = {evaluator: truth(value) for evaluator, value in results.items()}
    passed = all(agrees(value, expected) for value in results.values())
    if column_result is not None:
        results["columns"] = column_result
        passed = passed and column_result == truth(results["interpreter"])
    return CaseResult(passed, column_result is not None, results)


def environment(env_document: Mapping[str, Any]) -> Environment:
    """Return the environment described by the `env` of a case."""
    parameters = env_document.get("params", [])
    variables = {f"${at}": value for at, value in enumerate(parameters, 1)} | env_document.get("vars", {})
    return Environment(
        profile=parameters[0] if parameters else env_document.get("profile", {}),
        now=datetime.fromisoformat(env_document.get("now", NOON)),
        context=env_document.get("context", {}),
        events=env_document.get("xEvent"),
        offer=env_document.get("offer"),
        variables=variables,
        tz=ZoneInfo(env_document.get("tz", "UTC")),
        audience_ids=env_document.get("audiences", {}),
    )


def load_value_function(compiled: CompiledFormula) -> Callable[[Environment], Any]:
    """Load the generated function. It returns the value, not the score."""
    return load(compiled.source, "case", VALUE_NAMESPACE)


def _interpret_or_null(compiled: CompiledFormula, env: Environment) -> Any:
    try:
        return interpret(compiled.checked, env)
    except WorkLimitExceeded:
        return None


def _evaluate_in_columns(compiled: CompiledFormula, env_document: Mapping[str, Any], schema: Schema) -> bool | None:
    """Evaluate the rule in columns; None if it has no column form."""
    from proffer.pql.columns.columns import ProfileTable  # loads NumPy
    from proffer.pql.columns.rule_columns import ColumnRule, to_columns
    from proffer.pql.compile import CompiledRule, compile_rule

    rule = compile_rule(compiled.text, roots=(*ROOTS, *env_document.get("vars", {})), schema=schema)
    column_rule = to_columns(rule.checked) if isinstance(rule, CompiledRule) else None
    if not isinstance(column_rule, ColumnRule):
        return None
    env = environment(env_document)
    return bool(column_rule.holds(ProfileTable.of([env.profile], column_rule.paths), env)[0])


def agrees(actual: Any, expected: Any) -> bool:
    """Return whether a result equals the expected one: numbers by value, times as instants."""
    if isinstance(actual, date):
        if not isinstance(expected, str):
            return False
        return as_instant(actual, UTC) == as_instant(datetime.fromisoformat(expected), UTC)
    if isinstance(actual, (list, tuple)):
        return (
            isinstance(expected, list)
            and len(actual) == len(expected)
            and all(
                agrees(actual_item, expected_item) for actual_item, expected_item in zip(actual, expected, strict=True)
            )
        )
    if isinstance(actual, dict):
        return (
            isinstance(expected, dict)
            and actual.keys() == expected.keys()
            and all(agrees(actual[key], expected[key]) for key in actual)
        )
    if isinstance(actual, bool) or isinstance(expected, bool) or not isinstance(actual, (int, float)):
        return type(actual) is type(expected) and bool(actual == expected)
    return isinstance(expected, (int, float)) and math.isclose(actual, expected, rel_tol=1e-9)
