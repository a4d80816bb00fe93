"""The rule language PQL: compile text or a pql/json tree to a function of one profile.

The package knows fields and types, but not offers. Entry points: `compile_rule` and `compile_formula`.
Reference: `docs/reference/pql.md`. `pql.columns.rule_columns` evaluates many profiles at once; it needs
the extra `columns` and is not imported here.
"""

from proffer.pql.cases import CaseResult, run_case
from proffer.pql.check.schema import Schema, read_type, schema_with
from proffer.pql.compile import (
    CompiledFormula,
    CompiledRule,
    Rejected,
    check_text,
    compile_formula,
    compile_rule,
    read_condition,
)
from proffer.pql.run.explain import Step, explain
from proffer.pql.syntax.diagnostics import Diagnostic, Severity, place_of, render_diagnostic
from proffer.pql.values.environment import Environment

__all__ = [
    "CaseResult",
    "CompiledFormula",
    "CompiledRule",
    "Diagnostic",
    "Environment",
    "Rejected",
    "Schema",
    "Severity",
    "Step",
    "check_text",
    "compile_formula",
    "compile_rule",
    "explain",
    "place_of",
    "read_condition",
    "read_type",
    "render_diagnostic",
    "run_case",
    "schema_with",
]
