"""Telemetry per request: metrics, access log and trace span, each if enabled."""

from collections.abc import Sequence
from typing import Any, Protocol

from starlette.types import Scope

from proffer.api.kit.app import Line, Told, Watcher
from proffer.metrics import REQUEST_SECONDS, REQUESTS, Count, Meters, note
from proffer.telemetry import access

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Traces(Protocol):
    """Creates a span per request."""

    def begin(self, scope: Scope, name: str) -> Any:
        """Start a span, a child of the one in the request headers."""
        ...

    def end(self, begun: Any, status: int, request_id: str) -> None:
        """End the span."""
        ...


class RequestWatcher(Watcher):
    """Records metrics, access log and traces of requests, as far as enabled."""

    on = True

    def __init__(self, meters: Meters, *, access_log: bool, traces: Traces | None) -> None:
        self._meters = meters
        self._access_log = access_log
        self._traces = traces
        self._cells: dict[tuple[int, str, int], tuple[Count, Count]] = {}

    def begin(self, scope: Scope, line: Line | None) -> Any:
        if self._traces is None:
            return None
        name = f"{scope['method']} {line.path}" if line is not None else str(scope["method"])
        return self._traces.begin(scope, name)

    def end(self, begun: Any, scope: Scope, line: Line | None, seconds: float, told: Told) -> None:
        status, headers = told
        method = scope["method"]
        if self._meters.on:
            counted, timed = self._at_hand(line, method, status)
            counted[0] += 1
            note(REQUEST_SECONDS, timed, seconds)
        if self._access_log:
            client = scope.get("client")
            access(
                method,
                scope["path"],
                status,
                ms=round(seconds * 1e3, 3),
                request_id=_request_id(headers),
                client=client[0] if client else None,
                route=line.path if line is not None else "",
            )
        if self._traces is not None:
            self._traces.end(begun, status, _request_id(headers))

    def _at_hand(self, line: Line | None, method: str, status: int) -> tuple[Count, Count]:
        """Return the cached metric cells of a route, method and status."""
        key = (line.index if line is not None else -1, method, status)
        cells = self._cells.get(key)
        if cells is None:
            surface, route = (line.surface, line.path) if line is not None else ("", "")
            named = method if method in _METHODS else "other"
            cells = (
                self._meters.counter(REQUESTS, (surface, route, named, str(status))),
                self._meters.histogram(REQUEST_SECONDS, (surface, route)),
            )
            if method in _METHODS:
                self._cells[key] = cells
        return cells


def _request_id(headers: Sequence[tuple[bytes, bytes]]) -> str:
    return next((value.decode("latin-1") for name, value in headers if name == b"x-request-id"), "")
