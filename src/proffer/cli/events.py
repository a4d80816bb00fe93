"""`proffer events`: export and prune recorded events; list unattributed feedback."""

import json
from pathlib import Path
from typing import Annotated

import typer

from proffer.app import DEV_ORGANISATION, DEV_SANDBOX, Services, log_limits
from proffer.cli.database import Database, find_container, with_services
from proffer.config import Settings, load_settings
from proffer.errors import Invalid, Violation
from proffer.model.attribution import AttributedFeedback
from proffer.model.instance import format_timestamp
from proffer.service.event_log.export import DECISION_EVENTS, KINDS
from proffer.service.event_log.retention import SweepResult
from proffer.service.exports.files import format_for
from proffer.service.exports.run import ExportResult
from proffer.validation import parse_timestamp_us

app = typer.Typer(help="Export, list and delete stored decisions and feedback.", no_args_is_help=True)
Org = Annotated[str, typer.Option(help="The organisation.")]
Sandbox = Annotated[str, typer.Option(help="The sandbox.")]
_PAGE = 500


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="The output file, .parquet or .jsonl.")],
    kind: Annotated[str, typer.Option(help="The kind of events: `decisions` or `feedback`.")] = DECISION_EVENTS,
    state: Annotated[
        Path | None,
        typer.Option(help="State file; each run exports only the events since the last run."),
    ] = None,
    since: Annotated[str | None, typer.Option(help="Only events at or after this time.", metavar="MOMENT")] = None,
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
) -> None:
    """Write events to a file. After a crash, the same command continues where it stopped."""
    if kind not in KINDS:
        choices = " or ".join(f"`{choice}`" for choice in KINDS)
        raise _input_error("enum", f"`{kind}` is not a kind of events", f"use {choices}")
    since_us = None if since is None else _parse_time(since)
    format_for(out)  # raises before the database is opened

    async def work(services: Services, _: Settings) -> ExportResult:
        access = find_container(services, org, sandbox)
        return await services.event_export.run(access, kind, out, state=state, since_us=since_us)

    result = with_services(database, work, libraries=True)
    resumed_note = f", {result.resumed_rows:,} of them by an interrupted run" if result.resumed_rows else ""
    if result.path is None:
        typer.echo("no new events; no file was written")
    else:
        typer.echo(f"{result.path}: {result.rows:,} event{'s' * (result.rows != 1)}{resumed_note}")


@app.command()
def unattributed(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    database: Database = None,
    org: Org = DEV_ORGANISATION,
    sandbox: Sandbox = DEV_SANDBOX,
) -> None:
    """List feedback events that could not be attributed."""

    async def work(services: Services, _: Settings) -> int:
        access = find_container(services, org, sandbox)
        count, after = 0, 0
        next_after: int | None = 0
        while next_after is not None:
            page, next_after = await services.feedback.unattributed(access, after=after, limit=_PAGE)
            for _number, event in page:
                typer.echo(_json_line(event) if as_json else _text_line(event))
            count += len(page)
            after = next_after or 0
        return count

    count = with_services(database, work, libraries=True)
    if not as_json:
        summary = f"{count:,} event{'s' * (count > 1)}"
        typer.echo(summary if count else "all events are attributed")


@app.command()
def prune(
    days: Annotated[int | None, typer.Option(min=0, help="Delete older events; default: the setting.")] = None,
    most_bytes: Annotated[
        int | None,
        typer.Option("--bytes", min=0, help="Maximum bytes of each kind; default: the setting."),
    ] = None,
    database: Database = None,
) -> None:
    """Delete old decisions and feedback in every sandbox, as servers do periodically."""
    limits = log_limits(load_settings({"event_log_days": days, "event_log_bytes": most_bytes}))

    async def work(services: Services, _: Settings) -> SweepResult:
        return await services.retention.sweep(limits)

    result = with_services(database, work, libraries=False)
    typer.echo(f"deleted: {result.decisions:,} decisions, {result.feedback:,} feedback events")


def _text_line(event: AttributedFeedback) -> str:
    feedback = event.feedback
    reports_text = "; ".join(
        f"{report.reason.value} {report.proposition}" + (f" {report.item}" if report.item else "")
        for report in event.unattributed
    )
    return f"{format_timestamp(event.received_us)}  {feedback.kind.value:8}  {feedback.id}  {reports_text}"


def _json_line(event: AttributedFeedback) -> str:
    feedback = event.feedback
    return json.dumps(
        {
            "id": feedback.id,
            "kind": feedback.kind.value,
            "at": format_timestamp(feedback.at_us),
            "received": format_timestamp(event.received_us),
            "missed": [
                {
                    "propositionId": report.proposition,
                    "item": report.item,
                    "why": report.reason.value,
                }
                for report in event.unattributed
            ],
            "event": feedback.document,
        },
        ensure_ascii=False,
    )


def _parse_time(text: str) -> int:
    try:
        return parse_timestamp_us(text)
    except ValueError as error:
        raise _input_error("format", f"`{text}` is not a time: {error}", "write it as 2026-01-01T00:00:00Z") from None


def _input_error(code: str, message: str, hint: str) -> Invalid:
    return Invalid.of([Violation(code=code, message=message, help=hint)])
