"""Trace of one scope: the final verdict on every candidate. Recorded only when requested.

The stages come from the bitsets of the decision, and the failing tests of rules from the predicate index:
rules are evaluated again only where the index does not answer their tests one by one.
"""

from collections.abc import Sequence
from copy import copy
from functools import lru_cache
from itertools import chain
from operator import attrgetter

from msgspec.structs import replace

from proffer.engine.capping import CapState
from proffer.engine.compiled import BoundConstraint, BoundRule
from proffer.engine.eligibility import Eligibility
from proffer.engine.index.audiences import MEMBER_STATUSES, status_of
from proffer.engine.index.bitset import without
from proffer.engine.index.pool import Pool
from proffer.engine.snapshot import CompiledCriterion, CompiledScope
from proffer.model.constraint import ConstraintType
from proffer.model.offer import PersonalizedOffer
from proffer.model.trace import (
    STAGE_ORDER,
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
from proffer.pql.index.rule_tests import IndexedFailures, RuleTestEvaluator, RuleTestResult


class Reasons:
    """Finds why constraints fail, for all scopes of a request."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._evaluator = RuleTestEvaluator(environment)
        self._failing_subjects: dict[Pool, _FailingSubjects] = {}
        self._shared: dict[object, Why] = {}

    def of_criterion(self, constraint: BoundConstraint, offer: PersonalizedOffer) -> Why:
        """Return why a criterion's constraint fails for an offer."""
        return self._why(constraint, offer, None, frozenset())

    def of_offers(self, pool: Pool, positions: Sequence[int]) -> list[Why]:
        """Return why the own constraints of these offers fail."""
        failing = self._failing_subjects.get(pool)
        if failing is None:
            failing = self._failing_subjects[pool] = _FailingSubjects(pool, self._evaluator)
        subjects_at, indexed, rules = failing.at, failing.indexed, pool.plain_rules
        evaluator, is_indexed = self._evaluator, lru_cache(maxsize=None)(indexed.issuperset)
        reasons: list[Why] = []
        for position in positions:  # hot path: ten thousand offers
            plain, subjects = rules[position], subjects_at[position]
            if plain is not None and subjects is not None and is_indexed(plain.tests.names):
                rule, tests = plain
                reasons.append(Why(rule, IndexedFailures(tests, subjects, evaluator)))
            else:
                bound_offer = pool.offers[position]
                assert bound_offer.constraint is not None
                reasons.append(self._why(bound_offer.constraint, bound_offer.offer, subjects, indexed))
        return reasons

    def _why(
        self,
        constraint: BoundConstraint,
        offer: PersonalizedOffer,
        subjects: Sequence[str] | None,
        indexed: frozenset[str],
    ) -> Why:
        """Return why a constraint fails; see `RuleTestEvaluator.failures` for the last two."""
        if constraint.per_offer:
            # The results are read when the trace is complete: keep the offer with them.
            environment = copy(self._environment)
            environment.offer = offer.attributes
            return self._explain(constraint, RuleTestEvaluator(environment), None, indexed)
        rules = constraint.declared.rules
        shared = self._shared.get(rules) if rules else None
        if shared is None:
            shared = self._explain(constraint, self._evaluator, subjects, indexed)
            if rules:
                self._shared[rules] = shared
        return shared

    def _explain(
        self,
        constraint: BoundConstraint,
        evaluator: RuleTestEvaluator,
        subjects: Sequence[str] | None,
        indexed: frozenset[str],
    ) -> Why:
        if constraint.missing:
            return Why(NamedRef(constraint.missing[0], constraint.missing[0]), problem="is not in the library")
        rules = constraint.rules
        if not rules:
            return self._audience_reason(constraint)
        if len(rules) > 1:
            subjects = None  # the index has one entry for a subject of several rules
        failing = [why for rule in rules if (why := _why_of_rule(rule, evaluator, subjects, indexed)) is not None]
        if not failing:  # a fault in a part of the rule that does not decide its result
            text = "" if rules[-1].compiled is None else rules[-1].compiled.text
            return Why(rules[-1], (RuleTestResult(text, False, (0, len(text))),))
        return failing[0] if len(failing) == 1 else replace(failing[0], others=tuple(failing[1:]))

    def _audience_reason(self, constraint: BoundConstraint) -> Why:
        audiences = constraint.declared.audiences
        if constraint.type is not ConstraintType.ANY_AUDIENCE:
            profile = self._environment.profile
            missing = (item for item in audiences if status_of(profile, item) not in MEMBER_STATUSES)
            audiences = tuple(missing)[:1]
        if not audiences:
            return Why(problem="the constraint has no rules or audiences")
        return Why(audiences=tuple([AudienceName(audience.namespace, audience.id) for audience in audiences]))


def _why_of_rule(
    rule: BoundRule, evaluator: RuleTestEvaluator, subjects: Sequence[str] | None, indexed: frozenset[str]
) -> Why | None:
    """Return why a rule does not hold; None if it does."""
    if rule.compiled is None:
        problem = rule.diagnostics[0].message if rule.diagnostics else "unknown"
        return Why(rule, problem=f"does not compile and counts as false: {problem}")
    if rule.tests is None:
        return None
    if subjects is None:
        subjects, indexed = (), frozenset()
    failures = evaluator.failures(rule.tests, subjects, indexed)
    return Why(rule, failures) if failures else None


class _FailingSubjects:
    """Names of the subjects whose predicates fail, by position; None where the index does not tell."""

    def __init__(self, pool: Pool, evaluator: RuleTestEvaluator) -> None:
        covered, passing = pool.index.lookup_by_subject(evaluator.value)
        self.indexed = frozenset(passing)
        self.at: list[list[str] | tuple[()] | None] = [None] * len(pool.offers)
        for position in pool.positions(covered):
            self.at[position] = ()
        for name, offers in passing.items():
            for position in pool.positions(without(covered, offers)):
                names = self.at[position]
                if names:
                    names.append(name)
                else:
                    self.at[position] = [name]


class TraceRecorder:
    """Collects verdicts while a scope is decided.

    An offer of several criteria keeps the verdict of the latest stage it reached; of two verdicts at
    the same stage, the first.
    """

    __slots__ = ("_excluded", "_pool", "_ranked", "_reasons", "_verdicts")

    def __init__(self, pool: Pool, reasons: Reasons) -> None:
        self._pool = pool
        self._reasons = reasons
        self._ranked: list[Verdict] = []
        self._verdicts: list[Verdict | None] = [None] * len(pool.offers)
        self._excluded: dict[str, Verdict] = {}

    def record_criterion(
        self,
        scope: CompiledScope,
        criterion: CompiledCriterion,
        now_us: int,
        eligibility: Eligibility,
        caps: CapState,
    ) -> None:
        """Record stage and reason for each excluded offer of a criterion."""
        for exclusion in criterion.exclusions:
            offer = exclusion.offer
            verdict = Verdict(offer.public_id, offer.name, exclusion.stage, Why(problem=exclusion.reason))
            self._excluded[offer.id] = _later(self._excluded.get(offer.id), verdict)
        pool, placement, offers = self._pool, scope.placement.id, self._pool.offers
        candidates = criterion.candidate_bits
        in_date = candidates & pool.calendar.open_at(now_us)
        positions = pool.positions(without(candidates, in_date))
        self._record(Stage.CALENDAR, positions, [_window_reason(offers[at].offer, now_us) for at in positions])
        constraint = criterion.constraint
        qualified = eligibility.eligible_for_criterion(constraint, pool, in_date)
        if constraint is not None:
            positions = pool.positions(without(in_date, qualified))
            reasons = [self._reasons.of_criterion(constraint, offers[at].offer) for at in positions]
            self._record(Stage.CRITERION, positions, reasons)
        eligible = eligibility.eligible(pool, qualified)
        positions = pool.positions(without(qualified, eligible))
        self._record(Stage.ELIGIBILITY, positions, self._reasons.of_offers(pool, positions))
        for position in pool.positions(eligible & pool.capped):
            limit = caps.exhausted_limit(offers[position], placement)
            if limit is not None:
                why = caps.reason(limit, offers[position].offer.id, placement)
                self.record_exclusion(position, Stage.CAPPING, why)

    def _record(self, stage: Stage, positions: Sequence[int], reasons: Sequence[Why]) -> None:
        """Record that these offers were excluded at this stage."""
        offers, verdicts = self._pool.offers, self._verdicts
        for position, why in zip(positions, reasons, strict=True):
            offer = offers[position].offer
            verdict = Verdict(offer.public_id, offer.name, stage, why)
            previous = verdicts[position]
            verdicts[position] = verdict if previous is None else _later(previous, verdict)

    def record_exclusion(self, position: int, stage: Stage, why: Why) -> None:
        """Record that the offer at this position was excluded at this stage."""
        self._record(stage, (position,), (why,))

    def record_rank(self, position: int, rank: int, score: float, by: RankedBy) -> None:
        """Record the rank of an offer; in order."""
        offer = self._pool.offers[position].offer
        verdict = Verdict(offer.public_id, offer.name, Stage.RANKED, Why(by=by), rank, score)
        self._verdicts[position] = verdict
        self._ranked.append(verdict)

    def finish(self, scope: CompiledScope, seed: str) -> ScopeTrace:
        """Return the trace: ranked candidates in order, then the rest by stage, name and id."""
        excluded, offers = self._excluded, self._pool.offers
        by_stage: dict[Stage, list[Verdict]] = {stage: [] for stage in Stage}
        for position in self._pool.by_name:
            verdict = self._verdicts[position]
            if verdict is not None:
                if excluded:  # by another criterion
                    verdict = _later(excluded.pop(offers[position].offer.id, None), verdict)
                by_stage[verdict.stage].append(verdict)
        for verdict in excluded.values():
            by_stage[verdict.stage].append(verdict)
        for stage in {verdict.stage for verdict in excluded.values()}:
            by_stage[stage].sort(key=attrgetter("name", "id"))
        by_stage[Stage.RANKED] = []
        return ScopeTrace(
            decision=scope.decision.public_id,
            placement=scope.placement.public_id,
            seed=seed,
            candidates=(*self._ranked, *chain.from_iterable(by_stage.values())),
        )


def _later(previous: Verdict | None, verdict: Verdict) -> Verdict:
    """Return the verdict of the later stage; of equal ones, the previous."""
    if previous is not None and STAGE_ORDER[previous.stage] >= STAGE_ORDER[verdict.stage]:
        return previous
    return verdict


def _window_reason(offer: PersonalizedOffer, now_us: int) -> Why:
    return Why(window=WindowReason(offer.window, not offer.window.is_before(now_us)))


def scope_reason(earlier: CompiledScope) -> Why:
    """Return why an offer that this earlier scope was given is not given again."""
    decision, placement = earlier.decision, earlier.placement
    return Why(
        by=EarlierScope(NamedRef(decision.public_id, decision.name), NamedRef(placement.public_id, placement.name))
    )
