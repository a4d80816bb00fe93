"""`proffer decide`: a dry-run decision with its trace, or the replay of a recorded one."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from proffer.app import DEV_ORGANISATION, DEV_SANDBOX, Services
from proffer.cli.customers import parse_identity
from proffer.cli.database import Database, find_container, with_services
from proffer.cli.library import read_object
from proffer.errors import Invalid, NotFound, Violation
from proffer.model.catalog import Catalog
from proffer.model.ids import KIND_LABELS, EntityKind, canonical
from proffer.model.instance import format_timestamp
from proffer.model.outcome import Proposition, UnknownScope
from proffer.model.profile import Profile, ProfileIdentity, without_prefixes
from proffer.model.request import DecisionRequest, ScopeRequest
from proffer.model.trace import ScopeTrace
from proffer.service.decisions.decide import DecisionResult
from proffer.service.decisions.replay import Replay, ScopeDifference
from proffer.service.decisions.unknown_scopes import not_found_message, scope_name

COMMAND_LINE = "command-line"
_MAX_OFFERS = 30


def decide(
    decision: Annotated[
        list[str] | None, typer.Option(help="Id or name of a decision; repeat for several scopes.")
    ] = None,
    placement: Annotated[
        list[str] | None,
        typer.Option(help="Id or name of a placement: one for each decision, or one for all."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=_MAX_OFFERS, help="Offers per scope.")] = 1,
    identity: Annotated[
        list[str] | None,
        typer.Option(help="An identity of a stored customer; repeat for several.", metavar="NS:ID"),
    ] = None,
    profile: Annotated[Path | None, typer.Option(help="File with customer attributes, JSON or YAML.")] = None,
    context: Annotated[Path | None, typer.Option(help="File with context data, `{TYPE: {…}}`, JSON or YAML.")] = None,
    replay: Annotated[
        str | None,
        typer.Option(help="Replay the stored decision of this proposition.", metavar="ID"),
    ] = None,
    database: Database = None,
    org: Annotated[str, typer.Option(help="The organisation.")] = DEV_ORGANISATION,
    sandbox: Annotated[str, typer.Option(help="The sandbox.")] = DEV_SANDBOX,
) -> None:
    """Make a dry-run decision and explain it, or replay a stored decision.

    The exit code is 1 if a scope cannot be answered, or if a replay has a different result.
    """
    if replay is not None:
        if decision or placement or identity or profile or context:
            raise _argument_error("`--replay` reads all inputs from the decision record", "remove the other options")

        async def replay_decision(services: Services, _: object) -> Replay:
            access = find_container(services, org, sandbox)
            try:
                return await services.replay.replay(access, replay)
            except NotFound:
                await services.store.index_edge_ids()  # until then only the newest are indexed
                return await services.replay.replay(access, replay)

        _print_replay(with_services(database, replay_decision, libraries=True))
        return
    if not decision or not placement or len(placement) not in {1, len(decision)}:
        raise _argument_error(
            "a scope needs a decision and a placement",
            "use `--decision` and `--placement`, or `--replay` with the id of a proposition",
        )
    pairs = list(zip(decision, placement * (len(decision) // len(placement)), strict=True))
    request_profile = Profile(
        identities=tuple(_to_identity(text, first=place == 0) for place, text in enumerate(identity or ())),
        attributes=without_prefixes(read_object(profile, "decide-input")),
        is_known=profile is not None,
    )
    contexts = {name: without_prefixes(data) for name, data in read_object(context, "decide-input").items()}
    if not all(isinstance(data, Mapping) for data in contexts.values()):
        raise _argument_error("context data must be an object of objects", "write `{TYPE: {name: value}}`")

    async def decide_scopes(services: Services, _: object) -> DecisionResult:
        access = find_container(services, org, sandbox)
        catalog = access.state.catalog
        request = DecisionRequest(
            scopes=tuple(
                ScopeRequest(
                    _find_id(catalog, EntityKind.DECISION, decision_ref),
                    _find_id(catalog, EntityKind.PLACEMENT, placement_ref),
                    count,
                )
                for decision_ref, placement_ref in pairs
            ),
            context=contexts,
            event={name: value for data in contexts.values() for name, value in data.items()} or None,
        )
        customer = await services.profiles.resolve(access, request_profile)
        return await services.decide.decide(
            access,
            request,
            customer,
            surface=COMMAND_LINE,
            explain=True,
            partial=True,
            dry_run=True,
        )

    result = with_services(database, decide_scopes, libraries=True)
    _print_result(result)
    if result.outcome.unknown_scopes:
        raise typer.Exit(1)


def _print_result(result: DecisionResult) -> None:
    traces: Sequence[ScopeTrace] = result.outcome.trace or ()
    for scope, trace in zip(result.outcome.scopes, traces, strict=True):
        if isinstance(scope, UnknownScope):
            problem = not_found_message([scope_name(scope)])
            typer.echo(f"no answer: {problem} ({scope.reason})")
        else:
            typer.echo(f"{scope.decision.name} in {scope.placement.name}: {_outcome_text(scope)}")
            for line in _trace_lines(trace):
                typer.echo(f"  {line}")
    typer.echo("nothing was counted")


def _outcome_text(scope: Proposition) -> str:
    if scope.fallback is not None:
        return f"fallback `{scope.fallback.offer.name}`"
    return ", ".join(f"`{option.offer.name}`" for option in scope.options)


def _trace_lines(trace: ScopeTrace) -> Iterator[str]:
    """Yield a line per candidate: rank or stage of exclusion, name and reason."""
    rows = [
        (
            f"rank {candidate.rank}" if candidate.rank is not None else candidate.stage.value,
            candidate.name,
            candidate.reason,
        )
        for candidate in trace.candidates
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    for stage, name, reason in rows:
        yield f"{stage:{widths[0]}}  {name:{widths[1]}}  {reason}".rstrip()


def _print_replay(replay: Replay) -> None:
    event = replay.event
    if replay.meaning_note is not None:
        typer.echo(replay.meaning_note)
        for change in replay.meaning_changes:
            typer.echo(f"- {change}")
    typer.echo(f"decision {event.id} of {format_timestamp(event.decided_us)}, library at revision {event.revision}")
    names = replay.names
    for index, answer in enumerate(event.answers):
        scope_request = event.request.scopes[index]
        decision_name = _display_name(names, scope_request.decision)
        placement_name = _display_name(names, scope_request.placement)
        outcome_text = "no answer"
        if answer is not None and answer.fallback is not None:
            outcome_text = f"fallback `{_display_name(names, answer.fallback.offer)}`"
        elif answer is not None:
            outcome_text = ", ".join(f"`{_display_name(names, selection.offer)}`" for selection in answer.selections)
        typer.echo(f"  {decision_name} in {placement_name}: {outcome_text}")
        for line in _trace_lines(replay.traces[index]):
            typer.echo(f"    {line}")
    verdict = "the same, to the last bit" if replay.reproduced else "NOT the same"
    if replay.meaning_note is not None and not replay.reproduced:
        verdict += f" (rules and formulas had version {event.meaning} of their meaning)"
    typer.echo(f"replayed with the recorded inputs: {verdict}")
    _print_differences(replay.as_recorded, names)
    circumstances = "today's library, customer, counters and time"
    if not replay.customer_stored:
        circumstances = "today's library, counters and time (no stored customer data)"
    for title, differences in (
        ("with today's library", replay.current_library),
        (f"with {circumstances}", replay.current_state),
    ):
        typer.echo(
            f"{title}: " + (f"{len(differences)} of {len(event.answers)} scopes differ" if differences else "the same")
        )
        _print_differences(differences, names)
    if not replay.reproduced:
        raise typer.Exit(1)


def _print_differences(differences: Sequence[ScopeDifference], names: Mapping[str, str]) -> None:
    for difference in differences:
        typer.echo(f"  {_display_name(names, difference.decision)} in {_display_name(names, difference.placement)}")
        typer.echo(f"    was    {', '.join(difference.before) or 'no answer'}")
        typer.echo(f"    is     {', '.join(difference.after) or 'no answer'}")
        for reason in difference.reasons:
            typer.echo(f"    since  {reason}")


def _display_name(names: Mapping[str, str], entity_id: str) -> str:
    return names.get(entity_id, entity_id)


def _find_id(catalog: Catalog, kind: EntityKind, reference: str) -> str:
    """Return the id of the object with this id or name. Raises `NotFound`; `Invalid` if ambiguous."""
    instance = catalog.by_id(canonical(reference))
    if instance is not None and instance.kind is kind:
        return instance.key
    matches = [match for match in catalog.of_kind(kind).values() if match.name == reference]
    if not matches:
        raise NotFound(f"there is no {KIND_LABELS[kind]} `{reference}`", code="instance-not-found")
    if len(matches) > 1:
        ids = ", ".join(match.id for match in matches)
        raise _argument_error(
            f"{len(matches)} {KIND_LABELS[kind]}s have the name `{reference}`",
            f"use one of the ids: {ids}",
        )
    return matches[0].key


def _to_identity(text: str, *, first: bool) -> ProfileIdentity:
    namespace, key = parse_identity(text)
    return ProfileIdentity(namespace=namespace, id=key, primary=first)


def _argument_error(message: str, hint: str) -> Invalid:
    return Invalid.of([Violation(code="decide-input", message=message, help=hint)])
