"""Output that commands share: errors and object changes."""

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from proffer.errors import ProfferError, Violation
from proffer.model.ids import KIND_LABELS, EntityKind

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_error(error: ProfferError) -> None:
    """Print an error to stderr, then each violation with location and help."""
    print(f"proffer: {error.detail}", file=sys.stderr)
    for finding in error.violations:
        location = f"{finding.path}: " if finding.path else ""
        if finding.line is not None:
            location = f"line {finding.line}, column {finding.column}: "
        if location or finding.message != error.detail:
            print(f"  {location}{finding.message}", file=sys.stderr)
        if finding.help:
            print(f"    {finding.help}", file=sys.stderr)


def print_warning(warning: Violation) -> None:
    """Print a warning to stderr, with its help."""
    print(f"warning: {warning.message}", file=sys.stderr)
    if warning.help:
        print(f"    {warning.help}", file=sys.stderr)


def print_object_change(
    action: str,
    kind: EntityKind,
    name: str,
    entity_id: str,
    difference: Iterable[Mapping[str, Any]],
) -> None:
    """Print an object that differs, and its JSON Patch operations."""
    typer.echo(f"{action}: {KIND_LABELS[kind]} `{name}` {entity_id}".rstrip())
    for operation in difference:
        value = json.dumps(operation.get("value"), ensure_ascii=False)
        value_text = f" {value}" if "value" in operation else ""
        typer.echo(f"  {operation['op']} {operation['path']}{value_text}")
