"""Decide: gather what the engine may know, call it, put the outcome on record, give it back under one id (R34).

Caps are exact (R22): the engine decides with the counts it was given, and recording the decision takes
everything it gives from the counters, or nothing. Where something was taken by others meanwhile, the counts
that stood in the way go to the engine and it decides again. Every round takes an offer out of play.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from msgspec import Struct, structs

from proffer.auth.policy import require
from proffer.auth.principal import Permission, Principal
from proffer.engine.decide import decide
from proffer.engine.inputs import Inputs
from proffer.engine.snapshot import Fault, Snapshot
from proffer.errors import Busy, Finding, Invalid, NotFound
from proffer.metrics import CAP_REFUSALS, NO_METERS, Meters
from proffer.model.capping import UNUSED, CapUsage, Refused
from proffer.model.decision import Decision
from proffer.model.events import DecisionEvent, decision_id
from proffer.model.ids import canonical
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.outcome import DecisionOutcome, UnknownScope
from proffer.model.placement import Placement
from proffer.model.profile import Profile
from proffer.model.request import DecisionRequest, ScopeRequest
from proffer.service.decisions.context_check import mistakes
from proffer.service.decisions.degraded import COUNTERS, CUSTOMER, Backlog, Restraint
from proffer.service.decisions.metrics import count_outcome, count_unknown
from proffer.service.decisions.record import answers_of, kept_of, request_kept
from proffer.service.decisions.requirements import Needed, Needing
from proffer.service.library.library import Library
from proffer.service.library.registry import Libraries
from proffer.service.runtime.clock import Clock
from proffer.store.errors import StoreUnavailable
from proffer.store.ports import CapStore
from proffer.store.spool import Spool

SCOPE_NOT_FOUND = "ODE-0001-404"
"""The documented code of a scope nobody can answer."""
UNKNOWN_SCOPE = "unknown-scope"
MOST_ROUNDS = 500
"""A decision that others keep getting ahead of gives up; there are fewer offers to run out of."""
SCOPE_HELP = "ask for a live decision and a placement it uses"


class ScopesNotFound(NotFound):
    """Scopes that nobody can answer. `positions` says where each of the findings stands in the request."""

    def __init__(self, outcome: DecisionOutcome) -> None:
        unknown = outcome.unknown
        named = ", ".join(scope_name(scope) for scope in unknown)
        word = "scope was" if len(unknown) == 1 else "scopes were"
        super().__init__(
            f"The following {word} not found: {named}",
            code=SCOPE_NOT_FOUND,
            findings=[
                Finding(code=UNKNOWN_SCOPE, message=scope.reason, help=SCOPE_HELP)
                for scope in unknown
            ],
        )
        self.positions = tuple(
            position
            for position, scope in enumerate(outcome.scopes)
            if isinstance(scope, UnknownScope)
        )

    def at(self, paths: Sequence[str]) -> Self:
        """The same, each finding with its path; `paths` are those of all scopes of the request."""
        self.findings = tuple(
            replace(finding, path=paths[position])
            for finding, position in zip(self.findings, self.positions, strict=True)
        )
        return self


def scope_name(scope: UnknownScope) -> str:
    """Decision and placement as messages name them; of a request without placements, the decision alone."""
    return f"{scope.decision}/{scope.placement}" if scope.placement else scope.decision


class Decided(Struct, frozen=True, kw_only=True):
    """An outcome, the id it goes by (also the seed of its draws), and when it was made.

    `reserved_until_us` is when what it reserved comes back, where that was asked for. `without` says what
    was decided without while the database was away, as `DecisionEvent` does.
    """

    proposition_id: str
    decided_us: int
    outcome: DecisionOutcome
    reserved_until_us: int | None = None
    without: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffersOfDecision:
    """What a live decision may propose: its approved offers whatever their dates and rules, and its fallback."""

    decision: Decision
    offers: tuple[PersonalizedOffer, ...]
    fallback: FallbackOffer


@dataclass(frozen=True, slots=True)
class Place:
    """A decision, of whatever status, and a placement that it uses."""

    decision: Decision
    placement: Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """When the snapshot in force came into force (None: never), and what is wrong with live decisions."""

    published_us: int | None
    faults: Sequence[Fault]


class _Manner(Struct, frozen=True):
    """How a decision is to be made and told, as `DecideService.decide` has it."""

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
        libraries: Libraries,
        clock: Clock,
        store: CapStore,
        meters: Meters = NO_METERS,
        spool: Spool | None = None,
    ) -> None:
        self._libraries = libraries
        self._clock = clock
        self._store = store
        self._meters = meters
        self._needing = Needing()
        self._restraint = Restraint()
        self.backlog = Backlog(store, libraries.standing, spool)
        libraries.after_each_look(self.backlog.back)
        self.refusals = 0
        """How often others had taken meanwhile what a decision gave, so that it was made again."""

    def admit(self, by: Principal, container: str) -> None:
        """Raise `Forbidden` or `NotFound` unless the caller may ask this container: said before what they asked."""
        self._library(by, container)

    def validate_context(
        self,
        by: Principal,
        container: str,
        context: Sequence[tuple[str, Mapping[str, Any]]],
        path: str,
    ) -> None:
        """Raise `Invalid`, with every mistake, for context data that its loaded schema does not allow."""
        found = mistakes(self._library(by, container).catalog, context, path)
        if found:
            raise Invalid.of(found)

    async def decide(
        self,
        by: Principal,
        container: str,
        request: DecisionRequest,
        profile: Profile,
        *,
        surface: str,
        explain: bool = False,
        partial: bool = False,
        dry_run: bool = False,
        reserve_us: int | None = None,
        request_id: str | None = None,
    ) -> Decided:
        """Answer every scope. Any that cannot be answered raise `ScopesNotFound`, unless `partial` (R8).

        The decision is durable, and everything it gives is counted, before this returns; of a `dry_run`
        nothing is kept. With `reserve_us` what is counted comes back by itself after so many
        microseconds unless it is confirmed. `surface` says by which door the request came,
        `request_id` how the client calls it. While the database is away what can be decided without it
        is (`service/decisions/degraded.py`), except with `reserve_us`: that raises `StoreUnavailable`.
        """
        library = self._library(by, container)
        manner = _Manner(surface, explain, partial, dry_run, reserve_us, request_id)
        standing = self._libraries.standing
        if not profile.withheld and (standing.away is None or not standing.bridged):
            try:
                return await self._decide(library, request, profile, manner)
            except StoreUnavailable as error:
                standing.lost(error)
                if not standing.bridged:
                    raise
        if reserve_us is not None:
            raise StoreUnavailable("nothing can be reserved while the database is away")
        return await self._decide_degraded(library, request, profile, manner)

    async def _decide_degraded(
        self, library: Library, request: DecisionRequest, profile: Profile, manner: _Manner
    ) -> Decided:
        """Answer from memory, with what can be known without the database; it is recorded when that is back."""
        now_us = self._clock()
        without = CUSTOMER if profile.withheld else COUNTERS
        whole = library.publisher.snapshot
        snapshot = self._restraint.of(whole, request.scopes, without)
        inputs = Inputs(
            request=request,
            profile=profile,
            now_us=now_us,
            seed=decision_id(now_us),
            usage=UNUSED,
        )
        outcome = decide(snapshot, inputs, explain=manner.explain)
        if self._is_to_be_kept(outcome, manner):
            needed = self._needing.of(whole, request.scopes)
            event = _event(needed, whole, inputs, outcome, manner)
            await self.backlog.keep(structs.replace(event, without=without))
        if self._meters.on:
            count_outcome(self._meters, outcome)
        return Decided(
            proposition_id=inputs.seed, decided_us=now_us, outcome=outcome, without=without
        )

    async def _decide(
        self, library: Library, request: DecisionRequest, profile: Profile, manner: _Manner
    ) -> Decided:
        now_us = self._clock()
        proposition_id = decision_id(now_us)
        known = library.publisher.snapshot
        needed = self._needing.of(known, request.scopes)
        usage = await usage_for(self._store, library, needed, profile, now_us)
        for _ in range(MOST_ROUNDS):
            snapshot = library.publisher.snapshot
            inputs = Inputs(
                request=request, profile=profile, now_us=now_us, seed=proposition_id, usage=usage
            )
            outcome = decide(snapshot, inputs, explain=manner.explain)
            reserved_until_us = None
            if self._is_to_be_kept(outcome, manner):
                if snapshot is not known:
                    known, needed = snapshot, self._needing.of(snapshot, request.scopes)
                event = _event(needed, snapshot, inputs, outcome, manner)
                recorded = await self._store.record(
                    library.container.id, event, ttl_us=manner.reserve_us
                )
                if isinstance(recorded, Refused):
                    self.refusals += 1
                    self._meters.count(CAP_REFUSALS)
                    usage = await self._after(library, snapshot, usage, recorded)
                    continue
                reserved_until_us = recorded.reserved_until_us
            if outcome.faults:
                library.formula_faults.update(outcome.faults)
            if outcome.content_faults:
                library.content_faults.update(outcome.content_faults)
            if self._meters.on:
                count_outcome(self._meters, outcome)
            return Decided(
                proposition_id=proposition_id,
                decided_us=now_us,
                outcome=outcome,
                reserved_until_us=reserved_until_us,
            )
        raise Busy("others kept taking what this decision gave; try again", code="busy")

    def _is_to_be_kept(self, outcome: DecisionOutcome, manner: _Manner) -> bool:
        """Whether it goes on record. Raises `ScopesNotFound` where it may not even be told."""
        unknown = outcome.unknown
        if unknown and not manner.partial:
            count_unknown(self._meters, outcome)
            raise ScopesNotFound(outcome)
        return not manner.dry_run and len(unknown) < len(outcome.scopes)

    async def _after(
        self, library: Library, snapshot: Snapshot, usage: CapUsage, refused: Refused
    ) -> CapUsage:
        """What is known of the counters after a refusal, the library being at least that which refused."""
        if refused.revision > snapshot.revision:
            await library.refresh()
        return usage.raised(refused.counts)

    def placements(
        self, by: Principal, container: str, named: Iterable[str]
    ) -> dict[str, Placement]:
        """The placements of these ids in the library in force, by `id`; those that are not there are left out."""
        known = self._library(by, container).publisher.snapshot.placements
        return {key: known[key] for key in map(canonical, named) if key in known}

    def places(self, by: Principal, container: str, named: str | None = None) -> list[Place]:
        """Every decision with each of its placements, by name; or those of one decision. `NotFound` for none such."""
        require(by, Permission.LIBRARY_READ)
        snapshot = self._libraries.find(by, container).publisher.snapshot
        decisions = {key: one.decision for key, one in snapshot.decisions.items()}
        decisions = {**snapshot.idle, **decisions}
        if named is not None:
            key = canonical(named)
            if key not in decisions:
                raise NotFound(f"there is no decision `{named[:200]}`", code="instance-not-found")
            decisions = {key: decisions[key]}
        return [
            Place(decision, snapshot.placements[placement])
            for decision in sorted(decisions.values(), key=lambda one: (one.name, one.id))
            for placement in decision.placements
            if placement in snapshot.placements
        ]

    def scopes_of(
        self, by: Principal, container: str, decisions: Sequence[str]
    ) -> list[list[ScopeRequest]]:
        """For each of these decisions its scopes, in order: what a request without placements means (R36).

        A decision that has none now is given one without a placement, which will not be found.
        """
        snapshot = self._library(by, container).publisher.snapshot
        scopes: list[list[ScopeRequest]] = []
        for name in decisions:
            key = canonical(name)
            playable = snapshot.decisions.get(key)
            placements = list(playable.scopes) if playable is not None else []
            scopes.append([ScopeRequest(key, placement) for placement in placements or [""]])
        return scopes

    def offers(
        self, by: Principal, container: str, decisions: Sequence[str]
    ) -> list[OffersOfDecision]:
        """What these live decisions may propose. Any that is not live raises `NotFound`, naming all such."""
        snapshot = self._library(by, container).publisher.snapshot
        missing = [name for name in decisions if not _has_scopes(snapshot, canonical(name))]
        if missing:
            named = ", ".join(f"`{name}`" for name in missing)
            raise NotFound(f"no live decision was found for {named}", code=SCOPE_NOT_FOUND)
        found: list[OffersOfDecision] = []
        for name in decisions:
            playable = snapshot.decisions[canonical(name)]
            offers = {
                candidate.playable.offer.id: candidate.playable.offer
                for scope in playable.scopes.values()
                for group in scope.groups
                for criterion in group
                for candidate in criterion.candidates
            }
            fallback = next(scope.fallback for scope in playable.scopes.values())
            found.append(
                OffersOfDecision(
                    decision=playable.decision, offers=tuple(offers.values()), fallback=fallback
                )
            )
        return found

    def diagnose(self, by: Principal, container: str) -> Diagnosis:
        """What is wrong with the live decisions of a container."""
        library = self._library(by, container)
        if not library.catalog.revision:
            return Diagnosis(published_us=None, faults=())
        publisher = library.publisher
        return Diagnosis(
            published_us=publisher.published_us,
            faults=(*publisher.snapshot.faults, *_faults_counted(library)),
        )

    def _library(self, by: Principal, container: str) -> Library:
        require(by, Permission.DECISIONS_EXECUTE)
        return self._libraries.find(by, container)


async def usage_for(
    store: CapStore, library: Library, needed: Needed, profile: Profile, now_us: int
) -> CapUsage:
    """How far the limits are used of every offer that scopes which need this may give."""
    if not needed.caps:
        return UNUSED
    return await store.usage(library.container.id, needed.caps, profile.subjects, now_us)


def _event(
    needed: Needed,
    snapshot: Snapshot,
    inputs: Inputs,
    outcome: DecisionOutcome,
    manner: _Manner,
) -> DecisionEvent:
    """The decision as it is put on record."""
    profile = inputs.profile
    attributes, events = kept_of(needed, profile)
    return DecisionEvent(
        id=inputs.seed,
        container=snapshot.container,
        decided_us=inputs.now_us,
        revision=snapshot.revision,
        surface=manner.surface,
        request=request_kept(needed, inputs.request),
        answers=answers_of(outcome),
        identities=profile.subjects.identities,
        request_id=manner.request_id,
        found=profile.found,
        attributes=attributes,
        events=events,
        usage=inputs.usage.counts,
    )


def _faults_counted(library: Library) -> Iterator[Fault]:
    """What went wrong in decisions since the server started, and how often (R18, R23)."""
    for counted, wrong, instead in (
        (
            library.formula_faults,
            "Ranking formula `{}` gave no number",
            "the offer's priority stood in",
        ),
        (
            library.content_faults,
            "The content of offer `{}` could not be made",
            "its default or the next best offer stood in",
        ),
    ):
        for about, count in sorted(counted.items()):
            instance = library.catalog.by_id(about)
            if instance is not None:
                times = "once" if count == 1 else f"{count:,} times"
                yield Fault(
                    description=f"{wrong.format(instance.name)} {times}; {instead}",
                    id=instance.id,
                    instance_id=instance.instance_id,
                    etag=instance.etag,
                )


def _has_scopes(snapshot: Snapshot, decision: str) -> bool:
    playable = snapshot.decisions.get(decision)
    return playable is not None and bool(playable.scopes)
