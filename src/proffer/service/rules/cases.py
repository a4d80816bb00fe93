"""Unit tests of rules: cases as data, each run by every evaluator of the language."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proffer.errors import Finding, Invalid
from proffer.pql import run_case


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed case with the result of each evaluator."""

    id: str
    expression: str
    expected: Any
    got: Mapping[str, Any]


@dataclass(slots=True)
class Report:
    """Number of cases run, how many of them vectorised and how many by row, and the failures."""

    ran: int = 0
    in_columns: int = 0
    by_row: int = 0
    failures: list[Failure] = field(default_factory=list)


def run_cases(content: Any) -> Report:
    """Run a file of cases: a list of `{id, expr, env, expect}`. Raises `Invalid` otherwise."""
    if not isinstance(content, list):
        raise _bad("$", "a file of cases is a list")
    report = Report()
    for index, case in enumerate(content):
        if not isinstance(case, Mapping) or not {"expr", "expect"} <= case.keys():
            raise _bad(f"$[{index}]", "a case has `expr` and `expect`")
        result = run_case(case)
        report.ran += 1
        report.in_columns += result.in_columns
        report.by_row += not result.in_columns
        if not result.passed:
            report.failures.append(
                Failure(
                    id=str(case.get("id", index)),
                    expression=str(case["expr"]),
                    expected=case["expect"],
                    got=result.got,
                )
            )
    return report


def _bad(path: str, message: str) -> Invalid:
    help_ = 'write `[{"id": "adult", "expr": "person.age >= 18", "env": {"profile": …}, "expect": true}]`'
    return Invalid.of([Finding(code="case-file", message=message, path=path, help=help_)])
