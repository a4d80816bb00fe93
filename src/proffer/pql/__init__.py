"""The rule language PQL: compile text or a pql/json tree to a function of one profile.

The package knows fields and types, but not offers. Entry points: `compile_rule` and `compile_formula`.
Reference: `docs/reference/pql.md`. `pql.columns.rule_columns` evaluates many profiles at once; it needs
the extra `columns` and is not imported here.
"""

from proffer.pql.cases import CaseResult, run_case
from proffer.pql.check.observed import Observation
from proffer.pql.check.schema import XDM_FIELDS, Schema, parse_type, schema_with
from proffer.pql.compile import (
    CompiledFormula,
    CompiledRule,
    CompileErrors,
    check_text,
    compile_formula,
    compile_rule,
    read_condition,
)
from proffer.pql.meaning import MEANING_VERSION, changes_of_meaning
from proffer.pql.run.encounters import Encounter, EncounterKind, encounters
from proffer.pql.run.explain import ExplainStep, explain
from proffer.pql.syntax.diagnostics import Diagnostic, Severity, position_of, render_diagnostic
from proffer.pql.values.environment import Environment

__all__ = [
    "MEANING_VERSION",
    "XDM_FIELDS",
    "CaseResult",
    "CompileErrors",
    "CompiledFormula",
    "CompiledRule",
    "Diagnostic",
    "Encounter",
    "EncounterKind",
    "Environment",
    "ExplainStep",
    "Observation",
    "Schema",
    "Severity",
    "changes_of_meaning",
    "check_text",
    "compile_formula",
    "compile_rule",
    "encounters",
    "explain",
    "parse_type",
    "position_of",
    "read_condition",
    "render_diagnostic",
    "run_case",
    "schema_with",
]
