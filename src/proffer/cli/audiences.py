"""`proffer audiences`: evaluate audiences, estimate their size, upload list audiences."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from proffer.app import DEV_ORGANISATION, DEV_SANDBOX, Services
from proffer.cli.customers import Delimiter, progress_bar
from proffer.cli.database import Database, Org, Sandbox, open_container, with_services
from proffer.cli.library import read_rule
from proffer.cli.output import print_warning
from proffer.errors import NotFound
from proffer.model.identity import IdentityKey
from proffer.service.customers.audience_upload import ListFormat, parse_upload
from proffer.service.customers.audiences import Estimate, EvaluationResult
from proffer.service.customers.delimiters import parse_delimiter

app = typer.Typer(help="Manage audiences (segments).", no_args_is_help=True)


@app.command()
def evaluate(database: Database = None, org: Org = DEV_ORGANISATION, sandbox: Sandbox = DEV_SANDBOX) -> None:
    """Evaluate every audience for every customer, including batch-only audiences."""

    async def work(services: Services, _: object) -> EvaluationResult:
        access = await open_container(services, org, sandbox)
        total, _low, _high = await services.store.customer_count(access.id)
        with progress_bar() as bar:
            progress_task = bar.add_task("evaluating", total=total, note="")
            started_at, done = time.monotonic(), 0

            def on_progress(increment: int) -> None:
                nonlocal done
                done = min(done + increment, total)
                rate = done / max(time.monotonic() - started_at, 1e-9)
                bar.update(progress_task, completed=done, note=f"{done:,} profiles, {rate:,.0f}/s")

            return await services.audiences.evaluate(access, on_progress)

    result = with_services(database, work, libraries=True)
    typer.echo(f"{result.customers:,} profiles evaluated, {result.changed:,} changed their memberships")


@app.command()
def estimate(
    rule: Annotated[str, typer.Argument(help="A rule in PQL, or the path of a file with one rule.")],
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
) -> None:
    """Count the profiles that match a rule."""
    text = read_rule(rule)

    async def work(services: Services, _: object) -> Estimate:
        access = await open_container(services, org, sandbox)
        return await services.audiences.estimate(access, text)

    result = with_services(database, work, libraries=True)
    for warning in result.warnings:
        print_warning(warning)
    low, high = result.interval
    confidence_note = "" if not result.error else f", with 95 % confidence between {low:,} and {high:,}"
    typer.echo(f"{result.size:,} of {result.total:,} profiles{confidence_note}")


@app.command()
def upload(
    audience: Annotated[str, typer.Argument(help="The id of a list audience, or the name of a new one.")],
    file: Annotated[Path, typer.Argument(help="CSV with a header.")],
    namespace: Annotated[str, typer.Option(help="The namespace of the identities.")],
    identity: Annotated[
        str | None,
        typer.Option(
            help="The column with the identities.",
            show_default="the one named like the namespace, else the first",
        ),
    ] = None,
    delimiter: Delimiter = None,
    replace_all: Annotated[
        bool,
        typer.Option(
            "--replace-all", help="Accept a file with fewer than half as many customers as the audience has members."
        ),
    ] = False,
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
) -> None:
    """Replace the members of a list audience with the customers in a CSV file."""
    separator = parse_delimiter(delimiter)

    async def work(services: Services, _: object) -> tuple[str, EvaluationResult]:
        access = await open_container(services, org, sandbox)
        code = services.profiles.key(access, namespace, "x").namespace
        format_ = ListFormat(namespace=code, column=identity, delimiter=separator)
        # Read the whole file before any membership changes.
        listed = sum(1 for _ in _read_rows(file, format_))
        key = audience
        audience_ids = {instance.instance_id for instance in services.audiences.all_audiences(access)}
        if audience.lower() not in audience_ids:
            document = {"name": audience, "expression": {"type": "LIST"}}
            key = (await services.audiences.create(access, document)).instance.instance_id
        rows = _read_rows(file, format_)
        return key, await services.audiences.upload(access, key, rows, listed=listed, replace_all=replace_all)

    key, result = with_services(database, work, libraries=True)
    typer.echo(f"audience {key}: {result.customers:,} members, {result.changed:,} removed")


def _read_rows(file: Path, format_: ListFormat) -> Iterator[tuple[IdentityKey, dict[str, str]]]:
    try:
        text = file.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise NotFound(f"cannot read `{file}`: {error.strerror}", code="file-not-found") from None
    with text:
        yield from parse_upload(text, str(file), format_)
