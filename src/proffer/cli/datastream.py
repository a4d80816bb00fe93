"""`proffer datastream`: create, list and remove datastreams; print the snippets for sites and apps."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from proffer.api.native.datastreams import datastream_document, snippet_document
from proffer.app import DEV_DATASTREAM, DEV_ORGANISATION, DEV_SANDBOX, Services
from proffer.cli.database import Database, Org, Sandbox, open_container, with_services
from proffer.cli.output import AsJson
from proffer.errors import NotFound
from proffer.model.datastream import EdgeAccess

app = typer.Typer(help="Manage datastreams, by which sites and apps reach offers.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The name of the datastream.")],
    id_: Annotated[
        str | None,
        typer.Option(
            "--id",
            help="The id, for a site that is already configured.",
            show_default="a new one",
        ),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            help="An allowed origin, such as `https://*.shop.example`; repeat for several.",
            show_default="all",
        ),
    ] = None,
    authenticated: Annotated[bool, typer.Option("--authenticated", help="Accept only requests with a token.")] = False,
    keep_events: Annotated[bool, typer.Option("--keep-events", help="Store experience events.")] = False,
    offers: Annotated[bool, typer.Option(help="Serve offers; without this, only accept events.")] = True,
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
    as_json: AsJson = False,
) -> None:
    """Create a datastream and print its id. Running servers use it immediately."""
    document: dict[str, Any] = {"name": name}
    if id_ is not None:
        document["id"] = id_
    if origin:
        document["allowedOrigins"] = origin
    if authenticated:
        document["access"] = str(EdgeAccess.AUTHENTICATED)
    if keep_events:
        document["keepEvents"] = True
    if not offers:
        document["offers"] = False

    async def work(services: Services, _: object) -> dict[str, Any]:
        access = await open_container(services, org, sandbox)
        datastream = await services.datastreams.create(access, document)
        return datastream_document(datastream)

    result = with_services(database, work, libraries=True)
    typer.echo(json.dumps(result, ensure_ascii=False) if as_json else result["id"])


@app.command(name="list")
def list_datastreams(
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
    as_json: AsJson = False,
) -> None:
    """List the datastreams of a sandbox."""

    async def work(services: Services, _: object) -> Sequence[dict[str, Any]]:
        access = await open_container(services, org, sandbox)
        return [datastream_document(datastream) for datastream in services.datastreams.all_stored(access)]

    documents = with_services(database, work, libraries=True)
    if as_json:
        typer.echo(json.dumps(documents, ensure_ascii=False))
        return
    for document in documents:
        origins = " ".join(document.get("allowedOrigins", [])) or "any origin"
        disabled_note = "" if document.get("enabled", True) else ", disabled"
        typer.echo(f"{document['id']}  {document['name']} ({origins}{disabled_note})")


@app.command()
def remove(
    datastream: Annotated[str, typer.Argument(help="The id of the datastream.")],
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
) -> None:
    """Remove a datastream. Requests that use it are then refused."""

    async def work(services: Services, _: object) -> None:
        access = await open_container(services, org, sandbox)
        await services.datastreams.delete(access, datastream)

    with_services(database, work, libraries=True)
    typer.echo(f"removed {datastream}")


@app.command()
def snippet(
    decision: Annotated[str, typer.Argument(help="The id of a decision.")],
    datastream: Annotated[str, typer.Option(help="The id of the datastream.")] = DEV_DATASTREAM,
    domain: Annotated[str, typer.Option(help="The host name of the edge for browsers and apps.")] = "edge.example.org",
    placement: Annotated[
        str | None, typer.Option(help="Only this placement.", show_default="all of the decision")
    ] = None,
    kind: Annotated[str, typer.Option(help="The kind of snippet: scope, web, android, ios or json.")] = "web",
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
) -> None:
    """Print the code that shows the offers of a decision in a page or an app."""
    if kind not in {"scope", "web", "android", "ios", "json"}:
        raise typer.BadParameter("use scope, web, android, ios or json", param_hint="--kind")

    async def work(services: Services, _: object) -> list[dict[str, Any]]:
        access = await open_container(services, org, sandbox)
        return [
            snippet_document(access.state.container, datastream, domain, scope)
            for scope in services.decide.scope_refs(access, decision)
        ]

    snippets = [
        document
        for document in with_services(database, work, libraries=True)
        if placement in {None, document["placement"]["id"]}
    ]
    if not snippets:
        raise NotFound(f"decision `{decision}` does not use this placement", code="instance-not-found")
    if kind == "json":
        typer.echo(json.dumps(snippets, ensure_ascii=False))
        return
    for document in snippets:
        typer.echo(document[kind])
