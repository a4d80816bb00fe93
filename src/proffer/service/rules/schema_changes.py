"""Effects of loading or removing a schema: changed fields, and rules that stop working."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proffer.errors import Violation
from proffer.model.catalog import Catalog
from proffer.model.ids import KIND_LABELS, EntityKind
from proffer.model.instance import Instance
from proffer.model.lifecycle import DecisionStatus, OfferStatus
from proffer.model.ranking import RankingFormula
from proffer.model.rule import EligibilityRule
from proffer.pql import Diagnostic, Schema
from proffer.service.rules.check import compile_expression, expression_entity

_NEVER_TRUE = frozenset({"pql.never-true", "pql.enum", "pql.case"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleEffect:
    """A rule or formula that a schema makes invalid or false, with the reasons.

    `live`: an approved offer or a live decision uses it.
    """

    rule: Instance
    live: bool
    reasons: tuple[str, ...]

    def violation(self) -> Violation:
        return Violation(
            code="schema-breaks-rule",
            message=f"{KIND_LABELS[self.rule.kind]} `{self.rule.name}`: {'; '.join(self.reasons)}",
            path=self.rule.id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaChange:
    """Differences between two schemas of one root. Fields are dotted paths, each with its type.

    `first`: no schema was loaded before, so the differences are those from the built-in fields.
    """

    first: bool
    added: tuple[str, ...]
    removed: tuple[str, ...]
    retyped: tuple[str, ...]
    effects: tuple[RuleEffect, ...]

    @property
    def broken(self) -> tuple[RuleEffect, ...]:
        """The live rules among the effects."""
        return tuple(effect for effect in self.effects if effect.live)


def schema_change(
    catalog: Catalog,
    fields: tuple[Mapping[str, Any], Mapping[str, Any]],
    schemas: tuple[Schema, Schema],
    *,
    first: bool,
) -> SchemaChange:
    """Compare the fields of a root before and after, and check the catalog's rules with both schemas."""
    added, removed, retyped = [], [], []
    before, after = (dict(_flatten(described, ())) for described in fields)
    for steps, type_ in after.items():
        if steps not in before:
            added.append(f"{_dotted(steps)}: {type_}")
    for steps, type_ in before.items():
        later = _type_at(fields[1], steps)
        if later is None:
            removed.append(f"{_dotted(steps)}: {type_}")
        elif later != type_:
            retyped.append(f"{_dotted(steps)}: {type_} -> {later}")
    effects = tuple(_effects(catalog, schemas))
    return SchemaChange(
        first=first, added=tuple(added), removed=tuple(removed), retyped=tuple(retyped), effects=effects
    )


def _flatten(described: Any, steps: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each scalar's path and type; `[]` stands for the elements of a list, `*` for other fields."""
    if isinstance(described, Mapping):
        for name, inner in described.items():
            yield from _flatten(inner, (*steps, name))
    elif isinstance(described, Sequence) and not isinstance(described, str):
        yield from _flatten(described[0], (*steps, "[]"))
    else:
        yield steps, str(described)


def _type_at(described: Any, steps: tuple[str, ...]) -> str | None:
    """Return the type at a path, `any` below a field of any type; None if there is no such field."""
    for step in steps:
        if described == "any":
            return "any"
        if isinstance(described, Mapping):
            described = described.get(step, described.get("*"))
        else:
            described = described[0] if isinstance(described, list) and step == "[]" else None
    if isinstance(described, Mapping):
        return "object"
    return "list" if isinstance(described, list) else described


def _dotted(steps: tuple[str, ...]) -> str:
    return ".".join(steps).replace(".[]", "[]")


def _effects(catalog: Catalog, schemas: tuple[Schema, Schema]) -> Iterator[RuleEffect]:
    for kind in (EntityKind.RULE, EntityKind.FORMULA):
        for rule in catalog.of_kind(kind).values():
            entity = expression_entity(rule)
            before, after = (_problems(entity, schema) for schema in schemas)
            reasons = tuple(reason for reason in after if reason not in before)
            if reasons and not any(is_error for is_error, _ in before):
                messages = tuple(dict.fromkeys(message for _, message in reasons))
                yield RuleEffect(rule=rule, live=_is_live(catalog, rule), reasons=messages)


def _problems(entity: EligibilityRule | RankingFormula, schema: Schema) -> dict[tuple[bool, str], None]:
    """Return the diagnostics that make a rule invalid or false: whether an error, and the message."""
    if isinstance(entity, EligibilityRule):
        compiled = compile_expression(entity.condition, kind="rule", roots=entity.roots, schema=schema)
    else:
        compiled = compile_expression(entity.expression, kind="formula", roots=entity.roots, schema=schema)
    return {
        (diagnostic.is_error, diagnostic.message): None for diagnostic in compiled.diagnostics if _is_fatal(diagnostic)
    }


def _is_fatal(diagnostic: Diagnostic) -> bool:
    return diagnostic.is_error or diagnostic.code in _NEVER_TRUE


def _is_live(catalog: Catalog, rule: Instance) -> bool:
    """Return whether an approved offer or a live decision refers to the rule."""
    live_statuses = {EntityKind.OFFER: OfferStatus.APPROVED, EntityKind.DECISION: DecisionStatus.LIVE}
    return any(
        referrer.document.get("xdm:status") == live_statuses.get(referrer.kind)
        for referrer in catalog.referrers(rule.id)
        if referrer.kind in live_statuses
    )
