"""Calendar index: which offers are within their dates at a given time."""

from bisect import bisect_right
from collections.abc import Generator, Iterable

from proffer.engine.index.bitset import Bits, bits_of
from proffer.engine.index.delta_bitmaps import DeltaBitmaps
from proffer.model.window import TimeWindow

FOREVER = 1 << 200
_BEGINNING = -FOREVER
_STEP = 1_024
"""Offers processed between two yields."""


class Calendar:
    """Index of the date windows of a pool. The last result is cached, as times mostly increase."""

    __slots__ = ("_deltas", "_moments", "_open", "_valid_from", "_valid_until")

    def __init__(self, moments: list[int], deltas: DeltaBitmaps) -> None:
        """`moments` are the times of change; `deltas[n]` are the offers open after the nth of them."""
        self._moments, self._deltas = moments, deltas
        self._valid_from, self._valid_until, self._open = FOREVER, FOREVER, 0

    def open_at(self, moment_us: int) -> Bits:
        """Return the offers whose windows include this time."""
        if self._valid_from <= moment_us < self._valid_until:
            return self._open
        self._valid_from, self._valid_until, self._open = self.span_at(moment_us)
        return self._open

    def span_at(self, moment_us: int) -> tuple[int, int, Bits]:
        """Compute `open_at` and how long it holds. Returns (from, until, offers); `until` is excluded."""
        index = bisect_right(self._moments, moment_us)
        valid_from = self._moments[index - 1] if index else _BEGINNING
        valid_until = self._moments[index] if index < len(self._moments) else FOREVER
        return valid_from, valid_until, self._deltas[index]


def build_calendar(windows: Iterable[TimeWindow]) -> Generator[None, None, Calendar]:
    """Build the calendar of these windows in short steps."""
    always_started: list[int] = []
    changes: dict[int, list[int]] = {}
    size = 0
    for size, window in enumerate(windows, 1):
        if size % _STEP == 0:
            yield
        start, end = window.start_us, window.end_us
        if start is not None and end is not None and end < start:
            continue
        if start is None:
            always_started.append(size - 1)
        else:
            changes.setdefault(start, []).append(size - 1)
        if end is not None:
            changes.setdefault(end + 1, []).append(size - 1)
    moments = sorted(changes)
    yield
    deltas: dict[int, Bits] = {}
    pending = 0
    for index, moment in enumerate(moments, 1):
        deltas[index] = bits_of(changes[moment])
        pending += len(changes[moment])
        if pending > _STEP:
            pending = 0
            yield
    first = bits_of(always_started)
    yield
    return Calendar(moments, DeltaBitmaps(first, deltas, len(moments) + 1, size))
