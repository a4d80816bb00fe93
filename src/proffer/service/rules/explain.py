"""Explanation of a rule for one customer: the value of each part, as text."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from proffer.model.profile import without_prefixes
from proffer.pql import CompileErrors, Environment, Schema, explain
from proffer.service.rules.check import ExpressionDiagnostic, check, compile_expression

ADDITIONAL = "_xdm.context.additionalParameters;version=1"
"""Default type of context data, assumed for plain fields."""


@dataclass(frozen=True, slots=True)
class ExplainedPart:
    """One part of a rule: its nesting depth, its text and its value as text."""

    depth: int
    text: str
    value: str


@dataclass(frozen=True, slots=True)
class RuleExplanation:
    """The evaluated parts of a rule; none if it does not compile, with the reasons in `notes`."""

    notes: Sequence[ExpressionDiagnostic]
    steps: Sequence[ExplainedPart]


def explain_rule(
    text: str,
    *,
    kind: str,
    roots: Collection[str],
    profile: Mapping[str, Any],
    context: Mapping[str, Any],
    event: Any,
    offer: Mapping[str, Any] | None,
    now: datetime,
    schema: Schema | None = None,
) -> RuleExplanation:
    """Evaluate every part of a rule for this customer and time. Without a schema, the types are those of XDM."""
    checked = check(text, kind=kind, roots=roots, saving=False, schema=schema)
    compiled = compile_expression(text, kind=kind, roots=roots, schema=schema)
    if isinstance(compiled, CompileErrors):
        return RuleExplanation(checked.diagnostics, ())
    environment = Environment(
        profile=without_prefixes(profile),
        now=now,
        context=_by_type(context),
        events=without_prefixes(event),
        offer=without_prefixes(offer),
    )
    parts = explain(compiled.checked, environment)
    return RuleExplanation(
        checked.diagnostics,
        [ExplainedPart(part.depth, part.text, _format_values(part.values)) for part in parts],
    )


def _by_type(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return context data by type; plain fields get the default type."""
    plain = without_prefixes(context)
    typed = all(isinstance(value, Mapping) and name[:1] == "_" for name, value in plain.items())
    return plain if plain and typed else {ADDITIONAL: plain}


def _format_values(values: Sequence[Any]) -> str:
    if not values:
        return "(not evaluated)"
    texts = [json.dumps(value, default=_to_text, ensure_ascii=False)[:100] for value in values[:5]]
    more = f", … {len(values)} times" if len(values) > 5 else ""
    return ", ".join(texts) + more


def _to_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
