"""The ASGI app: Starlette with a faster route lookup.

Starlette tries one pattern after the other, behind two layers that catch errors, which takes longer than
a decision. `App` finds most routes in a tree of path segments and calls the endpoint itself. Starlette
handles the rest (other methods, patterns with converters, unknown paths); both give the same responses.
"""

import inspect
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from proffer.api.kit.request import BytesResponse, FastRequest

EndpointFunction: TypeAlias = Callable[[Request], Awaitable[Response]]
ErrorHandler: TypeAlias = Callable[[Request, Exception], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteEntry:
    """A route in the tree; `surface` is the first part of its name, `path` its pattern."""

    index: int
    endpoint: EndpointFunction
    path: str
    surface: str
    parameters: tuple[str, ...]


@dataclass(slots=True)
class _Node:
    literal: dict[str, "_Node"] = field(default_factory=dict)
    wildcard: "_Node | None" = None
    entries: dict[str, RouteEntry] = field(default_factory=dict)
    """By method."""


class RequestObserver:
    """A hook around every request; this base class does nothing."""

    enabled = False

    def begin(self, scope: Scope, entry: RouteEntry | None) -> Any:
        """Called before the endpoint; the result is passed to `end`."""

    def end(
        self,
        context: Any,
        scope: Scope,
        entry: RouteEntry | None,
        seconds: float,
        response: "ResponseInfo",
    ) -> None:
        """Called after the response, or after a failure."""


ResponseInfo: TypeAlias = tuple[int, Sequence[tuple[bytes, bytes]]]
"""Status and headers of a response."""
_NO_RESPONSE: ResponseInfo = (500, ())
_COMPLETE_RESPONSES = frozenset({Response, BytesResponse})
"""Response classes whose body is complete."""


_MAX_CACHED_PATHS = 1_000


class RouteTable:
    """A tree of routes by path segments."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._root = _Node()
        self._cache: dict[tuple[str, str], tuple[RouteEntry, tuple[str, ...]]] = {}
        """Recent results: most requests use the same few paths."""
        prefixes: list[str] = []  # fixed prefixes of routes that the tree cannot represent
        for index, route in enumerate(routes):
            entry = _route_entry(index, route)
            prefix = getattr(route, "path", "").partition("{")[0]
            if entry is None or any(entry.path.startswith(shadowing) for shadowing in prefixes):
                prefixes.append(prefix)
            else:
                assert isinstance(route, Route)
                self._add(entry, route.methods or set())

    def _add(self, entry: RouteEntry, methods: set[str]) -> None:
        node = self._root
        for part in entry.path.split("/"):
            if part.startswith("{"):
                node.wildcard = node.wildcard or _Node()
                node = node.wildcard
            else:
                node = node.literal.setdefault(part, _Node())
        for method in methods:
            node.entries.setdefault(method, entry)

    def find(self, path: str, method: str) -> tuple[RouteEntry, dict[str, str]] | None:
        """Return the first matching route and its path parameters; None if the tree has none."""
        match = self._cache.get((path, method))
        if match is None:
            match = _find_entry(self._root, path.split("/"), 0, method, ())
            if match is None:
                return None
            if len(self._cache) >= _MAX_CACHED_PATHS:
                self._cache.clear()
            self._cache[path, method] = match
        entry, values = match
        return entry, dict(zip(entry.parameters, values, strict=True))


def _find_entry(
    node: _Node, parts: Sequence[str], index: int, method: str, values: tuple[str, ...]
) -> tuple[RouteEntry, tuple[str, ...]] | None:
    if index == len(parts):
        entry = node.entries.get(method)
        return (entry, values) if entry is not None else None
    part = parts[index]
    best_match: tuple[RouteEntry, tuple[str, ...]] | None = None
    literal = node.literal.get(part)
    if literal is not None:
        best_match = _find_entry(literal, parts, index + 1, method, values)
    if node.wildcard is not None and part:
        wildcard_match = _find_entry(node.wildcard, parts, index + 1, method, (*values, part))
        if wildcard_match is not None and (best_match is None or wildcard_match[0].index < best_match[0].index):
            best_match = wildcard_match
    return best_match


def _route_entry(index: int, route: BaseRoute) -> RouteEntry | None:
    """Return the entry of a route; None if the tree cannot represent it."""
    if not isinstance(route, Route) or not inspect.iscoroutinefunction(route.endpoint):
        return None
    parts = route.path.split("/")
    parameter_parts = [part for part in parts if "{" in part or "}" in part]
    if any(
        not (parameter_part.startswith("{") and parameter_part.endswith("}") and ":" not in parameter_part)
        for parameter_part in parameter_parts
    ):
        return None
    return RouteEntry(
        index=index,
        endpoint=route.endpoint,
        path=route.path,
        surface=route.name.partition("/")[0] or "own",
        parameters=tuple(parameter_part[1:-1] for parameter_part in parameter_parts),
    )


class App(Starlette):
    """The app; `error_handler` handles unexpected exceptions, `observer` sees every response."""

    def __init__(
        self,
        *args: Any,
        error_handler: ErrorHandler,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._error_handler = error_handler
        self.observer = RequestObserver()
        self._route_table = RouteTable(())
        self.set_routes(self.router.routes)

    def set_routes(self, routes: Sequence[BaseRoute]) -> None:
        """Replace the routes."""
        self.router.routes[:] = list(routes)
        self._route_table = RouteTable(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request; Starlette handles the lifespan."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        path = scope["path"]
        match = self._route_table.find(path, scope["method"])
        if match is None and len(path) > 1 and path.endswith("/"):  # some clients end every path with a slash
            match = self._route_table.find(path[:-1], scope["method"])
        observer = self.observer
        if match is None:
            await self._serve_through_starlette(scope, receive, send)
        elif not observer.enabled:
            await self._serve(match, scope, receive, send)
        else:
            response = _NO_RESPONSE
            context = observer.begin(scope, match[0])
            start = time.perf_counter()
            try:
                response = await self._serve(match, scope, receive, send)
            finally:
                observer.end(context, scope, match[0], time.perf_counter() - start, response)

    async def _serve(
        self,
        match: tuple[RouteEntry, Mapping[str, str]],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> ResponseInfo:
        """Call the endpoint and send its response."""
        entry, scope["path_params"] = match
        scope["app"] = self
        request = FastRequest(scope, receive, send)
        try:
            response = await entry.endpoint(request)
        except Exception as error:  # noqa: BLE001 - every error becomes a response
            handler = self.exception_handlers.get(type(error), self._error_handler)
            response = await cast("ErrorHandler", handler)(request, error)
        status, headers = response.status_code, response.raw_headers
        if type(response) not in _COMPLETE_RESPONSES or response.background is not None:
            await response(scope, receive, send)
        elif request.full_body is None or not request.full_body.send_response(status, headers, bytes(response.body)):
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": response.body})
        return status, headers

    async def _serve_through_starlette(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let Starlette handle a request without a tree entry; the observer is called, too."""
        if not self.observer.enabled:
            await super().__call__(scope, receive, send)
            return
        response = _NO_RESPONSE

        async def send_and_note(message: Any) -> None:
            nonlocal response
            if message["type"] == "http.response.start":
                response = message["status"], message["headers"]
            await send(message)

        context = self.observer.begin(scope, None)
        start = time.perf_counter()
        try:
            await super().__call__(scope, receive, send_and_note)
        finally:
            self.observer.end(context, scope, None, time.perf_counter() - start, response)
