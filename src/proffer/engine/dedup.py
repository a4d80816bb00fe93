"""Duplicate filter: rejects repeated offers unless the request allows them (spec 4.5, R6)."""

from collections.abc import Iterable

from proffer.engine.index.bitset import Bits
from proffer.engine.index.pool import Pool
from proffer.engine.snapshot import PlayableScope
from proffer.model.request import DecisionRequest


class Proposed:
    """Offers already given to earlier scopes of the request. Fallback offers are never added (R7)."""

    __slots__ = ("_across_decisions", "_across_placements", "_any", "_given", "_where")

    def __init__(self, request: DecisionRequest) -> None:
        self._across_decisions = request.across_decisions
        self._across_placements = request.across_placements
        # If no duplicates are allowed at all, it does not matter which scope was given the offer.
        self._any = not (request.across_decisions or request.across_placements)
        self._where: dict[str, list[PlayableScope]] = {}
        self._given: dict[Pool, list[tuple[PlayableScope, Bits]]] = {}

    def clash(self, offer: str, scope: PlayableScope) -> PlayableScope | None:
        """Return an earlier scope that prevents this offer here, or None.

        Two scopes of one decision clash unless duplicates are allowed across placements, two in one
        placement unless they are allowed across decisions. If both differ, or neither does, both
        must be allowed.
        """
        for other in self._where.get(offer, ()):
            if self._clash(other, scope):
                return other
        return None

    def _clash(self, other: PlayableScope, scope: PlayableScope) -> bool:
        if self._any:
            return True
        same_decision = other.decision.id == scope.decision.id
        same_placement = other.placement.id == scope.placement.id
        if same_decision == same_placement:
            return not (self._across_decisions and self._across_placements)
        return not (self._across_placements if same_decision else self._across_decisions)

    def taken(self, scope: PlayableScope) -> Bits:
        """Return the offers of the scope's pool that clash. Offers given from other pools are not included."""
        taken = 0
        for other, offers in self._given.get(scope.pool, ()):
            if self._clash(other, scope):
                taken |= offers
        return taken

    def enter(self, offers: Iterable[str], scope: PlayableScope, positions: Bits) -> None:
        """Record the offers given to a scope; `positions` are their bits in its pool."""
        for offer in offers:
            self._where.setdefault(offer, []).append(scope)
        given = self._given.setdefault(scope.pool, [])
        if given and self._any:
            given[0] = (scope, given[0][1] | positions)
        else:
            given.append((scope, positions))
