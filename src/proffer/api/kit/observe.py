"""Telemetry per request: metrics, access log and trace span, each if enabled."""

from collections.abc import Sequence
from typing import Any, Protocol

from starlette.types import Scope

from proffer.api.kit.app import RequestObserver, ResponseInfo, RouteEntry
from proffer.metrics import REQUEST_SECONDS, REQUESTS, MetricCells, Metrics, record_value
from proffer.telemetry import log_access

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Traces(Protocol):
    """Creates a span per request."""

    def begin(self, scope: Scope, name: str) -> Any:
        """Start a span, a child of the one in the request headers."""
        ...

    def end(self, span_context: Any, status: int, request_id: str) -> None:
        """End the span."""
        ...


class RequestTelemetry(RequestObserver):
    """Records metrics, access log and traces of requests, as far as enabled."""

    enabled = True

    def __init__(self, metrics: Metrics, *, access_log: bool, traces: Traces | None) -> None:
        self._metrics = metrics
        self._access_log = access_log
        self._traces = traces
        self._cells: dict[tuple[int, str, int], tuple[MetricCells, MetricCells]] = {}

    def begin(self, scope: Scope, entry: RouteEntry | None) -> Any:
        if self._traces is None:
            return None
        name = f"{scope['method']} {entry.path}" if entry is not None else str(scope["method"])
        return self._traces.begin(scope, name)

    def end(
        self,
        context: Any,
        scope: Scope,
        entry: RouteEntry | None,
        seconds: float,
        response: ResponseInfo,
    ) -> None:
        status, headers = response
        method = scope["method"]
        if self._metrics.enabled:
            request_cells, duration_cells = self._cells_for(entry, method, status)
            request_cells[0] += 1
            record_value(REQUEST_SECONDS, duration_cells, seconds)
        if self._access_log:
            client = scope.get("client")
            log_access(
                method,
                scope["path"],
                status,
                ms=round(seconds * 1e3, 3),
                request_id=_request_id(headers),
                client=client[0] if client else None,
                route=entry.path if entry is not None else "",
            )
        if self._traces is not None:
            self._traces.end(context, status, _request_id(headers))

    def _cells_for(self, entry: RouteEntry | None, method: str, status: int) -> tuple[MetricCells, MetricCells]:
        """Return the cached metric cells of a route, method and status."""
        key = (entry.index if entry is not None else -1, method, status)
        cells = self._cells.get(key)
        if cells is None:
            surface, route = (entry.surface, entry.path) if entry is not None else ("", "")
            method_label = method if method in _METHODS else "other"
            cells = (
                self._metrics.counter(REQUESTS, (surface, route, method_label, str(status))),
                self._metrics.histogram(REQUEST_SECONDS, (surface, route)),
            )
            if method in _METHODS:
                self._cells[key] = cells
        return cells


def _request_id(headers: Sequence[tuple[bytes, bytes]]) -> str:
    return next((value.decode("latin-1") for name, value in headers if name == b"x-request-id"), "")
