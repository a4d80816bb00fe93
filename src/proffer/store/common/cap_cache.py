"""In-process cache of limits and global counters.

With it, decisions need not read them. It may lag behind the database; reservations compare with the database.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from proffer.model.capping import RETENTION_AFTER_END_US, CapKey, OfferLimits
from proffer.store.common.caps import (
    GLOBAL_OWNER,
    ActiveLimit,
    CounterKey,
    CounterValue,
    StoredLimit,
    is_live,
    to_active_limit,
)

NEAR_LIMIT_MARGIN = 100
"""Counters farther than this from their limit are ignored: no request gives more offers."""

CounterWindow = tuple[int, str, int]
"""Counter number, placement (empty: all), and start of the period in µs."""


class LimitRow(NamedTuple):
    """A stored limit with its container, offer and last change number."""

    container: str
    offer: str
    stored_limit: StoredLimit
    change_number: int


class TotalRow(NamedTuple):
    """A global counter with the number of its last move."""

    window: CounterWindow
    value: CounterValue
    move_number: int


def total_rows(
    counters: Mapping[CounterKey, CounterValue], counter_keys: Iterable[CounterKey], move_number: int
) -> tuple[TotalRow, ...]:
    """Return a row for each global counter that has a value."""
    return tuple(
        TotalRow(
            (counter_key.counter, counter_key.placement, counter_key.window_us), counters[counter_key], move_number
        )
        for counter_key in counter_keys
        if counter_key.owner == GLOBAL_OWNER and counter_key in counters
    )


class ActiveLimits:
    """Limits in force by container and offer, as of change number `last_change`.

    Nothing is cached of limits that are no longer in force, so that the cache does not grow with edits.
    """

    def __init__(self) -> None:
        self.last_change = 0
        self._newest_counter = 0
        self._stored_limits: dict[tuple[str, str], dict[int, StoredLimit]] = {}
        self._by_offer: dict[str, dict[str, tuple[ActiveLimit, ...]]] = {}
        self._offers_per_profile: dict[str, set[str]] = {}
        """Container → offers with a limit for each profile."""
        self.by_counter: dict[int, tuple[str, ActiveLimit]] = {}
        """Counter number → (container, limit)."""

    def update(self, rows: Iterable[LimitRow]) -> list[tuple[str, int]]:
        """Apply changed limits; return the (container, counter) pairs affected."""
        rows_by_offer: dict[tuple[str, str], list[StoredLimit]] = {}
        for container, offer, row, change_number in rows:
            rows_by_offer.setdefault((container, offer), []).append(row)
            self.last_change = max(self.last_change, change_number)
            self._newest_counter = max(self._newest_counter, row.counter)
        counters: list[tuple[str, int]] = []
        for (container, offer), changed_rows in rows_by_offer.items():
            stored_limits = self._stored_limits.pop((container, offer), {})
            stored_limits.update((row.counter, row) for row in changed_rows)
            active_limits: list[ActiveLimit] = []
            for counter, row in list(stored_limits.items()):
                counters.append((container, counter))
                active_limit = to_active_limit(offer, row)
                if active_limit is None:
                    del stored_limits[counter]
                    self.by_counter.pop(counter, None)
                else:
                    active_limits.append(active_limit)
                    self.by_counter[counter] = (container, active_limit)
            if active_limits:
                self._stored_limits[container, offer] = stored_limits
                self._by_offer.setdefault(container, {})[offer] = tuple(active_limits)
            else:
                self._by_offer.get(container, {}).pop(offer, None)
            offers_per_profile = self._offers_per_profile.setdefault(container, set())
            if all(limit.is_global for limit in active_limits):
                offers_per_profile.discard(offer)
            else:
                offers_per_profile.add(offer)
        return counters

    def is_inactive(self, counter: int) -> bool:
        """Return whether the limit of this counter is known and not in force."""
        return counter <= self._newest_counter and counter not in self.by_counter

    def for_container(self, container: str) -> Mapping[str, Sequence[ActiveLimit]]:
        """Return offer id → limits in force."""
        return self._by_offer.get(container, {})

    def counts_profiles(self, container: str) -> bool:
        """Return whether a limit of this container counts each profile."""
        return bool(self._offers_per_profile.get(container))


class CapCache:
    """Cache of limits and global counters."""

    def __init__(self) -> None:
        self.limits = ActiveLimits()
        self.last_move = 0
        self._totals: dict[int, dict[tuple[str, int], tuple[CounterValue, int]]] = {}
        self._near_limits: dict[str, dict[int, ActiveLimit]] = {}
        """Container → counter → limit, for limits that some period has nearly reached."""

    @property
    def cached_counts(self) -> int:
        """Number of cached counter values."""
        return sum(map(len, self._totals.values()))

    def update_limits(self, rows: Sequence[LimitRow]) -> bool:
        """Apply changed limits; return whether one is in force again.

        The totals of such a limit were dropped, so that all have to be read anew.
        """
        inactive = [row.stored_limit.counter for row in rows if self.limits.is_inactive(row.stored_limit.counter)]
        for container, counter in self.limits.update(rows):
            self._near_limits.get(container, {}).pop(counter, None)
            if self.limits.is_inactive(counter):
                self._totals.pop(counter, None)
            self._update_near_limit(counter)
        return any(counter in self.limits.by_counter for counter in inactive)

    def update_totals(self, rows: Iterable[TotalRow]) -> None:
        """Apply counter values after their last move; an older value of a counter is ignored.

        Counters of limits that are not in force are ignored too.
        When a new period begins, periods that ended long before it are dropped, so that the cache does
        not grow with time. If a clock steps back that far, they are cached again as they move.
        """
        touched_counters: set[int] = set()
        for (counter, placement, window_us), count, move_number in rows:
            if self.limits.is_inactive(counter):
                continue
            windows = self._totals.setdefault(counter, {})
            cached = windows.get((placement, window_us))
            if cached is None and window_us and windows:
                _drop_ended_windows(windows, window_us)
            if cached is None or cached[1] <= move_number:
                windows[placement, window_us] = (count, move_number)
                touched_counters.add(counter)
        for counter in touched_counters:
            self._update_near_limit(counter)

    def _update_near_limit(self, counter: int) -> None:
        """Record whether this counter is near its limit."""
        container, active_limit = self.limits.by_counter.get(counter, ("", None))
        if active_limit is None or not active_limit.is_global:
            return
        threshold = max(1, active_limit.limit.limit - NEAR_LIMIT_MARGIN)
        if any(value.used >= threshold for value, _ in self._totals.get(counter, {}).values()):
            self._near_limits.setdefault(container, {})[counter] = active_limit
        else:
            self._near_limits.get(container, {}).pop(counter, None)

    def totals(self, container: str, limits: OfferLimits, now_us: int) -> dict[CapKey, int]:
        """Return the use of the nearly reached global limits among these."""
        counts: dict[CapKey, int] = {}
        near_limits = self._near_limits.get(container)
        if not near_limits:
            return counts
        for counter, active_limit in near_limits.items():
            if active_limit.offer not in limits.offers:
                continue
            limit = active_limit.limit
            window = limit.period_start(active_limit.anchor_us, now_us)
            for (placement, window_us), (value, _) in self._totals[counter].items():
                count = active_limit.used_at(value, now_us)
                if window_us == window and count and count + NEAR_LIMIT_MARGIN >= limit.limit:
                    counts[active_limit.offer, limit.name, placement] = count
        return counts

    def global_usage(self, container: str, offer: str, now_us: int) -> dict[CapKey, int]:
        """Return the use of an offer's global limits; without a count in their period, 0 for all placements."""
        usage: dict[CapKey, int] = {}
        for active_limit in self.limits.for_container(container).get(offer, ()):
            if not active_limit.is_global:
                continue
            limit = active_limit.limit
            window = limit.period_start(active_limit.anchor_us, now_us)
            counts = {
                (offer, limit.name, placement): active_limit.used_at(value, now_us)
                for (placement, window_us), (value, _) in self._totals.get(active_limit.counter, {}).items()
                if window_us == window
            }
            usage |= counts or {(offer, limit.name, ""): 0}
        return usage

    def add_subject_counts(
        self,
        rows: Iterable[tuple[int, str, int, int, int | None]],
        offers: frozenset[str],
        now_us: int,
        counts: dict[CapKey, int],
    ) -> None:
        """Add one subject's counters to `counts`: (counter, placement, period, count, end) rows."""
        by_counter = self.limits.by_counter
        for counter, placement, window_us, count, expires_us in rows:
            _, active_limit = by_counter.get(counter, ("", None))
            if active_limit is None or active_limit.offer not in offers:
                continue
            limit = active_limit.limit
            if window_us != limit.period_start(active_limit.anchor_us, now_us):
                continue
            used = active_limit.used_at(CounterValue(count, expires_us), now_us)
            if used:
                key = (active_limit.offer, limit.name, placement)
                counts[key] = counts.get(key, 0) + used


def _drop_ended_windows(windows: dict[tuple[str, int], tuple[CounterValue, int]], start_us: int) -> None:
    """Drop a counter's periods that ended long before this one began."""
    for window in [
        window
        for window, (count, _) in windows.items()
        if window[1] < start_us and not is_live(count.expires_us, start_us - RETENTION_AFTER_END_US)
    ]:
        del windows[window]
