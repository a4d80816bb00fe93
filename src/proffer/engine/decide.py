"""The page that tells the story: scope by scope in the order asked, group by group, then the fallback.

`decide` is a function: no clock, store, settings or chance of its own. For one scope it is

    candidates   approved offers of the criterion's collection with a representation for the placement
    calendar     whose dates include this moment
    criterion    whose criterion is meant for this profile
    eligibility  whose own constraint holds for this profile
    capping      whose limits are not spent
    ranking      best first; a later group never overtakes an earlier one
    dedup        that no earlier scope was given, unless duplicates are allowed
    content      that have content of the placement's kind, and it can be made for this customer

and, when nobody is left, the fallback offer (spec 7.1, 10.1, 10.2).
"""

from datetime import UTC, datetime, timedelta

from proffer.engine.capping import Caps
from proffer.engine.content import Contents, Templated
from proffer.engine.dedup import Proposed
from proffer.engine.eligibility import Eligibility
from proffer.engine.explain import Notes
from proffer.engine.inputs import Inputs
from proffer.engine.ranking import Scored, in_order, number_of
from proffer.engine.scopes import resolve
from proffer.engine.scoring import Scores
from proffer.engine.snapshot import Candidate, PlayableCriterion, PlayableScope, Snapshot
from proffer.model.content import Component, in_language
from proffer.model.outcome import (
    DecisionOutcome,
    FallbackChoice,
    OfferChoice,
    Proposition,
    UnknownScope,
)
from proffer.model.trace import ScopeTrace, Stage
from proffer.pql import Environment

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def decide(snapshot: Snapshot, inputs: Inputs, *, explain: bool = False) -> DecisionOutcome:
    """Answer every scope of the request. With `explain`, the outcome carries a trace of every candidate."""
    run = _Run(inputs)
    answers: list[Proposition | UnknownScope] = []
    traces: list[ScopeTrace] = []
    for asked in inputs.request.scopes:
        scope = resolve(snapshot, asked, inputs.now_us)
        if isinstance(scope, UnknownScope):
            answers.append(scope)
            traces.append(
                ScopeTrace(
                    decision=scope.decision,
                    placement=scope.placement,
                    seed=inputs.seed,
                    candidates=(),
                )
            )
            continue
        notes = Notes() if explain else None
        answers.append(run.answer(scope, asked.item_count, notes))
        if notes is not None:
            traces.append(notes.close(scope, inputs.seed))
    return DecisionOutcome(
        scopes=tuple(answers),
        ineligible=len(run.ineligible),
        faults=run.scores.faults,
        content_faults=run.contents.faults,
        trace=tuple(traces) if explain else None,
    )


class _Run:
    """One request on its way through the scopes: what it knows, and what it has given away so far."""

    __slots__ = (
        "caps",
        "contents",
        "eligibility",
        "ineligible",
        "languages",
        "now_us",
        "proposed",
        "scores",
        "seed",
    )

    def __init__(self, inputs: Inputs) -> None:
        self.now_us = inputs.now_us
        self.seed = number_of(inputs.seed)
        self.languages = inputs.request.languages
        event = inputs.request.event
        environment = Environment(
            profile=inputs.profile.attributes,
            now=_EPOCH + timedelta(microseconds=inputs.now_us),
            context=inputs.request.context,
            # What the request says of the moment comes before what is kept of the past.
            events=inputs.profile.events if event is None else event,
        )
        self.eligibility = Eligibility(environment)
        self.scores = Scores(environment)
        self.contents = Contents(environment)
        self.caps = Caps(inputs.usage)
        self.proposed = Proposed(inputs.request)
        self.ineligible: set[str] = set()

    def answer(self, scope: PlayableScope, wanted: int, notes: Notes | None) -> Proposition:
        """Options, best first and at most `wanted`, or the fallback when there is none."""
        options = self._options(scope, wanted, notes)
        for option in options:
            self.proposed.enter(option.offer.id, scope)
        self.caps.give((option.offer for option in options), scope.placement.id)
        fallback = None
        if not options:
            fallback = FallbackChoice(offer=scope.fallback, component=self._fallback_content(scope))
        return Proposition(
            decision=scope.decision,
            placement=scope.placement,
            options=tuple(options),
            fallback=fallback,
        )

    def _fallback_content(self, scope: PlayableScope) -> Component | None:
        """What the fallback offer shows; None only where it cannot be made and has no default."""
        component = in_language(scope.fallback_components, self.languages)
        if not isinstance(component, Templated):
            return component
        made = self.contents.made(component, scope.fallback)
        return made if isinstance(made, Component) else None

    def _options(self, scope: PlayableScope, wanted: int, notes: Notes | None) -> list[OfferChoice]:
        options: list[OfferChoice] = []
        ranked: set[str] = set()
        unfit: set[str] = set()
        fit: set[str] = set()
        ineligible: set[str] = set()
        rank = 0
        for group in scope.groups:
            enough = rank >= wanted
            if enough and notes is None:
                break
            self.scores.counting = not enough
            survivors = self._survivors(scope, group, ranked, unfit, fit, notes)
            ranked |= survivors.keys()
            if not enough:  # what is looked at for the trace alone is not counted
                ineligible = unfit - fit - ranked
            for scored in in_order(survivors.values(), self.seed):
                component = self._admitted(scope, scored, notes)
                if component is None:
                    continue
                rank += 1
                offer = scored.candidate.playable.offer
                if rank <= wanted:
                    score = scored.score if scored.shown else None
                    formula = scored.candidate.formula
                    options.append(
                        OfferChoice(
                            offer=offer,
                            component=component,
                            score=score,
                            formula=None if formula is None else formula.id,
                        )
                    )
                if notes is not None:
                    notes.ranked(offer, rank, scored.score, _why(rank, wanted, scored))
                elif rank >= wanted:
                    break
        self.ineligible |= ineligible
        return options

    def _survivors(
        self,
        scope: PlayableScope,
        group: tuple[PlayableCriterion, ...],
        ranked: set[str],
        unfit: set[str],
        fit: set[str],
        notes: Notes | None,
    ) -> dict[str, Scored]:
        """The offers of a group that are in play and not `ranked` yet, each with its best score."""
        best: dict[str, Scored] = {}
        for criterion in group:
            if notes is not None:
                for barred in criterion.barred:
                    notes.left(barred.offer, barred.stage, barred.reason)
            for candidate in self._eligible(scope, criterion, unfit, fit, notes):
                offer = candidate.playable.offer
                if offer.id in ranked:
                    continue
                scored = Scored(candidate, self.scores.of(candidate), candidate.formula is not None)
                before = best.get(offer.id)
                if before is None or scored.score > before.score:
                    best[offer.id] = scored
        return best

    def _eligible(
        self,
        scope: PlayableScope,
        criterion: PlayableCriterion,
        unfit: set[str],
        fit: set[str],
        notes: Notes | None,
    ) -> list[Candidate]:
        """The candidates of one criterion that pass calendar, constraints and caps.

        Enters into `unfit` those whose constraints do not hold, and into `fit` those whose constraints
        hold though a cap keeps them out: an offer that is both, by different criteria, is not ineligible.
        """
        now, holds = self.now_us, self.eligibility.holds
        constraint = criterion.constraint
        by_offer = constraint is not None and constraint.per_offer
        meant = by_offer or holds(constraint)
        placement = scope.placement.id
        kept: list[Candidate] = []
        for candidate in criterion.candidates:
            playable = candidate.playable
            offer = playable.offer
            if now not in offer.window:
                if notes is not None:
                    early = offer.window.is_before(now)
                    reason = "has not started" if early else "has ended"
                    notes.left(offer, Stage.CALENDAR, f"the offer {reason}")
            elif not meant or (by_offer and not holds(constraint, offer)):
                unfit.add(offer.id)
                if notes is not None and constraint is not None:
                    reason = self.eligibility.why_not(constraint, offer)
                    notes.left(offer, Stage.CRITERION, reason)
            elif playable.constraint is not None and not holds(playable.constraint, offer):
                unfit.add(offer.id)
                if notes is not None:
                    reason = self.eligibility.why_not(playable.constraint, offer)
                    notes.left(offer, Stage.ELIGIBILITY, reason)
            elif offer.caps and (limit := self.caps.spent(offer, placement)) is not None:
                fit.add(offer.id)
                if notes is not None:
                    notes.left(offer, Stage.CAPPING, self.caps.why(limit, offer.id, placement))
            else:
                kept.append(candidate)
        return kept

    def _admitted(
        self, scope: PlayableScope, scored: Scored, notes: Notes | None
    ) -> Component | None:
        """The component to show, unless dedup or a lack of content keeps the offer out."""
        offer = scored.candidate.playable.offer
        clash = self.proposed.clash(offer.id, scope)
        if clash is not None:
            if notes is not None:
                where = f"`{clash.decision.name}` in `{clash.placement.name}`"
                notes.left(offer, Stage.DEDUP, f"already proposed by decision {where}")
            return None
        component = in_language(scored.candidate.components, self.languages)
        if component is None:
            reason = (
                f"its representation has no content that placement `{scope.placement.name}` takes"
            )
        elif not isinstance(component, Templated):
            return component
        else:
            made = self.contents.made(component, offer)
            if isinstance(made, Component):
                return made
            reason = made
        if notes is not None:
            notes.left(offer, Stage.CONTENT, reason)
        return None


def _why(rank: int, wanted: int, scored: Scored) -> str:
    beyond = f"; only {wanted} asked for" if rank > wanted else ""
    formula = scored.candidate.formula
    by = f"priority {scored.score}"
    if formula is not None:
        by = f"formula `{formula.name}` = {scored.score}"
    return f"rank {rank}, by {by}{beyond}"
