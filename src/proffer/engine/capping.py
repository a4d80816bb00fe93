"""Capping: exclusion of offers with exhausted limits, including counts of this request (R21)."""

from collections.abc import Iterable

from proffer.engine.compiled import BoundOffer
from proffer.model.capping import CapEvent, CapKey, CapLimit, CapScope, CapUsage
from proffer.model.offer import PersonalizedOffer
from proffer.model.outcome import Proposition, UnknownScope
from proffer.model.trace import CapReason, Why
from proffer.model.window import ALWAYS
from proffer.pql import Environment

_DECISIONING = CapEvent.DECISIONING.value


class CapState:
    """Counters as seen by one request: stored counts plus offers given in this request.

    `faults`: the (offer id, limit name) whose threshold gave no whole number while `counts_faults` was set.
    """

    __slots__ = (
        "_environment",
        "_now_us",
        "_request_counts",
        "_stored_counts",
        "_thresholds",
        "counts_faults",
        "faults",
    )

    def __init__(self, usage: CapUsage, environment: Environment, now_us: int) -> None:
        self._stored_counts = usage.counts
        self._request_counts: dict[CapKey, int] = {}
        self._environment = environment
        self._now_us = now_us
        self._thresholds: dict[tuple[str, str], int | None] = {}
        self.counts_faults = False
        self.faults: set[tuple[str, str]] = set()

    def used_count(self, limit: CapLimit, offer: str, placement: str) -> int:
        key = limit.counter_key(offer, placement)
        return self._stored_counts.get(key, 0) + self._request_counts.get(key, 0)

    def exhausted_limit(self, bound_offer: BoundOffer, placement: str, *, count_fault: bool = True) -> CapLimit | None:
        """Return the first exhausted limit that applies to this placement, or None.

        A limit whose threshold gives no whole number is exhausted.
        """
        offer = bound_offer.offer
        stored_counts, request_counts, offer_id = (
            self._stored_counts,
            self._request_counts,
            offer.id,
        )
        for limit in offer.caps:  # hot path: avoid calls
            if limit.placements and placement not in limit.placements:
                continue
            if limit.window is not ALWAYS and self._now_us not in limit.window:
                continue
            key = limit.counter_key(offer_id, placement)
            count = stored_counts.get(key, 0)
            if request_counts:
                count += request_counts.get(key, 0)
            maximum = limit.limit
            if limit.threshold is not None:
                threshold = self._threshold(bound_offer, limit)
                maximum = threshold or 0
                if threshold is None and count_fault and self.counts_faults:
                    self.faults.add((offer_id, limit.name))
            if count >= maximum:
                return limit
        return None

    def _threshold(self, bound_offer: BoundOffer, limit: CapLimit) -> int | None:
        """Return the maximum that the limit's formula gives for this request; None if it is no whole number."""
        offer = bound_offer.offer
        key = (offer.id, limit.name)
        if key not in self._thresholds:
            compiled, value = bound_offer.thresholds[limit.name].compiled, None
            if compiled is not None:
                self._environment.offer = offer.attributes
                value = compiled.score(self._environment)
                self._environment.offer = None
            self._thresholds[key] = None if value is None or value < 0 or value % 1 else int(value)
        return self._thresholds[key]

    def count_proposed(self, offers: Iterable[PersonalizedOffer], placement: str) -> None:
        """Count these offers as proposed, for later scopes of the request."""
        for offer in offers:
            for limit in offer.caps:
                if _DECISIONING in limit.events and limit.counts_in(placement):
                    key = limit.counter_key(offer.id, placement)
                    self._request_counts[key] = self._request_counts.get(key, 0) + 1

    def claimed_thresholds(self, scopes: Iterable[Proposition | UnknownScope]) -> dict[CapKey, int]:
        """Return the thresholds by which the proposed offers were given."""
        thresholds: dict[CapKey, int] = {}
        if not self._thresholds:
            return thresholds
        for scope in scopes:
            if isinstance(scope, UnknownScope):
                continue
            for option in scope.options:
                for limit in option.offer.caps:
                    threshold = self._thresholds.get((option.offer.id, limit.name))
                    if threshold is not None and limit.counts_in(scope.placement.id):
                        thresholds[limit.counter_key(option.offer.id, scope.placement.id)] = threshold
        return thresholds

    def reason(self, limit: CapLimit, offer: str, placement: str) -> Why:
        """Return why a limit is exhausted. The ends of periods of several units are not known here."""
        maximum: int | None = limit.limit
        if limit.threshold is not None:
            maximum = self._thresholds[offer, limit.name]
        if maximum is None:
            return Why(problem=f"the threshold of cap `{limit.name}` gives no whole number of at least 0")
        repeat = limit.repeat
        return Why(
            cap=CapReason(
                name=limit.name,
                limit=maximum,
                used=self.used_count(limit, offer, placement),
                per="profile" if limit.scope is CapScope.PROFILE else "total",
                resets_us=repeat.end(0, self._now_us) if repeat is not None and repeat.count == 1 else None,
            )
        )
