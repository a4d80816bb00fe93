"""Naive reference implementation of decisions: property tests compare the engine with it.

It has no index, no precomputation and no caches: each step scans the whole library. Outcomes and trace
reasons must be equal.

A scope is decided in four steps (`_Scope.propose`):

1. take the criteria that name the placement, in groups of equal priority, highest first;
2. in each group, check every offer of its criteria (`failures`); it is eligible if it passes all checks
   of at least one criterion;
3. order the offers that no earlier group had: by score, then priority, then tie key;
4. of these, take those that no earlier scope was given and that have content for the placement, up to
   the requested number; if there are none, the fallback offer.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import structs

from proffer.engine.index.tie_break import hash64, tie_key
from proffer.engine.inputs import Inputs
from proffer.model.capping import CapEntity, CapKey, CapLimit, CapScope
from proffer.model.collection import Collection
from proffer.model.constraint import AudienceRef, Constraint, ConstraintType, NamedAudience, audience_ids
from proffer.model.content import Component, component_in_language
from proffer.model.decision import Criterion, Decision
from proffer.model.events import DROPPED_STAGES, records_dropped
from proffer.model.lifecycle import DecisionStatus, OfferStatus
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.outcome import (
    DecisionOutcome,
    FallbackChoice,
    OfferChoice,
    Proposition,
    UnknownScope,
)
from proffer.model.parse import Entity
from proffer.model.placement import Placement
from proffer.model.ranking import RankingFormula, RankingType
from proffer.model.request import ScopeRequest
from proffer.model.rule import EligibilityRule
from proffer.model.trace import (
    STAGE_ORDER,
    AudienceName,
    CapReason,
    EarlierScope,
    NamedRef,
    RankedBy,
    ScopeTrace,
    Stage,
    Verdict,
    Why,
    WindowReason,
)
from proffer.pql import (
    CompiledFormula,
    CompiledRule,
    Environment,
    compile_formula,
    compile_rule,
)
from proffer.pql.index.rule_tests import RuleFailures, RuleTestEvaluator, rule_tests

StageReason = tuple[Stage, Why]
"""The stage at which an offer was excluded, and the reason."""

INELIGIBLE_STAGES = frozenset({Stage.CRITERION, Stage.ELIGIBILITY})


class Oracle:
    """Naive decision engine over a library; `entities` are its objects by canonical id."""

    def __init__(self, entities: Mapping[str, Entity]) -> None:
        self.entities = entities
        self.audience_ids = audience_ids(
            audience for audience in entities.values() if isinstance(audience, NamedAudience)
        )
        # Compiling is the only precomputation.
        self.compiled = {
            key: compile_rule(rule.condition, roots={"profile", "xEvent", "offer", *rule.roots}, name=rule.name)
            for key, rule in entities.items()
            if isinstance(rule, EligibilityRule)
        }
        self.formulas = {
            key: compile_formula(
                formula.expression,
                roots={"profile", "xEvent", "offer", *formula.roots},
                name=formula.name,
            )
            for key, formula in entities.items()
            if isinstance(formula, RankingFormula)
        }

    def decide(self, inputs: Inputs, *, explain: bool = False) -> DecisionOutcome:
        """Decide every scope of the request, in its order."""
        request = _Request(self, inputs)
        scope_results: list[Proposition | UnknownScope] = []
        traces: list[ScopeTrace] = []
        ineligible: set[str] = set()
        for scope_request in inputs.request.scopes:
            scope = self.scope(scope_request, request)
            verdicts: tuple[Verdict, ...] = ()
            if isinstance(scope, _Scope):
                proposition = scope.propose()
                ineligible |= scope.ineligible
                verdicts = scope.verdicts()
                request.proposed += [(option.offer, scope) for option in proposition.options]
                scope_results.append(proposition)
            else:
                scope_results.append(
                    UnknownScope(
                        decision=scope_request.decision,
                        placement=scope_request.placement,
                        reason=scope,
                    )
                )
            traces.append(
                ScopeTrace(
                    decision=scope_request.decision,
                    placement=scope_request.placement,
                    seed=inputs.seed,
                    candidates=verdicts,
                )
            )
        return DecisionOutcome(
            scopes=tuple(scope_results),
            ineligible=len(ineligible),
            formula_errors=request.faults,
            thresholds=request.claimed_thresholds(),
            trace=tuple(traces) if explain else None,
        )

    def scope(self, scope_request: ScopeRequest, request: "_Request") -> "_Scope | str":
        """Return the scope, or the reason for its absence (R8)."""
        decision = self.entities.get(scope_request.decision)
        if not isinstance(decision, Decision):
            return f"there is no decision `{scope_request.decision}`"
        name = f"decision `{decision.name}`"
        if decision.status is not DecisionStatus.LIVE:
            return f"{name} is {decision.status}, not live"
        fallback = self.entities.get(decision.fallback)
        if not isinstance(fallback, FallbackOffer):
            return f"{name} has no fallback offer"
        start, end = decision.window.start_us, decision.window.end_us
        if start is not None and request.now_us < start:
            return f"{name} has not started"
        if end is not None and request.now_us > end:
            return f"{name} has ended"
        placement = self.entities.get(scope_request.placement)
        if not isinstance(placement, Placement):
            return f"there is no placement `{scope_request.placement}`"
        if not any(placement.id in criterion.placements for criterion in decision.criteria):
            return f"{name} does not use placement `{scope_request.placement}`"
        return _Scope(request, decision, placement, fallback, scope_request.item_count)

    def members(self, criterion: Criterion) -> list[PersonalizedOffer]:
        """Return the offers of a criterion's source."""
        collection = self.entities.get(criterion.collection or "")
        return [
            offer
            for offer in self.entities.values()
            if isinstance(offer, PersonalizedOffer)
            and (
                offer.id in criterion.options
                if criterion.collection is None
                else isinstance(collection, Collection) and collection.has(offer.id, offer.tags)
            )
        ]


class _Request:
    """State shared by all scopes of one request: inputs, and offers proposed so far."""

    def __init__(self, oracle: Oracle, inputs: Inputs) -> None:
        self.oracle = oracle
        self.inputs = inputs
        self.now_us = inputs.now_us
        self.proposed: list[tuple[PersonalizedOffer, _Scope]] = []
        self.faults: dict[str, int] = {}

    def environment(self, offer: PersonalizedOffer) -> Environment:
        event = self.inputs.request.event
        return Environment(
            profile=self.inputs.profile.attributes,
            offer=offer.attributes,
            events=self.inputs.profile.events if event is None else event,
            now=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self.now_us),
            context=self.inputs.request.context,
            audience_ids=self.oracle.audience_ids,
        )

    # scoring

    def score(
        self, criterion: Criterion, offer: PersonalizedOffer, *, count_faults: bool
    ) -> tuple[float, RankingFormula | None]:
        """Score by the criterion's formula, the offer's own, or priority (R18)."""
        for ranking in (criterion.ranking, offer.ranking):
            formula = self.oracle.entities.get(ranking.reference or "")
            if ranking.type is RankingType.PRIORITY or not isinstance(formula, RankingFormula):
                continue
            compiled = self.oracle.formulas[formula.id]
            if not isinstance(compiled, CompiledFormula):
                return offer.priority, formula
            score = compiled.score(self.environment(offer))
            if score is None and count_faults:
                self.faults[formula.id] = self.faults.get(formula.id, 0) + 1
            return offer.priority if score is None else score, formula
        return offer.priority, None

    # limits

    def maximum(self, cap: CapLimit, offer: PersonalizedOffer) -> int | None:
        """Return the maximum of a limit; None if its threshold gives no whole number."""
        if cap.threshold is None:
            return cap.limit
        compiled = compile_formula(cap.threshold, roots={"profile", "offer"})
        score = compiled.score(self.environment(offer)) if isinstance(compiled, CompiledFormula) else None
        return int(score) if score is not None and score >= 0 and score % 1 == 0 else None

    def claimed_thresholds(self) -> dict[CapKey, int]:
        return {
            cap.counter_key(offer.id, scope.placement.id): maximum
            for offer, scope in self.proposed
            for cap in offer.caps
            if cap.threshold is not None
            and self.now_us in cap.window
            and cap.counts_in(scope.placement.id)
            and (maximum := self.maximum(cap, offer)) is not None
        }

    # eligibility

    def constraint_failure(self, constraint: Constraint, offer: PersonalizedOffer) -> Why | None:
        """Return why the constraint does not hold for this profile and offer; None if it does."""
        match constraint.type:
            case ConstraintType.NONE:
                return None
            case ConstraintType.RULE | ConstraintType.RULES:
                return self.rules_failure(constraint.rules, offer)
            case ConstraintType.ANY_AUDIENCE:
                if any(self.is_member(audience) for audience in constraint.audiences):
                    return None
                return self.not_in(constraint.audiences)
            case ConstraintType.ALL_AUDIENCES:
                for audience in constraint.audiences:
                    if not self.is_member(audience):
                        return self.not_in((audience,))
                return None if constraint.audiences else self.not_in(())

    def not_in(self, audiences: Sequence[AudienceRef]) -> Why:
        if not audiences:
            return Why(problem="the constraint has no rules or audiences")
        return Why(audiences=tuple(AudienceName(audience.namespace, audience.id) for audience in audiences))

    def rules_failure(self, rules: Sequence[str], offer: PersonalizedOffer) -> Why | None:
        for key in rules:
            if key not in self.oracle.compiled:
                return Why(NamedRef(key, key), problem="is not in the library")
        failing = [why for key in rules if (why := self.rule_failure(key, offer)) is not None]
        if failing:
            return structs.replace(failing[0], others=tuple(failing[1:]))
        return None if rules else self.not_in(())

    def rule_failure(self, key: str, offer: PersonalizedOffer) -> Why | None:
        """Return why a rule does not hold, by evaluating each of its tests."""
        rule, compiled = self.oracle.entities[key], self.oracle.compiled[key]
        named = NamedRef(key, rule.name)
        if not isinstance(compiled, CompiledRule):
            return Why(named, problem=f"does not compile and counts as false: {compiled.diagnostics[0].message}")
        if compiled.holds(self.environment(offer)):
            return None
        evaluator = RuleTestEvaluator(self.environment(offer))
        return Why(named, RuleFailures(rule_tests(compiled.checked, compiled.text), evaluator))

    def is_member(self, audience: AudienceRef) -> bool:
        """Return whether the membership is realized (the default status) or existing."""
        namespaces = _get(self.inputs.profile.attributes, "segmentMembership")
        membership = _get(_get(namespaces, audience.namespace), audience.id)
        if not isinstance(membership, Mapping):
            return False
        return membership.get("status", "realized") in ("realized", "existing")


def uncounted(outcome: DecisionOutcome) -> DecisionOutcome:
    """Return the outcome without the thresholds that failed: how many are evaluated depends on the order."""
    return structs.replace(outcome, threshold_errors={})


@dataclass(frozen=True)
class _ScoredOffer:
    """An eligible offer, its score, and the formula; without one, the score is the priority."""

    offer: PersonalizedOffer
    score: float
    formula: RankingFormula | None
    criterion: int


@dataclass
class _Scope:
    """One decision in one placement, with the state of its evaluation."""

    request: _Request
    decision: Decision
    placement: Placement
    fallback: FallbackOffer
    item_count: int
    exclusions: dict[str, list[StageReason]] = field(default_factory=dict)
    ranked: list[_ScoredOffer] = field(default_factory=list)
    ineligible: set[str] = field(default_factory=set)

    def propose(self) -> Proposition:
        seen: set[str] = set()
        without_content, dropped = 0, (0,) * len(DROPPED_STAGES)
        for group in self.groups():
            is_full = len(self.ranked) >= self.item_count
            for scored in self.rank(self.eligible_offers(group, seen, count_faults=not is_full)):
                is_needed = len(self.ranked) < self.item_count
                without_content += self.admit(scored) is Stage.CONTENT and is_needed
                seen.add(scored.offer.id)
            if not is_full:  # later groups are evaluated for the trace only
                excluded = self.exclusions.keys() - {scored.offer.id for scored in self.ranked}
                stages = Counter(self.farthest_exclusion(key)[0] for key in excluded)
                dropped = (*(stages[stage] for stage in DROPPED_STAGES[:-1]), without_content)
                self.ineligible = {
                    key for key in self.exclusions if self.farthest_exclusion(key)[0] in INELIGIBLE_STAGES
                }
                self.ineligible -= {scored.offer.id for scored in self.ranked}
        options = tuple(
            OfferChoice(
                offer=scored.offer,
                component=component,
                score=scored.score if scored.formula is not None else None,
                formula=scored.formula.id if scored.formula is not None else None,
                criterion=scored.criterion,
            )
            for scored in self.ranked[: self.item_count]
            if (component := self.component(scored.offer)) is not None
        )
        return Proposition(
            decision=self.decision,
            placement=self.placement,
            options=options,
            fallback=None if options else FallbackChoice(offer=self.fallback, component=self.component(self.fallback)),
            dropped=dropped if records_dropped(self.request.inputs.seed) else (),
        )

    def groups(self) -> Iterator[list[Criterion]]:
        """Yield this placement's criteria in groups of equal priority, highest first."""
        criteria = [criterion for criterion in self.decision.criteria if self.placement.id in criterion.placements]
        for priority in sorted({criterion.priority for criterion in criteria}, reverse=True):
            yield [criterion for criterion in criteria if criterion.priority == priority]

    def eligible_offers(
        self, group: Iterable[Criterion], seen: set[str], *, count_faults: bool
    ) -> dict[str, "_ScoredOffer"]:
        """Return a group's eligible offers with best scores, except those in `seen`."""
        best_by_id: dict[str, _ScoredOffer] = {}
        for criterion in group:
            for offer in self.request.oracle.members(criterion):
                failure = next(self.failures(criterion, offer), None)
                if failure is not None:
                    self.add_exclusion(offer, *failure)
                elif offer.id not in seen:
                    score, formula = self.request.score(criterion, offer, count_faults=count_faults)
                    place = next(i for i, other in enumerate(self.decision.criteria) if other is criterion)
                    scored = _ScoredOffer(offer, score, formula, place)
                    if offer.id not in best_by_id or scored.score > best_by_id[offer.id].score:
                        best_by_id[offer.id] = scored
        return best_by_id

    def failures(self, criterion: Criterion, offer: PersonalizedOffer) -> Iterator[StageReason]:
        """Yield every failed check of an offer, in order of stage."""
        start, end = offer.window.start_us, offer.window.end_us
        if offer.status is not OfferStatus.APPROVED:
            yield Stage.STATUS, Why(problem=f"the offer is {offer.status}, not approved")
        if self.placement.id not in offer.representations:
            yield Stage.PLACEMENT, Why(problem=f"no representation for placement `{self.placement.name}`")
        if start is not None and self.request.now_us < start:
            yield Stage.CALENDAR, Why(window=WindowReason(offer.window, is_over=False))
        if end is not None and self.request.now_us > end:
            yield Stage.CALENDAR, Why(window=WindowReason(offer.window, is_over=True))
        if (failure := self.request.constraint_failure(criterion.constraint, offer)) is not None:
            yield Stage.CRITERION, failure
        if (failure := self.request.constraint_failure(offer.constraint, offer)) is not None:
            yield Stage.ELIGIBILITY, failure
        for cap in offer.caps:
            if self.request.now_us in cap.window and (not cap.placements or self.placement.id in cap.placements):
                used, maximum = self.used_count(cap, offer), self.request.maximum(cap, offer)
                if maximum is None:
                    problem = f"the threshold of cap `{cap.name}` gives no whole number of at least 0"
                    yield Stage.CAPPING, Why(problem=problem)
                elif used >= maximum:
                    per = "profile" if cap.scope is CapScope.PROFILE else "total"
                    resets_us = cap.repeat.end(0, self.request.now_us) if cap.repeat and cap.repeat.count == 1 else None
                    yield Stage.CAPPING, Why(cap=CapReason(cap.name, maximum, used, per, resets_us))

    def used_count(self, cap: CapLimit, offer: PersonalizedOffer) -> int:
        """Return the stored count of a limit plus that of this request."""
        per_placement = cap.entity is CapEntity.PLACEMENT
        key = (offer.id, cap.name, self.placement.id if per_placement else "")
        scopes = [
            scope
            for offer_given, scope in self.request.proposed
            if offer_given.id == offer.id
            and "decisioning" in cap.events
            and (not cap.placements or scope.placement.id in cap.placements)
            and (not per_placement or scope.placement.id == self.placement.id)
        ]
        return self.request.inputs.usage.counts.get(key, 0) + len(scopes)

    def rank(self, scored_by_id: Mapping[str, "_ScoredOffer"]) -> list["_ScoredOffer"]:
        """Sort by score and priority, highest first, then tie key (R17)."""
        seed = hash64(self.request.inputs.seed)
        tie_keys = {key: tie_key(seed, hash64(key)) for key in scored_by_id}
        return sorted(
            scored_by_id.values(),
            key=lambda scored: (
                -scored.score,
                -scored.offer.priority,
                tie_keys[scored.offer.id],
                scored.offer.id,
            ),
        )

    def admit(self, scored: "_ScoredOffer") -> Stage:
        """Rank an offer or exclude it; return the stage."""
        offer = scored.offer
        clash = next(
            (scope for earlier, scope in self.request.proposed if self.is_clash(offer, earlier, scope)),
            None,
        )
        if clash is not None:
            decision, placement = (NamedRef(item.public_id, item.name) for item in (clash.decision, clash.placement))
            self.add_exclusion(offer, Stage.DEDUP, Why(by=EarlierScope(decision, placement)))
            return Stage.DEDUP
        if self.component(offer) is None:
            problem = f"the representation has no content of the type of placement `{self.placement.name}`"
            self.add_exclusion(offer, Stage.CONTENT, Why(problem=problem))
            return Stage.CONTENT
        self.ranked.append(scored)
        return Stage.RANKED

    def is_clash(self, offer: PersonalizedOffer, earlier: PersonalizedOffer, scope: "_Scope") -> bool:
        """Return whether the offer may not repeat a scope's offer (spec 4.5)."""
        other_decision = scope.decision.id != self.decision.id
        other_placement = scope.placement.id != self.placement.id
        request = self.request.inputs.request
        if other_decision and not other_placement:
            allowed = request.across_decisions
        elif other_placement and not other_decision:
            allowed = request.across_placements
        else:
            allowed = request.across_decisions and request.across_placements
        return earlier.id == offer.id and not allowed

    def component(self, offer: PersonalizedOffer | FallbackOffer) -> Component | None:
        """Return the content for the placement in a requested language, or None."""
        representation = offer.representations.get(self.placement.id)
        components = representation.components if representation is not None else ()
        accepted = [candidate for candidate in components if self.placement.accepts(candidate.type)]
        return component_in_language(accepted, self.request.inputs.request.languages)

    # the trace

    def add_exclusion(self, offer: PersonalizedOffer, stage: Stage, why: Why) -> None:
        self.exclusions.setdefault(offer.id, []).append((stage, why))

    def farthest_exclusion(self, key: str) -> StageReason:
        """Return the exclusion at the latest stage; of two at one stage, the first."""
        return max(self.exclusions[key], key=lambda exclusion: STAGE_ORDER[exclusion[0]])

    def verdicts(self) -> tuple[Verdict, ...]:
        """Return the verdicts: ranked offers in order, then the rest by stage, name and id."""
        ranked = [
            Verdict(
                id=scored.offer.id,
                name=scored.offer.name,
                stage=Stage.RANKED,
                why=Why(by=RankedBy(scored.formula, self.item_count)),
                rank=rank,
                score=scored.score,
            )
            for rank, scored in enumerate(self.ranked, 1)
        ]
        ranked_ids = {scored.offer.id for scored in self.ranked}
        excluded = [
            Verdict(id=key, name=self.request.oracle.entities[key].name, stage=stage, why=why)
            for key in self.exclusions
            if key not in ranked_ids
            for stage, why in [self.farthest_exclusion(key)]
        ]
        excluded.sort(key=lambda verdict: (STAGE_ORDER[verdict.stage], verdict.name, verdict.id))
        return (*ranked, *excluded)


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None
