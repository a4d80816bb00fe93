"""`proffer events`: export and prune recorded events; list unattributed feedback."""

import json
from pathlib import Path
from typing import Annotated

import typer

from proffer.app import DEV_ORGANISATION, DEV_SANDBOX, Services, log_limits
from proffer.cli.database import Database, find_container, with_services
from proffer.config import Settings, settings
from proffer.errors import Invalid, Violation
from proffer.model.attribution import AttributedFeedback
from proffer.model.instance import format_timestamp
from proffer.service.event_log.export import DECISION_EVENTS, KINDS
from proffer.service.event_log.retention import SweepResult
from proffer.service.exports.files import format_for
from proffer.service.exports.run import ExportResult
from proffer.validation import parse_timestamp_us

app = typer.Typer(help="Decisions and feedback on record.", no_args_is_help=True)
Org = Annotated[str, typer.Option(help="The organisation.")]
Sandbox = Annotated[str, typer.Option(help="The sandbox.")]
_PAGE = 500


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="The file; its name ends in .parquet or .jsonl.")],
    kind: Annotated[str, typer.Option(help="`decisions` or `feedback`.")] = DECISION_EVENTS,
    state: Annotated[
        Path | None,
        typer.Option(help="A file that remembers what was exported: each run writes what is new."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only events from this moment on.", metavar="MOMENT")
    ] = None,
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
) -> None:
    """Write events into a file. Run it again after a crash: it goes on where it stopped."""
    if kind not in KINDS:
        named = " or ".join(f"`{one}`" for one in KINDS)
        raise _unusable("enum", f"there are no events `{kind}`", f"use {named}")
    since_us = None if since is None else _moment(since)
    format_for(out)  # raises before the database is opened

    async def work(services: Services, _: Settings) -> ExportResult:
        access = find_container(services, org, sandbox)
        return await services.event_export.run(access, kind, out, state=state, since_us=since_us)

    done = with_services(database, work, libraries=True)
    resumed = (
        f", {done.resumed_rows:,} of them by a run that was stopped" if done.resumed_rows else ""
    )
    if done.path is None:
        typer.echo("nothing new; no file was written")
    else:
        typer.echo(f"{done.path}: {done.rows:,} event{'s' * (done.rows != 1)}{resumed}")


@app.command()
def unattributed(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
) -> None:
    """List events of feedback that report on something that is not on record."""

    async def work(services: Services, _: Settings) -> int:
        access = find_container(services, org, sandbox)
        count, after = 0, 0
        following: int | None = 0
        while following is not None:
            page, following = await services.feedback.unattributed(access, after=after, limit=_PAGE)
            for _number, event in page:
                typer.echo(_as_json(event) if as_json else _told(event))
            count += len(page)
            after = following or 0
        return count

    count = with_services(database, work, libraries=True)
    if not as_json:
        said = f"{count:,} event{'s' * (count > 1)}"
        typer.echo(said if count else "every event is attributed")


@app.command()
def prune(
    days: Annotated[
        int | None, typer.Option(min=0, help="Forget what is older; the setting if left out.")
    ] = None,
    most_bytes: Annotated[
        int | None,
        typer.Option("--bytes", min=0, help="Leave so much of each kind; the setting if left out."),
    ] = None,
    database: Database = None,
) -> None:
    """Forget old decisions and feedback, in every sandbox, as the server does by itself."""
    limits = log_limits(settings({"event_log_days": days, "event_log_bytes": most_bytes}))

    async def work(services: Services, _: Settings) -> SweepResult:
        return await services.retention.sweep(limits)

    swept = with_services(database, work, libraries=False)
    typer.echo(f"forgotten: {swept.decisions:,} decisions, {swept.feedback:,} events of feedback")


def _told(event: AttributedFeedback) -> str:
    said = event.feedback
    missed = "; ".join(
        f"{one.reason.value} {one.proposition}" + (f" {one.item}" if one.item else "")
        for one in event.unattributed
    )
    return f"{format_timestamp(event.received_us)}  {said.kind.value:8}  {said.id}  {missed}"


def _as_json(event: AttributedFeedback) -> str:
    said = event.feedback
    return json.dumps(
        {
            "id": said.id,
            "kind": said.kind.value,
            "at": format_timestamp(said.at_us),
            "received": format_timestamp(event.received_us),
            "missed": [
                {"propositionId": one.proposition, "item": one.item, "why": one.reason.value}
                for one in event.unattributed
            ],
            "event": said.document,
        },
        ensure_ascii=False,
    )


def _moment(text: str) -> int:
    try:
        return parse_timestamp_us(text)
    except ValueError as error:
        raise _unusable(
            "format", f"`{text}` is no moment: {error}", "write it as 2026-01-01T00:00:00Z"
        ) from None


def _unusable(code: str, message: str, mend: str) -> Invalid:
    return Invalid.of([Violation(code=code, message=message, help=mend)])
