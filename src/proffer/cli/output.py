"""Output that commands share: errors and object changes."""

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import typer

from proffer.errors import ProfferError
from proffer.model.ids import KIND_LABELS, EntityKind


def complain(error: ProfferError) -> None:
    """Print an error to stderr, then each violation with its location and help."""
    print(f"proffer: {error.detail}", file=sys.stderr)
    for finding in error.violations:
        where = f"{finding.path}: " if finding.path else ""
        if finding.line is not None:
            where = f"line {finding.line}, column {finding.column}: "
        if where or finding.message != error.detail:
            print(f"  {where}{finding.message}", file=sys.stderr)
        if finding.help:
            print(f"    {finding.help}", file=sys.stderr)


def show_object(
    what: str, kind: EntityKind, name: str, entity_id: str, difference: Iterable[Mapping[str, Any]]
) -> None:
    """Print an object that differs, and its JSON Patch operations."""
    typer.echo(f"{what}: {KIND_LABELS[kind]} `{name}` {entity_id}".rstrip())
    for operation in difference:
        value = json.dumps(operation.get("value"), ensure_ascii=False)
        said = f" {value}" if "value" in operation else ""
        typer.echo(f"  {operation['op']} {operation['path']}{said}")
