"""`proffer audiences`: define, list, evaluate and delete audiences; estimate sizes; upload lists."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from proffer.app import DEV_ORGANISATION, DEV_SANDBOX, Services
from proffer.cli.customers import Delimiter, progress_bar
from proffer.cli.database import Database, Org, Sandbox, open_container, with_services
from proffer.cli.library import read_rule
from proffer.cli.output import AsJson, print_warning
from proffer.errors import NotFound
from proffer.model.audience import AudienceEvaluation
from proffer.model.identity import IdentityKey
from proffer.model.instance import Instance, format_timestamp
from proffer.service.customers.audience_upload import ListFormat, parse_upload
from proffer.service.customers.audiences import Estimate, EvaluationResult
from proffer.service.customers.delimiters import parse_delimiter
from proffer.service.library.objects import WriteReceipt
from proffer.service.library.registry import AuthorizedContainer

app = typer.Typer(help="Manage audiences (segments).", no_args_is_help=True)


Audience = Annotated[str, typer.Argument(help="The id or the name of an audience.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The name of the new audience.")],
    rule: Annotated[
        str | None,
        typer.Option(help="A rule in PQL, or the path of a file with one rule.", show_default="a list to upload"),
    ] = None,
    description: Annotated[str | None, typer.Option(help="What the audience is for.")] = None,
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
) -> None:
    """Define an audience; a running server evaluates it within seconds."""
    expression = {"type": "LIST"} if rule is None else {"type": "PQL", "format": "pql/text", "value": read_rule(rule)}
    document = {"name": name, "expression": expression}
    if description is not None:
        document["description"] = description

    async def work(services: Services, _: object) -> WriteReceipt:
        access = await open_container(services, org, sandbox)
        return await services.audiences.create(access, document)

    receipt = with_services(database, work, libraries=True)
    for warning in receipt.warnings:
        print_warning(warning)
    typer.echo(receipt.instance.instance_id)


@app.command(name="list")
def list_audiences(
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
    as_json: AsJson = False,
) -> None:
    """List the audiences of a sandbox, and when they are evaluated."""

    async def work(services: Services, _: object) -> dict[str, Any]:
        access = await open_container(services, org, sandbox)
        audiences = [_audience_document(audience) for audience in services.audiences.all_audiences(access)]
        return {"audiences": audiences, **await _schedule_document(services, access)}

    result = with_services(database, work, libraries=True)
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    for audience in result["audiences"]:
        typer.echo(f"{audience['id']}  {audience['name']} ({audience['rule'] or 'list'})")
    _print_schedule(result)


@app.command()
def show(
    audience: Audience,
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
    as_json: AsJson = False,
) -> None:
    """Show an audience, its number of members, and when it is evaluated."""

    async def work(services: Services, _: object) -> dict[str, Any]:
        access = await open_container(services, org, sandbox)
        instance = services.audiences.find(access, audience)
        members = await services.audiences.count_members(access, instance.instance_id)
        return {
            **_audience_document(instance),
            "members": members,
            **await _schedule_document(services, access),
        }

    result = with_services(database, work, libraries=True)
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    typer.echo(f"{result['name']}\n  id: {result['id']}")
    if result["description"]:
        typer.echo(f"  description: {result['description']}")
    typer.echo(f"  rule: {result['rule'] or 'none: members are uploaded'}\n  members: {result['members']:,}")
    if result["rule"]:
        _print_schedule(result)


@app.command()
def delete(
    audience: Audience,
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
) -> None:
    """Delete an audience that no offer, decision, rule or content names."""

    async def work(services: Services, _: object) -> Instance:
        access = await open_container(services, org, sandbox)
        return await services.audiences.delete(access, services.audiences.find(access, audience).instance_id)

    instance = with_services(database, work, libraries=True)
    typer.echo(f"deleted audience `{instance.document['name']}`")


def _audience_document(audience: Instance) -> dict[str, Any]:
    expression = audience.document["expression"]
    return {
        "id": audience.instance_id,
        "name": audience.document["name"],
        "description": audience.document.get("description"),
        "rule": expression.get("value"),
    }


async def _schedule_document(services: Services, access: AuthorizedContainer) -> dict[str, Any]:
    last = await services.audience_schedule.last(access.id)
    next_us = await services.audience_schedule.next_us(access.state)
    return {
        "evaluated": None if last is None else format_timestamp(last.finished_us),
        "next": None if next_us is None else format_timestamp(max(next_us, services.clock())),
    }


def _print_schedule(schedule: dict[str, Any]) -> None:
    typer.echo(f"evaluated: {schedule['evaluated'] or 'never'}; next: {schedule['next'] or 'only after changes'}")


@app.command()
def evaluate(database: Database = None, org: Org = DEV_ORGANISATION, sandbox: Sandbox = DEV_SANDBOX) -> None:
    """Evaluate every audience for every customer, including batch-only audiences."""

    async def work(services: Services, _: object) -> AudienceEvaluation:
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

            return await services.audience_schedule.evaluate(access.state, on_progress)

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
