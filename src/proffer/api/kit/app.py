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

from proffer.api.kit.request import Answer, Asked

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
Unexpected: TypeAlias = Callable[[Request, Exception], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A route in the tree; `surface` is the first part of its name, `path` its pattern."""

    index: int
    endpoint: Endpoint
    path: str
    surface: str
    parameters: tuple[str, ...]


@dataclass(slots=True)
class _Node:
    literal: dict[str, "_Node"] = field(default_factory=dict)
    any: "_Node | None" = None
    lines: dict[str, Line] = field(default_factory=dict)
    """By method."""


class Watcher:
    """A hook around every request; this base class does nothing."""

    on = False

    def begin(self, scope: Scope, line: Line | None) -> Any:
        """Called before the endpoint; the result is passed to `end`."""

    def end(
        self, begun: Any, scope: Scope, line: Line | None, seconds: float, told: "Told"
    ) -> None:
        """Called after the response, or after a failure."""


Told: TypeAlias = tuple[int, Sequence[tuple[bytes, bytes]]]
"""Status and headers of a response."""
_NOTHING: Told = (500, ())
_AT_ONCE = frozenset({Response, Answer})
"""Response classes whose body is complete."""


_MOST_KNOWN = 1_000


class Table:
    """A tree of routes by path segments."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._root = _Node()
        self._known: dict[tuple[str, str], tuple[Line, tuple[str, ...]]] = {}
        """Recent results: most requests use the same few paths."""
        patterns: list[str] = []  # fixed prefixes of routes that the tree cannot represent
        for index, route in enumerate(routes):
            line = _line(index, route)
            begins = getattr(route, "path", "").partition("{")[0]
            if line is None or any(line.path.startswith(one) for one in patterns):
                patterns.append(begins)
            else:
                assert isinstance(route, Route)
                self._add(line, route.methods or set())

    def _add(self, line: Line, methods: set[str]) -> None:
        node = self._root
        for part in line.path.split("/"):
            if part.startswith("{"):
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.literal.setdefault(part, _Node())
        for method in methods:
            node.lines.setdefault(method, line)

    def find(self, path: str, method: str) -> tuple[Line, dict[str, str]] | None:
        """Return the first matching route and its path parameters; None if the tree has none."""
        known = self._known.get((path, method))
        if known is None:
            known = _find(self._root, path.split("/"), 0, method, ())
            if known is None:
                return None
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[path, method] = known
        line, values = known
        return line, dict(zip(line.parameters, values, strict=True))


def _find(
    node: _Node, parts: Sequence[str], at: int, method: str, values: tuple[str, ...]
) -> tuple[Line, tuple[str, ...]] | None:
    if at == len(parts):
        line = node.lines.get(method)
        return (line, values) if line is not None else None
    part = parts[at]
    best: tuple[Line, tuple[str, ...]] | None = None
    literal = node.literal.get(part)
    if literal is not None:
        best = _find(literal, parts, at + 1, method, values)
    if node.any is not None and part:
        other = _find(node.any, parts, at + 1, method, (*values, part))
        if other is not None and (best is None or other[0].index < best[0].index):
            best = other
    return best


def _line(index: int, route: BaseRoute) -> Line | None:
    """Return the entry of a route; None if the tree cannot represent it."""
    if not isinstance(route, Route) or not inspect.iscoroutinefunction(route.endpoint):
        return None
    parts = route.path.split("/")
    named = [part for part in parts if "{" in part or "}" in part]
    if any(not (one.startswith("{") and one.endswith("}") and ":" not in one) for one in named):
        return None
    return Line(
        index=index,
        endpoint=route.endpoint,
        path=route.path,
        surface=route.name.partition("/")[0] or "own",
        parameters=tuple(one[1:-1] for one in named),
    )


class App(Starlette):
    """The app; `error_handler` handles unexpected exceptions, `observer` sees every response."""

    def __init__(
        self,
        *args: Any,
        unexpected: Unexpected,
        watcher: Watcher | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._unexpected = unexpected
        self.watcher = watcher or Watcher()
        self._table = Table(())
        self.take_routes(self.router.routes)

    def take_routes(self, routes: Sequence[BaseRoute]) -> None:
        """Replace the routes."""
        self.router.routes[:] = list(routes)
        self._table = Table(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request; Starlette handles the lifespan."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        found = self._table.find(scope["path"], scope["method"])
        watcher = self.watcher
        if found is None:
            await self._otherwise(scope, receive, send)
        elif not watcher.on:
            await self._serve(found, scope, receive, send)
        else:
            told = _NOTHING
            begun = watcher.begin(scope, found[0])
            start = time.perf_counter()
            try:
                told = await self._serve(found, scope, receive, send)
            finally:
                watcher.end(begun, scope, found[0], time.perf_counter() - start, told)

    async def _serve(
        self,
        found: tuple[Line, Mapping[str, str]],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> Told:
        """Call the endpoint and send its response."""
        line, scope["path_params"] = found
        scope["app"] = self
        request = Asked(scope, receive, send)
        try:
            response = await line.endpoint(request)
        except Exception as error:  # noqa: BLE001 - every error becomes a response
            handler = self.exception_handlers.get(type(error), self._unexpected)
            response = await cast("Unexpected", handler)(request, error)
        status, headers = response.status_code, response.raw_headers
        if type(response) not in _AT_ONCE or response.background is not None:
            await response(scope, receive, send)
        elif request.whole is None or not request.whole.answer(
            status, headers, bytes(response.body)
        ):
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": response.body})
        return status, headers

    async def _otherwise(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let Starlette handle a request without a tree entry; the observer is called, too."""
        if not self.watcher.on:
            await super().__call__(scope, receive, send)
            return
        told = _NOTHING

        async def sending(message: Any) -> None:
            nonlocal told
            if message["type"] == "http.response.start":
                told = message["status"], message["headers"]
            await send(message)

        begun = self.watcher.begin(scope, None)
        start = time.perf_counter()
        try:
            await super().__call__(scope, receive, sending)
        finally:
            self.watcher.end(begun, scope, None, time.perf_counter() - start, told)
