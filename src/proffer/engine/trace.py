"""Trace of one scope: the final verdict on every candidate. Recorded only when requested.

The decision evaluates many offers at once by the index; the trace evaluates the rules of each offer
again, because it reports the reasons.
"""

from proffer.engine.capping import Caps
from proffer.engine.eligibility import Eligibility
from proffer.engine.snapshot import PlayableCriterion, PlayableScope
from proffer.model.offer import PersonalizedOffer
from proffer.model.trace import STAGE_ORDER, ScopeTrace, Stage, Verdict


class Notes:
    """Collects verdicts while a scope is decided.

    An offer of several criteria keeps the verdict of the latest stage it reached; of two verdicts at
    the same stage, the first.
    """

    __slots__ = ("_verdicts",)

    def __init__(self) -> None:
        self._verdicts: dict[str, Verdict] = {}

    def criterion(
        self,
        scope: PlayableScope,
        criterion: PlayableCriterion,
        now_us: int,
        eligibility: Eligibility,
        caps: Caps,
    ) -> None:
        """Record stage and reason for each excluded offer of a criterion."""
        for barred in criterion.barred:
            self.left(barred.offer, barred.stage, barred.reason)
        meant, placement = criterion.constraint, scope.placement.id
        for candidate in criterion.candidates:
            offer, own = candidate.playable.offer, candidate.playable.constraint
            if now_us not in offer.window:
                early = offer.window.is_before(now_us)
                reason = "has not started" if early else "has ended"
                self.left(offer, Stage.CALENDAR, f"the offer {reason}")
            elif meant is not None and not eligibility.holds(meant, offer):
                self.left(offer, Stage.CRITERION, eligibility.why_not(meant, offer))
            elif own is not None and not eligibility.holds(own, offer):
                self.left(offer, Stage.ELIGIBILITY, eligibility.why_not(own, offer))
            elif (limit := caps.spent(offer, placement)) is not None:
                self.left(offer, Stage.CAPPING, caps.why(limit, offer.id, placement))

    def left(self, offer: PersonalizedOffer, stage: Stage, reason: str) -> None:
        """Record that the offer was excluded at this stage."""
        before = self._verdicts.get(offer.id)
        if before is None or STAGE_ORDER[before.stage] < STAGE_ORDER[stage]:
            self._verdicts[offer.id] = Verdict(
                id=offer.shown_id, name=offer.name, stage=stage, reason=reason
            )

    def ranked(self, offer: PersonalizedOffer, rank: int, score: float, reason: str) -> None:
        """Record the rank of an offer."""
        self._verdicts[offer.id] = Verdict(
            id=offer.shown_id,
            name=offer.name,
            stage=Stage.RANKED,
            reason=reason,
            rank=rank,
            score=score,
        )

    def close(self, scope: PlayableScope, seed: str) -> ScopeTrace:
        """Return the trace: ranked candidates in order, then the rest by stage, name and id."""
        verdicts = sorted(
            self._verdicts.values(),
            key=lambda v: (v.rank is None, v.rank or 0, STAGE_ORDER[v.stage], v.name, v.id),
        )
        return ScopeTrace(
            decision=scope.decision.shown_id,
            placement=scope.placement.shown_id,
            seed=seed,
            candidates=tuple(verdicts),
        )
