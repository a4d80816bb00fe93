"""Metrics of a server with several workers: each publishes its own once a second.

The worker that is asked adds up its own and the published ones. A new worker continues the counters of the
previous worker in its slot, so no counter falls; a killed worker loses at most its last second.
"""

from contextlib import suppress
from typing import Any

import msgspec

from proffer.metrics import CONNECTIONS, IN_HAND, WORKERS, Count, Counting, Labels, Reading
from proffer.serving.board import State, WorkerSlot


class _PackedReading(msgspec.Struct):
    """A snapshot as lists, because MessagePack keys cannot be tuples of labels."""

    counters: dict[str, list[tuple[Labels, Count]]]
    histograms: dict[str, list[tuple[Labels, Count]]]
    gauges: dict[str, list[tuple[Labels, float]]]


_decode = msgspec.msgpack.Decoder(_PackedReading).decode


def pack(reading: Reading) -> bytes:
    """Encode a snapshot."""

    def as_lists(metrics: Any) -> Any:
        return {name: list(series.items()) for name, series in metrics.items()}

    return msgspec.msgpack.encode(
        _PackedReading(
            counters=as_lists(reading.counters),
            histograms=as_lists(reading.histograms),
            gauges=as_lists(reading.gauges),
        )
    )


def unpack(content: bytes) -> Reading:
    """Decode a snapshot. Raises `ValueError` for other content."""
    packed = _decode(content)
    return Reading(
        counters={name: dict(series) for name, series in packed.counters.items()},
        histograms={name: dict(series) for name, series in packed.histograms.items()},
        gauges={name: dict(series) for name, series in packed.gauges.items()},
    )


class MetricsAggregator:
    """Publishes the metrics of one worker and adds up those of all."""

    def __init__(self, counts: Counting, slot: WorkerSlot) -> None:
        self._counts = counts
        self._slot = slot
        previous = slot.published()
        if previous is not None:
            with suppress(ValueError):
                counts.resume(unpack(previous))
        counts.gauge(CONNECTIONS, lambda: {(str(slot.index),): slot.connections})
        counts.gauge(IN_HAND, lambda: {(str(slot.index),): slot.requests})
        counts.gauge(WORKERS, lambda: {(): slot.table.ready_count()})

    def publish(self) -> None:
        """Let the other workers read the metrics of this one."""
        self._slot.publish(pack(self._counts.reading()))

    def total(self) -> Reading:
        """Return the metrics of all workers; gauges only of those that serve."""
        table = self._slot.table
        total = self._counts.reading()
        for index in range(table.size):
            slot = table.slot(index)
            content = None if index == self._slot.index else slot.published()
            if content is None:
                continue
            with suppress(ValueError):
                reading = unpack(content)
                if slot.state not in {State.READY, State.LEAVING}:
                    reading.gauges.clear()
                total.add(reading)
        return total
