"""What commands print, and how they complain."""

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import typer

from proffer.errors import ProfferError
from proffer.model.ids import WORDS, EntityKind


def complain(error: ProfferError) -> None:
    """An error on stderr: what, then each mistake with where and how to mend it."""
    print(f"proffer: {error.detail}", file=sys.stderr)
    for finding in error.findings:
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
    """One object that differs: what became of it, and the operations that made it so."""
    typer.echo(f"{what}: {WORDS[kind]} `{name}` {entity_id}".rstrip())
    for operation in difference:
        value = json.dumps(operation.get("value"), ensure_ascii=False)
        said = f" {value}" if "value" in operation else ""
        typer.echo(f"  {operation['op']} {operation['path']}{said}")
