"""Check, format and describe rules and formulas: the interfaces' and CLI's access to the language."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proffer.engine.compile.bind import LIBRARY_ROOTS
from proffer.errors import Invalid, Violation
from proffer.model.catalog import Catalog, CatalogOverlay
from proffer.model.field_schema import FieldSchema
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.model.parse import expression_of, first_present, parse_entity, roots_of
from proffer.model.ranking import RankingFormula
from proffer.model.rule import EligibilityRule
from proffer.pql import (
    CompiledFormula,
    CompiledRule,
    CompileErrors,
    Diagnostic,
    Schema,
    compile_formula,
    compile_rule,
    parse_type,
    position_of,
    render_diagnostic,
    schema_with,
)
from proffer.pql.syntax.diagnostics import sort_diagnostics
from proffer.service.rules.json_schema import SchemaFields, SchemaFile, fields_of

CUSTOM_QUERY_ROOTS = frozenset({"body", "header", "xEvent"})
"""Roots in the rule of a custom cap: the event, alone or as an ingestion message (spec 1.5.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionDiagnostic:
    """A diagnostic of an expression. Line and column count from 1; `rendered` is text with carets."""

    code: str
    severity: str
    message: str
    help: str | None
    start: int
    end: int
    line: int | None
    column: int | None
    rendered: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Result of checking an expression. `canonical`, `type` and `reads` are set without errors."""

    diagnostics: tuple[ExpressionDiagnostic, ...]
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
) -> CheckResult:
    """Check a rule or formula, text or JSON tree. Diagnostics are by position. Never raises."""
    compiled = compile_expression(expression, kind=kind, roots=roots, schema=schema, saving=saving, name=name)
    text = expression if isinstance(expression, str) else ""
    diagnostics = sort_diagnostics(list(compiled.diagnostics))
    notes = tuple(_expression_diagnostic(diagnostic, text, name) for diagnostic in diagnostics)
    if isinstance(compiled, CompileErrors):
        return CheckResult(diagnostics=notes)
    return CheckResult(
        diagnostics=notes,
        canonical=compiled.canonical,
        type=compiled.type,
        reads=tuple(sorted(compiled.reads)),
    )


def compile_expression(
    expression: str | Mapping[str, Any],
    *,
    kind: str,
    roots: Collection[str] = (),
    schema: Schema | None = None,
    saving: bool = False,
    name: str = "rule",
) -> CompiledRule | CompiledFormula | CompileErrors:
    """Compile a rule or formula of a library. `roots`: those it declares. Never raises."""
    compiler = compile_formula if kind == "formula" else compile_rule
    return compiler(
        expression,
        roots=LIBRARY_ROOTS | set(roots),
        name=name,
        schema=schema if schema is not None else schema_with({}),
        saving=saving,
    )


def violations_of(diagnostics: Iterable[Diagnostic], text: str, path: str) -> list[Violation]:
    """Return the errors among these diagnostics as violations. Line and column are those in the text."""
    violations = []
    for diagnostic in diagnostics:
        if diagnostic.is_error:
            position = position_of(diagnostic, text)
            violations.append(
                Violation(
                    code=diagnostic.code,
                    message=diagnostic.message,
                    path=path,
                    help=diagnostic.help,
                    line=position.line if position else None,
                    column=position.column if position else None,
                )
            )
    return violations


def field_schemas(catalog: Catalog | CatalogOverlay) -> Iterator[FieldSchema]:
    """Yield the schemas loaded in a container."""
    instances = catalog.of_kind(EntityKind.SCHEMA)
    for instance in list(instances.values()) if isinstance(instances, Mapping) else list(instances):
        entity = parse_entity(instance)
        assert isinstance(entity, FieldSchema)
        yield entity


def schema_of(catalog: Catalog | CatalogOverlay) -> Schema:
    """Return the schema of a container's rules: its loaded schemas, and XDM for other roots."""
    return schema_with({field_schema.name: field_schema.fields for field_schema in field_schemas(catalog)})


def expression_violations(version: Instance, catalog: Catalog | CatalogOverlay) -> list[Violation]:
    """Return the errors in a version's expressions, checked against the catalog's schemas.

    Line and column are those in the expression's text.
    """
    if version.kind is EntityKind.OFFER:
        return _cap_violations(version)
    if version.kind not in {EntityKind.RULE, EntityKind.FORMULA}:
        return []
    entity = expression_entity(version)
    if isinstance(entity, EligibilityRule):
        expression, kind, members = entity.condition, "rule", ("xdm:condition", "condition")
    else:
        expression, kind, members = entity.expression, "formula", ("xdm:expression", "expression")
    compiled = compile_expression(
        expression, kind=kind, roots=entity.roots, schema=schema_of(catalog), saving=True, name=entity.name
    )
    member = next(name for name in members if name in version.document)
    value = "xdm:value" if "xdm:value" in version.document[member] else "value"
    text = expression if isinstance(expression, str) else ""
    return violations_of(compiled.diagnostics, text, f"$.{member}.{value}")


def expression_entity(version: Instance) -> EligibilityRule | RankingFormula:
    """Return the rule or formula of a version."""
    entity = parse_entity(version)
    assert isinstance(entity, EligibilityRule | RankingFormula)
    return entity


def _cap_violations(offer: Instance) -> list[Violation]:
    """Return the errors in the rules of an offer's custom caps."""
    violations: list[Violation] = []
    for index, cap in enumerate(offer.document.get("xdm:frequencyCappingConstraints") or ()):
        text = cap.get("xdm:customQuery")
        if text is None:
            continue
        compiled = compile_rule(text, roots=CUSTOM_QUERY_ROOTS, name="customQuery", saving=True)
        path = f"$.xdm:frequencyCappingConstraints[{index}].xdm:customQuery"
        if isinstance(compiled, CompileErrors):
            violations += violations_of(compiled.diagnostics, text, path)
        else:
            violations += _unknown_event_fields(compiled, path)
    return violations


def _unknown_event_fields(query: CompiledRule, path: str) -> list[Violation]:
    """Return violations for names that resolve to profile fields. No event has such fields."""
    return [
        Violation(
            code="pql.unknown-root",
            message=f"`{field}` is not a field of the event that this query reads",
            path=path,
            help=f"fields of an event are under `body.xdmEntity`: write `body.xdmEntity.{field}`",
        )
        for field in sorted(read.removeprefix("profile.") for read in query.reads if read.startswith("profile."))
    ]


def profile_schema(content: Any) -> Schema:
    """Return the schema of rules for profiles with these fields. Raises `Invalid`."""
    return schema_with({"profile": read_schema([SchemaFile("", content)]).fields})


def read_schema(files: Sequence[SchemaFile]) -> SchemaFields:
    """Return the fields that JSON Schemas, or field-to-type mappings, declare together. Raises `Invalid`."""
    for file in files:
        if not isinstance(file.content, Mapping) or not file.content:
            raise _no_fields("expected an object of fields", file.address)
    declared = fields_of(files)
    reason = type_problem(declared.fields)
    if reason is not None:
        raise _no_fields(reason, files[0].address)
    return declared


def _no_fields(reason: str, address: str) -> Invalid:
    remedy = 'give a JSON Schema, or fields with types such as `{"person": {"age": "integer"}}`'
    return Invalid.of([Violation(code="schema-file", message=reason, path=address or "$", help=remedy)])


def expressions(
    content: Mapping[str, Any], path: str
) -> Iterator[tuple[str, str, str | Mapping[str, Any], frozenset[str]]]:
    """Yield each rule and formula of a library file. Each is a tuple (name, kind, expression, declared roots)."""
    for section, kind, members in (
        ("rules", "rule", ("xdm:condition", "condition")),
        ("formulas", "formula", ("xdm:expression", "expression")),
    ):
        for index, document in enumerate(content.get(section) or ()):
            condition = first_present(document, *members)
            if isinstance(condition, Mapping):
                name = document.get("xdm:name", f"{section}[{index}]")
                yield f"{path}: {name}", kind, expression_of(condition), roots_of(document)


def type_problem(fields: Mapping[str, Any]) -> str | None:
    """Return why these are not valid fields with types, or None."""
    try:
        parse_type(fields)
    except (ValueError, RecursionError) as error:
        return str(error)
    return None


def _expression_diagnostic(diagnostic: Diagnostic, text: str, name: str) -> ExpressionDiagnostic:
    position = position_of(diagnostic, text)
    return ExpressionDiagnostic(
        code=diagnostic.code,
        severity=str(diagnostic.severity),
        message=diagnostic.message,
        help=diagnostic.help,
        start=diagnostic.span.start,
        end=diagnostic.span.end,
        line=position.line if position else None,
        column=position.column if position else None,
        rendered=render_diagnostic(diagnostic, text, name),
    )
