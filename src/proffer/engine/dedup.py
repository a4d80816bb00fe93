"""Dedup: no offer twice across decisions or placements where the request does not allow it (spec 4.5, R6)."""

from proffer.engine.snapshot import PlayableScope
from proffer.model.request import DecisionRequest


class Proposed:
    """Which offers the scopes before this one have been given. Fallbacks are never entered (R7)."""

    __slots__ = ("_across_decisions", "_across_placements", "_where")

    def __init__(self, request: DecisionRequest) -> None:
        self._across_decisions = request.across_decisions
        self._across_placements = request.across_placements
        self._where: dict[str, list[PlayableScope]] = {}

    def clash(self, offer: str, scope: PlayableScope) -> PlayableScope | None:
        """An earlier scope that keeps this offer from being proposed here; None where it is free.

        Two scopes of one decision clash unless duplicates are allowed across placements, two in one
        placement unless they are allowed across decisions; where both differ, or neither does, both
        must be allowed.
        """
        for other in self._where.get(offer, ()):
            same_decision = other.decision.id == scope.decision.id
            same_placement = other.placement.id == scope.placement.id
            if same_decision == same_placement:
                allowed = self._across_decisions and self._across_placements
            else:
                allowed = self._across_placements if same_decision else self._across_decisions
            if not allowed:
                return other
        return None

    def enter(self, offer: str, scope: PlayableScope) -> None:
        self._where.setdefault(offer, []).append(scope)
