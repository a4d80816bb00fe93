"""Request and response subclasses with fast paths for headers and complete bodies."""

from collections.abc import Sequence
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

MAX_BODY = 1_000_000
"""Maximum bytes of a request body on the library and decision APIs (R27)."""

FULL_BODY = "proffer.whole"
"""The ASGI extension under which a server provides a `FullBodyExtension`."""


class FullBodyExtension(Protocol):
    """Complete bodies without ASGI messages, if the server supports it."""

    def complete_body(self) -> bytes | None:
        """Return the request body; None if it has not arrived completely."""
        ...

    def send_response(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send a complete response; return False, with nothing sent, if it must be sent by messages."""
        ...


class FastRequest(Request):
    """A request; `full_body` is the server's extension for complete bodies, if any."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        extensions = scope.get("extensions")
        self.full_body: FullBodyExtension | None = extensions.get(FULL_BODY) if extensions else None
        self._header_values: dict[bytes, bytes] | None = None

    def header(self, name: bytes) -> str | None:
        """Return the first value of a header, or None if absent. The name is in lower case."""
        header_values = self._header_values
        if header_values is None:
            header_values = self._header_values = dict(reversed(self.scope["headers"]))
        value = header_values.get(name)
        return None if value is None else value.decode("latin-1")


def as_fast_request(request: Request) -> FastRequest:
    """Convert a request that Starlette dispatched."""
    if isinstance(request, FastRequest):
        return request
    return FastRequest(request.scope, request.receive, request._send)  # noqa: SLF001


class BytesResponse(Response):
    """A response with a complete body; the media type is the header value."""

    def __init__(self, body: bytes, status: int = 200, media_type: bytes = b"application/json") -> None:
        self.status_code = status
        self.body = body
        self.background = None
        self.raw_headers = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", media_type),
        ]
