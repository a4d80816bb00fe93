"""What is told of each request that was answered: numbers, a line in the access log, a span. Each if asked for."""

from typing import Any, Protocol

from starlette.types import Scope

from proffer.api.kit.dispatch import Line, Watcher
from proffer.meters import REQUEST_SECONDS, REQUESTS, Meters
from proffer.telemetry import access

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Traces(Protocol):
    """Makes a span of a request."""

    def begin(self, scope: Scope, name: str) -> Any:
        """Open a span, a child of the one that the request's headers name."""
        ...

    def end(self, begun: Any, status: int, request_id: str) -> None:
        """Close it."""
        ...


class RequestWatcher(Watcher):
    """Counts and times requests, and tells the access log and the traces, as far as each is wanted."""

    on = True

    def __init__(self, meters: Meters, *, access_log: bool, traces: Traces | None) -> None:
        self._meters = meters
        self._access_log = access_log
        self._traces = traces

    def begin(self, scope: Scope, line: Line | None) -> Any:
        if self._traces is None:
            return None
        name = f"{scope['method']} {line.path}" if line is not None else str(scope["method"])
        return self._traces.begin(scope, name)

    def end(
        self,
        begun: Any,
        scope: Scope,
        line: Line | None,
        status: int,
        seconds: float,
        request_id: str,
    ) -> None:
        surface, route = (line.surface, line.path) if line is not None else ("", "")
        if self._meters.on:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._meters.count(REQUESTS, (surface, route, method, str(status)))
            self._meters.observe(REQUEST_SECONDS, seconds, (surface, route))
        if self._access_log:
            client = scope.get("client")
            access(
                scope["method"],
                scope["path"],
                status,
                ms=round(seconds * 1e3, 3),
                request_id=request_id,
                client=client[0] if client else None,
                route=route,
            )
        if self._traces is not None:
            self._traces.end(begun, status, request_id)
