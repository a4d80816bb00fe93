"""`proffer datasets`: export the library as the four documented datasets."""

from pathlib import Path
from typing import Annotated

import typer

from proffer.app import DEV_ORGANISATION, DEV_SANDBOX, Services
from proffer.cli.database import Database, find_container, with_services
from proffer.errors import Invalid, Violation
from proffer.service.exports.catalog_datasets import FORMATS, write_datasets
from proffer.service.exports.files import format_for, write_error

app = typer.Typer(
    help="Export the library as datasets.",
    no_args_is_help=True,
)


@app.callback()
def _datasets() -> None:
    pass


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="The folder for the files.")],
    form: Annotated[str, typer.Option(help="The file format: `parquet` or `jsonl`.")] = "parquet",
    database: Database = None,
    org: Annotated[str, typer.Option(help="The organisation.")] = DEV_ORGANISATION,
    sandbox: Annotated[str, typer.Option(help="The sandbox.")] = DEV_SANDBOX,
) -> None:
    """Write the four datasets of a sandbox, with deleted objects, and replace existing files."""
    if form not in FORMATS:
        choices = " or ".join(f"`{choice}`" for choice in FORMATS)
        raise Invalid.of([Violation(code="enum", message=f"`{form}` is not a file format", help=f"use {choices}")])
    format_for(out / f"offers.{form}")  # raises before the database is opened
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(out, error) from None

    async def work(services: Services, _: object) -> list[tuple[Path, int]]:
        await services.registry.catch_up()
        return await write_datasets(find_container(services, org, sandbox), out, form)

    for path, count in with_services(database, work, libraries=False):
        typer.echo(f"{path}: {count} rows")
