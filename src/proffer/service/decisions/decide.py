"""Decision service: collect the inputs, run the engine, record the outcome under one id (R34).

Caps are exact (R22): recording a decision reserves all of its counts or none. If a concurrent
decision used up a limit, the store refuses with the current counts and the engine decides again.
Every round excludes at least one more offer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import Struct, structs

from proffer.engine.decide import decide
from proffer.engine.inputs import Inputs
from proffer.engine.snapshot import Snapshot
from proffer.errors import Busy, Invalid, NotFound, Violation
from proffer.metrics import CAP_REFUSALS, NO_METRICS, UNRECORDED, Metrics
from proffer.model.capping import NO_USAGE, CapRefusal, CapUsage
from proffer.model.decision import Decision
from proffer.model.events import DecisionEvent, new_decision_id
from proffer.model.ids import canonical
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.outcome import DecisionOutcome
from proffer.model.placement import Placement
from proffer.model.profile import Profile
from proffer.model.request import DecisionRequest, RequestedScope
from proffer.pql import MEANING_VERSION
from proffer.service.decisions.audience_names import with_audience_names
from proffer.service.decisions.context_check import check_context
from proffer.service.decisions.degraded import (
    WITHOUT_COUNTERS,
    WITHOUT_CUSTOMER,
    DegradedSnapshotCache,
    SpoolReplayer,
)
from proffer.service.decisions.metrics import count_outcome, count_unknown
from proffer.service.decisions.offer_usage import OfferUsage, usage_of_offer
from proffer.service.decisions.record import recorded_answers, recorded_inputs, recorded_request
from proffer.service.decisions.requirements import RequirementsCache, ScopeRequirements
from proffer.service.decisions.unknown_scopes import SCOPE_NOT_FOUND, ScopesNotFound
from proffer.service.library.library import ContainerState
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.service.runtime.clock import Clock
from proffer.store.errors import StoreUnavailable
from proffer.store.ports import CapStore
from proffer.store.spool import Spool

MAX_ROUNDS = 500
"""Rounds before a decision that is refused again and again raises `Busy`."""


class DecisionResult(Struct, frozen=True, kw_only=True):
    """An outcome, its id and its time. The id is also the seed of its tie-breaks.

    `reserved_until_us`: when its reservation expires, if one was requested. `without`: the data that
    was missing because the database was unavailable, as in `DecisionEvent`. `unrecorded`: it could be
    neither stored nor spooled, which the operator allows. `misses_writes`: unknown scopes may be in the
    database, which could not be read (R50).
    """

    proposition_id: str
    decided_us: int
    outcome: DecisionOutcome
    reserved_until_us: int | None = None
    without: str = ""
    unrecorded: bool = False
    misses_writes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OffersOfDecision:
    """Approved offers of a live decision and its fallback. Dates and rules are disregarded."""

    decision: Decision
    offers: tuple[PersonalizedOffer, ...]
    fallback: FallbackOffer


@dataclass(frozen=True, slots=True)
class ScopeRef:
    """A decision of any status and one of its placements."""

    decision: Decision
    placement: Placement


class DecideOptions(Struct, frozen=True):
    """Options of one call of `DecideService.decide`."""

    surface: str
    explain: bool
    partial: bool
    dry_run: bool
    reserve_us: int | None
    request_id: str | None


class DecideService:
    """The use cases around a decision."""

    def __init__(
        self,
        registry: ContainerRegistry,
        clock: Clock,
        store: CapStore,
        metrics: Metrics = NO_METRICS,
        spool: Spool | None = None,
        *,
        allows_unrecorded: bool = False,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._store = store
        self._metrics = metrics
        self._requirements = RequirementsCache()
        self._degraded_snapshots = DegradedSnapshotCache()
        self.spool_replayer = SpoolReplayer(store, registry.database_status, spool, allows_unrecorded=allows_unrecorded)
        registry.on_poll(self.spool_replayer.replay)
        self.refusals = 0
        """How often the store refused a decision's counts, so that it was made again."""

    def validate_context(
        self,
        access: AuthorizedContainer,
        context: Sequence[tuple[str, Mapping[str, Any]]],
        path: str,
    ) -> list[Violation]:
        """Check context data against its loaded schema; return a warning per type without one.

        Raises `Invalid` with every mistake.
        """
        violations, warnings = check_context(access.state.customer_schema.context_types, context, path)
        if violations:
            raise Invalid.of(violations)
        return warnings

    async def see_scopes(
        self, access: AuthorizedContainer, scopes: Iterable[RequestedScope], *, partial: bool = False
    ) -> bool:
        """Look in the store for scopes that are not live here, before they are called unknown (R50).

        Returns False if the look fails and `partial`, else raises `StoreUnavailable`.
        """
        decisions = access.state.publisher.snapshot.decisions
        for scope in scopes:
            playable = decisions.get(scope.decision)
            if playable is None or scope.placement not in playable.scopes:
                break
        else:
            return True
        try:
            await self._registry.see_all_writes()
        except StoreUnavailable:
            if not partial:
                raise
            return False
        return True

    async def _see_decisions(self, access: AuthorizedContainer, names: Iterable[str]) -> None:
        """Look in the store for decisions that are not live here. Raises `StoreUnavailable`."""
        snapshot = access.state.publisher.snapshot
        if not all(_has_scopes(snapshot, canonical(name)) for name in names):
            await self._registry.see_all_writes()

    async def decide(
        self,
        access: AuthorizedContainer,
        request: DecisionRequest,
        profile: Profile,
        *,
        surface: str,
        explain: bool = False,
        partial: bool = False,
        dry_run: bool = False,
        reserve_us: int | None = None,
        request_id: str | None = None,
    ) -> DecisionResult:
        """Decide every scope. Unknown scopes raise `ScopesNotFound`, unless `partial` (R8).

        The decision is recorded and counted before this returns, except with `dry_run`. With
        `reserve_us` the counts are released after that many microseconds unless confirmed. `surface`
        names the interface, `request_id` is the client's. While the database is unavailable the
        decision is degraded (`service/decisions/degraded.py`); with `reserve_us` it raises
        `StoreUnavailable`.
        """
        state = access.state
        options = DecideOptions(surface, explain, partial, dry_run, reserve_us, request_id)
        database_status = self._registry.database_status
        if not profile.withheld and not database_status.is_bypassed:
            try:
                return await self._decide(state, request, profile, options)
            except StoreUnavailable as error:
                database_status.record_failure(error)
                if not database_status.survives_outages:
                    raise
        if reserve_us is not None:
            raise StoreUnavailable("reservations are not available: the database cannot be reached")
        return await self._decide_degraded(state, request, profile, options)

    async def _decide_degraded(
        self,
        state: ContainerState,
        request: DecisionRequest,
        profile: Profile,
        options: DecideOptions,
    ) -> DecisionResult:
        """Decide without the database; the decision is spooled and recorded later."""
        now_us = self._clock()
        without = WITHOUT_CUSTOMER if profile.withheld else WITHOUT_COUNTERS
        full_snapshot = state.publisher.snapshot
        snapshot = self._degraded_snapshots.get(full_snapshot, request.scopes, without)
        inputs = Inputs(
            request=request,
            profile=profile,
            now_us=now_us,
            seed=new_decision_id(now_us),
            usage=NO_USAGE,
        )
        outcome = decide(snapshot, inputs, explain=options.explain)
        unrecorded = False
        if self._should_record(outcome, options):
            requirements = self._requirements.get(full_snapshot, request.scopes)
            event = _recorded_event(requirements, full_snapshot, inputs, outcome, options)
            unrecorded = not await self.spool_replayer.add(structs.replace(event, unavailable_data=without))
            if unrecorded:
                self._metrics.count(UNRECORDED)
        if self._metrics.enabled:
            count_outcome(self._metrics, outcome)
        return DecisionResult(
            proposition_id=inputs.seed,
            decided_us=now_us,
            outcome=with_audience_names(outcome, state.customer_schema.audiences),
            without=without,
            unrecorded=unrecorded,
        )

    async def _decide(
        self,
        state: ContainerState,
        request: DecisionRequest,
        profile: Profile,
        options: DecideOptions,
    ) -> DecisionResult:
        now_us = self._clock()
        proposition_id = new_decision_id(now_us)
        requirements_snapshot = state.publisher.snapshot
        requirements = self._requirements.get(requirements_snapshot, request.scopes)
        usage = await usage_for(self._store, state, requirements, profile, now_us)
        for _ in range(MAX_ROUNDS):
            snapshot = state.publisher.snapshot
            inputs = Inputs(request=request, profile=profile, now_us=now_us, seed=proposition_id, usage=usage)
            outcome = decide(snapshot, inputs, explain=options.explain)
            reserved_until_us = None
            if self._should_record(outcome, options):
                if snapshot is not requirements_snapshot:
                    requirements_snapshot, requirements = (
                        snapshot,
                        self._requirements.get(snapshot, request.scopes),
                    )
                event = _recorded_event(requirements, snapshot, inputs, outcome, options)
                recorded = await self._store.record(state.container.id, event, ttl_us=options.reserve_us)
                self._registry.database_status.note_write()
                if isinstance(recorded, CapRefusal):
                    self.refusals += 1
                    self._metrics.count(CAP_REFUSALS)
                    usage = await self._usage_after_refusal(state, snapshot, usage, recorded)
                    continue
                reserved_until_us = recorded.reserved_until_us
            if outcome.formula_errors:
                state.formula_faults.update(outcome.formula_errors)
            if outcome.content_errors:
                state.content_faults.update(outcome.content_errors)
            if outcome.threshold_errors:
                state.threshold_faults.update(outcome.threshold_errors)
            if self._metrics.enabled:
                count_outcome(self._metrics, outcome)
            return DecisionResult(
                proposition_id=proposition_id,
                decided_us=now_us,
                outcome=with_audience_names(outcome, state.customer_schema.audiences),
                reserved_until_us=reserved_until_us,
            )
        raise Busy("concurrent requests used up the caps of the chosen offers; try again", code="busy")

    def _should_record(self, outcome: DecisionOutcome, options: DecideOptions) -> bool:
        """Return whether to record the outcome; raise `ScopesNotFound` for unknown scopes."""
        unknown = outcome.unknown_scopes
        if unknown and not options.partial:
            count_unknown(self._metrics, outcome)
            raise ScopesNotFound(outcome)
        return not options.dry_run and len(unknown) < len(outcome.scopes)

    async def _usage_after_refusal(
        self, state: ContainerState, snapshot: Snapshot, usage: CapUsage, refused: CapRefusal
    ) -> CapUsage:
        """Return the usage with the refused counts. Catches up with the refusing revision first."""
        if refused.revision > snapshot.revision:
            await state.refresh()
        return usage.with_counts(refused.counts)

    def placements(self, access: AuthorizedContainer, ids: Iterable[str]) -> dict[str, Placement]:
        """Return the published placements of these ids, by id; unknown ids are left out."""
        placements = access.state.publisher.snapshot.placements
        return {key: placements[key] for key in map(canonical, ids) if key in placements}

    def scope_refs(self, access: AuthorizedContainer, entity_id: str | None = None) -> list[ScopeRef]:
        """Return every decision with each of its placements, by name; or those of one decision.

        Raises `NotFound` for an unknown decision.
        """
        snapshot = access.state.publisher.snapshot
        decisions = {key: playable.decision for key, playable in snapshot.decisions.items()}
        decisions = {**snapshot.inactive, **decisions}
        if entity_id is not None:
            key = canonical(entity_id)
            if key not in decisions:
                raise NotFound(f"there is no decision `{entity_id[:200]}`", code="instance-not-found")
            decisions = {key: decisions[key]}
        return [
            ScopeRef(decision, snapshot.placements[placement])
            for decision in sorted(decisions.values(), key=lambda entity: (entity.name, entity.id))
            for placement in decision.placements
            if placement in snapshot.placements
        ]

    async def scopes_of(self, access: AuthorizedContainer, decisions: Sequence[str]) -> list[list[RequestedScope]]:
        """Return the scopes of each decision, in order: what a request without placements means (R36).

        A decision without any now gets one without a placement, which will be unknown.
        """
        await self._see_decisions(access, decisions)
        snapshot = access.state.publisher.snapshot
        scopes: list[list[RequestedScope]] = []
        for key in map(canonical, decisions):
            playable = snapshot.decisions.get(key)
            placements = list(playable.scopes) if playable is not None else []
            scopes.append([RequestedScope(key, placement) for placement in placements or [""]])
        return scopes

    async def offer_usage(self, access: AuthorizedContainer, offer_id: str) -> OfferUsage:
        """Return how often an offer was proposed. Raises `NotFound` if that is not counted."""
        return await usage_of_offer(access, self._store, offer_id, self._clock())

    async def offers(self, access: AuthorizedContainer, decisions: Sequence[str]) -> list[OffersOfDecision]:
        """Return the offers of these live decisions. Raises `NotFound`, naming all that are not."""
        await self._see_decisions(access, decisions)
        snapshot = access.state.publisher.snapshot
        missing = [name for name in decisions if not _has_scopes(snapshot, canonical(name))]
        if missing:
            quoted_names = ", ".join(f"`{name}`" for name in missing)
            raise NotFound(f"no live decision was found for {quoted_names}", code=SCOPE_NOT_FOUND)
        offer_lists: list[OffersOfDecision] = []
        for name in decisions:
            playable = snapshot.decisions[canonical(name)]
            offers = {
                candidate.bound_offer.offer.id: candidate.bound_offer.offer
                for scope in playable.scopes.values()
                for group in scope.groups
                for criterion in group
                for candidate in criterion.candidates
            }
            fallback = next(scope.fallback for scope in playable.scopes.values())
            offer_lists.append(
                OffersOfDecision(decision=playable.decision, offers=tuple(offers.values()), fallback=fallback)
            )
        return offer_lists


async def usage_for(
    store: CapStore,
    state: ContainerState,
    requirements: ScopeRequirements,
    profile: Profile,
    now_us: int,
) -> CapUsage:
    """Return the usage of every cap limit in these requirements."""
    if not requirements.caps:
        return NO_USAGE
    return await store.usage(state.container.id, requirements.caps, profile.subjects, now_us)


def _recorded_event(
    requirements: ScopeRequirements,
    snapshot: Snapshot,
    inputs: Inputs,
    outcome: DecisionOutcome,
    options: DecideOptions,
) -> DecisionEvent:
    """Return the event to record for a decision."""
    profile = inputs.profile
    attributes, events = recorded_inputs(requirements, profile)
    return DecisionEvent(
        id=inputs.seed,
        container=snapshot.container,
        decided_us=inputs.now_us,
        revision=snapshot.revision,
        surface=options.surface,
        request=recorded_request(requirements, inputs.request),
        answers=recorded_answers(outcome),
        identities=profile.subjects.requested,
        request_id=options.request_id,
        customer_found=profile.is_known,
        attributes=attributes,
        events=events,
        usage=inputs.usage.counts,
        thresholds=outcome.thresholds,
        meaning=MEANING_VERSION,
    )


def _has_scopes(snapshot: Snapshot, decision: str) -> bool:
    playable = snapshot.decisions.get(decision)
    return playable is not None and bool(playable.scopes)
