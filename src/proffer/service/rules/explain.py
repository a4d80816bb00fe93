"""Explanation of a rule for one customer: the value of each part, as text."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from proffer.model.profile import without_prefixes
from proffer.pql import (
    CompiledFormula,
    CompiledRule,
    Environment,
    compile_formula,
    compile_rule,
    explain,
)
from proffer.service.rules.check import RULE_ROOTS, Note, check

ADDITIONAL = "_xdm.context.additionalParameters;version=1"
"""Default type of context data, assumed for plain fields."""


@dataclass(frozen=True, slots=True)
class ShownStep:
    """One part of a rule: its nesting depth, its text and its value as text."""

    depth: int
    text: str
    shown: str


@dataclass(frozen=True, slots=True)
class Steps:
    """The evaluated parts of a rule; none if it does not compile, with the reasons in `notes`."""

    notes: Sequence[Note]
    steps: Sequence[ShownStep]


def steps_of(
    text: str,
    *,
    kind: str,
    roots: Collection[str],
    profile: Mapping[str, Any],
    context: Mapping[str, Any],
    event: Any,
    offer: Mapping[str, Any] | None,
    now: datetime,
) -> Steps:
    """Evaluate every part of a rule for this customer and time."""
    said = check(text, kind=kind, roots=roots, saving=False)
    compiling = compile_formula if kind == "formula" else compile_rule
    compiled = compiling(text, roots=RULE_ROOTS | set(roots))
    if not isinstance(compiled, CompiledRule | CompiledFormula):
        return Steps(said.notes, ())
    environment = Environment(
        profile=without_prefixes(profile),
        now=now,
        context=_by_type(context),
        events=without_prefixes(event),
        offer=without_prefixes(offer),
    )
    found = explain(compiled.checked, environment)
    return Steps(said.notes, [ShownStep(one.depth, one.text, _shown(one.values)) for one in found])


def _by_type(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return context data by type; plain fields get the default type."""
    plain = without_prefixes(context)
    typed = all(isinstance(value, Mapping) and name[:1] == "_" for name, value in plain.items())
    return plain if plain and typed else {ADDITIONAL: plain}


def _shown(values: Sequence[Any]) -> str:
    if not values:
        return "(not needed)"
    texts = [json.dumps(value, default=str, ensure_ascii=False)[:100] for value in values[:5]]
    more = f", … {len(values)} times" if len(values) > 5 else ""
    return ", ".join(texts) + more
