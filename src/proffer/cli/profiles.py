"""`proffer profiles`: import customers from files, and erase one."""

import time
from pathlib import Path
from typing import Annotated

import typer

from proffer.app import DEV_ORGANISATION, DEV_SANDBOX, Services
from proffer.cli.customers import Delimiter, parse_identity, progress_bar
from proffer.cli.database import Database, Org, Sandbox, open_container, with_services
from proffer.errors import NotFound
from proffer.model.customer import ErasureResult
from proffer.model.identity import IdentityField
from proffer.service.customers.delimiters import parse_delimiter
from proffer.service.imports.files import RowFile, open_file
from proffer.service.imports.run import ImportProgress, ImportResult
from proffer.service.library.registry import AuthorizedContainer

app = typer.Typer(help="Import and erase customers.", no_args_is_help=True)


@app.command(name="import")
def import_files(
    files: Annotated[list[Path], typer.Argument(help="JSON Lines, CSV or Parquet files.")],
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
    dataset: Annotated[str, typer.Option(help="The dataset that the records belong to.")] = "import",
    schema: Annotated[
        str,
        typer.Option(help="The schema of the rows; its identity descriptors apply."),
    ] = "",
    identity: Annotated[
        list[str] | None,
        typer.Option(
            help="A field with an identity; repeat for several, the first is primary.",
            metavar="PATH=NAMESPACE",
        ),
    ] = None,
    delimiter: Delimiter = None,
) -> None:
    """Import profile records. After a crash, the same command continues where it stopped."""
    separator = parse_delimiter(delimiter)
    row_files = [open_file(path, separator) for path in files]
    fields = _parse_identity_fields(identity or [])

    async def work(services: Services, _: object) -> None:
        access = await open_container(services, org, sandbox)
        for file in row_files:
            await _import_file(services, file, access, dataset, schema, fields)

    with_services(database, work, libraries=True)


def _parse_identity_fields(options: list[str]) -> tuple[IdentityField, ...]:
    """Parse options such as `personalEmail.address=Email`. Raises `BadParameter`."""
    fields: list[IdentityField] = []
    for text in options:
        path, _, namespace = text.rpartition("=")
        if not namespace or not all(path.split(".")):
            raise typer.BadParameter("write PATH=NAMESPACE, as in `personalEmail.address=Email`")
        fields.append(IdentityField("", tuple(path.split(".")), namespace, not fields))
    return tuple(fields)


async def _import_file(
    services: Services,
    file: RowFile,
    access: AuthorizedContainer,
    dataset: str,
    schema: str,
    fields: tuple[IdentityField, ...],
) -> None:
    rejects = file.path.with_name(file.path.name + ".rejects.jsonl")
    started_at = time.monotonic()
    before: int | None = None  # the rows that an earlier run had imported
    with progress_bar() as bar:
        progress_task = bar.add_task(file.path.name, total=file.size, note="")

        def on_progress(progress: ImportProgress) -> None:
            nonlocal before
            done = progress.row - 1
            before = done if before is None else before
            rate = (done - before) / max(time.monotonic() - started_at, 1e-9)
            rejected = f", {progress.rejected:,} rejected" if progress.rejected else ""
            note = f"{done:,} rows, {rate:,.0f}/s{rejected}"
            bar.update(progress_task, completed=progress.bytes_read, note=note)

        imported = await services.imports.run(
            access,
            file,
            rejects,
            dataset=dataset,
            schema=schema,
            fields=fields,
            on_progress=on_progress,
        )
    typer.echo(_import_summary(file, imported, rejects))


def _import_summary(file: RowFile, imported: ImportResult, rejects: Path) -> str:
    resumed_note = f", resumed at row {imported.resumed_at:,}" if imported.resumed_at else ""
    rejected_note = f", {imported.rejected:,} rejected (reasons in `{rejects}`)" if imported.rejected else ""
    return f"{file.path}: {imported.accepted:,} imported{rejected_note}{resumed_note}"


@app.command()
def erase(
    identity: Annotated[str, typer.Option(help="Any identity of the customer, as NAMESPACE:ID.", metavar="NS:ID")],
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
) -> None:
    """Erase all stored data of a customer, and print the number of deleted items."""
    namespace, entity_id = parse_identity(identity)

    async def work(services: Services, _: object) -> ErasureResult | None:
        access = await open_container(services, org, sandbox)
        key = services.profiles.key(access, namespace, entity_id)
        return await services.profiles.erase(access, key)

    erased = with_services(database, work, libraries=True)
    if erased is None:
        raise NotFound(f"no customer has the identity `{identity}`", code="profile-not-found")
    identities_text = ", ".join(
        f"{erased_identity.namespace}:{erased_identity.id}" for erased_identity in erased.identities
    )
    typer.echo(
        f"removed: {_count_text(len(erased.identities), 'identity', 'identities')} ({identities_text}), "
        f"{_count_text(erased.attributes, 'attribute')}, {_count_text(erased.events, 'event')}, "
        f"{_count_text(erased.audiences, 'audience membership')}, "
        f"{_count_text(erased.counters, 'cap counter')}; "
        f"anonymised: {_count_text(erased.decisions, 'decision')} "
        f"and {_count_text(erased.feedback, 'feedback event')}"
    )
    typer.echo("run `proffer vacuum` to remove the data from the file, too")


def _count_text(count: int, singular: str, plural: str | None = None) -> str:
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"
