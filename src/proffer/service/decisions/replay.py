"""Replay of a recorded decision: exactly as it was, and as it would be now.

A result depends on the library's revision, the profile data read, the counts, the time and the seed,
and all of these are recorded.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from msgspec import structs

from proffer.engine.decide import decide
from proffer.engine.inputs import Inputs
from proffer.engine.snapshot import Snapshot
from proffer.errors import Conflict, NotFound
from proffer.model.capping import CapUsage
from proffer.model.events import DecisionEvent, ScopeAnswer, Selection
from proffer.model.ids import canonical
from proffer.model.instance import Instance
from proffer.model.outcome import DecisionOutcome
from proffer.model.profile import Identity, Profile
from proffer.model.trace import ScopeTrace, Stage, Verdict
from proffer.service.customers.profiles import ProfileService
from proffer.service.decisions.decide import usage_for
from proffer.service.decisions.degraded import Restraint
from proffer.service.decisions.record import answers_of
from proffer.service.decisions.requirements import needed_by
from proffer.service.library.library import ContainerState
from proffer.service.library.publisher import Publisher
from proffer.service.library.registry import AuthorizedContainer
from proffer.service.runtime.clock import Clock
from proffer.store.errors import StoreUnavailable
from proffer.store.ports import CapStore


@dataclass(frozen=True, slots=True)
class Differing:
    """A scope whose result differs: the recorded result, the replayed one, and the reasons."""

    scope: int
    decision: str
    placement: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A recorded decision and the differences of three replays.

    `as_recorded`: with the recorded inputs; empty if reproduced. `current_library`: with the current
    library, otherwise as recorded. `current_state`: library, customer, counters and time as they are
    now; the recorded profile if the customer is not stored (`customer_stored`). `names`: current
    names by id. `traces`: one trace per scope of the first replay.
    """

    event: DecisionEvent
    names: Mapping[str, str]
    traces: tuple[ScopeTrace, ...]
    customer_kept: bool
    as_it_was: tuple[Differing, ...]
    library_today: tuple[Differing, ...]
    all_today: tuple[Differing, ...]

    @property
    def reproduced(self) -> bool:
        return not self.as_it_was


class ReplayService:
    """Find and replay recorded decisions."""

    def __init__(self, store: CapStore, profiles: ProfileService, clock: Clock) -> None:
        self._store = store
        self._profiles = profiles
        self._clock = clock

    async def find(self, access: AuthorizedContainer, proposition: str) -> DecisionEvent:
        """Return the recorded decision of a proposition, or raise `NotFound`."""
        event = await self._store.decision_event(access.id, proposition)
        if event is None:
            raise NotFound(
                f"no decision on record has the proposition `{proposition[:100]}`",
                code="proposition-not-found",
            )
        return event

    async def replay(self, access: AuthorizedContainer, proposition: str) -> Replay:
        """Replay a decision. Raises `NotFound`, or `Conflict` if its customer was erased."""
        event = await self.find(access, proposition)
        if event.redacted:
            raise Conflict(
                f"what the decision `{event.id}` read was erased with its customer",
                code="proposition-erased",
            )
        state = access.state
        inputs = _inputs(event)
        then = await snapshot_at(state, event.revision)
        now = state.publisher.snapshot
        current, customer_kept = await self._current(access, event)
        names = _names(state, event)
        against = _Comparing(event, names)
        again = _decided(_as_far(then, event), inputs)
        return Replay(
            event=event,
            names=names,
            traces=tuple(again.trace or ()),
            customer_kept=customer_kept,
            as_it_was=against.with_outcome(again),
            library_today=against.with_outcome(_decided(now, inputs)),
            all_today=against.with_outcome(_decided(now, current)),
        )

    async def _current(
        self, access: AuthorizedContainer, event: DecisionEvent
    ) -> tuple[Inputs, bool]:
        """Return the inputs of the request as of now, and whether its customer is stored."""
        identities = tuple(
            Identity(namespace=one.namespace, id=one.id, primary=place == 0)
            for place, one in enumerate(event.identities)
        )
        state, now_us = access.state, self._clock()
        profile = await self._profiles.resolve(access, Profile(identities=identities))
        if profile.withheld:
            raise StoreUnavailable("the customer of this decision cannot be read now")
        needed = needed_by(state.publisher.snapshot, event.request.scopes)
        usage = await usage_for(self._store, state, needed, profile, now_us)
        kept = profile.found
        if not kept:  # use the recorded profile
            recorded = _inputs(event).profile
            profile = structs.replace(recorded, identities=identities, subjects=profile.subjects)
        inputs = Inputs(
            request=event.request, profile=profile, now_us=now_us, seed=event.seed, usage=usage
        )
        return inputs, kept


async def snapshot_at(state: ContainerState, revision: int) -> Snapshot:
    """Return the snapshot of a library revision, or raise `NotFound`."""
    live: dict[str, Instance] = {}
    reached = 0
    for version in await state.since(0):
        if version.revision > revision:
            break
        reached = version.revision
        if version.deleted:
            live.pop(version.instance_id, None)
        else:
            live[version.instance_id] = version
    if reached != revision:
        raise NotFound(
            f"the library has no revision {revision}: it was moved or restored since",
            code="revision-not-found",
        )
    publisher = Publisher(state.container.id)
    ordered = sorted(live.values(), key=lambda one: one.revision)
    await publisher.publish(ordered, revision, 0)
    return publisher.snapshot


def _as_far(snapshot: Snapshot, event: DecisionEvent) -> Snapshot:
    """Return the snapshot, reduced to what was served if the event was degraded."""
    if not event.without:
        return snapshot
    return Restraint().of(snapshot, event.request.scopes, event.without)


def _inputs(event: DecisionEvent) -> Inputs:
    return Inputs(
        request=event.request,
        profile=Profile(attributes=event.attributes, found=event.found, events=event.events),
        now_us=event.decided_us,
        seed=event.seed,
        usage=CapUsage(event.usage),
    )


def _decided(snapshot: Snapshot, inputs: Inputs) -> DecisionOutcome:
    return decide(snapshot, inputs, explain=True)


class _Comparing:
    """Compare a recorded decision with replayed outcomes."""

    def __init__(self, event: DecisionEvent, names: Mapping[str, str]) -> None:
        self._event = event
        self._names = names

    def with_outcome(self, outcome: DecisionOutcome) -> tuple[Differing, ...]:
        """Return the scopes whose result differs in any field from the recorded one."""
        found = []
        again = answers_of(outcome)
        for place, (before, after) in enumerate(zip(self._event.answers, again, strict=True)):
            if before == after:
                continue
            asked = self._event.request.scopes[place]
            found.append(
                Differing(
                    scope=place,
                    decision=asked.decision,
                    placement=asked.placement,
                    before=self._shown(before),
                    after=self._shown(after),
                    reasons=tuple(_reasons(place, before, after, outcome)),
                )
            )
        return tuple(found)

    def _shown(self, answer: ScopeAnswer | None) -> tuple[str, ...]:
        """Return one text per offer of a scope's result."""
        if answer is None:
            return ()
        if answer.fallback is not None:
            return (f"fallback {self._version(answer.fallback)}",)
        return tuple(
            self._version(one) + (f", score {one.score:g}" if one.score is not None else "")
            for one in answer.selections
        )

    def _version(self, one: Selection) -> str:
        name = self._names.get(one.offer)
        named = f"`{name}`, {one.offer}" if name else one.offer
        return f"{named} (version {one.etag})"


def _reasons(
    place: int, before: ScopeAnswer | None, after: ScopeAnswer | None, outcome: DecisionOutcome
) -> Iterable[str]:
    """Yield why recorded offers are no longer selected, and what changed for the others."""
    scope = outcome.scopes[place]
    if after is None:
        yield getattr(scope, "reason", "the scope cannot be answered")
        return
    if before is None:
        yield "the scope could not be answered then"
        return
    verdicts = (
        {canonical(verdict.id): verdict for verdict in outcome.trace[place].candidates}
        if outcome.trace
        else {}
    )
    kept = {one.offer: one for one in after.selections}
    for one in before.selections:
        verdict = verdicts.get(one.offer)
        if one.offer in kept:
            yield from _changed(one, kept[one.offer], verdict)
        elif verdict is None:
            yield f"{one.offer} is no candidate any more"
        elif verdict.stage is Stage.RANKED:
            yield f"`{verdict.name}` now stands at rank {verdict.rank}"
        else:
            yield f"`{verdict.name}` left at {verdict.stage.value}: {verdict.reason}"
    yield from _versions(before, after)


def _changed(before: Selection, after: Selection, verdict: Verdict | None) -> Iterable[str]:
    """Yield the differences of an offer that is selected again."""
    named = f"`{verdict.name}`" if verdict is not None else before.offer
    for what, then, now in (
        ("version", before.etag, after.etag),
        ("rank", before.rank, after.rank),
        ("score", before.score, after.score),
    ):
        if then != now:
            yield f"{named} has {what} {now}, then {then}"


def _versions(before: ScopeAnswer, after: ScopeAnswer) -> Iterable[str]:
    if before.decision_etag != after.decision_etag:
        yield f"the decision is at version {after.decision_etag}, then {before.decision_etag}"
    if before.placement_etag != after.placement_etag:
        yield f"the placement is at version {after.placement_etag}, then {before.placement_etag}"


def _names(state: ContainerState, event: DecisionEvent) -> dict[str, str]:
    """Return the current names of the decision's objects by id, without deleted objects."""
    asked = [key for scope in event.request.scopes for key in (scope.decision, scope.placement)]
    given = [
        selection.offer
        for answer in event.answers
        if answer is not None
        for selection in (*answer.selections, *((answer.fallback,) if answer.fallback else ()))
    ]
    found = {key: state.catalog.by_id(canonical(key)) for key in (*asked, *given)}
    return {key: instance.name for key, instance in found.items() if instance is not None}
