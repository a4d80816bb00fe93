"""Metrics of a server with several workers: each publishes its own once a second.

The worker that is asked adds up its own and the published ones. A new worker continues the counters of the
previous worker in its slot, so no counter falls; a killed worker loses at most its last second.
"""

from contextlib import suppress
from typing import Any

import msgspec

from proffer.metrics import (
    CONNECTIONS,
    REQUESTS_IN_PROGRESS,
    WORKERS,
    InMemoryMetrics,
    Labels,
    MetricCells,
    MetricsSnapshot,
)
from proffer.serving.worker_table import State, WorkerSlot


class _PackedMetrics(msgspec.Struct):
    """A snapshot as lists, because MessagePack keys cannot be tuples of labels."""

    counters: dict[str, list[tuple[Labels, MetricCells]]]
    histograms: dict[str, list[tuple[Labels, MetricCells]]]
    gauges: dict[str, list[tuple[Labels, float]]]


_decode = msgspec.msgpack.Decoder(_PackedMetrics).decode


def pack_snapshot(snapshot: MetricsSnapshot) -> bytes:
    """Encode a snapshot."""

    def as_lists(metrics: Any) -> Any:
        return {name: list(series.items()) for name, series in metrics.items()}

    return msgspec.msgpack.encode(
        _PackedMetrics(
            counters=as_lists(snapshot.counters),
            histograms=as_lists(snapshot.histograms),
            gauges=as_lists(snapshot.gauges),
        )
    )


def unpack_snapshot(content: bytes) -> MetricsSnapshot:
    """Decode a snapshot. Raises `ValueError` for other content."""
    packed = _decode(content)
    return MetricsSnapshot(
        counters={name: dict(series) for name, series in packed.counters.items()},
        histograms={name: dict(series) for name, series in packed.histograms.items()},
        gauges={name: dict(series) for name, series in packed.gauges.items()},
    )


class MetricsAggregator:
    """Publishes the metrics of one worker and adds up those of all."""

    def __init__(self, metrics: InMemoryMetrics, slot: WorkerSlot) -> None:
        self._metrics = metrics
        self._slot = slot
        previous = slot.published()
        if previous is not None:
            with suppress(ValueError):
                metrics.resume(unpack_snapshot(previous))
        metrics.gauge(CONNECTIONS, lambda: {(str(slot.index),): slot.connections})
        metrics.gauge(REQUESTS_IN_PROGRESS, lambda: {(str(slot.index),): slot.requests})
        metrics.gauge(WORKERS, lambda: {(): slot.table.ready_count()})

    def publish(self) -> None:
        """Let the other workers read the metrics of this one."""
        self._slot.publish(pack_snapshot(self._metrics.snapshot()))

    def total(self) -> MetricsSnapshot:
        """Return the metrics of all workers; gauges only of those that serve."""
        table = self._slot.table
        total = self._metrics.snapshot()
        for index in range(table.size):
            slot = table.slot(index)
            content = None if index == self._slot.index else slot.published()
            if content is None:
                continue
            with suppress(ValueError):
                snapshot = unpack_snapshot(content)
                if slot.state not in {State.READY, State.LEAVING}:
                    snapshot.gauges.clear()
                total.add(snapshot)
        return total
