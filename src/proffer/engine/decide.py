"""The decision function: scopes in the order of the request, criteria group by group.

`decide` is pure: it uses no clock, store, settings or randomness. The stages for one scope:

    candidates   approved offers of the criterion's collection with a representation for the placement
    calendar     offers whose dates include the time of the request
    criterion    the criterion's constraint holds for the profile
    eligibility  the offer's own constraint holds for the profile
    capping      no limit of the offer is exhausted
    ranking      best first; offers of a later group never precede those of an earlier one
    dedup        no earlier scope was given the offer, unless duplicates are allowed
    content      there is content of the placement's kind, and it can be rendered

If no offer is left, the scope gets the fallback offer (spec 7.1, 10.1, 10.2).
"""

from collections.abc import Iterator

from proffer.engine.capping import Caps
from proffer.engine.content import Contents, Templated
from proffer.engine.dedup import Proposed
from proffer.engine.eligibility import Eligibility
from proffer.engine.index.bitset import Bits, without
from proffer.engine.index.pool import Drawn
from proffer.engine.index.tie_break import number_of
from proffer.engine.ineligible import Ineligible
from proffer.engine.inputs import Inputs
from proffer.engine.ranking import Best, Scored, in_order
from proffer.engine.scopes import resolve
from proffer.engine.scoring import Scores
from proffer.engine.snapshot import PlayableCriterion, PlayableScope, Snapshot
from proffer.engine.trace import Notes
from proffer.model.content import Component, in_language
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.outcome import (
    DecisionOutcome,
    FallbackChoice,
    OfferChoice,
    Proposition,
    UnknownScope,
)
from proffer.model.trace import ScopeTrace, Stage
from proffer.pql import Environment


def decide(snapshot: Snapshot, inputs: Inputs, *, explain: bool = False) -> DecisionOutcome:
    """Decide every scope of the request; with `explain`, trace every candidate."""
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
        ineligible=run.ineligible.count(),
        faults={} if run.scores is None else run.scores.faults,
        content_faults={} if run.contents is None else run.contents.faults,
        trace=tuple(traces) if explain else None,
    )


class _Run:
    """State of one request while its scopes are decided.

    `duplicate_filter` is None for a request with one scope. `scorer` and `renderer` are created when
    the first formula is evaluated or the first template rendered.
    """

    __slots__ = (
        "caps",
        "contents",
        "drawn",
        "eligibility",
        "environment",
        "ineligible",
        "languages",
        "now_us",
        "proposed",
        "scores",
        "seed",
    )

    def __init__(self, inputs: Inputs) -> None:
        request = inputs.request
        event = request.event
        self.now_us = inputs.now_us
        self.seed = number_of(inputs.seed)
        self.languages = request.languages
        # An event in the request takes precedence over the stored events.
        self.environment = Environment(
            inputs.profile.attributes,
            inputs.now_us,
            request.context,
            inputs.profile.events if event is None else event,
        )
        self.eligibility = Eligibility(self.environment)
        self.scores: Scores | None = None
        self.contents: Contents | None = None
        self.caps = Caps(inputs.usage)
        several = len(request.scopes) > 1
        self.proposed = Proposed(request) if several else None
        self.drawn: Drawn | None = {} if several else None
        self.ineligible = Ineligible()

    def answer(self, scope: PlayableScope, wanted: int, notes: Notes | None) -> Proposition:
        """Return at most `item_count` options, best first, or the fallback."""
        options, positions = self._options(scope, wanted, notes)
        if self.proposed is not None:
            self.proposed.enter([option.offer.id for option in options], scope, positions)
            self.caps.give([option.offer for option in options], scope.placement.id)
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
        """Return the content of the fallback offer; None if it cannot be rendered and has no default."""
        component = in_language(scope.fallback_components, self.languages)
        if not isinstance(component, Templated):
            return component
        made = self._made(component, scope.fallback, count_faults=True)
        return made if isinstance(made, Component) else None

    def _made(
        self, component: Templated, offer: PersonalizedOffer | FallbackOffer, *, count_faults: bool
    ) -> Component | str:
        """Return the rendered component, or the reason for its absence."""
        if self.contents is None:
            self.contents = Contents(self.environment)
        return self.contents.made(component, offer, count_faults=count_faults)

    def _options(
        self, scope: PlayableScope, wanted: int, notes: Notes | None
    ) -> tuple[list[OfferChoice], Bits]:
        """Return the options and the bitset of their positions."""
        options: list[OfferChoice] = []
        positions: Bits = 0
        rank = 0
        entered, unfit, fit = 0, 0, 0
        in_date = scope.pool.calendar.at(self.now_us)
        for group in scope.groups:
            enough = rank >= wanted
            if enough and notes is None:
                break
            for_this_group: list[tuple[PlayableCriterion, Bits]] = []
            for criterion in group:
                candidates = criterion.among & in_date
                eligible = self._eligible(scope, criterion, candidates)
                fresh = without(eligible, entered) if entered else eligible
                for_this_group.append((criterion, fresh))
                if not enough:  # groups evaluated only for the trace do not count
                    unfit |= candidates ^ eligible
                    fit |= eligible
                if notes is not None:
                    notes.criterion(scope, criterion, self.now_us, self.eligibility, self.caps)
            for scored in self._best_first(scope, for_this_group, notes, count_faults=not enough):
                component = self._admitted(scope, scored, notes, count_faults=rank < wanted)
                if component is None:
                    continue
                rank += 1
                offer, formula = scored.candidate.playable.offer, scored.formula
                if rank <= wanted:
                    positions |= 1 << scored.position
                    options.append(
                        OfferChoice(
                            offer=offer,
                            component=component,
                            score=None if formula is None else scored.score,
                            formula=None if formula is None else formula.id,
                        )
                    )
                if notes is not None:
                    notes.ranked(offer, rank, scored.score, _why(rank, wanted, scored))
                elif rank >= wanted:
                    break
            for _, eligible in for_this_group:
                entered |= eligible
        # An offer that is eligible under any criterion is not ineligible.
        self.ineligible.enter(scope.pool, without(unfit, fit))
        return options, positions

    def _eligible(self, scope: PlayableScope, criterion: PlayableCriterion, in_date: Bits) -> Bits:
        """Return the candidates for which the criterion's and their own constraints hold."""
        if criterion.constraint is not None:
            in_date = self.eligibility.meant(criterion.constraint, scope.pool, in_date)
        return self.eligibility.among(scope.pool, in_date)

    def _best_first(
        self,
        scope: PlayableScope,
        group: list[tuple[PlayableCriterion, Bits]],
        notes: Notes | None,
        *,
        count_faults: bool,
    ) -> Iterator[Scored]:
        """Yield the offers of a group within their limits, best first.

        With `count_faults`, formulas that return no number are counted.
        """
        together = 0
        for criterion, eligible in group:
            if criterion.scored:
                return self._by_score(scope, group, count_faults=count_faults)
            together |= eligible
        if notes is None and self.proposed is not None:  # a trace needs the reason for each offer
            together = without(together, self.proposed.taken(scope))
        return self._by_priority(scope, together, all_of_them=notes is not None)

    def _by_priority(
        self, scope: PlayableScope, offers: Bits, *, all_of_them: bool
    ) -> Iterator[Scored]:
        stand, capped = scope.stand, scope.pool.capped & offers
        for position in scope.pool.best_first(
            offers, self.seed, all_of_them=all_of_them, drawn=self.drawn
        ):
            candidate = stand[position]
            if candidate is None or (capped >> position & 1 and self._is_spent(scope, position)):
                continue
            yield Scored(candidate, candidate.playable.offer.priority, None, position)

    def _by_score(
        self,
        scope: PlayableScope,
        group: list[tuple[PlayableCriterion, Bits]],
        *,
        count_faults: bool,
    ) -> Iterator[Scored]:
        """Yield the offers of a group within their limits, by score."""
        scores = self.scores
        if scores is None:
            scores = self.scores = Scores(self.environment)
        best = Best()
        for criterion, eligible in group:
            alive = self._within_limits(scope, eligible)
            for table in criterion.tables:
                positions = scope.pool.positions(alive & table.offers)
                alive &= ~table.offers
                best.enter(
                    positions, scores.of(table, positions, count_faults=count_faults), table.formula
                )
            _without_asking(scope, criterion, alive, best)
        for position, score in in_order(scope.pool, *best.listed(), self.seed):
            candidate = scope.stand[position]
            if candidate is not None:
                yield Scored(candidate, score, best.formula_of(position), position)

    def _within_limits(self, scope: PlayableScope, offers: Bits) -> Bits:
        """Return the offers that have no exhausted limit in the placement."""
        capped = offers & scope.pool.capped
        spent = [at for at in scope.pool.positions(capped) if self._is_spent(scope, at)]
        return scope.pool.without(offers, spent)

    def _is_spent(self, scope: PlayableScope, position: int) -> bool:
        """Return whether the offer has an exhausted limit in the placement."""
        return self.caps.spent(scope.pool.offers[position].offer, scope.placement.id) is not None

    def _admitted(
        self, scope: PlayableScope, scored: Scored, notes: Notes | None, *, count_faults: bool
    ) -> Component | None:
        """Return the component to show; None if the offer is a duplicate or has no content."""
        offer = scored.candidate.playable.offer
        clash = None if self.proposed is None else self.proposed.clash(offer.id, scope)
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
            made = self._made(component, offer, count_faults=count_faults)
            if isinstance(made, Component):
                return made
            reason = made
        if notes is not None:
            notes.left(offer, Stage.CONTENT, reason)
        return None


def _without_asking(
    scope: PlayableScope, criterion: PlayableCriterion, offers: Bits, best: Best
) -> None:
    """Score offers by priority: they have no formula, or one that does not compile."""
    positions, priorities = scope.pool.positions(offers), scope.pool.priorities
    if criterion.formula is None:
        own: list[int] = []
        for position in positions:
            candidate = scope.stand[position]
            if candidate is not None and candidate.formula is not None:
                own.append(position)
                best.enter((position,), (priorities[position],), candidate.formula)
        if own:
            positions = scope.pool.positions(scope.pool.without(offers, own))
    if positions:
        best.enter(positions, [priorities[at] for at in positions], criterion.formula)


def _why(rank: int, wanted: int, scored: Scored) -> str:
    beyond = f"; only {wanted} asked for" if rank > wanted else ""
    formula = scored.formula
    by = f"priority {scored.score}"
    if formula is not None:
        by = f"formula `{formula.name}` = {scored.score}"
    return f"rank {rank}, by {by}{beyond}"
