"""Capping: exclusion of offers with exhausted limits, including counts of this request (R21)."""

from collections.abc import Iterable

from proffer.model.capping import CapKey, CapLimit, CapUsage
from proffer.model.offer import PersonalizedOffer

DECISIONING = "decisioning"


class Caps:
    """Counters as seen by one request: stored counts plus offers given in this request."""

    __slots__ = ("_given", "_usage")

    def __init__(self, usage: CapUsage) -> None:
        self._usage = usage.counts
        self._given: dict[CapKey, int] = {}

    def used(self, limit: CapLimit, offer: str, placement: str) -> int:
        key = limit.counter(offer, placement)
        return self._usage.get(key, 0) + self._given.get(key, 0)

    def spent(self, offer: PersonalizedOffer, placement: str) -> CapLimit | None:
        """Return the first exhausted limit that applies to this placement, or None."""
        usage, given, offer_id = self._usage, self._given, offer.id
        for limit in offer.caps:  # hot path: avoid calls
            if limit.placements and placement not in limit.placements:
                continue
            key = limit.counter(offer_id, placement)
            used = usage.get(key, 0)
            if given:
                used += given.get(key, 0)
            if used >= limit.limit:
                return limit
        return None

    def give(self, offers: Iterable[PersonalizedOffer], placement: str) -> None:
        """Count these offers as proposed, for later scopes of the request."""
        for offer in offers:
            for limit in offer.caps:
                if DECISIONING in limit.events and limit.counts_in(placement):
                    key = limit.counter(offer.id, placement)
                    self._given[key] = self._given.get(key, 0) + 1

    def why(self, limit: CapLimit, offer: str, placement: str) -> str:
        """Describe an exhausted limit and its count."""
        who = "for this profile" if limit.scope == "profile" else "in total"
        return f"cap `{limit.name}` is spent: {self.used(limit, offer, placement)} of {limit.limit} {who}"
