"""Trace of one scope: the final verdict on every candidate. Recorded only when requested.

The decision evaluates many offers at once by the index; the trace evaluates the rules of each offer
again, because it reports the reasons.
"""

from proffer.engine.capping import CapState
from proffer.engine.eligibility import Eligibility
from proffer.engine.snapshot import CompiledCriterion, CompiledScope
from proffer.model.offer import PersonalizedOffer
from proffer.model.trace import STAGE_ORDER, ScopeTrace, Stage, Verdict


class TraceRecorder:
    """Collects verdicts while a scope is decided.

    An offer of several criteria keeps the verdict of the latest stage it reached; of two verdicts at
    the same stage, the first.
    """

    __slots__ = ("_verdicts",)

    def __init__(self) -> None:
        self._verdicts: dict[str, Verdict] = {}

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
            self.record_exclusion(exclusion.offer, exclusion.stage, exclusion.reason)
        criterion_constraint, placement = criterion.constraint, scope.placement.id
        for candidate in criterion.candidates:
            offer, offer_constraint = candidate.bound_offer.offer, candidate.bound_offer.constraint
            if now_us not in offer.window:
                is_early = offer.window.is_before(now_us)
                reason = "has not started" if is_early else "has ended"
                self.record_exclusion(offer, Stage.CALENDAR, f"the offer {reason}")
            elif criterion_constraint is not None and not eligibility.holds(criterion_constraint, offer):
                self.record_exclusion(offer, Stage.CRITERION, eligibility.failure_reason(criterion_constraint, offer))
            elif offer_constraint is not None and not eligibility.holds(offer_constraint, offer):
                self.record_exclusion(offer, Stage.ELIGIBILITY, eligibility.failure_reason(offer_constraint, offer))
            elif (limit := caps.exhausted_limit(candidate.bound_offer, placement)) is not None:
                self.record_exclusion(offer, Stage.CAPPING, caps.exhausted_reason(limit, offer.id, placement))

    def record_exclusion(self, offer: PersonalizedOffer, stage: Stage, reason: str) -> None:
        """Record that the offer was excluded at this stage."""
        previous = self._verdicts.get(offer.id)
        if previous is None or STAGE_ORDER[previous.stage] < STAGE_ORDER[stage]:
            self._verdicts[offer.id] = Verdict(id=offer.public_id, name=offer.name, stage=stage, reason=reason)

    def record_rank(self, offer: PersonalizedOffer, rank: int, score: float, reason: str) -> None:
        """Record the rank of an offer."""
        self._verdicts[offer.id] = Verdict(
            id=offer.public_id,
            name=offer.name,
            stage=Stage.RANKED,
            reason=reason,
            rank=rank,
            score=score,
        )

    def finish(self, scope: CompiledScope, seed: str) -> ScopeTrace:
        """Return the trace: ranked candidates in order, then the rest by stage, name and id."""
        verdicts = sorted(
            self._verdicts.values(),
            key=lambda v: (v.rank is None, v.rank or 0, STAGE_ORDER[v.stage], v.name, v.id),
        )
        return ScopeTrace(
            decision=scope.decision.public_id,
            placement=scope.placement.public_id,
            seed=seed,
            candidates=tuple(verdicts),
        )
