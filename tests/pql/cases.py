"""The cases of `spec/pql/*.json`, what is needed to run one, and how results are compared."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from proffer.pql import CompiledFormula, CompiledRule, Environment, compile_formula, compile_rule
from proffer.pql.compile import load
from proffer.pql.to_python import NAMESPACE

SPEC = Path(__file__).parents[2] / "spec" / "pql"
ROOTS = ("profile", "xEvent", "offer", "$2")
NOON = "2024-11-20T12:00:00Z"
ERROR = {"$error": "parse"}

Case = dict[str, Any]


def load_cases() -> Iterator[Case]:
    """Every case, with the family that its file is named for."""
    for file in sorted(SPEC.glob("*.json")):
        for case in json.loads(file.read_text()):
            yield {**case, "family": file.stem}


CASES = list(load_cases())
ACCEPTED = [case for case in CASES if case["expect"] != ERROR]
REFUSED = [case for case in CASES if case["expect"] == ERROR]


def environment(given: Mapping[str, Any]) -> Environment:
    """The environment that a case describes (see `spec/pql/README.md`)."""
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


def roots_of(case: Case) -> tuple[str, ...]:
    return (*ROOTS, *case["env"].get("vars", {}))


def as_rule(case: Case) -> CompiledRule:
    rule = compile_rule(case["expr"], roots=roots_of(case))
    assert isinstance(rule, CompiledRule), rule.diagnostics
    return rule


def as_formula(case: Case) -> CompiledFormula:
    formula = compile_formula(case["expr"], roots=roots_of(case))
    assert isinstance(formula, CompiledFormula), formula.diagnostics
    return formula


def _raise(fault: Exception) -> Any:
    raise fault


def unguarded(compiled: CompiledRule | CompiledFormula) -> Callable[[Environment], Any]:
    """The generated function without the net under it: a formula's is the value, whatever that is."""
    return load(
        compiled.source, "strict", {**NAMESPACE, "failed": _raise, "score": lambda value: value}
    )


def agrees(found: Any, expected: Any) -> bool:
    """Whether a result is what a case expects: numbers by value, times as instants."""
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
