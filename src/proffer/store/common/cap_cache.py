"""What a process remembers of limits and of counters in total, so that deciding asks the database for neither.

It may lag behind: whoever reserves compares with the database.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from proffer.model.capping import KEPT_AFTER_END_US, CapKey, CapLimit, CapScope
from proffer.store.common.caps import Count, KeptLimit, KeptRow, to_kept

NEAR = 100
"""So many events from its limit a counter begins to matter: no request gives more offers than that."""

_MOST_ASKED = 256

Place = tuple[int, str, int]
"""A counter, the placement it counts apart, and the first moment of its period."""


class LimitRow(NamedTuple):
    """A limit's row, with where it belongs and the number of its last change."""

    container: str
    offer: str
    row: KeptRow
    changed: int


class TotalRow(NamedTuple):
    """A counter in total, with the number of its last move."""

    place: Place
    stands: Count
    moved: int


class Limits:
    """The limits in force, by container and offer, as of the change numbered `newest`."""

    def __init__(self) -> None:
        self.newest = 0
        self._rows: dict[tuple[str, str], dict[int, KeptRow]] = {}
        self._kept: dict[str, dict[str, tuple[KeptLimit, ...]]] = {}
        self.by_counter: dict[int, tuple[str, KeptLimit]] = {}
        """Each with its container."""

    def learn(self, rows: Iterable[LimitRow]) -> list[tuple[str, int]]:
        """Take in limits as they stand after their last change; the counters concerned, by container."""
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
        """By offer."""
        return self._kept.get(container, {})


class Restricted:
    """Which offers some limits restrict for each customer; remembered, since the same are asked for again and again."""

    def __init__(self) -> None:
        self._asked: dict[int, tuple[tuple[tuple[str, CapLimit], ...], frozenset[str]]] = {}

    def of(self, caps: tuple[tuple[str, CapLimit], ...]) -> frozenset[str]:
        known = self._asked.get(id(caps))
        if known is None:
            offers = frozenset(offer for offer, one in caps if one.scope is CapScope.PROFILE)
            if len(self._asked) >= _MOST_ASKED:
                self._asked.clear()
            known = self._asked[id(caps)] = (caps, offers)  # what is kept keeps its id
        return known[1]


class Book:
    """Limits, and counters in total."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.newest = 0
        self._totals: dict[int, dict[tuple[str, int], tuple[Count, int]]] = {}
        self._near: dict[str, dict[int, KeptLimit]] = {}
        """By container and counter, the limits that a period of theirs has come near to."""

    @property
    def remembered(self) -> int:
        """How many counts it remembers."""
        return sum(map(len, self._totals.values()))

    def learn_limits(self, rows: Iterable[LimitRow]) -> None:
        """Take in limits as they stand after their last change."""
        for container, counter in self.limits.learn(rows):
            self._near.get(container, {}).pop(counter, None)
            self._look(counter)

    def learn(self, rows: Iterable[TotalRow]) -> None:
        """Take in counters as they stood after their last move; an older news of one changes nothing.

        Where a new period begins, those that ended long before it are forgotten, so that what is remembered
        does not grow with the years. Where a clock steps back as far they are learnt again as they move.
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
        """Note whether this counter has come near its limit."""
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
        """How far those of these limits that count everybody together are used, where that may matter."""
        found: dict[CapKey, int] = {}
        near = self._near.get(container)
        if not near:
            return found
        offers = {offer for offer, _ in caps}
        for counter, kept in near.items():
            if kept.offer not in offers:
                continue
            limit = kept.limit
            window = limit.window(kept.anchor_us, now_us)
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
        """Add to `found` the counters of one subject: counter, placement, period, count, end."""
        by_counter = self.limits.by_counter
        for counter, placement, window_us, count, expires_us in rows:
            _, kept = by_counter.get(counter, ("", None))
            if kept is None or kept.offer not in offers:
                continue
            limit = kept.limit
            if window_us != limit.window(kept.anchor_us, now_us):
                continue
            used = Count(count, expires_us).at(now_us)
            if used:
                key = (kept.offer, limit.name, placement)
                found[key] = found.get(key, 0) + used


def _forget_ended(of_counter: dict[tuple[str, int], tuple[Count, int]], began_us: int) -> None:
    """Forget the periods of a counter that ended long before this one began."""
    for place in [
        place
        for place, (count, _) in of_counter.items()
        if place[1] < began_us and count.at(began_us - KEPT_AFTER_END_US) == 0
    ]:
        del of_counter[place]
