"""`proffer rules`: check, format, explain and test PQL, without a server."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from proffer.app import DEV_ORGANISATION, DEV_SANDBOX, open_reader
from proffer.cli.library import LIBRARY_FILES, read_document, read_object, read_rule, read_rule_file, rules_input_error
from proffer.cli.library_check import observe_with_progress, stored_containers
from proffer.config import load_settings
from proffer.pql import CompileErrors, EncounterKind, Schema
from proffer.service.customers.rule_values import RuleFinding, describe, observed_rule
from proffer.service.library.load import SECTIONS
from proffer.service.rules import check as rules
from proffer.service.rules.cases import CaseReport, run_cases
from proffer.service.rules.explain import explain_rule
from proffer.service.rules.stored_fields import StoredFields

app = typer.Typer(help="Check, format, explain and test PQL rules and formulas.", no_args_is_help=True)

Formula = Annotated[bool, typer.Option("--formula", help="Read text as a ranking formula instead of a rule.")]
Roots = Annotated[
    list[str] | None,
    typer.Option("--root", help="Another root name that the text may use; repeat for several."),
]
SchemaFile = Annotated[
    Path | None,
    typer.Option(help="Profile schema (JSON Schema or fields); other fields are errors."),
]


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="Text files with one rule each, or library files.")],
    formula: Formula = False,
    root: Roots = None,
    schema: SchemaFile = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")] = False,
    database: Annotated[
        str | None,
        typer.Option(help="A database, read only, whose schemas and stored customers the rules are checked against."),
    ] = None,
    org: Annotated[str, typer.Option(help="The organisation of --database.")] = DEV_ORGANISATION,
    sandbox: Annotated[str, typer.Option(help="The sandbox of --database.")] = DEV_SANDBOX,
) -> None:
    """Check rules for errors and likely mistakes. The exit code is 1 if any has an error."""
    profile_schema = rules.profile_schema(read_document(schema)) if schema is not None else None
    texts = [
        RuleText(name, kind, expression, frozenset({*roots, *(root or ())}))
        for name, kind, expression, roots in _expressions(files, "formula" if formula else "rule")
    ]
    findings: Sequence[Sequence[RuleFinding]] = [()] * len(texts)
    if database is not None:
        profile_schema, findings = _observe(texts, profile_schema, database, org, sandbox)
    invalid_count = doubtful_count = 0
    for text, met in zip(texts, findings, strict=True):
        result = rules.check(text.expression, kind=text.kind, roots=text.roots, schema=profile_schema, name=text.name)
        invalid_count += not result.valid
        doubtful_count += result.valid and bool(result.diagnostics or met)
        for note in result.diagnostics:
            typer.echo(note.rendered + "\n")
        for finding in met:
            typer.echo(f"{text.name}: warning: {describe(finding)}\n")
    total = len(texts)
    word = "expression" if total == 1 else "expressions"
    typer.echo(f"{total} {word} checked, {invalid_count} with errors, {doubtful_count} with warnings")
    if invalid_count or (strict and doubtful_count):
        raise typer.Exit(1)


@app.command(name="format")
def format_files(
    files: Annotated[list[Path], typer.Argument(help="Text files with one rule each.")],
    write: Annotated[bool, typer.Option("--write", help="Change the files instead of printing.")] = False,
    formula: Formula = False,
    root: Roots = None,
) -> None:
    """Print rules in canonical form."""
    for path in files:
        kind = "formula" if formula else "rule"
        result = rules.check(read_rule_file(path), kind=kind, roots=root or (), saving=False, name=str(path))
        if result.canonical is None:
            for note in result.diagnostics:
                typer.echo(note.rendered, err=True)
            raise typer.Exit(1)
        if write:
            path.write_text(result.canonical + "\n", encoding="utf-8")
        else:
            typer.echo(result.canonical)


@app.command()
def explain(
    rule: Annotated[str, typer.Argument(help="A rule, or the path of a file with one rule.")],
    profile: Annotated[Path | None, typer.Option(help="File with a profile, YAML or JSON.")] = None,
    context: Annotated[
        Path | None,
        typer.Option(help="File with context data: an object of fields, or of types with fields."),
    ] = None,
    event: Annotated[Path | None, typer.Option(help="File with the event, or a list of events, for `xEvent`.")] = None,
    offer: Annotated[Path | None, typer.Option(help="File with the object that formulas read as `offer`.")] = None,
    now: Annotated[str | None, typer.Option(help="The time of evaluation, such as 2025-06-01T12:00:00Z.")] = None,
    formula: Formula = False,
    root: Roots = None,
    schema: SchemaFile = None,
) -> None:
    """Show the value of each part of a rule for one customer."""
    explanation = explain_rule(
        read_rule(rule),
        kind="formula" if formula else "rule",
        roots=root or (),
        profile=read_object(profile, "rules-input"),
        context=read_object(context, "rules-input"),
        event=read_document(event) if event is not None else None,
        offer=read_object(offer, "rules-input") if offer is not None else None,
        now=_parse_time(now),
        schema=rules.profile_schema(read_document(schema)) if schema is not None else None,
    )
    if explanation.notes:
        for note in explanation.notes:
            typer.echo(note.rendered, err=True)
    if not explanation.steps:
        raise typer.Exit(1)
    from rich.console import Console  # slow to import
    from rich.text import Text
    from rich.tree import Tree

    branches: list[Tree] = []
    for step in explanation.steps:
        label = Text(step.text, overflow="fold") + Text("  ") + Text(step.value, style=_value_style(step.value))
        branch = Tree(label) if step.depth == 0 else branches[step.depth - 1].add(label)
        branches[step.depth :] = [branch]
    Console().print(branches[0])


@app.command()
def test(
    files: Annotated[list[Path], typer.Argument(help="Files with cases; the reference describes the format.")],
) -> None:
    """Run cases with all three evaluators. The exit code is 1 if any case fails."""
    failed = False
    for path in files:
        report = run_cases(read_document(path))
        _print_report(path, report)
        failed = failed or bool(report.failures)
    if failed:
        raise typer.Exit(1)


def _print_report(path: Path, report: CaseReport) -> None:
    for failure in report.failures:
        typer.secho(f"{failure.id}: {failure.expression}", fg="red")
        typer.echo(f"  expected     {_to_json(failure.expected)}")
        for evaluator, value in failure.results.items():
            typer.echo(f"  {evaluator:12} {_to_json(value)}")
    passed = report.total - len(report.failures)
    typer.echo(
        f"{path}: {report.total} cases, {passed} passed, {len(report.failures)} failed; "
        f"{report.in_columns} ran in columns, {report.by_row} row by row"
    )


class RuleText(NamedTuple):
    """A rule or formula of a file, with the roots that it may use."""

    name: str
    kind: str
    expression: str | Mapping[str, Any]
    roots: frozenset[str]


def _observe(
    texts: Sequence[RuleText], schema: Schema | None, database: str, org: str, sandbox: str
) -> tuple[Schema, list[list[RuleFinding]]]:
    """Return the schema of a sandbox, unless one is given, and the comparisons of each text that cannot be made."""

    async def run() -> tuple[Schema, list[list[RuleFinding]]]:
        reader = await open_reader(load_settings({"database": database}))
        try:
            (state,) = [state async for state in stored_containers(reader, org, sandbox)]
            observed = await StoredFields(reader).of(state.container.id)
            types = schema or rules.schema_of(state.catalog).with_profiles(observed)
            observed_rules = {}
            for number, text in enumerate(texts):
                compiled = rules.compile_expression(text.expression, kind=text.kind, roots=text.roots, schema=types)
                if not isinstance(compiled, CompileErrors):
                    observed_rules[number] = observed_rule(state, str(number), compiled)
            _, findings = await observe_with_progress(reader, state, list(observed_rules.values()))
        finally:
            await reader.close()
        met: list[list[RuleFinding]] = [[] for _ in texts]
        for finding in findings:
            if finding.kind is EncounterKind.INCOMPARABLE:
                met[int(finding.label)].append(finding)
        return types, met

    return asyncio.run(run())


def _expressions(files: list[Path], kind: str) -> Iterator[tuple[str, str, str | Mapping[str, Any], frozenset[str]]]:
    """Yield each rule and formula in the files. Each is a tuple (name, kind, expression, declared roots)."""
    for path in files:
        if path.suffix.lower() not in LIBRARY_FILES:
            yield str(path), kind, read_rule_file(path), frozenset()
            continue
        content = read_document(path)
        if not isinstance(content, Mapping) or not content.keys() & {"rules", "formulas"}:
            raise rules_input_error(
                path,
                "is not a library file with `rules` or `formulas`",
                f"a library file has the lists {', '.join(SECTIONS)}",
            )
        yield from rules.expressions(content, str(path))


def _parse_time(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise rules_input_error("--now", f"`{text}` is not a time", "write it as 2025-06-01T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _to_json(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def _value_style(value_text: str) -> str:
    if value_text == "true":
        return "green"
    if value_text in {"false", "null"}:
        return "red"
    return "dim" if value_text.startswith("(") else "cyan"
