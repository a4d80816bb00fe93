"""The trace of one scope: the last word on every candidate. Costs nothing where nobody asked for it."""

from proffer.engine.snapshot import PlayableScope
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
