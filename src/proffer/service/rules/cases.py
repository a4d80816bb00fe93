"""Unit tests of rules: cases as data, each run by every evaluator of the language."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from proffer.errors import Invalid, Violation
from proffer.pql import run_case
from proffer.service.rules.check import type_problem
from proffer.validation import (
    AnyShape,
    DateTimeShape,
    ListShape,
    MapShape,
    Member,
    ObjectShape,
    OneOfShape,
    TextShape,
    validate,
)

_FIELDS = MapShape(AnyShape())
_ENVIRONMENT = ObjectShape(
    {
        "profile": Member(_FIELDS),
        "xEvent": Member(OneOfShape((_FIELDS, ListShape(_FIELDS)))),
        "context": Member(_FIELDS),
        "vars": Member(_FIELDS),
        "params": Member(ListShape(AnyShape())),
        "audiences": Member(MapShape(TextShape())),
        "now": Member(DateTimeShape()),
        "tz": Member(TextShape()),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFailure:
    """A failed case with the result of each evaluator."""

    id: str
    expression: str
    expected: Any
    results: Mapping[str, Any]


@dataclass(slots=True)
class CaseReport:
    """Numbers of cases run in total, vectorised and by row, and failures."""

    total: int = 0
    in_columns: int = 0
    by_row: int = 0
    failures: list[CaseFailure] = field(default_factory=list)


def run_cases(content: Any) -> CaseReport:
    """Run a file of cases: a list of `{id, expr, env, expect}`. Raises `Invalid` otherwise."""
    if not isinstance(content, list):
        raise _invalid_case("$", "expected a list of cases")
    report = CaseReport()
    for index, case in enumerate(content):
        if not isinstance(case, Mapping) or not {"expr", "expect"} <= case.keys():
            raise _invalid_case(f"$[{index}]", "a case must have `expr` and `expect`")
        schema = case.get("schema") or {}
        has_fields = isinstance(schema, Mapping) and isinstance(schema.get("profile", {}), Mapping)
        reason = type_problem(schema) if has_fields else "expected the fields of roots"
        if reason is not None:
            raise _invalid_case(f"$[{index}].schema", reason)
        for violation in validate(_ENVIRONMENT, case.get("env") or {}):
            raise _invalid_case(f"$[{index}].env{(violation.path or '$')[1:]}", violation.message)
        try:
            ZoneInfo((case.get("env") or {}).get("tz", "UTC"))
        except (KeyError, ValueError, OSError):
            raise _invalid_case(f"$[{index}].env.tz", "there is no such time zone") from None
        result = run_case(case)
        report.total += 1
        report.in_columns += result.in_columns
        report.by_row += not result.in_columns
        if not result.passed:
            report.failures.append(
                CaseFailure(
                    id=str(case.get("id", index)),
                    expression=str(case["expr"]),
                    expected=case["expect"],
                    results=result.results,
                )
            )
    return report


def _invalid_case(path: str, message: str) -> Invalid:
    help_ = 'write `[{"id": "adult", "expr": "person.age >= 18", "env": {"profile": …}, "expect": true}]`'
    return Invalid.of([Violation(code="case-file", message=message, path=path, help=help_)])
