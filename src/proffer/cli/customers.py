"""Shared by the commands on customers: options, identity parsing and the progress bar."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

Delimiter = Annotated[
    str | None,
    typer.Option(help="The delimiter of CSV files: `,`, `;`, `|` or `tab`.", show_default="detected"),
]


def parse_identity(text: str) -> tuple[str, str]:
    """Parse `Email:ada@example.org` into namespace and id. Raises `BadParameter`."""
    namespace, separator, key = text.partition(":")
    if not separator or not namespace or not key:
        raise typer.BadParameter("write NAMESPACE:ID, as in `Email:ada@example.org`")
    return namespace, key


@contextmanager
def progress_bar() -> Iterator["Progress"]:
    """Show a progress bar on stderr: percentage, remaining time and the note of the command."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    ) as bar:
        yield bar
