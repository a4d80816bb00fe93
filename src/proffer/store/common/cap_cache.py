"""In-process cache of limits and global counters, so that decisions need not read them.

It may lag behind the database; reservations compare with the database.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from proffer.model.capping import RETENTION_AFTER_END_US, CapKey, CapLimit, CapScope
from proffer.store.common.caps import Count, KeptLimit, KeptRow, to_kept

NEAR = 100
"""Counters farther than this from their limit are ignored: no request gives more offers."""

_MOST_ASKED = 256

Place = tuple[int, str, int]
"""Counter number, placement (empty: all), and start of the period in µs."""


class LimitRow(NamedTuple):
    """A stored limit with its container, its offer and the number of its last change."""

    container: str
    offer: str
    row: KeptRow
    changed: int


class TotalRow(NamedTuple):
    """A global counter with the number of its last move."""

    place: Place
    stands: Count
    moved: int


class Limits:
    """Limits in force by container and offer, as of the change numbered `last_change`."""

    def __init__(self) -> None:
        self.newest = 0
        self._rows: dict[tuple[str, str], dict[int, KeptRow]] = {}
        self._kept: dict[str, dict[str, tuple[KeptLimit, ...]]] = {}
        self.by_counter: dict[int, tuple[str, KeptLimit]] = {}
        """Counter number → (container, limit)."""

    def learn(self, rows: Iterable[LimitRow]) -> list[tuple[str, int]]:
        """Apply changed limits; return the (container, counter) pairs affected."""
        touched: set[tuple[str, str]] = set()
        for container, offer, row, changed in rows:
            self._rows.setdefault((container, offer), {})[row.counter] = row
            touched.add((container, offer))
            self.newest = max(self.newest, changed)
        concerned: list[tuple[str, int]] = []
        for container, offer in touched:
            of_offer = self._rows[container, offer].values()
            kept = tuple(one for row in of_offer if (one := to_kept(offer, row)) is not None)
            for row in of_offer:
                self.by_counter.pop(row.counter, None)
                concerned.append((container, row.counter))
            self.by_counter.update((one.counter, (container, one)) for one in kept)
            self._kept.setdefault(container, {})[offer] = kept
        return concerned

    def of(self, container: str) -> Mapping[str, Sequence[KeptLimit]]:
        """Return offer id → limits in force."""
        return self._kept.get(container, {})


class Restricted:
    """Memo: the offers with per-profile limits, by the identity of the tuple of limits."""

    def __init__(self) -> None:
        self._asked: dict[int, tuple[tuple[tuple[str, CapLimit], ...], frozenset[str]]] = {}

    def of(self, caps: tuple[tuple[str, CapLimit], ...]) -> frozenset[str]:
        known = self._asked.get(id(caps))
        if known is None:
            offers = frozenset(offer for offer, one in caps if one.scope is CapScope.PROFILE)
            if len(self._asked) >= _MOST_ASKED:
                self._asked.clear()
            known = self._asked[id(caps)] = (caps, offers)  # a referenced object keeps its id
        return known[1]


class Book:
    """Cache of limits and global counters."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.newest = 0
        self._totals: dict[int, dict[tuple[str, int], tuple[Count, int]]] = {}
        self._near: dict[str, dict[int, KeptLimit]] = {}
        """Container → counter → limit, for limits that some period has nearly reached."""

    @property
    def remembered(self) -> int:
        """Number of cached counter values."""
        return sum(map(len, self._totals.values()))

    def learn_limits(self, rows: Iterable[LimitRow]) -> None:
        """Apply changed limits."""
        for container, counter in self.limits.learn(rows):
            self._near.get(container, {}).pop(counter, None)
            self._look(counter)

    def learn(self, rows: Iterable[TotalRow]) -> None:
        """Apply counter values after their last move; an older value of a counter is ignored.

        When a new period begins, periods that ended long before it are dropped, so that the cache does
        not grow with time. If a clock steps back that far, they are cached again as they move.
        """
        touched: set[int] = set()
        for (counter, placement, window_us), count, moved in rows:
            of_counter = self._totals.setdefault(counter, {})
            known = of_counter.get((placement, window_us))
            if known is None and window_us and of_counter:
                _forget_ended(of_counter, window_us)
            if known is None or known[1] <= moved:
                of_counter[placement, window_us] = (count, moved)
                touched.add(counter)
        for counter in touched:
            self._look(counter)

    def _look(self, counter: int) -> None:
        """Record whether this counter is near its limit."""
        container, kept = self.limits.by_counter.get(counter, ("", None))
        if kept is None or kept.limit.scope is not CapScope.GLOBAL:
            return
        near = max(1, kept.limit.limit - NEAR)
        if any(known.used >= near for known, _ in self._totals.get(counter, {}).values()):
            self._near.setdefault(container, {})[counter] = kept
        else:
            self._near.get(container, {}).pop(counter, None)

    def totals(
        self, container: str, caps: Sequence[tuple[str, CapLimit]], now_us: int
    ) -> dict[CapKey, int]:
        """Return the use of the global limits among these, where one is nearly reached."""
        found: dict[CapKey, int] = {}
        near = self._near.get(container)
        if not near:
            return found
        offers = {offer for offer, _ in caps}
        for counter, kept in near.items():
            if kept.offer not in offers:
                continue
            limit = kept.limit
            window = limit.period_start(kept.anchor_us, now_us)
            for (placement, window_us), (known, _) in self._totals[counter].items():
                count = known.at(now_us)
                if window_us == window and count and count + NEAR >= limit.limit:
                    found[kept.offer, limit.name, placement] = count
        return found

    def mine(
        self,
        rows: Iterable[tuple[int, str, int, int, int | None]],
        offers: frozenset[str],
        now_us: int,
        found: dict[CapKey, int],
    ) -> None:
        """Add one subject's counters to `counts`: (counter, placement, period, count, end) rows."""
        by_counter = self.limits.by_counter
        for counter, placement, window_us, count, expires_us in rows:
            _, kept = by_counter.get(counter, ("", None))
            if kept is None or kept.offer not in offers:
                continue
            limit = kept.limit
            if window_us != limit.period_start(kept.anchor_us, now_us):
                continue
            used = Count(count, expires_us).at(now_us)
            if used:
                key = (kept.offer, limit.name, placement)
                found[key] = found.get(key, 0) + used


def _forget_ended(of_counter: dict[tuple[str, int], tuple[Count, int]], began_us: int) -> None:
    """Drop the periods of a counter that ended long before this one began."""
    for place in [
        place
        for place, (count, _) in of_counter.items()
        if place[1] < began_us and count.at(began_us - RETENTION_AFTER_END_US) == 0
    ]:
        del of_counter[place]
