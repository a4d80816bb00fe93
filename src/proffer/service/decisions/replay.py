"""Replay of a recorded decision: exactly as it was, and as it would be now.

A result depends on the library's revision, the profile data read, the counts, the time and the seed,
and all of these are recorded.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from msgspec import structs

from proffer.engine.decide import decide
from proffer.engine.inputs import Inputs
from proffer.engine.snapshot import Snapshot
from proffer.errors import Conflict, NotFound
from proffer.model.capping import CapUsage
from proffer.model.events import DecisionEvent, ScopeAnswer, Selection
from proffer.model.ids import EntityKind, canonical
from proffer.model.outcome import DecisionOutcome
from proffer.model.profile import Profile, ProfileIdentity
from proffer.model.trace import ScopeTrace, Stage, Verdict
from proffer.pql import MEANING_VERSION, changes_of_meaning
from proffer.service.customers.profiles import ProfileService
from proffer.service.decisions.audience_names import with_audience_names
from proffer.service.decisions.decide import usage_for
from proffer.service.decisions.degraded import DegradedSnapshotCache
from proffer.service.decisions.record import recorded_answers
from proffer.service.decisions.requirements import requirements_of
from proffer.service.library.library import ContainerState
from proffer.service.library.publisher import Publisher
from proffer.service.library.registry import AuthorizedContainer
from proffer.service.runtime.clock import Clock
from proffer.store.errors import StoreUnavailable
from proffer.store.ports import CapStore

_FIRST_WITH_CRITERIA = 2
"""Events of this and later meanings record the criterion of each selection."""


@dataclass(frozen=True, slots=True)
class ScopeDifference:
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
    names by id. `traces`: one trace per scope of the first replay. All rules and formulas are evaluated with
    today's meaning; if the decision was made with another, `meaning_note` says so.
    """

    event: DecisionEvent
    names: Mapping[str, str]
    traces: tuple[ScopeTrace, ...]
    customer_stored: bool
    as_recorded: tuple[ScopeDifference, ...]
    current_library: tuple[ScopeDifference, ...]
    current_state: tuple[ScopeDifference, ...]

    @property
    def reproduced(self) -> bool:
        return not self.as_recorded

    @property
    def meaning(self) -> int:
        """The version of the meaning of rules and formulas that the replay used."""
        return MEANING_VERSION

    @property
    def meaning_changes(self) -> tuple[str, ...]:
        """What changed in the meaning of rules and formulas since the decision."""
        return changes_of_meaning(self.event.meaning, MEANING_VERSION)

    @property
    def meaning_note(self) -> str | None:
        """The sentence that precedes the replay of a decision with another meaning; else None."""
        recorded = self.event.meaning
        if recorded == MEANING_VERSION:
            return None
        age = "an earlier" if recorded < MEANING_VERSION else "a later"
        return (
            f"This decision was made by {age} version of Proffer, with version {recorded} of the meaning of rules and "
            f"formulas; this replay uses version {MEANING_VERSION}. A different result does not mean that the record "
            "is wrong."
        )


class ReplayService:
    """Find and replay recorded decisions."""

    def __init__(self, store: CapStore, profiles: ProfileService, clock: Clock) -> None:
        self._store = store
        self._profiles = profiles
        self._clock = clock
        self._lock = asyncio.Lock()
        """Held during a replay, because each holds a whole library in memory."""

    async def find(self, access: AuthorizedContainer, proposition: str) -> DecisionEvent:
        """Return the recorded decision of a proposition, or raise `NotFound`."""
        event = await self._store.decision_event(access.id, proposition)
        if event is None:
            raise NotFound(
                f"no stored decision has the proposition `{proposition[:100]}`",
                code="proposition-not-found",
            )
        return event

    async def replay(self, access: AuthorizedContainer, proposition: str) -> Replay:
        """Replay a decision. Raises `NotFound`, or `Conflict` if its customer was erased."""
        event = await self.find(access, proposition)
        if event.redacted:
            raise Conflict(
                f"the inputs of the decision `{event.id}` were erased with its customer",
                code="proposition-erased",
            )
        async with self._lock:
            return await self._replay(access, event)

    async def _replay(self, access: AuthorizedContainer, event: DecisionEvent) -> Replay:
        state = access.state
        inputs = _event_inputs(event)
        decisions = {scope.decision for scope in event.request.scopes}
        recorded_snapshot = await snapshot_at(state, event.revision, decisions)
        current_snapshot = state.publisher.snapshot
        current_inputs, customer_stored = await self._current_inputs(access, event)
        names = _names(state, event)
        comparison = _Comparison(event, names)
        replayed = _decide_with_trace(state, _available_snapshot(recorded_snapshot, event), inputs)
        return Replay(
            event=event,
            names=names,
            traces=tuple(replayed.trace or ()),
            customer_stored=customer_stored,
            as_recorded=comparison.differences(replayed),
            current_library=comparison.differences(_decide_with_trace(state, current_snapshot, inputs)),
            current_state=comparison.differences(_decide_with_trace(state, current_snapshot, current_inputs)),
        )

    async def _current_inputs(self, access: AuthorizedContainer, event: DecisionEvent) -> tuple[Inputs, bool]:
        """Return the request's current inputs, and whether its customer is stored."""
        identities = tuple(
            ProfileIdentity(namespace=key.namespace, id=key.id, primary=index == 0)
            for index, key in enumerate(event.identities)
        )
        state, now_us = access.state, self._clock()
        profile = await self._profiles.resolve(access, Profile(identities=identities))
        if profile.withheld:
            raise StoreUnavailable("the customer of this decision cannot be read now")
        requirements = requirements_of(state.publisher.snapshot, event.request.scopes)
        usage = await usage_for(self._store, state, requirements, profile, now_us)
        customer_stored = profile.is_known
        if not customer_stored:  # use the recorded profile
            recorded = _event_inputs(event).profile
            profile = structs.replace(recorded, identities=identities, subjects=profile.subjects)
        inputs = Inputs(request=event.request, profile=profile, now_us=now_us, seed=event.seed, usage=usage)
        return inputs, customer_stored


async def snapshot_at(state: ContainerState, revision: int, decisions: Collection[str]) -> Snapshot:
    """Return the snapshot of a library revision with these decisions, or raise `NotFound`."""
    live = await state.live_at(revision)
    if live is None:
        raise NotFound(
            f"the library has no revision {revision}: it was moved or restored since",
            code="revision-not-found",
        )
    publisher = Publisher(state.container.id)
    objects = [each for each in live if each.kind is not EntityKind.DECISION or each.key in decisions]
    await publisher.publish(objects, revision, 0)
    return publisher.snapshot


def _available_snapshot(snapshot: Snapshot, event: DecisionEvent) -> Snapshot:
    """Return the snapshot, for a degraded event reduced to what was served."""
    if not event.unavailable_data:
        return snapshot
    return DegradedSnapshotCache().get(snapshot, event.request.scopes, event.unavailable_data)


def _event_inputs(event: DecisionEvent) -> Inputs:
    return Inputs(
        request=event.request,
        profile=Profile(attributes=event.attributes, is_known=event.customer_found, events=event.events),
        now_us=event.decided_us,
        seed=event.seed,
        usage=CapUsage(event.usage),
    )


def _decide_with_trace(state: ContainerState, snapshot: Snapshot, inputs: Inputs) -> DecisionOutcome:
    return with_audience_names(decide(snapshot, inputs, explain=True), state.customer_schema.audiences)


class _Comparison:
    """Compare a recorded decision with replayed outcomes."""

    def __init__(self, event: DecisionEvent, names: Mapping[str, str]) -> None:
        self._event = event
        self._names = names

    def differences(self, outcome: DecisionOutcome) -> tuple[ScopeDifference, ...]:
        """Return the scopes whose result differs from the recorded one. All members of results are compared."""
        differences = []
        answers = recorded_answers(outcome)
        for index, (before, after) in enumerate(zip(self._event.answers, answers, strict=True)):
            if self._result(before) == self._result(after):
                continue
            request_scope = self._event.request.scopes[index]
            differences.append(
                ScopeDifference(
                    scope=index,
                    decision=request_scope.decision,
                    placement=request_scope.placement,
                    before=self._describe(before),
                    after=self._describe(after),
                    reasons=tuple(_reasons(index, before, after, outcome)),
                )
            )
        return tuple(differences)

    def _result(self, answer: ScopeAnswer | None) -> ScopeAnswer | None:
        """Return what is compared: no statistics, and criteria only if the event records them."""
        if answer is None:
            return None
        selections = answer.selections
        if self._event.meaning < _FIRST_WITH_CRITERIA:
            selections = tuple(structs.replace(selection, criterion=None) for selection in selections)
        return structs.replace(answer, selections=selections, dropped=())

    def _describe(self, answer: ScopeAnswer | None) -> tuple[str, ...]:
        """Return one text per offer of a scope's result."""
        if answer is None:
            return ()
        if answer.fallback is not None:
            return (f"fallback {self._describe_selection(answer.fallback)}",)
        return tuple(
            self._describe_selection(selection)
            + (f", score {selection.score:g}" if selection.score is not None else "")
            for selection in answer.selections
        )

    def _describe_selection(self, selection: Selection) -> str:
        name = self._names.get(selection.offer)
        label = f"`{name}`, {selection.offer}" if name else selection.offer
        return f"{label} (version {selection.etag})"


def _reasons(
    index: int, before: ScopeAnswer | None, after: ScopeAnswer | None, outcome: DecisionOutcome
) -> Iterable[str]:
    """Yield why recorded offers are no longer selected. For the others, yield what changed."""
    scope = outcome.scopes[index]
    if after is None:
        yield getattr(scope, "reason", "the scope cannot be answered")
        return
    if before is None:
        yield "the recorded scope could not be answered"
        return
    verdicts = {canonical(verdict.id): verdict for verdict in outcome.trace[index].candidates} if outcome.trace else {}
    after_by_offer = {selection.offer: selection for selection in after.selections}
    for selection in before.selections:
        verdict = verdicts.get(selection.offer)
        if selection.offer in after_by_offer:
            yield from _selection_changes(selection, after_by_offer[selection.offer], verdict)
        elif verdict is None:
            yield f"{selection.offer} is no longer a candidate"
        elif verdict.stage is Stage.RANKED:
            yield f"`{verdict.name}` now has rank {verdict.rank}"
        else:
            yield f"`{verdict.name}` was excluded at {verdict.stage.value}: {verdict.reason}"
    yield from _version_changes(before, after)


def _selection_changes(before: Selection, after: Selection, verdict: Verdict | None) -> Iterable[str]:
    """Yield the differences of an offer that is selected again."""
    label = f"`{verdict.name}`" if verdict is not None else before.offer
    for field, recorded, current in (
        ("version", before.etag, after.etag),
        ("rank", before.rank, after.rank),
        ("score", before.score, after.score),
        ("criterion", before.criterion, None if before.criterion is None else after.criterion),
    ):
        if recorded != current:
            yield f"{label} has {field} {current}, recorded {recorded}"


def _version_changes(before: ScopeAnswer, after: ScopeAnswer) -> Iterable[str]:
    if before.decision_etag != after.decision_etag:
        yield f"the decision has version {after.decision_etag}, recorded {before.decision_etag}"
    if before.placement_etag != after.placement_etag:
        yield f"the placement has version {after.placement_etag}, recorded {before.placement_etag}"


def _names(state: ContainerState, event: DecisionEvent) -> dict[str, str]:
    """Return the current names of the decision's objects by id. Deleted objects are left out."""
    request_ids = [key for scope in event.request.scopes for key in (scope.decision, scope.placement)]
    answer_ids = [selection.offer for answer in event.answers if answer is not None for selection in answer.delivered]
    instances = {key: state.catalog.by_id(canonical(key)) for key in (*request_ids, *answer_ids)}
    return {key: instance.name for key, instance in instances.items() if instance is not None}
