"""Duplicate filter: rejects repeated offers unless the request allows them (spec 4.5, R6)."""

from collections.abc import Iterable

from proffer.engine.index.bitset import Bits, without
from proffer.engine.index.pool import Pool
from proffer.engine.snapshot import CompiledScope
from proffer.model.request import DecisionRequest


class DuplicateFilter:
    """Offers already given to earlier scopes of the request. Fallback offers are never added (R7)."""

    __slots__ = (
        "_across_decisions",
        "_across_placements",
        "_bits_by_pool",
        "_is_global",
        "_scopes_by_offer",
    )

    def __init__(self, request: DecisionRequest) -> None:
        self._across_decisions = request.across_decisions
        self._across_placements = request.across_placements
        # If no duplicates are allowed at all, it does not matter which scope was given the offer.
        self._is_global = not (request.across_decisions or request.across_placements)
        self._scopes_by_offer: dict[str, list[CompiledScope]] = {}
        self._bits_by_pool: dict[Pool, list[tuple[CompiledScope, Bits]]] = {}

    def find_clash(self, offer: str, scope: CompiledScope) -> CompiledScope | None:
        """Return an earlier scope that prevents this offer here, or None.

        Two scopes of one decision clash unless duplicates are allowed across placements, two in one
        placement unless they are allowed across decisions. If both differ, or neither does, both
        must be allowed.
        """
        for earlier in self._scopes_by_offer.get(offer, ()):
            if self._is_clash(earlier, scope):
                return earlier
        return None

    def _is_clash(self, earlier: CompiledScope, scope: CompiledScope) -> bool:
        if self._is_global:
            return True
        same_decision = earlier.decision.id == scope.decision.id
        same_placement = earlier.placement.id == scope.placement.id
        if same_decision == same_placement:
            return not (self._across_decisions and self._across_placements)
        return not (self._across_placements if same_decision else self._across_decisions)

    def already_given(self, scope: CompiledScope) -> Bits:
        """Return the offers of the scope's pool that clash. Offers given from other pools are not included."""
        clashing = 0
        for earlier, offers in self._bits_by_pool.get(scope.pool, ()):
            if self._is_clash(earlier, scope):
                clashing |= offers
        return clashing

    def count_clashes(self, scope: CompiledScope, offers: Bits) -> int:
        """Return how many of these offers of the scope's pool clash."""
        clashing = self.already_given(scope) & offers
        other_pools = {
            offer
            for offer, earlier_scopes in self._scopes_by_offer.items()
            if any(earlier.pool is not scope.pool and self._is_clash(earlier, scope) for earlier in earlier_scopes)
        }
        if not other_pools:
            return clashing.bit_count()
        positions = scope.pool.positions(without(offers, clashing))
        return clashing.bit_count() + sum(scope.pool.offers[key].offer.id in other_pools for key in positions)

    def add(self, offers: Iterable[str], scope: CompiledScope, positions: Bits) -> None:
        """Record the offers given to a scope; `positions` are their bits in its pool."""
        for offer in offers:
            self._scopes_by_offer.setdefault(offer, []).append(scope)
        entries = self._bits_by_pool.setdefault(scope.pool, [])
        if entries and self._is_global:
            entries[0] = (scope, entries[0][1] | positions)
        else:
            entries.append((scope, positions))
