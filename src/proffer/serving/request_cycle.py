"""One request and its response: uvicorn's cycle with a fast path for complete bodies.

Nearly every request body has arrived completely when the request is handled, and nearly every response body
is complete. ASGI passes both in messages; an app that finds the cycle under `FULL_BODY` in the scope's extensions
reads the body and sends the response without them. docs/explanation/http-fast-path.md says what it saves.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

STATUS_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus}
_MESSAGES_ONLY = frozenset({b"connection", b"transfer-encoding"})
"""A response with one of these headers is sent by messages."""
_BODILESS = frozenset({204, 304})


class FastRequestCycle(RequestResponseCycle):
    """A request in progress and its response."""

    head = b""
    """The encoded headers that every response has."""

    async def run_asgi(self, app: Any) -> None:
        """Run the app."""
        await super().run_asgi(app)
        # The scope refers to this cycle and the cycle to the scope: only the garbage collector would free them.
        self.scope.pop("extensions", None)

    def complete_body(self) -> bytes | None:
        """Return the request body; None if it has not arrived completely."""
        return None if self.more_body else bytes(self.body)

    def send_response(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send a complete response; return False, with nothing sent, if it must be sent by messages."""
        status_line = STATUS_LINES.get(status)
        if (
            status_line is None
            or self.response_started
            or self.disconnected
            or self.flow.write_paused
            or self.access_log
            or status in _BODILESS
            or self.scope["method"] == "HEAD"
        ):
            return False
        pieces = [status_line, self.head]
        for name, value in headers:
            if name in _MESSAGES_ONLY:
                return False
            pieces += (name, b": ", value, b"\r\n")
        head = b"".join(pieces)
        if head.count(b"\n") != 1 + self.head.count(b"\n") + len(headers) or b"\0" in head:
            return False  # a header value contains a line break: sending by messages raises the error
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(b"".join((head, end, body)))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True
