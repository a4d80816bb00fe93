"""Check, format and describe rules and formulas: the interfaces' and CLI's access to the language."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from proffer.engine.compile.bind import LIBRARY_ROOTS, THRESHOLD_ROOTS
from proffer.errors import Invalid, Violation
from proffer.model.catalog import Catalog, CatalogOverlay
from proffer.model.field_schema import FieldSchema
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.model.long_names import with_short_names
from proffer.model.parse import (
    condition_of,
    expression_of,
    first_present,
    named_audience,
    parse_entity,
    roots_of,
    threshold_of,
)
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
from proffer.pql.check.types import ANY, ObjectType, Type
from proffer.pql.syntax.diagnostics import TextFix, sort_diagnostics
from proffer.service.rules.json_schema import SchemaFields, SchemaFile, fields_of

CUSTOM_QUERY_ROOTS = frozenset({"body", "header", "xEvent"})
"""Roots in the rule of a custom cap: the event, alone or as an ingestion message (spec 1.5.1)."""


def custom_query_schema(types: Schema) -> Schema:
    """Return the types of these roots, given those of a container's fields."""
    event = types.roots.get("xEvent", ANY)
    return Schema({"xEvent": event, "body": ObjectType(fields={"xdmEntity": event})})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionDiagnostic:
    """A diagnostic of an expression. Line and column count from 1; `rendered` is text with carets.

    `fix`: a change of the text that an editor can make; None for a tree.
    """

    code: str
    severity: str
    message: str
    help: str | None
    start: int
    end: int
    line: int | None
    column: int | None
    rendered: str
    fix: TextFix | None = None


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
    """Return these diagnostics as violations. Line and column are those in the text."""
    violations = []
    for diagnostic in diagnostics:
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


def _instances(catalog: Catalog | CatalogOverlay, kind: EntityKind) -> list[Instance]:
    instances = catalog.of_kind(kind)
    return list(instances.values()) if isinstance(instances, Mapping) else list(instances)


def field_schemas(catalog: Catalog | CatalogOverlay) -> Iterator[FieldSchema]:
    """Yield the schemas loaded in a container."""
    for instance in _instances(catalog, EntityKind.SCHEMA):
        entity = parse_entity(instance)
        assert isinstance(entity, FieldSchema)
        yield entity


def schema_of(catalog: Catalog | CatalogOverlay) -> Schema:
    """Return what a container's rules are checked against: its schemas, XDM for other roots, its audiences."""
    schema = schema_with({field_schema.name: field_schema.fields for field_schema in field_schemas(catalog)})
    return replace(schema, audiences=partial(audiences_by_name, catalog))


def audiences_by_name(catalog: Catalog | CatalogOverlay) -> dict[str, list[str]]:
    """Return the ids of the audiences by name, oldest first."""
    ids_by_name: dict[str, list[str]] = {}
    audiences = map(named_audience, _instances(catalog, EntityKind.AUDIENCE))
    for audience in sorted(audiences, key=lambda audience: (audience.created_us, audience.id)):
        ids_by_name.setdefault(audience.name, []).append(audience.id)
    return ids_by_name


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredExpression:
    """One expression of a library object. `path`: its JSON path; `kind`: rule, formula, audience, cap or threshold."""

    path: str
    kind: str
    expression: str | Mapping[str, Any]
    roots: frozenset[str] = frozenset()

    def compile(self, schema: Schema, *, saving: bool) -> CompiledRule | CompiledFormula | CompileErrors:
        """Compile the expression as its kind is evaluated; with `saving` as it is accepted."""
        match self.kind:
            case "cap":
                types = replace(custom_query_schema(schema), reports_partial=False)
                return compile_rule(self.expression, roots=CUSTOM_QUERY_ROOTS, schema=types, saving=saving)
            case "threshold":
                return compile_formula(self.expression, roots=THRESHOLD_ROOTS, schema=schema, saving=saving)
            case "audience":
                return compile_rule(self.expression, schema=schema, saving=saving, event_history=True)
            case _:
                return compile_expression(
                    self.expression, kind=self.kind, roots=self.roots, schema=schema, saving=saving
                )


@dataclass(slots=True)
class ExpressionFindings:
    """What is wrong with the expressions of a version: `errors` refuse a write, `warnings` do not."""

    errors: list[Violation] = field(default_factory=list)
    warnings: list[Violation] = field(default_factory=list)


def check_expressions(
    version: Instance,
    catalog: Catalog | CatalogOverlay,
    *,
    before: Instance | None = None,
    observed: Type = ANY,
) -> ExpressionFindings:
    """Check the expressions that a write of this version changes.

    `observed`: the fields of the stored profiles. The document may be invalid otherwise.
    """
    findings = ExpressionFindings()
    stored = [(each.expression, each.roots) for each in expressions_of(before)] if before is not None else []
    changed = [each for each in expressions_of(version) if (each.expression, each.roots) not in stored]
    if not changed:
        return findings
    schema = replace(schema_of(catalog), reports_partial=False).with_profiles(observed)
    for each in changed:
        compiled = each.compile(schema, saving=True)
        errors, warnings = _split(compiled, each)
        findings.errors += errors
        findings.warnings += warnings
    return findings


def broken_expressions(version: Instance, catalog: Catalog | CatalogOverlay) -> list[Violation]:
    """Return the errors in a version's expressions that keep them from being evaluated (R33)."""
    stored = list(expressions_of(version))
    if not stored:
        return []
    schema = schema_of(catalog)
    return [error for each in stored for error in _split(each.compile(schema, saving=False), each)[0]]


def _split(
    compiled: CompiledRule | CompiledFormula | CompileErrors, stored: StoredExpression
) -> tuple[list[Violation], list[Violation]]:
    """Return the errors and the warnings of an expression as violations."""
    text = stored.expression if isinstance(stored.expression, str) else ""
    errors = violations_of([each for each in compiled.diagnostics if each.is_error], text, stored.path)
    warnings = violations_of([each for each in compiled.diagnostics if not each.is_error], text, stored.path)
    if stored.kind == "cap" and isinstance(compiled, CompiledRule):
        errors += _unknown_event_fields(compiled, stored.path)
    return errors, warnings


def expressions_of(version: Instance) -> Iterator[StoredExpression]:
    """Yield the expressions of a version that have a valid shape."""
    document = version.document
    if version.kind is EntityKind.OFFER:
        caps = document.get("xdm:frequencyCappingConstraints")
        for index, cap in enumerate(caps if isinstance(caps, list) else ()):
            for kind, name in (("cap", "xdm:customQuery"), ("threshold", "xdm:dynamicCappingThresholdQuery")):
                text = cap.get(name) if isinstance(cap, Mapping) else None
                if isinstance(text, str) and text and (kind == "cap" or threshold_of(cap) is not None):
                    path = f"$.xdm:frequencyCappingConstraints[{index}].{name}"
                    yield StoredExpression(path=path, kind=kind, expression=text)
        return
    kind, members = _EXPRESSION_MEMBERS.get(version.kind, ("", ()))
    member = next((name for name in members if name in document), None)
    condition = document[member] if member is not None else None
    if version.kind is EntityKind.RULE and member is None:
        condition = condition_of(document)
    if not isinstance(condition, Mapping) or condition.get("type") == "LIST":
        return
    value = next((name for name in ("xdm:value", "value") if name in condition), None)
    defined_on = first_present(document, "xdm:definedOn", "definedOn")
    if value is None or not isinstance(condition[value], str | Mapping) or not condition[value]:
        return
    if isinstance(defined_on, Mapping | None):
        path = f"$.{value}" if member is None else f"$.{member}.{value}"
        roots = roots_of(document)
        yield StoredExpression(path=path, kind=kind, expression=expression_of(condition), roots=roots)


_EXPRESSION_MEMBERS: Mapping[EntityKind, tuple[str, tuple[str, ...]]] = {
    EntityKind.RULE: ("rule", ("xdm:condition", "condition")),
    EntityKind.FORMULA: ("formula", ("xdm:expression", "expression")),
    EntityKind.AUDIENCE: ("audience", ("expression",)),
}
"""The kind of expression in an object, and the names of its member."""


def expression_entity(version: Instance) -> EligibilityRule | RankingFormula:
    """Return the rule or formula of a version."""
    entity = parse_entity(version)
    assert isinstance(entity, EligibilityRule | RankingFormula)
    return entity


def _unknown_event_fields(query: CompiledRule, path: str) -> list[Violation]:
    """Return violations for names that resolve to profile fields. No event has such fields."""
    return [
        Violation(
            code="pql.unknown-root",
            message=f"`{name}` is not a field of the event that this query reads",
            path=path,
            help=f"fields of an event are under `body.xdmEntity`: write `body.xdmEntity.{name}`",
        )
        for name in sorted(read.removeprefix("profile.") for read in query.reads if read.startswith("profile."))
    ]


def profile_schema(content: Any) -> Schema:
    """Return the schema of rules for profiles with these fields. Raises `Invalid`."""
    return schema_with({"profile": read_schema([SchemaFile("", content)]).fields})


def read_schema(files: Sequence[SchemaFile]) -> SchemaFields:
    """Return the fields that JSON Schemas, or field-to-type mappings, declare together. Raises `Invalid`."""
    for file in files:
        if not isinstance(file.content, Mapping) or not file.content:
            raise _no_fields("expected an object of fields", file.address)
    try:
        declared = fields_of(files)
    except RecursionError:
        raise _no_fields("the schema is nested too deeply", files[0].address) from None
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
    for section, kind, read_condition in (
        ("rules", "rule", condition_of),
        ("formulas", "formula", lambda document: first_present(document, "xdm:expression", "expression")),
    ):
        for index, raw_document in enumerate(content.get(section) or ()):
            document = with_short_names(raw_document)
            condition = read_condition(document)
            if isinstance(condition, Mapping):
                name = document.get("xdm:name", f"{section}[{index}]")
                yield f"{path}: {name}", kind, expression_of(condition), roots_of(document)


def type_problem(fields: Mapping[str, Any]) -> str | None:
    """Return why these are not valid fields with types, or None."""
    try:
        parse_type(fields)
    except ValueError as error:
        return str(error)
    except RecursionError:
        return "the fields are nested too deeply"
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
        fix=diagnostic.fix if text else None,
    )
