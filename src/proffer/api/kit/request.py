"""Request and response subclasses with a fast path for headers and complete bodies."""

from collections.abc import Sequence
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

WHOLE = "proffer.whole"
"""The ASGI extension under which a server provides a `FullBodyExtension`."""


class Whole(Protocol):
    """Complete bodies without ASGI messages, if the server supports it."""

    def taken(self) -> bytes | None:
        """Return the request body; None if it has not arrived completely."""
        ...

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send a complete response; return False, with nothing sent, if it must be sent by messages."""
        ...


class Asked(Request):
    """A request; `full_body` is the server's extension for complete bodies, if any."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        extensions = scope.get("extensions")
        self.whole: Whole | None = extensions.get(WHOLE) if extensions else None
        self._named: dict[bytes, bytes] | None = None

    def header(self, name: bytes) -> str | None:
        """Return the first value of a header, by its name in lower case; None without one."""
        named = self._named
        if named is None:
            named = self._named = dict(reversed(self.scope["headers"]))
        value = named.get(name)
        return None if value is None else value.decode("latin-1")


def as_asked(request: Request) -> Asked:
    """Convert a request that Starlette dispatched."""
    if isinstance(request, Asked):
        return request
    return Asked(request.scope, request.receive, request._send)  # noqa: SLF001


class Answer(Response):
    """A response with a complete body; the media type is the header value."""

    def __init__(
        self, body: bytes, status: int = 200, media_type: bytes = b"application/json"
    ) -> None:
        self.status_code = status
        self.body = body
        self.background = None
        self.raw_headers = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", media_type),
        ]
