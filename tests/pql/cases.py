"""The cases of `spec/pql/*.json`, what is needed to run one, and how results are compared."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from proffer.pql import (
    CompiledFormula,
    CompiledRule,
    Environment,
    Schema,
    compile_formula,
    compile_rule,
    schema_with,
)
from proffer.pql.cases import REFUSED as REFUSAL
from proffer.pql.cases import ROOTS, agrees, environment
from proffer.pql.compile import load
from proffer.pql.run.to_python import NAMESPACE

SPEC = Path(__file__).parents[2] / "spec" / "pql"
ERROR = REFUSAL

Case = dict[str, Any]


def load_cases() -> Iterator[Case]:
    """Every case, with the family that its file is named for."""
    for file in sorted(SPEC.glob("*.json")):
        for case in json.loads(file.read_text()):
            yield {**case, "family": file.stem}


ALL = list(load_cases())
TYPES = [case for case in ALL if case["family"] == "types"]
"""The table of types, which `test_types` runs by groups."""
CASES = [case for case in ALL if case["family"] != "types"]
ACCEPTED = [case for case in CASES if case["expect"] != ERROR]
REFUSED = [case for case in CASES if case["expect"] == ERROR]


def roots_of(case: Case) -> tuple[str, ...]:
    return (*ROOTS, *case["env"].get("vars", {}))


def schema_of(case: Case) -> Schema:
    return schema_with(case.get("schema", {}))


def as_rule(case: Case) -> CompiledRule:
    rule = compile_rule(case["expr"], roots=roots_of(case), schema=schema_of(case))
    assert isinstance(rule, CompiledRule), rule.diagnostics
    return rule


def as_formula(case: Case) -> CompiledFormula:
    formula = compile_formula(case["expr"], roots=roots_of(case), schema=schema_of(case))
    assert isinstance(formula, CompiledFormula), formula.diagnostics
    return formula


def _raise(fault: Exception) -> Any:
    raise fault


def unguarded(compiled: CompiledRule | CompiledFormula) -> Callable[[Environment], Any]:
    """The generated function without the net under it: a formula's is the value, whatever that is."""
    return load(compiled.source, "strict", {**NAMESPACE, "failed": _raise, "score": lambda value: value})


__all__ = [
    "ACCEPTED",
    "CASES",
    "REFUSED",
    "TYPES",
    "agrees",
    "as_formula",
    "as_rule",
    "environment",
    "schema_of",
    "unguarded",
]
