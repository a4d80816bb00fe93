"""Check, format and describe rules and formulas: the interfaces' and CLI's access to the language."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from proffer.errors import Finding, Invalid
from proffer.model.catalog import Catalog, Draft
from proffer.model.field_schema import FieldSchema
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.model.parse import either, expression_of, read, roots_of
from proffer.model.ranking import RankingFormula
from proffer.model.rule import EligibilityRule
from proffer.pql import (
    CompiledFormula,
    CompiledRule,
    Diagnostic,
    Schema,
    check_text,
    compile_formula,
    compile_rule,
    place_of,
    read_type,
    render_diagnostic,
    schema_with,
)
from proffer.service.rules.json_schema import fields_of, looks_like_json_schema

CUSTOM_QUERY_ROOTS = frozenset({"body", "header", "xEvent"})
"""Roots in the rule of a custom cap: the event, alone or as an ingestion message (spec 1.5.1)."""
RULE_ROOTS = frozenset({"profile", "xEvent", "offer"})
"""Roots every rule and formula may use, besides those declared in its `definedOn`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A diagnostic of an expression. Line and column count from 1; `rendered` is text with carets."""

    code: str
    severity: str
    message: str
    help: str | None
    start: int
    end: int
    line: int | None
    column: int | None
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Result of checking an expression. `canonical`, `type` and `reads` are set without errors."""

    notes: tuple[Note, ...]
    canonical: str | None = None
    type: str | None = None
    reads: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        return self.canonical is not None


def check(
    expression: str | Mapping[str, Any],
    *,
    kind: str = "rule",
    roots: Collection[str] = (),
    schema: Schema | None = None,
    saving: bool = True,
    name: str = "rule",
) -> Checked:
    """Check a rule or formula, text or JSON tree, in one pass. Never raises."""
    known = schema if schema is not None else schema_with({})
    names = RULE_ROOTS | set(roots)
    found = check_text(expression, roots=names, kind=kind, saving=saving, schema=known)
    text = expression if isinstance(expression, str) else ""
    notes = tuple(_note(one, text, name) for one in found)
    if any(one.is_error for one in found):
        return Checked(notes=notes)
    compiling = compile_formula if kind == "formula" else compile_rule
    compiled = compiling(expression, roots=names, name=name, schema=known)
    if not isinstance(compiled, CompiledRule | CompiledFormula):
        return Checked(notes=tuple(_note(one, text, name) for one in compiled.diagnostics))
    return Checked(
        notes=notes,
        canonical=compiled.canonical,
        type=compiled.type,
        reads=tuple(sorted(compiled.reads)),
    )


def field_schemas(catalog: Catalog | Draft) -> Iterator[FieldSchema]:
    """Yield the schemas loaded in a container."""
    found = catalog.of_kind(EntityKind.SCHEMA)
    for instance in list(found.values()) if isinstance(found, Mapping) else list(found):
        entity = read(instance)
        assert isinstance(entity, FieldSchema)
        yield entity


def schema_of(catalog: Catalog | Draft) -> Schema:
    """Return the schema of a container's rules: its loaded schemas, and XDM for other roots."""
    return declared(field_schemas(catalog))


def declared(schemas: Iterable[FieldSchema]) -> Schema:
    """Combine field schemas into one schema."""
    return schema_with({one.name: one.fields for one in schemas})


def mistakes(version: Instance, schema: Schema) -> list[Finding]:
    """Return the errors in a version's expressions, with line and column in their text."""
    if version.kind is EntityKind.OFFER:
        return _cap_mistakes(version)
    if version.kind not in {EntityKind.RULE, EntityKind.FORMULA}:
        return []
    entity = read(version)
    assert isinstance(entity, EligibilityRule | RankingFormula)
    if isinstance(entity, EligibilityRule):
        expression, kind, members = entity.condition, "rule", ("xdm:condition", "condition")
    else:
        expression, kind, members = entity.expression, "formula", ("xdm:expression", "expression")
    said = check(expression, kind=kind, roots=entity.roots, schema=schema, name=entity.name)
    member = next(name for name in members if name in version.document)
    value = "xdm:value" if "xdm:value" in version.document[member] else "value"
    return [
        _finding(note, f"$.{member}.{value}") for note in said.notes if note.severity == "error"
    ]


def _cap_mistakes(offer: Instance) -> list[Finding]:
    """Return the errors in the rules of an offer's custom caps."""
    found: list[Finding] = []
    for index, cap in enumerate(offer.document.get("xdm:frequencyCappingConstraints") or ()):
        text = cap.get("xdm:customQuery")
        if text is None:
            continue
        diagnostics = check_text(
            text, roots=CUSTOM_QUERY_ROOTS, kind="rule", saving=True, schema=schema_with({})
        )
        notes = [_note(one, text, "customQuery") for one in diagnostics if one.is_error]
        path = f"$.xdm:frequencyCappingConstraints[{index}].xdm:customQuery"
        found += [_finding(one, path) for one in notes] or _not_of_the_event(text, path)
    return found


def _not_of_the_event(query: str, path: str) -> list[Finding]:
    """Return violations for names that resolve to profile fields, which no event has."""
    compiled = compile_rule(query, roots=CUSTOM_QUERY_ROOTS, name="customQuery")
    reads = compiled.reads if isinstance(compiled, CompiledRule) else frozenset()
    return [
        Finding(
            code="pql.unknown-root",
            message=f"`{field}` is no part of the event that this query is asked about",
            path=path,
            help=f"fields of an event are under `body.xdmEntity`: write `body.xdmEntity.{field}`",
        )
        for field in sorted(
            read.removeprefix("profile.") for read in reads if read.startswith("profile.")
        )
    ]


def _finding(note: Note, path: str) -> Finding:
    return Finding(
        code=note.code,
        message=note.message,
        path=path,
        help=note.help,
        line=note.line,
        column=note.column,
    )


def profile_schema(content: Any) -> Schema:
    """Return the schema of rules for profiles with these fields, or raise `Invalid`."""
    return schema_with({"profile": readable_fields(content)})


def readable_fields(content: Any) -> Mapping[str, Any]:
    """Return the fields of a JSON Schema or of a mapping of fields to types, or raise `Invalid`."""
    reason: str | None = "a schema is an object of fields, and this is none"
    fields: Mapping[str, Any] = {}
    if isinstance(content, Mapping) and content:
        fields = fields_of(content) if looks_like_json_schema(content) else dict(content)
        reason = unreadable_type(fields)
    if reason is not None:
        mend = 'give a JSON Schema, or fields with types such as `{"person": {"age": "integer"}}`'
        raise Invalid.of([Finding(code="schema-file", message=reason, path="$", help=mend)])
    return fields


def expressions(
    content: Mapping[str, Any], path: str
) -> Iterator[tuple[str, str, str | Mapping[str, Any], frozenset[str]]]:
    """Yield name, kind, expression and declared roots of each rule and formula of a library file."""
    for section, kind, members in (
        ("rules", "rule", ("xdm:condition", "condition")),
        ("formulas", "formula", ("xdm:expression", "expression")),
    ):
        for index, document in enumerate(content.get(section) or ()):
            condition = either(document, *members)
            if isinstance(condition, Mapping):
                name = document.get("xdm:name", f"{section}[{index}]")
                yield f"{path}: {name}", kind, expression_of(condition), roots_of(document)


def unreadable_type(fields: Mapping[str, Any]) -> str | None:
    """Return why these are not valid fields with types, or None."""
    try:
        read_type(fields)
    except (ValueError, RecursionError) as error:
        return str(error)
    return None


def _note(found: Diagnostic, text: str, name: str) -> Note:
    place = place_of(found, text)
    return Note(
        code=found.code,
        severity=str(found.severity),
        message=found.message,
        help=found.help,
        start=found.span.start,
        end=found.span.end,
        line=place.line if place else None,
        column=place.column if place else None,
        shown=render_diagnostic(found, text, name),
    )
