"""Calendar index: which offers are within their dates at a given time."""

from bisect import bisect_right
from collections.abc import Generator, Iterable

from proffer.engine.index.bitset import Bits, bits_of
from proffer.engine.index.delta_bitmaps import Steps
from proffer.model.window import TimeWindow

NEVER = 1 << 200
_ALWAYS = -NEVER
_STEP = 1_024
"""Offers processed between two yields."""


class Calendar:
    """Index of the date windows of a pool. The last result is cached, as times mostly increase."""

    __slots__ = ("_moments", "_since", "_steps", "_until", "_within")

    def __init__(self, moments: list[int], steps: Steps) -> None:
        """`moments` are the times of change; `deltas[n]` are the offers open after the nth of them."""
        self._moments, self._steps = moments, steps
        self._since, self._until, self._within = NEVER, NEVER, 0

    @property
    def span(self) -> tuple[int, int]:
        """The interval [from, until) of the last `open_at` result."""
        return self._since, self._until

    def at(self, moment_us: int) -> Bits:
        """Return the offers whose windows include this time."""
        if self._since <= moment_us < self._until:
            return self._within
        at = bisect_right(self._moments, moment_us)
        within = self._steps[at]
        self._since = self._moments[at - 1] if at else _ALWAYS
        self._until = self._moments[at] if at < len(self._moments) else NEVER
        self._within = within
        return within


def calendar_of(windows: Iterable[TimeWindow]) -> Generator[None, None, Calendar]:
    """Build the calendar of these windows in short steps."""
    open_from_ever: list[int] = []
    changes: dict[int, list[int]] = {}
    size = 0
    for size, window in enumerate(windows, 1):
        if size % _STEP == 0:
            yield
        start, end = window.start_us, window.end_us
        if start is not None and end is not None and end < start:
            continue
        if start is None:
            open_from_ever.append(size - 1)
        else:
            changes.setdefault(start, []).append(size - 1)
        if end is not None:
            changes.setdefault(end + 1, []).append(size - 1)
    moments = sorted(changes)
    yield
    by_number: dict[int, Bits] = {}
    since = 0
    for at, moment in enumerate(moments, 1):
        by_number[at] = bits_of(changes[moment])
        since += len(changes[moment])
        if since > _STEP:
            since = 0
            yield
    first = bits_of(open_from_ever)
    yield
    return Calendar(moments, Steps(first, by_number, len(moments) + 1, size))
