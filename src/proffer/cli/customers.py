"""What the commands about customers share: whose sandbox, as whom, and one line of progress."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from proffer.app import DEV_CONTAINER, DEV_ORGANISATION, DEV_SANDBOX, Services
from proffer.auth.principal import Permission, Principal

if TYPE_CHECKING:
    from rich.progress import Progress

Org = Annotated[str, typer.Option(help="The organisation; created when absent.")]
Sandbox = Annotated[str, typer.Option(help="The sandbox; created when absent.")]


def parse_identity(text: str) -> tuple[str, str]:
    """Namespace and id of `Email:ada@example.org`."""
    namespace, found, key = text.partition(":")
    if not found or not namespace or not key:
        raise typer.BadParameter("write NAMESPACE:ID, as in `Email:ada@example.org`")
    return namespace, key


def administrator(org: str, sandbox: str) -> Principal:
    """Whoever sits at the machine that the database is on."""
    return Principal(
        organisation=org,
        sandbox=sandbox,
        permissions=frozenset({Permission.ADMIN}),
        user="command-line@AdobeID",
        client="proffer",
    )


async def container_of(services: Services, org: str, sandbox: str) -> str:
    """The container of a sandbox, created where there is none."""
    dev = (org, sandbox) == (DEV_ORGANISATION, DEV_SANDBOX)
    container = await services.access.container(
        org, sandbox, fresh_id=DEV_CONTAINER if dev else None
    )
    await services.libraries.catch_up()
    return container.id


@contextmanager
def progress_bar() -> Iterator["Progress"]:
    """A bar on stderr with the share done, the time left and a word of the command's own."""
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
