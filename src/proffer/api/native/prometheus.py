"""Metrics in the Prometheus text format."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import core
from prometheus_client import exposition as text
from prometheus_client.registry import Collector

from proffer.metrics import METRICS, Metric, MetricKind, MetricsSnapshot

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(reading: MetricsSnapshot) -> bytes:
    """Encode all metrics, including those without values yet."""
    return text.generate_latest(_Collector(reading))


class _Collector(Collector):
    """Adapter that yields metric families to prometheus-client."""

    def __init__(self, reading: MetricsSnapshot) -> None:
        self._reading = reading

    def collect(self) -> Iterator[core.Metric]:
        for meter in METRICS.values():
            yield _family(meter, self._reading)


def _family(meter: Metric, reading: MetricsSnapshot) -> core.Metric:
    if meter.kind is MetricKind.HISTOGRAM:
        histogram = core.HistogramMetricFamily(meter.name, meter.description, labels=meter.labels)
        bounds = [*map(str, meter.bounds), "+Inf"]
        for labels, cells in reading.histograms.get(meter.name, {}).items():
            *counts, total = cells
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            histogram.add_metric(labels, buckets, total)
        return histogram
    if meter.kind is MetricKind.GAUGE:
        gauge = core.GaugeMetricFamily(meter.name, meter.description, labels=meter.labels)
        for labels, value in reading.gauges.get(meter.name, {}).items():
            gauge.add_metric(labels, value)
        return gauge
    counter = core.CounterMetricFamily(meter.name, meter.description, labels=meter.labels)
    series = reading.counters.get(meter.name, {})
    if not series and not meter.labels:
        series = {(): [0.0]}  # report zero before the first count
    for labels, cells in series.items():
        counter.add_metric(labels, cells[0])
    return counter
