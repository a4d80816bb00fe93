"""`proffer decide`: a dry-run decision with its trace, or the replay of a recorded one."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from proffer.app import DEV_ORGANISATION, DEV_SANDBOX, Services
from proffer.cli.customers import parse_identity
from proffer.cli.database import Database, find_container, with_services
from proffer.cli.library import read
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
_OFFERS = 30


def decide(
    decision: Annotated[
        list[str] | None, typer.Option(help="A decision, by id or name; repeat for several scopes.")
    ] = None,
    placement: Annotated[
        list[str] | None,
        typer.Option(help="A placement, by id or name; one for each decision, or one for all."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=_OFFERS, help="Offers per scope.")] = 1,
    identity: Annotated[
        list[str] | None,
        typer.Option(
            help="Who asks, as NAMESPACE:ID; what is kept of them is read.", metavar="NS:ID"
        ),
    ] = None,
    profile: Annotated[
        Path | None, typer.Option(help="Attributes of the customer, JSON or YAML.")
    ] = None,
    context: Annotated[
        Path | None, typer.Option(help="Context data: `{TYPE: {…}}`, JSON or YAML.")
    ] = None,
    replay: Annotated[
        str | None, typer.Option(help="Make the decision of this proposition again.", metavar="ID")
    ] = None,
    database: Database = None,
    org: Annotated[str, typer.Option(help="The organisation.")] = DEV_ORGANISATION,
    sandbox: Annotated[str, typer.Option(help="The sandbox.")] = DEV_SANDBOX,
) -> None:
    """Decide without counting anything, and say why; or replay a decision on record.

    Ends with 1 if a replay does not give what is on record, or a scope cannot be answered.
    """
    if replay is not None:
        if decision or placement or identity or profile or context:
            raise _bad("`--replay` takes everything from the record", "leave the other options out")

        async def again(services: Services, _: object) -> Replay:
            access = find_container(services, org, sandbox)
            try:
                return await services.replay.replay(access, replay)
            except NotFound:
                await services.store.index_edge_ids()  # until then only the newest are indexed
                return await services.replay.replay(access, replay)

        _tell_replay(with_services(database, again, libraries=True))
        return
    if not decision or not placement or len(placement) not in {1, len(decision)}:
        raise _bad(
            "a scope is a decision and a placement",
            "give `--decision` and `--placement`, or `--replay` and a proposition's id",
        )
    pairs = list(zip(decision, placement * (len(decision) // len(placement)), strict=True))
    asked = Profile(
        identities=tuple(
            _identity(text, first=place == 0) for place, text in enumerate(identity or ())
        ),
        attributes=without_prefixes(_object(profile)),
        is_known=profile is not None,
    )
    contexts = {name: without_prefixes(data) for name, data in _object(context).items()}
    if not all(isinstance(data, Mapping) for data in contexts.values()):
        raise _bad("context data is an object of objects", "write `{TYPE: {name: value}}`")

    async def once(services: Services, _: object) -> DecisionResult:
        access = find_container(services, org, sandbox)
        catalog = access.state.catalog
        request = DecisionRequest(
            scopes=tuple(
                ScopeRequest(
                    _find(catalog, EntityKind.DECISION, one),
                    _find(catalog, EntityKind.PLACEMENT, other),
                    count,
                )
                for one, other in pairs
            ),
            context=contexts,
            event={name: value for data in contexts.values() for name, value in data.items()}
            or None,
        )
        customer = await services.profiles.resolve(access, asked)
        return await services.decide.decide(
            access,
            request,
            customer,
            surface=COMMAND_LINE,
            explain=True,
            partial=True,
            dry_run=True,
        )

    decided = with_services(database, once, libraries=True)
    _tell(decided)
    if decided.outcome.unknown_scopes:
        raise typer.Exit(1)


def _tell(decided: DecisionResult) -> None:
    traces: Sequence[ScopeTrace] = decided.outcome.trace or ()
    for scope, trace in zip(decided.outcome.scopes, traces, strict=True):
        if isinstance(scope, UnknownScope):
            problem = not_found_message([scope_name(scope)])
            typer.echo(f"no answer: {problem} ({scope.reason})")
        else:
            typer.echo(f"{scope.decision.name} in {scope.placement.name}: {_answer(scope)}")
            for line in _table(trace):
                typer.echo(f"  {line}")
    typer.echo("nothing was counted")


def _answer(scope: Proposition) -> str:
    if scope.fallback is not None:
        return f"fallback `{scope.fallback.offer.name}`"
    return ", ".join(f"`{one.offer.name}`" for one in scope.options)


def _table(trace: ScopeTrace) -> Iterator[str]:
    """Yield a line per candidate: rank or stage of exclusion, name and reason."""
    rows = [
        (f"rank {one.rank}" if one.rank is not None else one.stage.value, one.name, one.reason)
        for one in trace.candidates
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    for stage, name, reason in rows:
        yield f"{stage:{widths[0]}}  {name:{widths[1]}}  {reason}".rstrip()


def _tell_replay(made: Replay) -> None:
    event = made.event
    typer.echo(
        f"decision {event.id} of {format_timestamp(event.decided_us)}, library at revision {event.revision}"
    )
    names = made.names
    for place, answer in enumerate(event.answers):
        asked = event.request.scopes[place]
        where = f"{_name(names, asked.decision)} in {_name(names, asked.placement)}"
        given = "no answer"
        if answer is not None and answer.fallback is not None:
            given = f"fallback `{_name(names, answer.fallback.offer)}`"
        elif answer is not None:
            given = ", ".join(f"`{_name(names, one.offer)}`" for one in answer.selections)
        typer.echo(f"  {where}: {given}")
        for line in _table(made.traces[place]):
            typer.echo(f"    {line}")
    said = "the same, to the last bit" if made.reproduced else "NOT the same"
    typer.echo(f"made again as it was: {said}")
    _tell_differences(made.as_recorded, names)
    today = "library, customer, counters and moment of today"
    if not made.customer_stored:
        today = "library, counters and moment of today (nothing is kept of the customer)"
    for title, found in (
        ("with the library of today", made.current_library),
        (f"with {today}", made.current_state),
    ):
        typer.echo(
            f"{title}: "
            + (f"{len(found)} of {len(event.answers)} scopes differ" if found else "the same")
        )
        _tell_differences(found, names)
    if not made.reproduced:
        raise typer.Exit(1)


def _tell_differences(found: Sequence[ScopeDifference], names: Mapping[str, str]) -> None:
    for one in found:
        typer.echo(f"  {_name(names, one.decision)} in {_name(names, one.placement)}")
        typer.echo(f"    was    {', '.join(one.before) or 'no answer'}")
        typer.echo(f"    is     {', '.join(one.after) or 'no answer'}")
        for reason in one.reasons:
            typer.echo(f"    since  {reason}")


def _name(names: Mapping[str, str], entity_id: str) -> str:
    return names.get(entity_id, entity_id)


def _find(catalog: Catalog, kind: EntityKind, named: str) -> str:
    """Return the id of the object with this id or name. Raises `NotFound`; `Invalid` if ambiguous."""
    instance = catalog.by_id(canonical(named))
    if instance is not None and instance.kind is kind:
        return instance.key
    found = [one for one in catalog.of_kind(kind).values() if one.name == named]
    if not found:
        raise NotFound(f"there is no {KIND_LABELS[kind]} `{named}`", code="instance-not-found")
    if len(found) > 1:
        ids = ", ".join(one.id for one in found)
        raise _bad(
            f"{len(found)} {KIND_LABELS[kind]}s are called `{named}`", f"name one by its id: {ids}"
        )
    return found[0].key


def _identity(text: str, *, first: bool) -> ProfileIdentity:
    namespace, key = parse_identity(text)
    return ProfileIdentity(namespace=namespace, id=key, primary=first)


def _object(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    content = read(path)
    if not isinstance(content, dict):
        raise _bad(f"`{path}` is not an object", "write one mapping")
    return content


def _bad(message: str, mend: str) -> Invalid:
    return Invalid.of([Violation(code="decide-input", message=message, help=mend)])
