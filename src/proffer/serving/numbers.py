"""The numbers of a server of several workers: each shows its own to the others once a second.

Whoever is asked adds them up. A worker that takes a place goes on from the counts of the one who had it
before, so that no counter falls; one that was killed takes at most its last second with it.
"""

from contextlib import suppress
from typing import Any

import msgspec

from proffer.metrics import CONNECTIONS, IN_HAND, WORKERS, Count, Counting, Labels, Reading
from proffer.serving.board import Row, State


class _Packed(msgspec.Struct):
    """A reading, its labels in a form that every format has."""

    counters: dict[str, list[tuple[Labels, Count]]]
    histograms: dict[str, list[tuple[Labels, Count]]]
    gauges: dict[str, list[tuple[Labels, float]]]


_decode = msgspec.msgpack.Decoder(_Packed).decode


def pack(reading: Reading) -> bytes:
    """A reading as bytes."""

    def listed(values: Any) -> Any:
        return {name: list(series.items()) for name, series in values.items()}

    return msgspec.msgpack.encode(
        _Packed(
            counters=listed(reading.counters),
            histograms=listed(reading.histograms),
            gauges=listed(reading.gauges),
        )
    )


def unpack(text: bytes) -> Reading:
    """The reading that these bytes are. Raises `ValueError` where they are none."""
    packed = _decode(text)
    return Reading(
        counters={name: dict(series) for name, series in packed.counters.items()},
        histograms={name: dict(series) for name, series in packed.histograms.items()},
        gauges={name: dict(series) for name, series in packed.gauges.items()},
    )


class Numbers:
    """One worker's, beside those of the others."""

    def __init__(self, counts: Counting, row: Row) -> None:
        self._counts = counts
        self._row = row
        before = row.published()
        if before is not None:
            with suppress(ValueError):
                counts.resume(unpack(before))
        counts.gauge(CONNECTIONS, lambda: {(str(row.index),): row.connections})
        counts.gauge(IN_HAND, lambda: {(str(row.index),): row.requests})
        counts.gauge(WORKERS, lambda: {(): row.board.ready()})

    def show(self) -> None:
        """Let the others see mine."""
        self._row.publish(pack(self._counts.reading()))

    def all(self) -> Reading:
        """Mine and the others' added up; gauges of those that serve."""
        board = self._row.board
        total = self._counts.reading()
        for index in range(board.rows):
            other = board.row(index)
            text = None if index == self._row.index else other.published()
            if text is None:
                continue
            with suppress(ValueError):
                reading = unpack(text)
                if other.state not in {State.READY, State.LEAVING}:
                    reading.gauges.clear()
                total.add(reading)
        return total
