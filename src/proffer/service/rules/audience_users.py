"""Objects that name an audience: their answers would change silently if it were deleted."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from proffer.model.catalog import CatalogOverlay
from proffer.model.constraint import OWN_AUDIENCES
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.pql import CompileErrors, Schema
from proffer.pql.check.audiences import audience_literals
from proffer.pql.syntax.nodes import Node
from proffer.service.rules.check import audiences_by_name, expressions_of, schema_of
from proffer.templating.parser import parse_template
from proffer.templating.reads import expressions_of as template_expressions

_WITH_RULES = (
    EntityKind.OFFER,
    EntityKind.FALLBACK,
    EntityKind.DECISION,
    EntityKind.RULE,
    EntityKind.FORMULA,
    EntityKind.AUDIENCE,
)


def users_of_audience(catalog: CatalogOverlay, audience: Instance) -> list[Instance]:
    """Return the objects whose constraints, rules, formulas or content name an audience.

    A name counts if no other audience has it. Computed names are not found.
    """
    name = audience.document["name"]
    names = {audience.instance_id}
    if audiences_by_name(catalog).get(name) == [audience.instance_id]:
        names.add(name)
    schema = schema_of(catalog)
    return [
        instance
        for kind in _WITH_RULES
        for instance in catalog.of_kind(kind)
        if instance.instance_id != audience.instance_id and _uses(instance, audience.instance_id, names, schema)
    ]


def _uses(instance: Instance, audience_id: str, names: set[str], schema: Schema) -> bool:
    if any(_lists(constraint, audience_id) for constraint in _constraints(instance.document)):
        return True
    return any(
        call.function == "inAudience" or literal.value == audience_id
        for core in _expressions(instance, names, schema)
        for call, literal in audience_literals(core)
        if literal.value in names
    )


def _constraints(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the profile constraints of an offer or a decision."""
    criteria = document.get("xdm:criteria")
    for holder in (document, *(criteria if isinstance(criteria, list) else ())):
        for member in ("xdm:selectionConstraint", "xdm:profileConstraint", "xdm:profileConstraints"):
            constraint = holder.get(member) if isinstance(holder, Mapping) else None
            if isinstance(constraint, Mapping):
                yield constraint


def _lists(constraint: Mapping[str, Any], audience_id: str) -> bool:
    return any(
        identity.get("xid") == audience_id and (identity.get("namespace") or {}).get("code", "ups") == OWN_AUDIENCES
        for identity in constraint.get("xdm:segmentIdentities") or ()
    )


def _expressions(instance: Instance, names: set[str], schema: Schema) -> Iterator[Node]:
    """Yield the expressions whose text may contain a name; only these are parsed."""
    for stored in expressions_of(instance):
        if _may_contain(stored.expression, names):
            compiled = stored.compile(schema, saving=False)
            if not isinstance(compiled, CompileErrors):
                yield compiled.checked.core
    for text in _contents(instance.document):
        if _may_contain(text, names):
            body, _ = parse_template(text, schema)
            for expression in template_expressions(body):
                yield from expression.choices


def _contents(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts of an offer's content."""
    for representation in document.get("xdm:representations") or ():
        for component in representation.get("xdm:components") or ():
            content = component.get("xdm:content")
            if isinstance(content, str) and "{{" in content:
                yield content


def _may_contain(expression: str | Mapping[str, Any], names: set[str]) -> bool:
    text = expression if isinstance(expression, str) else json.dumps(expression, ensure_ascii=False)
    return "\\" in text or any(name in text for name in names)
