"""The metrics of a server, and the port through which all layers record them.

`InMemoryMetrics` records into dictionaries and knows no exposition format; the server reads a snapshot of
it for Prometheus. The base class `Metrics` records nothing and is the default everywhere.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

Labels: TypeAlias = tuple[str, ...]
Count: TypeAlias = list[float]
"""A counter has one cell; a histogram a count per bucket, then the sum of all values."""

MOST_SERIES = 5_000
"""Maximum of series per metric; further labels are recorded under `other`."""

_SECONDS = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)


class Kind(StrEnum):
    """Type of a metric."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True, eq=False)
class Meter:
    """A metric; `per_worker` marks gauges that each worker reports separately."""

    name: str
    about: str
    labels: Labels = ()
    kind: Kind = Kind.COUNTER
    bounds: tuple[float, ...] = ()
    each: bool = False


REQUESTS = Meter(
    "proffer_http_requests_total", "Requests answered.", ("surface", "route", "method", "status")
)
REQUEST_SECONDS = Meter(
    "proffer_http_request_seconds",
    "Time from the head of a request to its whole answer.",
    ("surface", "route"),
    Kind.HISTOGRAM,
    _SECONDS,
)
REFUSED = Meter(
    "proffer_http_refused_total",
    "Requests answered 503 because too many were under way, and connections for which there was no room.",
)
TIMED_OUT = Meter(
    "proffer_http_timed_out_total", "Requests that took too long to arrive and were given up."
)
CONNECTIONS = Meter(
    "proffer_http_connections", "Open connections.", ("worker",), Kind.GAUGE, each=True
)
IN_HAND = Meter(
    "proffer_http_requests_in_hand", "Requests under way.", ("worker",), Kind.GAUGE, each=True
)
WORKERS = Meter("proffer_workers_ready", "Workers that serve.", (), Kind.GAUGE)
DEGRADED = Meter(
    "proffer_degraded",
    "1 for each thing that is not as it should be while the server serves on, by its name in `/healthz`.",
    ("reason",),
    Kind.GAUGE,
)
DECISIONS = Meter(
    "proffer_decisions_total",
    "Scopes answered, by outcome: options, fallback or unknown. The fallback rate is their quotient.",
    ("decision", "placement", "outcome"),
)
EXCLUSIONS = Meter(
    "proffer_exclusions_total",
    "Candidates that left, by stage, in decisions that were asked to explain themselves.",
    ("stage",),
)
CAP_REFUSALS = Meter(
    "proffer_cap_refusals_total",
    "Reservations refused because a cap was reached in the meantime; the decision is then made again.",
)
FAULTS = Meter(
    "proffer_decision_faults_total",
    "Formulas that gave no number, and content that could not be made, in decisions.",
    ("what",),
)
FEEDBACK = Meter(
    "proffer_feedback_total",
    "Events of feedback taken in, by outcome: attributed, missed in part or whole, or again.",
    ("kind", "outcome"),
)
GROUP_SIZE = Meter(
    "proffer_commit_group_size",
    "Writes that shared a commit of the database.",
    (),
    Kind.HISTOGRAM,
    _SIZES,
)
WRITES_WAITING = Meter(
    "proffer_writes_waiting",
    "Writes that wait for the database.",
    ("worker",),
    Kind.GAUGE,
    each=True,
)
SNAPSHOT_REVISION = Meter(
    "proffer_snapshot_revision",
    "Revision of the library in force, by container; of several workers, the lowest and so the last to know.",
    ("container",),
    Kind.GAUGE,
)
SNAPSHOT_AGE = Meter(
    "proffer_snapshot_age_seconds",
    "Seconds since the library in force came into force; of several workers, the largest.",
    ("container",),
    Kind.GAUGE,
)

METERS: Mapping[str, Meter] = {
    one.name: one for one in tuple(globals().values()) if isinstance(one, Meter)
}
"""All metrics by name."""


class Meters:
    """The port; this base class records nothing. `enabled`: whether values need to be computed."""

    on = False

    def count(self, meter: Meter, labels: Labels = (), by: float = 1) -> None:
        """Increase a counter."""

    def observe(self, meter: Meter, value: float, labels: Labels = ()) -> None:
        """Record a value in a histogram, in the unit of the metric (seconds, or a size)."""

    def counter(self, meter: Meter, labels: Labels) -> Count:  # noqa: ARG002
        """Return the cells of a counter, for frequent use: add to the only one."""
        return [0.0]

    def histogram(self, meter: Meter, labels: Labels) -> Count:  # noqa: ARG002
        """Return the cells of a histogram, for `record_value`."""
        return [0.0] * (len(meter.bounds) + 2)

    def gauge(self, meter: Meter, read: Callable[[], Mapping[Labels, float]]) -> None:
        """Register the function that returns the values of a gauge by labels."""


def note(meter: Meter, cells: Count, value: float) -> None:
    """Record a value in the cells of a histogram."""
    cells[bisect_left(meter.bounds, value)] += 1
    cells[-1] += value


NO_METERS = Meters()


class Counting(Meters):
    """Records metrics. Each series is written by one thread; snapshots are taken on the loop."""

    on = True

    def __init__(self) -> None:
        self._counters: dict[str, dict[Labels, Count]] = {}
        self._histograms: dict[str, dict[Labels, Count]] = {}
        self._gauges: dict[str, tuple[Meter, Callable[[], Mapping[Labels, float]]]] = {}

    def count(self, meter: Meter, labels: Labels = (), by: float = 1) -> None:
        self.counter(meter, labels)[0] += by

    def observe(self, meter: Meter, value: float, labels: Labels = ()) -> None:
        note(meter, self.histogram(meter, labels), value)

    def counter(self, meter: Meter, labels: Labels) -> Count:
        try:
            return self._counters[meter.name][labels]
        except KeyError:
            return _cells(self._counters, meter, labels, 1)

    def histogram(self, meter: Meter, labels: Labels) -> Count:
        try:
            return self._histograms[meter.name][labels]
        except KeyError:
            return _cells(self._histograms, meter, labels, len(meter.bounds) + 2)

    def gauge(self, meter: Meter, read: Callable[[], Mapping[Labels, float]]) -> None:
        self._gauges[meter.name] = (meter, read)

    def reading(self) -> "Reading":
        """Return a copy of all current values."""
        return Reading(
            counters=_copied(self._counters),
            histograms=_copied(self._histograms),
            gauges={name: dict(read()) for name, (_, read) in self._gauges.items()},
        )

    def resume(self, reading: "Reading") -> None:
        """Continue the counts of a previous process, so that no counter decreases."""
        _add(self._counters, reading.counters)
        _add(self._histograms, reading.histograms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Values of one process, or the sums of several."""

    counters: dict[str, dict[Labels, Count]]
    histograms: dict[str, dict[Labels, Count]]
    gauges: dict[str, dict[Labels, float]]

    def add(self, other: "Reading") -> None:
        """Add the values of another process; of gauges keep the maximum, of the revision the minimum."""
        _add(self.counters, other.counters)
        _add(self.histograms, other.histograms)
        for name, values in other.gauges.items():
            gauge = self.gauges.setdefault(name, {})
            choose = min if name == SNAPSHOT_REVISION.name else max
            for labels, value in values.items():
                gauge[labels] = choose(gauge[labels], value) if labels in gauge else value


def _cells(
    meters: dict[str, dict[Labels, Count]], meter: Meter, labels: Labels, cells: int
) -> Count:
    """Create cells for these labels; return those of `other` beyond `MAX_SERIES`."""
    series = meters.setdefault(meter.name, {})
    if len(series) >= MOST_SERIES:
        labels = ("other",) * len(labels)
    return series.setdefault(labels, [0.0] * cells)


def _copied(meters: Mapping[str, Mapping[Labels, Count]]) -> dict[str, dict[Labels, Count]]:
    # Copy the dictionaries first: the writer's thread may add series meanwhile.
    return {
        name: {labels: list(cells) for labels, cells in dict(series).items()}
        for name, series in dict(meters).items()
    }


def _add(to: dict[str, dict[Labels, Count]], other: Mapping[str, Mapping[Labels, Count]]) -> None:
    for name, series in other.items():
        here = to.setdefault(name, {})
        for labels, cells in series.items():
            known = here.get(labels)
            if known is None or len(known) != len(cells):
                here[labels] = list(cells)
            else:
                known[:] = [a + b for a, b in zip(known, cells, strict=True)]
