"""One request and its answer: uvicorn's cycle, with a shorter way for what is whole.

Nearly every request of ours has come in whole by the time it is looked at, and nearly every answer is there
whole. ASGI passes both on in pieces, by messages; the app may find the cycle under `WHOLE` in the scope's
extensions, and then takes the body and gives the answer without.
"""

from collections.abc import Sequence
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_NOT_WHOLE = frozenset({b"connection", b"transfer-encoding"})
"""An answer with one of these goes by messages."""
_NO_BODY = frozenset({204, 304})


class Cycle(RequestResponseCycle):
    """A request on its way, and its answer."""

    head = b""
    """The headers that every answer has, as they are sent."""

    async def run_asgi(self, app: Any) -> None:
        """Have the app answer."""
        await super().run_asgi(app)
        # Else the scope and the cycle in it keep each other, and only the garbage collector lets go of them.
        self.scope.pop("extensions", None)

    def taken(self) -> bytes | None:
        """The body, if all of it is here."""
        return None if self.more_body else bytes(self.body)

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send this answer in one piece; False, with nothing sent, where it must go by messages."""
        if (
            self.response_started
            or self.disconnected
            or self.flow.write_paused
            or self.access_log
            or status in _NO_BODY
            or self.scope["method"] == "HEAD"
        ):
            return False
        pieces = [STATUS_LINE[status], self.head]
        for name, value in headers:
            if name in _NOT_WHOLE:
                return False
            pieces += (name, b": ", value, b"\r\n")
        head = b"".join(pieces)
        if head.count(b"\n") != 1 + self.head.count(b"\n") + len(headers) or b"\0" in head:
            return False  # no header may bring a line of its own: that way says so
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(b"".join((head, end, body)))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True
