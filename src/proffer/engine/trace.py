"""Trace of one scope: the final verdict on every candidate. Recorded only when requested.

The stages come from the bitsets of the decision, and the failing tests of rules from the predicate index:
rules are evaluated again only where the index does not answer their tests one by one.
"""

from collections.abc import Sequence
from copy import copy
from itertools import chain
from operator import attrgetter

from msgspec.structs import replace

from proffer.engine.capping import CapState
from proffer.engine.compiled import BoundConstraint, BoundRule, sort_key
from proffer.engine.eligibility import Eligibility
from proffer.engine.index.audiences import MEMBER_STATUSES, status_of
from proffer.engine.index.bitset import Bits, bits_of, flags_of, without
from proffer.engine.index.pool import Pool
from proffer.engine.index.position_map import position_of
from proffer.engine.snapshot import CompiledCriterion, CompiledScope
from proffer.model.constraint import ConstraintType
from proffer.model.offer import PersonalizedOffer
from proffer.model.trace import (
    AudienceName,
    EarlierScope,
    NamedRef,
    RankedBy,
    ScopeTrace,
    Stage,
    Verdict,
    Why,
    WindowReason,
)
from proffer.pql import Environment
from proffer.pql.index.rule_tests import NOT_INDEXED, FailuresBySubject, RuleFailures, RuleTestEvaluator


class Reasons:
    """Finds why constraints fail, for all scopes of a request."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._evaluator = RuleTestEvaluator(environment)
        self._indexed_failures: dict[Pool, tuple[bytes, FailuresBySubject]] = {}
        self._shared: dict[object, Why] = {}

    def of_offers(self, pool: Pool, positions: Sequence[int]) -> list[Why]:
        """Return why the own constraints of these offers fail."""
        covered, failing = self._failures_in(pool)
        rules, shared, evaluator = pool.single_rules, self._shared, self._evaluator
        reasons: list[Why] = []
        for position in positions:  # hot path: ten thousand offers
            rule = rules[position]
            if rule is None or rule.tests is None:
                bound_offer = pool.offers[position]
                assert bound_offer.constraint is not None
                reasons.append(self.of_constraint(bound_offer.constraint, bound_offer.offer))
                continue
            tests = rule.tests
            why = shared.get(tests)
            if why is None:
                failures = RuleFailures(tests, evaluator, failing if covered[position] else NOT_INDEXED, position)
                why = shared[tests] = Why(rule, failures)
            reasons.append(why)
        return reasons

    def of_constraint(self, constraint: BoundConstraint, offer: PersonalizedOffer) -> Why:
        """Return why a constraint fails for an offer."""
        if constraint.per_offer:
            # The results are read when the trace is complete: keep the offer with them.
            environment = copy(self._environment)
            environment.offer = offer.attributes
            return self._explain(constraint, RuleTestEvaluator(environment))
        key = constraint.declared.rules or constraint.declared
        why = self._shared.get(key)
        if why is None:
            why = self._shared[key] = self._explain(constraint, self._evaluator)
        return why

    def _explain(self, constraint: BoundConstraint, evaluator: RuleTestEvaluator) -> Why:
        if constraint.missing:
            return Why(NamedRef(constraint.missing[0], constraint.missing[0]), problem="is not in the library")
        rules = constraint.rules
        if not rules:
            return self._audience_reason(constraint)
        failing = rules
        if len(rules) > 1:
            failing = tuple([rule for rule in rules if rule.tests is None or evaluator.failures(rule.tests)])
        first, *others = [_why_of_rule(rule, evaluator) for rule in failing or rules[-1:]]
        return replace(first, others=tuple(others)) if others else first

    def _audience_reason(self, constraint: BoundConstraint) -> Why:
        audiences = constraint.declared.audiences
        if constraint.type is not ConstraintType.ANY_AUDIENCE:
            profile = self._environment.profile
            missing = (item for item in audiences if status_of(profile, item) not in MEMBER_STATUSES)
            audiences = tuple(missing)[:1]
        if not audiences:
            return Why(problem="the constraint has no rules or audiences")
        return Why(audiences=tuple([AudienceName(audience.namespace, audience.id) for audience in audiences]))

    def _failures_in(self, pool: Pool) -> tuple[bytes, FailuresBySubject]:
        """Return for each position whether the index covers it, and the failures that the index knows."""
        failures = self._indexed_failures.get(pool)
        if failures is None:
            size = len(pool.offers)
            covered, passing = pool.index.lookup_by_subject(self._evaluator.value)
            failing = {name: flags_of(without(covered, offers), size) for name, offers in passing.items()}
            failures = self._indexed_failures[pool] = flags_of(covered, size), failing
        return failures


def _why_of_rule(rule: BoundRule, evaluator: RuleTestEvaluator) -> Why:
    """Return why a rule does not hold."""
    if rule.tests is None:
        problem = rule.diagnostics[0].message if rule.diagnostics else "unknown"
        return Why(rule, problem=f"does not compile and counts as false: {problem}")
    return Why(rule, RuleFailures(rule.tests, evaluator))


_CANDIDATE_STAGES = (
    Stage.CALENDAR,
    Stage.CRITERION,
    Stage.ELIGIBILITY,
    Stage.CAPPING,
    Stage.DEDUP,
    Stage.CONTENT,
)
"""Stages that exclude offers of the pool, in execution order."""


class TraceRecorder:
    """Collects exclusions and ranks while a scope is decided.

    An offer of several criteria has the verdict of the latest stage it reached; of two reasons at the
    same stage, the first. Why offers are not eligible is found at the end.
    """

    __slots__ = ("_ineligible", "_pool", "_ranked", "_reasons", "_static", "_whys")

    def __init__(self, pool: Pool, reasons: Reasons) -> None:
        self._pool = pool
        self._reasons = reasons
        self._static: dict[str, Verdict] = {}
        self._ineligible: Bits = 0
        self._whys: dict[Stage, dict[int, Why]] = {stage: {} for stage in _CANDIDATE_STAGES}
        self._ranked: dict[int, Verdict] = {}

    def record_criterion(
        self,
        scope: CompiledScope,
        criterion: CompiledCriterion,
        now_us: int,
        eligibility: Eligibility,
        caps: CapState,
    ) -> None:
        """Record each excluded offer of a criterion, with its stage."""
        pool, placement, offers = self._pool, scope.placement.id, self._pool.offers
        for exclusion in criterion.exclusions:
            offer, stage, why = exclusion.offer, exclusion.stage, Why(problem=exclusion.reason)
            if stage in self._whys:  # excluded while the database is not available
                self.record_exclusion(position_of(offers, sort_key(offer)), stage, why)
            else:
                self._static[offer.id] = Verdict(offer.public_id, offer.name, stage, why)
        in_date = criterion.candidate_bits & pool.calendar.open_at(now_us)
        for position in pool.positions(without(criterion.candidate_bits, in_date)):
            self.record_exclusion(position, Stage.CALENDAR, _window_reason(offers[position].offer, now_us))
        constraint = criterion.constraint
        qualified = eligibility.eligible_for_criterion(constraint, pool, in_date)
        if constraint is not None:
            for position in pool.positions(without(in_date, qualified)):
                why = self._reasons.of_constraint(constraint, offers[position].offer)
                self.record_exclusion(position, Stage.CRITERION, why)
        eligible = eligibility.eligible(pool, qualified)
        self._ineligible |= without(qualified, eligible)
        for position in pool.positions(eligible & pool.capped):
            limit = caps.exhausted_limit(offers[position], placement)
            if limit is not None:
                why = caps.reason(limit, offers[position].offer.id, placement)
                self.record_exclusion(position, Stage.CAPPING, why)

    def record_exclusion(self, position: int, stage: Stage, why: Why) -> None:
        """Record that the offer at this position was excluded at this stage."""
        self._whys[stage].setdefault(position, why)

    def record_rank(self, position: int, rank: int, score: float, by: RankedBy) -> None:
        """Record the rank of an offer; in order."""
        offer = self._pool.offers[position].offer
        self._ranked[position] = Verdict(offer.public_id, offer.name, Stage.RANKED, Why(by=by), rank, score)

    def finish(self, scope: CompiledScope, seed: str) -> ScopeTrace:
        """Return the trace: ranked candidates in order, then the rest by stage, name and id."""
        pool = self._pool
        by_stage: dict[Stage, list[Verdict]] = {stage: [] for stage in Stage}
        for verdict in sorted(self._static.values(), key=attrgetter("name", "id")):
            by_stage[verdict.stage].append(verdict)
        later = bits_of(self._ranked)
        for stage in reversed(_CANDIDATE_STAGES):
            whys = self._whys[stage]
            if stage is Stage.ELIGIBILITY:
                positions = pool.positions(without(self._ineligible, later | bits_of(whys)))
                whys.update(zip(positions, self._reasons.of_offers(pool, positions), strict=True))
            excluded = without(bits_of(whys), later)
            by_stage[stage] = [
                Verdict(offer.public_id, offer.name, stage, whys[position])
                for position in pool.positions_by_name(excluded)
                for offer in [pool.offers[position].offer]
            ]
            later |= excluded
        return ScopeTrace(
            decision=scope.decision.public_id,
            placement=scope.placement.public_id,
            seed=seed,
            candidates=(*self._ranked.values(), *chain.from_iterable(by_stage.values())),
        )


def _window_reason(offer: PersonalizedOffer, now_us: int) -> Why:
    return Why(window=WindowReason(offer.window, not offer.window.is_before(now_us)))


def scope_reason(earlier: CompiledScope) -> Why:
    """Return why an offer that this earlier scope was given is not given again."""
    decision, placement = earlier.decision, earlier.placement
    return Why(
        by=EarlierScope(NamedRef(decision.public_id, decision.name), NamedRef(placement.public_id, placement.name))
    )
