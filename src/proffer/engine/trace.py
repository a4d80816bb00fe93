"""The trace of one scope: the last word on every candidate. Costs nothing where nobody asked for it.

What the decision found out for many offers together is asked again here for each, by its rules as they
stand, because a trace says why.
"""

from proffer.engine.capping import Caps
from proffer.engine.eligibility import Eligibility
from proffer.engine.snapshot import PlayableCriterion, PlayableScope
from proffer.model.offer import PersonalizedOffer
from proffer.model.trace import STAGE_ORDER, ScopeTrace, Stage, Verdict


class Notes:
    """Collects verdicts while a scope is decided.

    An offer met in several criteria keeps the verdict of the farthest stage it reached; of two at the
    same stage, the first.
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
        """Every offer of the criterion that is not in play by it: where it left, and why."""
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
        """The offer went no further than this stage."""
        before = self._verdicts.get(offer.id)
        if before is None or STAGE_ORDER[before.stage] < STAGE_ORDER[stage]:
            self._verdicts[offer.id] = Verdict(
                id=offer.shown_id, name=offer.name, stage=stage, reason=reason
            )

    def ranked(self, offer: PersonalizedOffer, rank: int, score: float, reason: str) -> None:
        """The offer stayed, at this rank."""
        self._verdicts[offer.id] = Verdict(
            id=offer.shown_id,
            name=offer.name,
            stage=Stage.RANKED,
            reason=reason,
            rank=rank,
            score=score,
        )

    def close(self, scope: PlayableScope, seed: str) -> ScopeTrace:
        """The finished trace: ranked candidates in order, then the others by stage, name and id."""
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
