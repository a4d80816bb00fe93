"""`proffer schema`: load, list and remove the schemas that rules are checked against."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from proffer.app import DEV_ORGANISATION, DEV_SANDBOX, Services
from proffer.cli.database import Database, Org, Sandbox, open_container, with_services
from proffer.cli.library import LIBRARY_FILES, USER, read_document
from proffer.service.rules.check import read_schema
from proffer.service.rules.json_schema import SchemaFile
from proffer.service.rules.schema_changes import SchemaChange, rule_label

app = typer.Typer(help="Manage the schemas that rules are checked against.", no_args_is_help=True)

_MAX_LINES = 20


@app.command()
def load(
    files: Annotated[
        list[Path], typer.Argument(help="JSON Schemas, or fields with their types, or folders of them; YAML or JSON.")
    ],
    root: Annotated[str, typer.Option(help="The root that it describes: profile, xEvent or offer.")] = "profile",
    force: Annotated[bool, typer.Option("--force", help="Load it even if live rules become invalid or false.")] = False,
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
) -> None:
    """Set the schema of a root, and print what changes. Rules that read other fields are then refused."""
    schema = read_schema([SchemaFile(path.resolve().as_uri(), read_document(path)) for path in _schema_files(files)])
    for reference in schema.unresolved:
        typer.echo(f"not in the files, so any field is allowed there: {reference}")

    async def work(services: Services, _: object) -> None:
        access = await open_container(services, org, sandbox, user=USER)
        await services.schemas.load(access, root, schema.fields, force=force, on_change=_print_change)

    with_services(database, work, libraries=False)
    count = len(schema.fields.keys() - {"*"})
    other_note = " and any others" if "*" in schema.fields else ""
    typer.echo(f"{' '.join(map(str, files))}: {count} fields{other_note} for `{root}`")


def _schema_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files, and the YAML and JSON files in the folders and their subfolders."""
    return [
        file
        for path in paths
        for file in (
            sorted(inner for inner in path.rglob("*") if inner.suffix.lower() in LIBRARY_FILES and inner.is_file())
            if path.is_dir()
            else [path]
        )
    ]


def _print_change(change: SchemaChange) -> None:
    origin = " (compared with the built-in fields)" if change.first else ""
    for label, fields in (("added", change.added), ("removed", change.removed), ("retyped", change.retyped)):
        if fields:
            _print_list(f"{len(fields)} fields {label}{origin}:", fields)
    _print_list(
        "rules that become invalid or false:",
        [
            f"{'live ' if effect.live else ''}{rule_label(effect.rule)}: " + "; ".join(effect.reasons)
            for effect in change.effects
        ],
    )
    _print_list("rules that read a retyped field:", list(map(rule_label, change.readers)))


def _print_list(title: str, lines: Sequence[str]) -> None:
    if lines:
        typer.echo(title)
    for line in lines[:_MAX_LINES]:
        typer.echo(f"  {line}")
    if len(lines) > _MAX_LINES:
        typer.echo(f"  and {len(lines) - _MAX_LINES:,} more")


@app.command()
def remove(
    root: Annotated[str, typer.Argument(help="The root that the schema describes.")],
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
) -> None:
    """Remove a schema. Rules are then checked against the common part of XDM."""

    async def work(services: Services, _: object) -> None:
        access = await open_container(services, org, sandbox, user=USER)
        await services.schemas.remove(access, root)

    with_services(database, work, libraries=False)
    typer.echo(f"removed the schema of `{root}`")


@app.command(name="list")
def list_schemas(
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
) -> None:
    """List the schemas of a sandbox."""

    async def work(services: Services, _: object) -> list[str]:
        access = await open_container(services, org, sandbox, user=USER)
        instances = services.schemas.list(access)
        return [
            f"{instance.name:20} {len(instance.document['fields'].keys() - {'*'})} fields" for instance in instances
        ]

    for line in with_services(database, work, libraries=False):
        typer.echo(line)
