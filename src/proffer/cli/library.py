"""`proffer library`: load a library from files."""

from pathlib import Path
from typing import Annotated, Any

import typer

from proffer.app import DEV_CONTAINER, DEV_ORGANISATION, DEV_SANDBOX, Services
from proffer.auth.principal import Permission, Principal
from proffer.cli.database import Database, with_services
from proffer.errors import Finding, Malformed, NotFound
from proffer.model.ids import WORDS, EntityKind
from proffer.service.loading import Report, load

app = typer.Typer(help="A library as files.", no_args_is_help=True)


@app.callback()
def _library() -> None:
    pass


@app.command(name="load")
def load_files(
    files: Annotated[
        list[Path], typer.Argument(help="YAML or JSON files; see the reference for their form.")
    ],
    database: Database = None,
    org: Annotated[
        str, typer.Option(help="The organisation; created when absent.")
    ] = DEV_ORGANISATION,
    sandbox: Annotated[str, typer.Option(help="The sandbox; created when absent.")] = DEV_SANDBOX,
) -> None:
    """Load objects, matched by `@id`, else by kind and name; new ones are created. Loading twice changes nothing."""
    contents = [(path, read(path)) for path in files]

    async def work(services: Services, _: object) -> list[Report]:
        return [await load_into(services, org, sandbox, content) for _, content in contents]

    reports = with_services(database, work, libraries=False)
    for (path, _), report in zip(contents, reports, strict=True):
        typer.echo(f"{path}: {described(report)}")


async def load_into(services: Services, org: str, sandbox: str, content: Any) -> Report:
    """Load one file's content into a sandbox, created when absent."""
    by = Principal(
        organisation=org,
        sandbox=sandbox,
        permissions=frozenset({Permission.ADMIN}),
        user="library-load@AdobeID",
        client="proffer",
    )
    dev = (org, sandbox) == (DEV_ORGANISATION, DEV_SANDBOX)
    # Dev mode's container has a fixed id, so that the requests of public pages run as printed.
    container = await services.access.container(
        org, sandbox, fresh_id=DEV_CONTAINER if dev else None
    )
    await services.libraries.catch_up()
    return await load(services.catalog, services.libraries, by, container.id, content)


def read(path: Path) -> Any:
    """The content of a YAML or JSON file as plain values. Raises `NotFound` or `Malformed`, with line and column."""
    from ruamel.yaml import YAML  # slow to import
    from ruamel.yaml.error import YAMLError

    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise NotFound(f"cannot read `{path}`: {error.strerror}", code="file-not-found") from None
    except UnicodeDecodeError:
        raise Malformed(f"`{path}` is not UTF-8 text") from None
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        finding = Finding(
            code="yaml",
            message=str(getattr(error, "problem", None) or "this is not YAML or JSON"),
            line=mark.line + 1 if mark else None,
            column=mark.column + 1 if mark else None,
        )
        raise Malformed(f"`{path}` is not YAML or JSON", findings=[finding]) from None


def described(report: Report) -> str:
    """A report in one line: `8 placements, 64 personalized offers (71 created, 1 changed)`."""
    counts = [
        f"{report.count(kind)} {WORDS[kind]}{'s' if report.count(kind) != 1 else ''}"
        for kind in EntityKind
        if report.count(kind)
    ]
    created, changed = sum(report.created.values()), sum(report.changed.values())
    return f"{', '.join(counts) or 'nothing'} ({created} created, {changed} changed)"
