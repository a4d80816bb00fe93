"""A request and an answer as the surfaces have them: Starlette's, with a shorter way for what is asked most."""

from collections.abc import Sequence
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

WHOLE = "proffer.whole"
"""The extension of ASGI under which a server offers a `Whole`."""


class Whole(Protocol):
    """A request and its answer without messages, where a server has that."""

    def taken(self) -> bytes | None:
        """The body, if all of it is here."""
        ...

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send this answer in one piece; False, with nothing sent, where it must go by messages."""
        ...


class Asked(Request):
    """A request. `whole` is what the server offers beside messages."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        extensions = scope.get("extensions")
        self.whole: Whole | None = extensions.get(WHOLE) if extensions else None
        self._named: dict[bytes, bytes] | None = None

    def header(self, name: bytes) -> str | None:
        """The value of a header, its name in small letters; of several with one name the first."""
        named = self._named
        if named is None:
            named = self._named = dict(reversed(self.scope["headers"]))
        value = named.get(name)
        return None if value is None else value.decode("latin-1")


def as_asked(request: Request) -> Asked:
    """The request as one of ours, where it came Starlette's way."""
    if isinstance(request, Asked):
        return request
    return Asked(request.scope, request.receive, request._send)  # noqa: SLF001


class Answer(Response):
    """An answer whose body is there whole. The media type is given as it is sent."""

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
