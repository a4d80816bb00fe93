"""Server metrics, and the port through which all layers record them.

`InMemoryMetrics` records into dictionaries and knows no exposition format; the server reads a snapshot of
it for Prometheus. The base class `Metrics` records nothing and is the default everywhere.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

Labels: TypeAlias = tuple[str, ...]
MetricCells: TypeAlias = list[float]
"""A counter has one cell; a histogram a count per bucket, then the sum of all values."""

MAX_SERIES = 5_000
"""Maximum of series per metric; further labels are recorded under `other`."""

_SECONDS_BUCKETS = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
_SIZE_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)


class MetricKind(StrEnum):
    """Type of a metric."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """A metric; `bounds` are the upper bounds of a histogram's buckets."""

    name: str
    description: str
    labels: Labels = ()
    kind: MetricKind = MetricKind.COUNTER
    bounds: tuple[float, ...] = ()


REQUESTS = Metric("proffer_http_requests_total", "Requests answered.", ("surface", "route", "method", "status"))
REQUEST_SECONDS = Metric(
    "proffer_http_request_seconds",
    "Time from the head of a request to the end of its answer.",
    ("surface", "route"),
    MetricKind.HISTOGRAM,
    _SECONDS_BUCKETS,
)
REFUSED_REQUESTS = Metric(
    "proffer_http_refused_total",
    "Requests answered 503 because of max_requests, and connections refused because of max_connections.",
)
TIMED_OUT_REQUESTS = Metric("proffer_http_timed_out_total", "Requests that did not arrive in time.")
CONNECTIONS = Metric("proffer_http_connections", "Open connections.", ("worker",), MetricKind.GAUGE)
REQUESTS_IN_PROGRESS = Metric(
    "proffer_http_requests_in_hand",
    "Requests in progress.",
    ("worker",),
    MetricKind.GAUGE,
)
WORKERS = Metric("proffer_workers_ready", "Workers that are ready.", (), MetricKind.GAUGE)
DEGRADED = Metric(
    "proffer_degraded",
    "1 for each problem that `/healthz` reports as degraded.",
    ("reason",),
    MetricKind.GAUGE,
)
DECISIONS = Metric(
    "proffer_decisions_total",
    "Scopes answered, by outcome: options, fallback or unknown.",
    ("decision", "placement", "outcome"),
)
EXCLUSIONS = Metric(
    "proffer_exclusions_total",
    "Excluded candidates, by stage, in decisions with an explanation.",
    ("stage",),
)
CAP_REFUSALS = Metric(
    "proffer_cap_refusals_total",
    "Cap reservations refused because a cap was reached meanwhile; the decision is then made again.",
)
FAULTS = Metric(
    "proffer_decision_faults_total",
    "Formulas and thresholds of limits that gave no number, and templates that could not be rendered, in decisions.",
    ("what",),
)
UNRECORDED = Metric(
    "proffer_unrecorded_decisions_total",
    "Decisions answered although they could be neither stored nor spooled.",
)
FEEDBACK = Metric(
    "proffer_feedback_total",
    "Feedback events received, by outcome: attributed, missed (partly or completely), or again.",
    ("kind", "outcome"),
)
GROUP_SIZE = Metric(
    "proffer_commit_group_size",
    "Writes per database commit.",
    (),
    MetricKind.HISTOGRAM,
    _SIZE_BUCKETS,
)
WRITES_WAITING = Metric(
    "proffer_writes_waiting",
    "Writes that wait for the database.",
    ("worker",),
    MetricKind.GAUGE,
)
SPOOL_BYTES = Metric(
    "proffer_spool_waiting_bytes",
    "Size of the spooled decisions and feedback that wait to be recorded.",
    ("content",),
    MetricKind.GAUGE,
)
SPOOL_DAMAGED = Metric(
    "proffer_spool_damaged_files",
    "Spool files that were kept because some of their records cannot be read.",
    ("content",),
    MetricKind.GAUGE,
)
SNAPSHOT_REVISION = Metric(
    "proffer_snapshot_revision",
    "Revision of the library in force; the lowest of all workers.",
    ("container",),
    MetricKind.GAUGE,
)
SNAPSHOT_AGE = Metric(
    "proffer_snapshot_age_seconds",
    "Seconds since the library in force was published; the largest of all workers.",
    ("container",),
    MetricKind.GAUGE,
)

METRICS: Mapping[str, Metric] = {one.name: one for one in tuple(globals().values()) if isinstance(one, Metric)}
"""All metrics by name."""


class Metrics:
    """The port; this base class records nothing. `enabled`: whether values need to be computed."""

    enabled = False

    def count(self, metric: Metric, labels: Labels = (), amount: float = 1) -> None:
        """Increase a counter."""

    def observe(self, metric: Metric, value: float, labels: Labels = ()) -> None:
        """Record a value in a histogram. The unit is that of the metric (seconds, or a size)."""

    def counter(self, metric: Metric, labels: Labels) -> MetricCells:  # noqa: ARG002
        """Return the cells of a counter, for frequent use: add to its only cell."""
        return [0.0]

    def histogram(self, metric: Metric, labels: Labels) -> MetricCells:  # noqa: ARG002
        """Return the cells of a histogram, for `record_value`."""
        return [0.0] * (len(metric.bounds) + 2)

    def gauge(self, metric: Metric, read: Callable[[], Mapping[Labels, float]]) -> None:
        """Register the function that returns the values of a gauge by labels."""


def record_value(metric: Metric, cells: MetricCells, value: float) -> None:
    """Record a value in the cells of a histogram."""
    cells[bisect_left(metric.bounds, value)] += 1
    cells[-1] += value


NO_METRICS = Metrics()


class InMemoryMetrics(Metrics):
    """Records metrics. Each series is written by one thread; snapshots are taken on the loop."""

    enabled = True

    def __init__(self) -> None:
        self._counters: dict[str, dict[Labels, MetricCells]] = {}
        self._histograms: dict[str, dict[Labels, MetricCells]] = {}
        self._gauges: dict[str, Callable[[], Mapping[Labels, float]]] = {}

    def count(self, metric: Metric, labels: Labels = (), amount: float = 1) -> None:
        self.counter(metric, labels)[0] += amount

    def observe(self, metric: Metric, value: float, labels: Labels = ()) -> None:
        record_value(metric, self.histogram(metric, labels), value)

    def counter(self, metric: Metric, labels: Labels) -> MetricCells:
        try:
            return self._counters[metric.name][labels]
        except KeyError:
            return _new_cells(self._counters, metric, labels, 1)

    def histogram(self, metric: Metric, labels: Labels) -> MetricCells:
        try:
            return self._histograms[metric.name][labels]
        except KeyError:
            return _new_cells(self._histograms, metric, labels, len(metric.bounds) + 2)

    def gauge(self, metric: Metric, read: Callable[[], Mapping[Labels, float]]) -> None:
        self._gauges[metric.name] = read

    def snapshot(self) -> "MetricsSnapshot":
        """Return a copy of all current values."""
        return MetricsSnapshot(
            counters=_copy_series(self._counters),
            histograms=_copy_series(self._histograms),
            gauges={name: dict(read()) for name, read in self._gauges.items()},
        )

    def resume(self, snapshot: "MetricsSnapshot") -> None:
        """Continue the counts of a previous process, so that no counter decreases."""
        _add(self._counters, snapshot.counters)
        _add(self._histograms, snapshot.histograms)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSnapshot:
    """Values of one process, or the sums of several."""

    counters: dict[str, dict[Labels, MetricCells]]
    histograms: dict[str, dict[Labels, MetricCells]]
    gauges: dict[str, dict[Labels, float]]

    def add(self, snapshot: "MetricsSnapshot") -> None:
        """Add the values of another process; of gauges keep the maximum, of the revision the minimum."""
        _add(self.counters, snapshot.counters)
        _add(self.histograms, snapshot.histograms)
        for name, values in snapshot.gauges.items():
            gauge = self.gauges.setdefault(name, {})
            choose = min if name == SNAPSHOT_REVISION.name else max
            for labels, value in values.items():
                gauge[labels] = choose(gauge[labels], value) if labels in gauge else value


def _new_cells(
    series_by_name: dict[str, dict[Labels, MetricCells]],
    metric: Metric,
    labels: Labels,
    cell_count: int,
) -> MetricCells:
    """Create cells for these labels; return those of `other` beyond `MAX_SERIES`."""
    series = series_by_name.setdefault(metric.name, {})
    if len(series) >= MAX_SERIES:
        labels = ("other",) * len(labels)
    return series.setdefault(labels, [0.0] * cell_count)


def _copy_series(
    series_by_name: Mapping[str, Mapping[Labels, MetricCells]],
) -> dict[str, dict[Labels, MetricCells]]:
    # Copy the dictionaries first: the writer's thread may add series meanwhile.
    return {
        name: {labels: list(cells) for labels, cells in dict(series).items()}
        for name, series in dict(series_by_name).items()
    }


def _add(target: dict[str, dict[Labels, MetricCells]], source: Mapping[str, Mapping[Labels, MetricCells]]) -> None:
    for name, series in source.items():
        target_series = target.setdefault(name, {})
        for labels, cells in series.items():
            target_cells = target_series.get(labels)
            if target_cells is None or len(target_cells) != len(cells):
                target_series[labels] = list(cells)
            else:
                target_cells[:] = [a + b for a, b in zip(target_cells, cells, strict=True)]
