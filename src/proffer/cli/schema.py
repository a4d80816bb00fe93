"""`proffer schema`: load, list and remove the schemas that rules are checked against."""

from pathlib import Path
from typing import Annotated

import typer

from proffer.app import DEV_ORGANISATION, DEV_SANDBOX, Services
from proffer.cli.database import Database, Org, Sandbox, open_container, with_services
from proffer.cli.library import USER, read_document

app = typer.Typer(help="Manage the schemas that rules are checked against.", no_args_is_help=True)


@app.command()
def load(
    file: Annotated[Path, typer.Argument(help="A JSON Schema, or fields with their types; YAML or JSON.")],
    root: Annotated[str, typer.Option(help="The root that it describes: profile, xEvent or offer.")] = "profile",
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
) -> None:
    """Set the schema of a root. Rules that read other fields are then refused."""
    content = read_document(file)

    async def work(services: Services, _: object) -> int:
        access = await open_container(services, org, sandbox, user=USER)
        instance = await services.schemas.load(access, root, content)
        return len(instance.document["fields"])

    count = with_services(database, work, libraries=False)
    typer.echo(f"{file}: {count} fields for `{root}`")


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
        return [f"{instance.name:20} {len(instance.document['fields'])} fields" for instance in instances]

    for line in with_services(database, work, libraries=False):
        typer.echo(line)
