"""Health and metrics of one process."""

from collections.abc import Callable, Sequence
from typing import Any

from proffer.metrics import (
    DEGRADED,
    GROUP_SIZE,
    NO_METRICS,
    SNAPSHOT_AGE,
    SNAPSHOT_REVISION,
    SPOOL_BYTES,
    SPOOL_DAMAGED,
    WRITES_WAITING,
    InMemoryMetrics,
    Labels,
    Metrics,
    MetricsSnapshot,
)
from proffer.service.library.registry import ContainerRegistry
from proffer.service.runtime.clock import Clock
from proffer.service.runtime.health import Health
from proffer.service.runtime.spool_queue import SpoolQueue
from proffer.store.ports import GroupCommitStore, Store


class Monitoring:
    """Health and metrics of one process. `worker` is its label among several.

    `read_metrics` returns the values to expose, or is None without metrics. With several processes
    it is replaced by a function that adds the values of the others.
    """

    def __init__(self, *, metrics_enabled: bool = False, worker: str = "0") -> None:
        self.health = Health()
        self.worker = worker
        self.metrics: Metrics = NO_METRICS
        self.read_metrics: Callable[[], MetricsSnapshot] | None = None
        if metrics_enabled:
            self.metrics = counters = InMemoryMetrics()
            self.read_metrics = counters.snapshot

    def register_gauges(
        self, registry: ContainerRegistry, store: Store, clock: Clock, spool_queues: Sequence[SpoolQueue[Any]] = ()
    ) -> None:
        """Register gauges that are evaluated at each scrape."""
        if not self.metrics.enabled:
            return

        def revisions() -> dict[Labels, float]:
            return {(container_id,): revision for container_id, revision, _ in registry.published_revisions()}

        def ages() -> dict[Labels, float]:
            now_us = clock()
            return {
                (container_id,): (now_us - published_us) / 1e6
                for container_id, _, published_us in registry.published_revisions()
                if published_us is not None
            }

        self.metrics.gauge(DEGRADED, lambda: {(name,): 1 for name in self.health.degraded_reasons()})
        self.metrics.gauge(SNAPSHOT_REVISION, revisions)
        self.metrics.gauge(SNAPSHOT_AGE, ages)
        self.metrics.gauge(SPOOL_BYTES, lambda: {(queue.content,): queue.waiting_bytes() for queue in spool_queues})
        self.metrics.gauge(SPOOL_DAMAGED, lambda: {(queue.content,): queue.damaged_files() for queue in spool_queues})
        if isinstance(store, GroupCommitStore):
            groups = store
            self.metrics.gauge(WRITES_WAITING, lambda: {(self.worker,): groups.pending_writes})
            groups.on_group_commit(lambda size: self.metrics.observe(GROUP_SIZE, size))
