"""Effects of loading or removing a schema: changed fields, and rules that stop working."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from proffer.errors import Violation
from proffer.model.audience import read_audience
from proffer.model.catalog import Catalog
from proffer.model.ids import KIND_LABELS, EntityKind
from proffer.model.instance import Instance
from proffer.model.lifecycle import DecisionStatus, OfferStatus
from proffer.model.rule import EligibilityRule
from proffer.pql import CompiledFormula, CompiledRule, CompileErrors, Diagnostic, Schema
from proffer.service.rules.check import compile_expression, expression_entity

_NEVER_TRUE = frozenset({"pql.never-true", "pql.enum", "pql.case"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleEffect:
    """A rule, formula or audience that a schema makes invalid or false, with the reasons.

    `live`: an approved offer or a live decision uses it; audiences always are.
    """

    rule: Instance
    live: bool
    reasons: tuple[str, ...]

    def violation(self) -> Violation:
        return Violation(
            code="schema-breaks-rule",
            message=f"{rule_label(self.rule)}: {'; '.join(self.reasons)}",
            path=self.rule.id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaChange:
    """Differences between two schemas of one root. Fields are dotted paths, each with its type.

    `first`: no schema was loaded before, so the differences are those from the built-in fields. `readers`: other
    rules that read a retyped field.
    """

    first: bool
    added: tuple[str, ...]
    removed: tuple[str, ...]
    retyped: tuple[str, ...]
    effects: tuple[RuleEffect, ...]
    readers: tuple[Instance, ...]

    @property
    def broken(self) -> tuple[RuleEffect, ...]:
        """The live rules among the effects."""
        return tuple(effect for effect in self.effects if effect.live)


def rule_label(rule: Instance) -> str:
    """Return the kind and name of a rule, formula or audience, for messages."""
    name = rule.document.get("name", rule.name) if rule.kind is EntityKind.AUDIENCE else rule.name
    return f"{KIND_LABELS[rule.kind]} `{name}`"


def schema_change(
    catalog: Catalog,
    root: str,
    fields: tuple[Mapping[str, Any], Mapping[str, Any]],
    schemas: tuple[Schema, Schema],
    *,
    first: bool,
) -> SchemaChange:
    """Compare the fields of a root before and after, and check the catalog's rules with both schemas."""
    added, removed = [], []
    retyped: dict[str, str] = {}
    before, after = (dict(_flatten(described, ())) for described in fields)
    for steps, type_ in after.items():
        if steps not in before:
            added.append(f"{_dotted(steps)}: {type_}")
    for steps, type_ in before.items():
        later = _type_at(fields[1], steps)
        if later is None:
            removed.append(f"{_dotted(steps)}: {type_}")
        elif later != type_:
            read = ".".join((root, *(step for step in steps if step != "[]")))
            retyped[read] = f"{_dotted(steps)}: {type_} -> {later}"
    effects, readers = [], []
    for rule, (compiled_before, compiled_after) in _compiled_rules(catalog, schemas):
        reasons = _new_problems(compiled_before, compiled_after)
        if reasons:
            effects.append(RuleEffect(rule=rule, live=_is_live(catalog, rule), reasons=reasons))
        elif not isinstance(compiled_after, CompileErrors) and not compiled_after.reads.isdisjoint(retyped):
            readers.append(rule)
    return SchemaChange(
        first=first,
        added=tuple(added),
        removed=tuple(removed),
        retyped=tuple(retyped.values()),
        effects=tuple(effects),
        readers=tuple(readers),
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


_Compiled: TypeAlias = CompiledRule | CompiledFormula | CompileErrors


def _compiled_rules(
    catalog: Catalog, schemas: tuple[Schema, Schema]
) -> Iterator[tuple[Instance, tuple[_Compiled, _Compiled]]]:
    """Yield each rule, formula and audience with a rule, compiled with both schemas."""
    for kind in (EntityKind.RULE, EntityKind.FORMULA, EntityKind.AUDIENCE):
        for instance in catalog.of_kind(kind).values():
            expression, roots = _expression(instance)
            if expression is not None:
                name = "formula" if kind is EntityKind.FORMULA else "rule"
                before, after = (
                    compile_expression(
                        expression,
                        kind=name,
                        roots=roots,
                        schema=schema.lenient() if kind is EntityKind.AUDIENCE else schema,
                    )
                    for schema in schemas
                )
                yield instance, (before, after)


def _expression(instance: Instance) -> tuple[str | Mapping[str, Any] | None, frozenset[str]]:
    """Return the expression of a rule, formula or audience, if any, and the roots that it declares."""
    if instance.kind is EntityKind.AUDIENCE:
        return read_audience(instance).condition, frozenset()
    entity = expression_entity(instance)
    return entity.condition if isinstance(entity, EligibilityRule) else entity.expression, entity.roots


def _new_problems(before: _Compiled, after: _Compiled) -> tuple[str, ...]:
    """Return the messages of what makes a rule invalid or false only afterwards; none if it was invalid before."""
    if isinstance(before, CompileErrors):
        return ()
    known = {(diagnostic.is_error, diagnostic.message) for diagnostic in before.diagnostics}
    return tuple(
        dict.fromkeys(
            diagnostic.message
            for diagnostic in after.diagnostics
            if _is_fatal(diagnostic) and (diagnostic.is_error, diagnostic.message) not in known
        )
    )


def _is_fatal(diagnostic: Diagnostic) -> bool:
    return diagnostic.is_error or diagnostic.code in _NEVER_TRUE


def _is_live(catalog: Catalog, rule: Instance) -> bool:
    """Return whether an approved offer or a live decision refers to the rule, or it is an audience's."""
    if rule.kind is EntityKind.AUDIENCE:
        return True
    live_statuses = {EntityKind.OFFER: OfferStatus.APPROVED, EntityKind.DECISION: DecisionStatus.LIVE}
    return any(
        referrer.document.get("xdm:status") == live_statuses.get(referrer.kind)
        for referrer in catalog.referrers(rule.id)
        if referrer.kind in live_statuses
    )
