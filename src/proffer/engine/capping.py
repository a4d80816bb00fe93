"""Capping: exclusion of offers with exhausted limits, including counts of this request (R21)."""

from collections.abc import Iterable

from proffer.model.capping import CapEvent, CapKey, CapLimit, CapUsage
from proffer.model.offer import PersonalizedOffer

_DECISIONING = CapEvent.DECISIONING.value


class CapState:
    """Counters as seen by one request: stored counts plus offers given in this request."""

    __slots__ = ("_request_counts", "_stored_counts")

    def __init__(self, usage: CapUsage) -> None:
        self._stored_counts = usage.counts
        self._request_counts: dict[CapKey, int] = {}

    def used_count(self, limit: CapLimit, offer: str, placement: str) -> int:
        key = limit.counter_key(offer, placement)
        return self._stored_counts.get(key, 0) + self._request_counts.get(key, 0)

    def exhausted_limit(self, offer: PersonalizedOffer, placement: str) -> CapLimit | None:
        """Return the first exhausted limit that applies to this placement, or None."""
        stored_counts, request_counts, offer_id = (
            self._stored_counts,
            self._request_counts,
            offer.id,
        )
        for limit in offer.caps:  # hot path: avoid calls
            if limit.placements and placement not in limit.placements:
                continue
            key = limit.counter_key(offer_id, placement)
            count = stored_counts.get(key, 0)
            if request_counts:
                count += request_counts.get(key, 0)
            if count >= limit.limit:
                return limit
        return None

    def count_proposed(self, offers: Iterable[PersonalizedOffer], placement: str) -> None:
        """Count these offers as proposed, for later scopes of the request."""
        for offer in offers:
            for limit in offer.caps:
                if _DECISIONING in limit.events and limit.counts_in(placement):
                    key = limit.counter_key(offer.id, placement)
                    self._request_counts[key] = self._request_counts.get(key, 0) + 1

    def exhausted_reason(self, limit: CapLimit, offer: str, placement: str) -> str:
        """Describe an exhausted limit and its count."""
        scope_text = "for this profile" if limit.scope == "profile" else "in total"
        used = self.used_count(limit, offer, placement)
        return f"cap `{limit.name}` is reached: {used} of {limit.limit} {scope_text}"
