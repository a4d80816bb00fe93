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

from collections import Counter
from collections.abc import Iterator, Mapping
from operator import sub

from proffer.engine.capping import CapState
from proffer.engine.content import ContentRenderer, TemplatedComponent
from proffer.engine.dedup import DuplicateFilter
from proffer.engine.eligibility import Eligibility
from proffer.engine.index.bitset import Bits, without
from proffer.engine.index.pool import TieOrderCache
from proffer.engine.index.tie_break import hash64
from proffer.engine.ineligible import IneligibleCounter
from proffer.engine.inputs import Inputs
from proffer.engine.ranking import BestScores, ScoredCandidate, order_by_score
from proffer.engine.scopes import resolve_scope
from proffer.engine.scoring import OfferScorer
from proffer.engine.snapshot import CompiledCriterion, CompiledScope, Snapshot
from proffer.engine.trace import Reasons, TraceRecorder, scope_reason
from proffer.model.content import Component, component_in_language
from proffer.model.events import records_dropped
from proffer.model.outcome import (
    DecisionOutcome,
    FallbackChoice,
    OfferChoice,
    Proposition,
    UnknownScope,
)
from proffer.model.trace import RankedBy, ScopeTrace, Stage, Why
from proffer.pql import Environment


def decide(snapshot: Snapshot, inputs: Inputs, *, explain: bool = False) -> DecisionOutcome:
    """Decide every scope of the request; with `explain`, trace every candidate."""
    run = _Run(inputs, snapshot.audience_ids)
    reasons = Reasons(run.environment) if explain else None
    scope_results: list[Proposition | UnknownScope] = []
    traces: list[ScopeTrace] = []
    for scope_request in inputs.request.scopes:
        scope = resolve_scope(snapshot, scope_request, inputs.now_us)
        if isinstance(scope, UnknownScope):
            scope_results.append(scope)
            traces.append(
                ScopeTrace(
                    decision=scope.decision,
                    placement=scope.placement,
                    seed=inputs.seed,
                    candidates=(),
                )
            )
            continue
        recorder = None if reasons is None else TraceRecorder(scope.pool, reasons)
        scope_results.append(run.decide_scope(scope, scope_request.item_count, recorder))
        if recorder is not None:
            traces.append(recorder.finish(scope, inputs.seed))
    return DecisionOutcome(
        scopes=tuple(scope_results),
        ineligible=run.ineligible.count(),
        formula_errors={} if run.scorer is None else run.scorer.faults,
        content_errors={} if run.renderer is None else run.renderer.faults,
        threshold_errors=Counter(offer for offer, _ in run.caps.faults) if run.caps.faults else {},
        thresholds=run.caps.claimed_thresholds(scope_results),
        trace=tuple(traces) if explain else None,
    )


class _Run:
    """State of one request while its scopes are decided.

    `duplicate_filter` is None for a request with one scope. `scorer` and `renderer` are created when
    the first formula is evaluated or the first template rendered.
    """

    __slots__ = (
        "caps",
        "duplicate_filter",
        "eligibility",
        "environment",
        "ineligible",
        "languages",
        "now_us",
        "records_dropped",
        "renderer",
        "scorer",
        "seed",
        "tie_orders",
    )

    def __init__(self, inputs: Inputs, audience_ids: Mapping[str, str]) -> None:
        request = inputs.request
        event = request.event
        self.now_us = inputs.now_us
        self.seed = hash64(inputs.seed)
        self.records_dropped = records_dropped(inputs.seed)
        self.languages = request.languages
        # An event in the request takes precedence over the stored events.
        self.environment = Environment(
            inputs.profile.attributes,
            inputs.now_us,
            request.context,
            inputs.profile.events if event is None else event,
            audience_ids=audience_ids,
        )
        self.eligibility = Eligibility(self.environment)
        self.scorer: OfferScorer | None = None
        self.renderer: ContentRenderer | None = None
        self.caps = CapState(inputs.usage, self.environment, inputs.now_us)
        has_several_scopes = len(request.scopes) > 1
        self.duplicate_filter = DuplicateFilter(request) if has_several_scopes else None
        self.tie_orders: TieOrderCache | None = {} if has_several_scopes else None
        self.ineligible = IneligibleCounter()

    def decide_scope(self, scope: CompiledScope, item_count: int, recorder: TraceRecorder | None) -> Proposition:
        """Return at most `item_count` options, best first, or the fallback."""
        options, positions, dropped = self._options(scope, item_count, recorder)
        if self.duplicate_filter is not None:
            self.duplicate_filter.add([option.offer.id for option in options], scope, positions)
            self.caps.count_proposed([option.offer for option in options], scope.placement.id)
        fallback = None
        if not options:
            fallback = FallbackChoice(offer=scope.fallback, component=self._fallback_content(scope))
        return Proposition(
            decision=scope.decision,
            placement=scope.placement,
            options=tuple(options),
            fallback=fallback,
            dropped=dropped,
        )

    def _fallback_content(self, scope: CompiledScope) -> Component | None:
        """Return the content of the fallback offer; None if it cannot be rendered and has no default.

        Content that should be JSON and is not is returned as it stands, and counted as a fault.
        """
        component = component_in_language(scope.fallback_components, self.languages)
        if not isinstance(component, TemplatedComponent):
            return component
        renderer = self._content_renderer()
        if not component.templates:
            renderer.count_fault(scope.fallback)
            return component
        content = renderer.render(component, scope.fallback)
        return content if isinstance(content, Component) else None

    def _content_renderer(self) -> ContentRenderer:
        if self.renderer is None:
            self.renderer = ContentRenderer(self.environment)
        return self.renderer

    def _options(
        self, scope: CompiledScope, item_count: int, recorder: TraceRecorder | None
    ) -> tuple[list[OfferChoice], Bits, tuple[int, ...]]:
        """Return the options, the bitset of their positions, and the counts of `ScopeAnswer.dropped`."""
        options: list[OfferChoice] = []
        positions: Bits = 0
        rank = 0
        seen, rejected, accepted, skipped = 0, 0, 0, 0
        decided_groups = 0
        in_date = scope.pool.calendar.open_at(self.now_us)
        for group in scope.groups:
            is_full = rank >= item_count
            if is_full and recorder is None:
                break
            decided_groups += not is_full
            group_offers: list[tuple[CompiledCriterion, Bits]] = []
            for criterion in group:
                candidates = criterion.candidate_bits & in_date
                eligible = self._eligible(scope, criterion, candidates)
                new_offers = without(eligible, seen) if seen else eligible
                group_offers.append((criterion, new_offers))
                if not is_full:  # groups evaluated only for the trace do not count
                    rejected |= candidates ^ eligible
                    accepted |= eligible
                if recorder is not None:
                    recorder.record_criterion(scope, criterion, self.now_us, self.eligibility, self.caps)
            self.caps.counts_faults = not is_full
            for scored in self._ranked(scope, group_offers, recorder, count_faults=not is_full):
                component = self._content_or_skip(scope, scored, recorder, count_faults=rank < item_count)
                if component is None:
                    if rank < item_count:
                        skipped |= 1 << scored.position
                    continue
                rank += 1
                if rank >= item_count:  # what follows is ranked for the trace
                    self.caps.counts_faults = False
                offer, formula = scored.candidate.bound_offer.offer, scored.formula
                if rank <= item_count:
                    positions |= 1 << scored.position
                    options.append(
                        OfferChoice(
                            offer=offer,
                            component=component,
                            score=None if formula is None else scored.score,
                            formula=None if formula is None else formula.id,
                            criterion=_criterion_of(group_offers, scored),
                        )
                    )
                if recorder is not None:
                    recorder.record_rank(scored.position, rank, scored.score, RankedBy(formula, item_count))
                elif rank >= item_count:
                    break
            self.caps.counts_faults = False
            for _, eligible in group_offers:
                seen |= eligible
        # An offer that is eligible under any criterion is not ineligible.
        self.ineligible.add(scope.pool, without(rejected, accepted))
        dropped = self._dropped(scope, decided_groups, skipped) if self.records_dropped else ()
        return options, positions, dropped

    def _dropped(self, scope: CompiledScope, groups: int, skipped: Bits) -> tuple[int, ...]:
        """Return the counts of `ScopeAnswer.dropped` in the first groups.

        `skipped`: offers that were ranked high enough but are duplicates or have no content.
        """
        open_offers = scope.pool.calendar.open_at(self.now_us)
        candidates, in_date, qualified, eligible = 0, 0, 0, 0
        for group in scope.groups[:groups]:
            for criterion in group:
                candidates |= criterion.candidate_bits
                offers = criterion.candidate_bits & open_offers
                in_date |= offers
                offers = self.eligibility.eligible_for_criterion(criterion.constraint, scope.pool, offers)
                qualified |= offers
                eligible |= self.eligibility.eligible(scope.pool, offers)
        within_limits = self._within_limits(scope, eligible)
        clashes, skipped_clashes = 0, 0
        if self.duplicate_filter is not None:
            clashes = self.duplicate_filter.count_clashes(scope, within_limits)
            skipped_clashes = self.duplicate_filter.count_clashes(scope, skipped)
        sizes = [offers.bit_count() for offers in (candidates, in_date, qualified, eligible, within_limits)]
        return (*map(sub, sizes, sizes[1:]), clashes, skipped.bit_count() - skipped_clashes)

    def _eligible(self, scope: CompiledScope, criterion: CompiledCriterion, in_date: Bits) -> Bits:
        """Return the candidates for which the criterion's and their own constraints hold."""
        if criterion.constraint is not None:
            in_date = self.eligibility.eligible_for_criterion(criterion.constraint, scope.pool, in_date)
        return self.eligibility.eligible(scope.pool, in_date)

    def _ranked(
        self,
        scope: CompiledScope,
        group: list[tuple[CompiledCriterion, Bits]],
        recorder: TraceRecorder | None,
        *,
        count_faults: bool,
    ) -> Iterator[ScoredCandidate]:
        """Yield the offers of a group within their limits, best first.

        With `count_faults`, formulas that return no number are counted.
        """
        combined = 0
        for criterion, eligible in group:
            if criterion.uses_formulas:
                return self._rank_by_score(scope, group, count_faults=count_faults)
            combined |= eligible
        given: Bits = 0
        if self.duplicate_filter is not None:
            given = self.duplicate_filter.already_given(scope)
            if recorder is None:  # a trace needs the reason for each offer
                combined = without(combined, given)
        return self._rank_by_priority(scope, combined, given, order_all=recorder is not None)

    def _rank_by_priority(
        self, scope: CompiledScope, offers: Bits, given: Bits, *, order_all: bool
    ) -> Iterator[ScoredCandidate]:
        """Yield the offers within their limits, by priority. Faults of offers `given` already are not counted."""
        candidates, capped = scope.candidates_by_position, scope.pool.capped & offers
        for position in scope.pool.ranked_positions(offers, self.seed, order_all=order_all, tie_orders=self.tie_orders):
            candidate = candidates[position]
            if candidate is None or (
                capped >> position & 1 and self._is_exhausted(scope, position, count_fault=not given >> position & 1)
            ):
                continue
            yield ScoredCandidate(candidate, candidate.bound_offer.offer.priority, None, position)

    def _rank_by_score(
        self,
        scope: CompiledScope,
        group: list[tuple[CompiledCriterion, Bits]],
        *,
        count_faults: bool,
    ) -> Iterator[ScoredCandidate]:
        """Yield the offers of a group within their limits, by score."""
        scorer = self.scorer
        if scorer is None:
            scorer = self.scorer = OfferScorer(self.environment)
        best_scores = BestScores()
        for criterion, eligible in group:
            remaining = self._within_limits(scope, eligible)
            for table in criterion.tables:
                positions = scope.pool.positions(remaining & table.offers)
                remaining &= ~table.offers
                best_scores.add(
                    positions,
                    scorer.score(table, positions, count_faults=count_faults),
                    table.formula,
                )
            _score_by_priority(scope, criterion, remaining, best_scores)
        for position, score in order_by_score(scope.pool, *best_scores.positions_and_scores(), self.seed):
            candidate = scope.candidates_by_position[position]
            if candidate is not None:
                yield ScoredCandidate(candidate, score, best_scores.formula_of(position), position)

    def _within_limits(self, scope: CompiledScope, offers: Bits) -> Bits:
        """Return the offers that have no exhausted limit in the placement."""
        capped = offers & scope.pool.capped
        exhausted = [position for position in scope.pool.positions(capped) if self._is_exhausted(scope, position)]
        return scope.pool.without(offers, exhausted)

    def _is_exhausted(self, scope: CompiledScope, position: int, *, count_fault: bool = True) -> bool:
        """Return whether the offer has an exhausted limit in the placement."""
        return (
            self.caps.exhausted_limit(scope.pool.offers[position], scope.placement.id, count_fault=count_fault)
            is not None
        )

    def _content_or_skip(
        self,
        scope: CompiledScope,
        scored: ScoredCandidate,
        recorder: TraceRecorder | None,
        *,
        count_faults: bool,
    ) -> Component | None:
        """Return the component to show; None if the offer is a duplicate or has no content."""
        offer = scored.candidate.bound_offer.offer
        clash = None if self.duplicate_filter is None else self.duplicate_filter.find_clash(offer.id, scope)
        if clash is not None:
            if recorder is not None:
                recorder.record_exclusion(scored.position, Stage.DEDUP, scope_reason(clash))
            return None
        component = component_in_language(scored.candidate.components, self.languages)
        if component is None:
            reason = f"the representation has no content of the type of placement `{scope.placement.name}`"
        elif not isinstance(component, TemplatedComponent):
            return component
        else:
            content = self._content_renderer().render(component, offer, count_faults=count_faults)
            if isinstance(content, Component):
                return content
            reason = content
        if recorder is not None:
            recorder.record_exclusion(scored.position, Stage.CONTENT, Why(problem=reason))
        return None


def _score_by_priority(
    scope: CompiledScope, criterion: CompiledCriterion, offers: Bits, best_scores: BestScores
) -> None:
    """Score offers by priority: they have no formula, or one that does not compile."""
    positions, priorities = scope.pool.positions(offers), scope.pool.priorities
    if criterion.formula is None:
        formula_positions: list[int] = []
        for position in positions:
            candidate = scope.candidates_by_position[position]
            if candidate is not None and candidate.formula is not None:
                formula_positions.append(position)
                best_scores.add((position,), (priorities[position],), candidate.formula)
        if formula_positions:
            positions = scope.pool.positions(scope.pool.without(offers, formula_positions))
    if positions:
        best_scores.add(positions, [priorities[index] for index in positions], criterion.formula)


def _criterion_of(group: list[tuple[CompiledCriterion, Bits]], scored: ScoredCandidate) -> int:
    """Return the place of the criterion that gave an offer its score; of several, the first."""
    if len(group) == 1:
        return group[0][0].position
    criteria = [criterion for criterion, offers in group if offers >> scored.position & 1]
    for criterion in criteria:
        if (criterion.formula or scored.candidate.formula) is scored.formula:
            return criterion.position
    return criteria[0].position
