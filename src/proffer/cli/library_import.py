"""`proffer library import`: import objects from files, folders or another installation's API."""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from proffer.app import DEV_ORGANISATION, DEV_SANDBOX, Services, copy_in_memory, open_store
from proffer.cli.database import Database, Org, Sandbox, open_container, with_services
from proffer.cli.library import USER, format_report, read_library
from proffer.cli.output import print_error, print_object_change
from proffer.cli.remote import ApiGeneration, RemoteApi, with_stored_spelling
from proffer.config import Settings
from proffer.errors import Invalid, NotFound, ProfferError, Violation
from proffer.model.ids import Snowflakes
from proffer.service.library.diff import document_changes
from proffer.service.library.load import Entry, LoadReport, library_entries, load_entries
from proffer.service.library.new_ids import remap_ids
from proffer.store.ports import Store


class IdPolicy(StrEnum):
    """Whether imported objects keep their `@id`."""

    KEEP = "keep"
    NEW = "new"


def import_library(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(help="YAML or JSON files, or folders of them; the reference describes the format."),
    ] = None,
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would change; write nothing.")] = False,
    ids: Annotated[IdPolicy, typer.Option(help="Keep each `@id`, or assign new ones.")] = IdPolicy.KEEP,
    from_url: Annotated[str | None, typer.Option(help="Read from the API at this URL instead of files.")] = None,
    token: Annotated[
        str | None,
        typer.Option(help="The bearer token for --from-url, or `@FILE` to read it from a file."),
    ] = None,
    api: Annotated[
        ApiGeneration | None,
        typer.Option(help="The API of --from-url, if the URL does not name it."),
    ] = None,
    container: Annotated[
        str | None,
        typer.Option(help="The source container; only for xcore with several containers."),
    ] = None,
    from_org: Annotated[str | None, typer.Option(help="The source organisation.")] = None,
    from_sandbox: Annotated[str | None, typer.Option(help="The source sandbox.")] = None,
    api_key: Annotated[str, typer.Option(help="The `x-api-key` header for --from-url.")] = "proffer",
) -> None:
    """Create or update objects, matched by `@id`, else by kind and name. Importing twice changes nothing."""
    if bool(sources) == (from_url is not None):
        message = "name files or folders, or use --from-url, not both"
        raise Invalid.of([Violation(code="setting", message=message)])
    if from_url is None and any((token, api, container, from_org, from_sandbox)):
        message = "--token, --api, --container, --from-org and --from-sandbox need --from-url"
        raise Invalid.of([Violation(code="setting", message=message)])
    remote: RemoteApi | None = None
    if from_url is not None:
        remote = RemoteApi.from_url(
            from_url,
            api=api,
            token=_read_token(token),
            container=container,
            organisation=from_org,
            sandbox=from_sandbox,
            api_key=api_key,
        )
        content = remote.read_library(partial(_warn, remote.base))
        labelled_entries = [(remote.base, _read_labelled(remote.base, lambda: library_entries(content)))]
    else:
        labelled_entries = [
            (str(path), _read_labelled(str(path), partial(read_library, path))) for path in sources or ()
        ]

    async def work(services: Services, _: object) -> bool:
        new_ids: dict[str, str] = {}
        snowflakes = Snowflakes()
        access = await open_container(services, org, sandbox, user=USER)
        catalog = access.state.catalog

        async def import_entries(entries: list[Entry]) -> LoadReport:
            if ids is IdPolicy.NEW:
                entries = remap_ids(entries, catalog, lambda kind: snowflakes.mint(kind, services.clock()), new_ids)
            if remote is not None and remote.api is ApiGeneration.DPS:
                entries = with_stored_spelling(entries, catalog)
            return await load_entries(services.catalog, access, entries, continue_on_error=dry_run)

        all_accepted = True
        for label, entries in labelled_entries:
            try:
                report = await import_entries(entries)
            except ProfferError as error:
                raise _label_error(label, error) from None
            _print_report(label, report, dry_run=dry_run, ids=ids)
            all_accepted = all_accepted and not report.errors
        return all_accepted

    async def open_target(settings: Settings) -> Store:
        return await (copy_in_memory(settings, org, sandbox) if dry_run else open_store(settings))

    if not with_services(database, work, libraries=False, store_opener=open_target):
        raise typer.Exit(1)


def _print_report(label: str, report: LoadReport, *, dry_run: bool, ids: IdPolicy) -> None:
    for problem in report.omitted:
        _warn(label, f"{problem.path}: {problem.message}")
    for problem in report.broken:
        place = f"{problem.path}, line {problem.line}, column {problem.column}"
        effect = "is not delivered" if problem.code in {"template", "json-content"} else "counts as false"
        _warn(label, f"{place}: {problem.message}; it is stored and {effect}")
    for warning in report.warnings:
        remedy = f"; {warning.help}" if warning.help else ""
        _warn(label, f"warning: {warning.path}: {warning.message}{remedy}")
    if not dry_run:
        typer.echo(f"{label}: {format_report(report)}")
        return
    for refusal in report.errors:
        print_error(_label_error(label, refusal))
    for step in report.steps:
        after, before = step.after, step.before
        if before is None:
            entity_id = after.id if ids is IdPolicy.KEEP else ""
            print_object_change("would be created", after.kind, after.name, entity_id, ())
        else:
            difference = document_changes(after.kind, before.document, after.document)
            print_object_change("would be changed", after.kind, after.name, after.id, difference)
    refused_note = f"; {len(report.errors)} would be refused" if report.errors else ""
    typer.echo(f"{label}: {format_report(report)}{refused_note}; dry run, nothing was written")


def _warn(label: str, text: str) -> None:
    typer.echo(f"{label}: {text}", err=True)


def _read_token(option: str | None) -> str | None:
    if option is None or not option.startswith("@"):
        return option
    path = Path(option[1:])
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise NotFound(f"cannot read `{path}`: {reason}", code="file-not-found") from None


def _read_labelled(label: str, read_entries: Callable[[], list[Entry]]) -> list[Entry]:
    try:
        return read_entries()
    except ProfferError as error:
        raise _label_error(label, error) from None


def _label_error(label: str, error: ProfferError) -> ProfferError:
    detail = error.detail if f"`{label}`" in error.detail else f"`{label}`: {error.detail}"
    return type(error)(detail, code=error.code, violations=error.violations)
