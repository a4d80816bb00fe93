"""One connection: uvicorn's HTTP/1.1 protocol with timeouts and refusal under overload.

A request beyond the limit of requests in progress is refused when its headers have arrived: no task is created,
the body is not read, and the connection stays usable. Clients that send a head or a body too slowly, or that
are idle too long, are disconnected by `check_timeouts`, which the server calls for every connection now and
then, so a request needs no timer. docs/explanation/http-fast-path.md says why the protocol is extended.
"""

import asyncio
import urllib.parse
from enum import IntEnum
from functools import lru_cache
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from proffer.api.kit import problems
from proffer.api.kit.request import FULL_BODY
from proffer.config import Settings
from proffer.metrics import REFUSED_REQUESTS, TIMED_OUT_REQUESTS, Metrics
from proffer.serving.request_cycle import STATUS_LINES, FastRequestCycle
from proffer.telemetry import log_failure
from proffer.wire.codec import encode
from proffer.wire.openapi import PROBLEM_TYPE

_NEVER_REFUSED = (b"/healthz", b"/readyz", b"/metrics")
"""Paths that report the state of the server must be answered when it is overloaded."""
MAX_HEAD = 65_536
"""Bytes of a request line and headers."""
_MAX_DISCARDED_BODY = 65_536
"""Bytes of a refused request's body that are discarded so that the connection stays usable."""
_RETRY_AFTER = b"retry-after: 1\r\n"
_REFUSAL_LINGER_S = 0.1
"""How long a connection that was refused stays open for its client to read why."""
_EXPECT = b"expect"
_SPECIAL_HEADERS = frozenset({_EXPECT, b"x-forwarded-for", b"x-forwarded-proto"})
_MAX_CACHED_URL = 512


class Phase(IntEnum):
    """What a connection waits for."""

    NEW = 0
    """the first byte of the first request"""
    HEAD = 1
    """the rest of a request head"""
    BODY = 2
    """the rest of a request body"""
    RESPONSE = 3
    IDLE = 4
    """the next request"""


class SharedState(ServerState):
    """State that the connections of one worker share."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        super().__init__()
        self.metrics = metrics
        self.now = 0.0
        """The loop's time at the last tick, precise enough for timeouts."""
        self.idle_count = 0
        """How often a connection became idle."""
        self.max_requests = settings.max_requests
        self.max_connections = settings.max_connections
        self.new_timeout_s: float = settings.header_timeout
        self.head_timeout_s = settings.header_timeout
        self.body_timeout_s = settings.body_timeout
        self.idle_timeout_s: float = settings.keep_alive
        self._encoded_from: list[tuple[bytes, bytes]] = []
        self._encoded_headers = b""
        self._proxy_headers_app: ProxyHeadersMiddleware | None = None

    def close_longest_idle(self) -> bool:
        """Close the connection that has been idle for longest; False if none is idle."""
        connections: set[Any] = self.connections
        idle = [
            connection
            for connection in connections
            if connection.phase is Phase.IDLE and not connection.transport.is_closing()
        ]
        longest_idle = min(idle, key=lambda connection: connection.idle_seq, default=None)
        if longest_idle is None:
            return False
        longest_idle.transport.close()
        return True

    def encoded_default_headers(self) -> bytes:
        """Return the encoded headers that every response has."""
        headers = self.default_headers
        if headers is not self._encoded_from:  # uvicorn creates a new list when the date changes
            self._encoded_headers = b"".join(b"%b: %b\r\n" % header for header in headers)
            self._encoded_from = headers
        return self._encoded_headers

    def proxy_headers_app(self, config: Config) -> ProxyHeadersMiddleware:
        """Return the app for requests with proxy headers: a trusted proxy names the client."""
        if self._proxy_headers_app is None:
            trusted = config.forwarded_allow_ips or ""
            self._proxy_headers_app = ProxyHeadersMiddleware(config.loaded_app, trusted)
        return self._proxy_headers_app


class _RefusedCycle:
    """A placeholder for the cycle of a request that was refused."""

    response_complete = True
    disconnected = False
    keep_alive = True

    class _NullEvent:
        def set(self) -> None: ...

    message_event = _NullEvent()


class Connection(HttpToolsProtocol):
    """A client's connection."""

    server_state: SharedState

    def __init__(
        self,
        config: Config,
        server_state: SharedState,
        app_state: dict[str, Any],
        _loop: Any = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.phase = Phase.NEW
        self.since = server_state.now
        self.idle_seq = 0
        """Of two idle connections the one with the lower number has been idle for longer."""
        self._head_size = 0
        """Bytes received of an incomplete head."""
        self._close_after = False
        """The response is the last one on this connection."""
        self._has_proxy_headers = False
        self._stalled_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room for this connection, or respond 503 and close it."""
        super().connection_made(transport)
        shared = self.server_state
        if len(shared.connections) > shared.max_connections and not shared.close_longest_idle():
            shared.connections.discard(self)
            shared.metrics.count(REFUSED_REQUESTS)
            self._close_after = True
            self._write_problem(503, OVERLOADED, _RETRY_AFTER)
            if transport.can_write_eof():
                transport.write_eof()
            # Closing before the request is read would reset the connection, and the response be lost.
            self.loop.call_later(_REFUSAL_LINGER_S, transport.close)

    def data_received(self, data: bytes) -> None:
        if self._close_after and self.phase is Phase.NEW:
            return  # the connection was refused in `connection_made`
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
        except httptools.HttpParserError as error:
            self._reject_unparsable(error)
        if self.phase is Phase.HEAD:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD and not self.transport.is_closing():
                self._reject(431, HEAD_TOO_LARGE)
        else:
            self._head_size = 0

    def _reject_unparsable(self, error: httptools.HttpParserError) -> None:
        """Respond 400 to a mistake of the client. The response to an exception in a callback of this class is 500."""
        is_callback = isinstance(error, httptools.HttpParserCallbackError)
        cause = error.__context__ if is_callback else error
        if isinstance(cause, httptools.HttpParserError):
            self.logger.warning("Invalid HTTP request received.")
            self._reject(400, NOT_HTTP)
        else:
            log_failure("unexpected error while parsing a request", cause or error)
            self._reject(500, INTERNAL)

    def on_message_begin(self) -> None:
        self.phase = Phase.HEAD
        self.since = self.server_state.now
        self._has_proxy_headers = False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _SPECIAL_HEADERS:
            if name != _EXPECT:
                self._has_proxy_headers = True
            elif value.lower() == b"100-continue":
                self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.phase = Phase.BODY
        shared = self.server_state
        if (
            len(self.tasks) >= shared.max_requests
            and not self._is_response_due()
            and not self.url.startswith(_NEVER_REFUSED)
        ):
            shared.metrics.count(REFUSED_REQUESTS)
            self._refuse()
        else:
            self._start_request()

    def _start_request(self) -> None:
        """Start the app, after the responses to earlier requests on this connection."""
        scope, shared = self.scope, self.server_state
        previous: Any = self.cycle  # None before the first request
        version = self.parser.get_http_version()
        scope["method"] = self.parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        scope["path"], scope["raw_path"], query = _parse_url(self.url)
        scope["query_string"] = query
        self.cycle = cycle = FastRequestCycle(
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
        cycle.head = shared.encoded_default_headers()
        scope["extensions"] = {FULL_BODY: cycle}  # type: ignore[dict-item]
        app = shared.proxy_headers_app(self.config) if self._has_proxy_headers else self.app
        if previous is None or previous.response_complete:
            self._start_asgi_task(cycle, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))

    def on_message_complete(self) -> None:
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()
            self.phase = Phase.RESPONSE
        elif self._close_after:
            self.transport.close()
        else:
            self._become_idle()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self.phase is Phase.RESPONSE:  # otherwise the rest of an unread body is still to come
            self._become_idle()

    def _become_idle(self) -> None:
        shared = self.server_state
        self.phase = Phase.IDLE
        self.since = shared.now
        self.idle_seq = shared.idle_count = shared.idle_count + 1

    def _refuse(self) -> None:
        """Respond 503 without a task, and discard the body."""
        self.scope["method"] = self.parser.get_method().decode("ascii")
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"0")
        is_small = length.isdigit() and int(length) <= _MAX_DISCARDED_BODY
        self._close_after = (
            self.expect_100_continue
            or b"transfer-encoding" in headers
            or not is_small
            or not self.parser.should_keep_alive()
        )
        self.cycle = _RefusedCycle()  # type: ignore[assignment]
        self._write_problem(503, OVERLOADED, _RETRY_AFTER)

    def _write_problem(self, status: int, document: bytes, extra_headers: bytes = b"") -> None:
        """Write a complete response with a problem document, without the app."""
        lines = [STATUS_LINES[status], self.server_state.encoded_default_headers()]
        if self._close_after and (b"connection", b"close") not in self.server_state.default_headers:
            lines.append(b"connection: close\r\n")
        lines += [
            b"content-type: ",
            PROBLEM_TYPE.encode(),
            b"\r\ncontent-length: %d\r\n" % len(document),
            extra_headers,
            b"\r\n",
        ]
        scope: Any = self.scope  # None before the first request
        if scope is None or scope.get("method") != "HEAD":
            lines.append(document)
        self.transport.write(b"".join(lines))

    # Called by the server.

    def check_timeouts(self) -> None:
        """Disconnect a client that exceeds a timeout. It sends too slowly, does not read, or has been idle too long."""
        shared = self.server_state
        if self._is_write_stalled():
            shared.metrics.count(TIMED_OUT_REQUESTS)
            self.transport.abort()
            return
        if self.transport.is_closing():
            return
        waited_s = shared.now - self.since
        if self.phase in _WITHOUT_REQUEST:
            if waited_s > (shared.idle_timeout_s if self.phase is Phase.IDLE else shared.new_timeout_s):
                self.transport.close()
        elif self.phase is not Phase.RESPONSE and waited_s > (
            shared.head_timeout_s if self.phase is Phase.HEAD else shared.body_timeout_s
        ):
            shared.metrics.count(TIMED_OUT_REQUESTS)
            self._time_out_request()

    def _is_write_stalled(self) -> bool:
        """Return whether the client has not read within the body timeout."""
        now = self.server_state.now
        if not (self.flow.write_paused or self.transport.is_closing()):
            self._stalled_since = None
        elif self._stalled_since is None:
            self._stalled_since = now
        else:
            return now - self._stalled_since > self.server_state.body_timeout_s
        return False

    def _time_out_request(self) -> None:
        """Respond 408, unless a response was started already, and close."""
        is_response_started = self.phase is Phase.BODY and (self.cycle.response_complete or self.cycle.response_started)
        if is_response_started:
            self.transport.close()
        else:
            self._reject(408, TOO_SLOW)

    def _reject(self, status: int, document: bytes) -> None:
        """Write a problem document, unless a response is in progress, and close."""
        if self.phase is Phase.BODY or not self._is_response_due():
            self._close_after = True
            self._write_problem(status, document)
        self.transport.close()

    def close_after_response(self) -> None:
        """Make the response in progress the last on this connection."""
        if self._is_response_due():
            self.cycle.keep_alive = False

    def _is_response_due(self) -> bool:
        cycle: Any = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete


@lru_cache(maxsize=1024)
def _parse_url_cached(url: bytes) -> tuple[str, bytes, bytes]:
    parsed = httptools.parse_url(url)
    if not parsed.path or not parsed.path.isascii():
        raise httptools.HttpParserInvalidURLError("the request target has no path in ASCII")
    path = parsed.path.decode("ascii")
    if "%" in path:
        path = urllib.parse.unquote(path)
    return path, parsed.path, parsed.query or b""


def _parse_url(url: bytes) -> tuple[str, bytes, bytes]:
    """Return the path, the path as sent, and the query. Cached, because few paths get most requests."""
    if len(url) > _MAX_CACHED_URL or b"?" in url:  # queries differ, as those with a request id
        return _parse_url_cached.__wrapped__(url)
    return _parse_url_cached(url)


_WITHOUT_REQUEST = {Phase.NEW, Phase.IDLE}
OVERLOADED = encode(
    problems.problem(
        503,
        "overloaded",
        "too many requests are in progress; try again in a second",
    )
)
TOO_SLOW = encode(problems.problem(408, "request-timeout", "the request was not received within the time limit"))
INTERNAL = encode(
    problems.problem(500, "internal", "the server failed to process this request; its log has the reason")
)
NOT_HTTP = encode(problems.problem(400, "not-http", "this is not a valid HTTP/1.1 request; see RFC 9112"))
HEAD_TOO_LARGE = encode(
    problems.problem(431, "head-too-large", f"the head of the request is larger than {MAX_HEAD:,} bytes")
)
