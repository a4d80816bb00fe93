"""One connection: uvicorn's HTTP/1.1 protocol, with an end to patience and a quick no under overload.

A request beyond what the worker takes at once is refused when its headers are known: before its body is
read, before anything of ours sees it, and the connection stays usable. Who sends a head or a body too
slowly, or nothing at all, is shown out by `sweep`, which looks at every connection now and then, so a
request itself pays for no timer.
"""

import asyncio
import urllib.parse
from enum import IntEnum
from functools import lru_cache
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from proffer.api.kit import problems
from proffer.api.kit.request import WHOLE
from proffer.config import Settings
from proffer.metrics import REFUSED, TIMED_OUT, Meters
from proffer.serving.cycle import Cycle
from proffer.telemetry import failure
from proffer.wire.codec import encode

_ALWAYS_SERVED = (b"/healthz", b"/readyz", b"/metrics")
"""What tells whether a server is well must not be refused because it is busy."""
MOST_OF_A_HEAD = 65_536
"""Bytes of a request's line and headers."""
_MOST_IGNORED = 65_536
"""Bytes of a refused request's body that are read away so that its connection can be used again."""
_RETRY_AFTER = b"retry-after: 1\r\n"
_REFUSAL_LINGER_S = 0.1
"""How long a connection that was refused stays open for its client to read why."""
_EXPECT = b"expect"
_NOTED = frozenset({_EXPECT, b"x-forwarded-for", b"x-forwarded-proto"})
_MOST_OF_A_KNOWN_ADDRESS = 512


class Phase(IntEnum):
    """What a connection waits for."""

    NEW = 0
    """the first byte there ever was"""
    HEAD = 1
    """the rest of a head"""
    BODY = 2
    ANSWER = 3
    """ours"""
    IDLE = 4
    """the next request, having been served before"""


class Shared(ServerState):
    """What the connections of one worker share."""

    def __init__(self, chosen: Settings, meters: Meters) -> None:
        super().__init__()
        self.meters = meters
        self.now = 0.0
        """The loop's time as of the last tick: precise enough for timeouts, and free."""
        self.rested = 0
        """How often a connection became idle."""
        self.most_requests = chosen.max_requests
        self.max_connections = chosen.max_connections
        self.new_s: float = chosen.header_timeout
        self.head_s = chosen.header_timeout
        self.body_s = chosen.body_timeout
        self.idle_s: float = chosen.keep_alive
        self._headers: list[tuple[bytes, bytes]] = []
        self._head = b""
        self._forwarding: ProxyHeadersMiddleware | None = None

    def close_longest_idle(self) -> bool:
        """Close the connection that has been idle for longest; False if none is idle."""
        connections: set[Any] = self.connections
        idle = [
            connection
            for connection in connections
            if connection.phase is Phase.IDLE and not connection.transport.is_closing()
        ]
        longest_idle = min(idle, key=lambda connection: connection.rested, default=None)
        if longest_idle is None:
            return False
        longest_idle.transport.close()
        return True

    def head(self) -> bytes:
        """The headers that every answer has, as they are sent."""
        headers = self.default_headers
        if headers is not self._headers:  # uvicorn makes a new list when the date has changed
            self._head = b"".join(b"%b: %b\r\n" % one for one in headers)
            self._headers = headers
        return self._head

    def forwarding(self, config: Config) -> ProxyHeadersMiddleware:
        """The app for requests that a proxy has passed on: who asks is whom a trusted one names."""
        if self._forwarding is None:
            trusted = config.forwarded_allow_ips or ""
            self._forwarding = ProxyHeadersMiddleware(config.loaded_app, trusted)
        return self._forwarding


class _Refused:
    """Stands where the cycle of a request would, for one that has been answered already."""

    response_complete = True
    disconnected = False
    keep_alive = True

    class _Nobody:
        def set(self) -> None: ...

    message_event = _Nobody()


class Connection(HttpToolsProtocol):
    """A client's connection, while it lasts."""

    server_state: Shared

    def __init__(
        self,
        config: Config,
        server_state: Shared,
        app_state: dict[str, Any],
        _loop: Any = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.phase = Phase.NEW
        self.since = server_state.now
        self.rested = 0
        """Of two that are idle the one with the lower number has been so for longer."""
        self._head = 0
        """Bytes of a head that is not complete."""
        self._last = False
        self._forwarded = False
        self._stuck_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room for this connection, or answer 503 and close it."""
        super().connection_made(transport)
        shared = self.server_state
        if len(shared.connections) > shared.max_connections and not shared.close_longest_idle():
            shared.connections.discard(self)
            shared.meters.count(REFUSED)
            self._last = True
            self._write(503, OVERLOADED, _RETRY_AFTER)
            if transport.can_write_eof():
                transport.write_eof()
            # Closing with a request unread would reset the connection, and the answer with it.
            self.loop.call_later(_REFUSAL_LINGER_S, transport.close)

    def data_received(self, data: bytes) -> None:
        if self._last and self.phase is Phase.NEW:
            return  # refused when it was opened
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
        except httptools.HttpParserError as error:
            self._parsing_failed(error)
        if self.phase is Phase.HEAD:
            self._head += len(data)
            if self._head > MOST_OF_A_HEAD and not self.transport.is_closing():
                self._dismiss(431, HEAD_TOO_LARGE)
        else:
            self._head = 0

    def _parsing_failed(self, error: httptools.HttpParserError) -> None:
        """Answer 400 for the client's mistake, or 500 for an exception in a callback of ours."""
        is_callback = isinstance(error, httptools.HttpParserCallbackError)
        cause = error.__context__ if is_callback else error
        if isinstance(cause, httptools.HttpParserError):
            self.logger.warning("Invalid HTTP request received.")
            self._dismiss(400, NOT_HTTP)
        else:
            failure("unexpected error while parsing a request", cause or error)
            self._dismiss(500, INTERNAL)

    def on_message_begin(self) -> None:
        self.phase = Phase.HEAD
        self.since = self.server_state.now
        self._forwarded = False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _NOTED:
            if name != _EXPECT:
                self._forwarded = True
            elif value.lower() == b"100-continue":
                self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.phase = Phase.BODY
        shared = self.server_state
        if (
            len(self.tasks) >= shared.most_requests
            and not self._answering()
            and not self.url.startswith(_ALWAYS_SERVED)
        ):
            shared.meters.count(REFUSED)
            self._refuse()
        else:
            self._begin()

    def _begin(self) -> None:
        """Have the request answered, when those before it have been."""
        scope, shared = self.scope, self.server_state
        before: Any = self.cycle  # None before the first request
        version = self.parser.get_http_version()
        scope["method"] = self.parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        scope["path"], scope["raw_path"], query = _address(self.url)
        scope["query_string"] = query
        self.cycle = cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=shared.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        cycle.head = shared.head()
        scope["extensions"] = {WHOLE: cycle}  # type: ignore[dict-item]
        app = shared.forwarding(self.config) if self._forwarded else self.app
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))

    def on_message_complete(self) -> None:
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()
            self.phase = Phase.ANSWER
        elif self._last:
            self.transport.close()
        else:
            self._rest()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif (
            self.phase is Phase.ANSWER
        ):  # else the rest of a body nobody waited for is still to come
            self._rest()

    def _rest(self) -> None:
        shared = self.server_state
        self.phase = Phase.IDLE
        self.since = shared.now
        self.rested = shared.rested = shared.rested + 1

    def _refuse(self) -> None:
        """Answer 503 without a task, and let the body pass by."""
        self.scope["method"] = self.parser.get_method().decode("ascii")
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"0")
        small = length.isdigit() and int(length) <= _MOST_IGNORED
        self._last = (
            self.expect_100_continue
            or b"transfer-encoding" in headers
            or not small
            or not self.parser.should_keep_alive()
        )
        self.cycle = _Refused()  # type: ignore[assignment]
        self._write(503, OVERLOADED, _RETRY_AFTER)

    def _write(self, status: int, document: bytes, more: bytes = b"") -> None:
        """A whole answer, past the app."""
        lines = [STATUS_LINE[status]]
        for name, value in self.server_state.default_headers:
            lines += [name, b": ", value, b"\r\n"]
        if self._last and (b"connection", b"close") not in self.server_state.default_headers:
            lines.append(b"connection: close\r\n")
        lines += [
            b"content-type: ",
            problems.MEDIA_TYPE.encode(),
            b"\r\ncontent-length: %d\r\n" % len(document),
            more,
            b"\r\n",
        ]
        scope: Any = self.scope  # None before the first request
        if scope is None or scope.get("method") != "HEAD":
            lines.append(document)
        self.transport.write(b"".join(lines))

    # What the server does to connections.

    def sweep(self) -> None:
        """Show out a client that takes too long over sending, does not read, or has gone quiet."""
        shared = self.server_state
        if self._is_stuck():
            shared.meters.count(TIMED_OUT)
            self.transport.abort()
            return
        if self.transport.is_closing():
            return
        waited = shared.now - self.since
        if self.phase in _QUIET:
            if waited > (shared.idle_s if self.phase is Phase.IDLE else shared.new_s):
                self.transport.close()
        elif self.phase is not Phase.ANSWER and waited > (
            shared.head_s if self.phase is Phase.HEAD else shared.body_s
        ):
            shared.meters.count(TIMED_OUT)
            self._give_up()

    def _is_stuck(self) -> bool:
        """Whether what was written has not been read for longer than a body may take to come in."""
        now = self.server_state.now
        if not (self.flow.write_paused or self.transport.is_closing()):
            self._stuck_since = None
        elif self._stuck_since is None:
            self._stuck_since = now
        else:
            return now - self._stuck_since > self.server_state.body_s
        return False

    def _give_up(self) -> None:
        """Say that it took too long, unless something else was said already, and close."""
        said = self.phase is Phase.BODY and (
            self.cycle.response_complete or self.cycle.response_started
        )
        if said:
            self.transport.close()
        else:
            self._dismiss(408, TOO_SLOW)

    def _dismiss(self, status: int, document: bytes) -> None:
        """Say why, where an answer is not under way, and close."""
        if self.phase is Phase.BODY or not self._answering():
            self._last = True
            self._write(status, document)
        self.transport.close()

    def leave(self) -> None:
        """Answer what is under way or comes next as the last on this connection."""
        if self._answering():
            self.cycle.keep_alive = False

    def _answering(self) -> bool:
        cycle: Any = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete


@lru_cache(maxsize=1024)
def _known_address(url: bytes) -> tuple[str, bytes, bytes]:
    parsed = httptools.parse_url(url)
    if not parsed.path or not parsed.path.isascii():
        raise httptools.HttpParserInvalidURLError("the request target has no path in ASCII")
    path = parsed.path.decode("ascii")
    if "%" in path:
        path = urllib.parse.unquote(path)
    return path, parsed.path, parsed.query or b""


def _address(url: bytes) -> tuple[str, bytes, bytes]:
    """The path, the path as it was sent, and the query. The same few are asked for again and again."""
    if len(url) > _MOST_OF_A_KNOWN_ADDRESS:
        return _known_address.__wrapped__(url)
    return _known_address(url)


_QUIET = {Phase.NEW, Phase.IDLE}
OVERLOADED = encode(
    problems.problem(
        503,
        "overloaded",
        "more requests are under way than this server takes at once; try again after a moment",
    )
)
TOO_SLOW = encode(
    problems.problem(
        408, "request-timeout", "the request did not arrive in the time that it may take"
    )
)
INTERNAL = encode(
    problems.problem(
        500, "internal", "the server failed to process this request; its log has the reason"
    )
)
NOT_HTTP = encode(
    problems.problem(400, "not-http", "this is not a request that HTTP/1.1 knows; see RFC 9112")
)
HEAD_TOO_LARGE = encode(
    problems.problem(
        431, "head-too-large", f"the head of the request is larger than {MOST_OF_A_HEAD:,} bytes"
    )
)
