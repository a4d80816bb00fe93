"""What a surface is, and what every handler of one gets: the caller, a bounded body, errors as problem documents."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from msgspec import Struct
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from proffer.api.kit import problems
from proffer.api.kit.request import Asked, as_asked
from proffer.auth.principal import Principal
from proffer.errors import Kind, Malformed, ProfferError, TooLarge
from proffer.model.ids import CHANCE

MAX_BODY = 1_000_000
"""Bytes of a request's body on the library and decision APIs (R27)."""
_MOST_DRAINED = 16 * MAX_BODY
_DRAIN_SECONDS = 1.0
_MOST_OF_A_REQUEST_ID = 200


class Authenticator(Protocol):
    """Turns a request into its caller; see `security.py`."""

    async def authenticate(self, request: Asked) -> Principal: ...


class Call(Struct, frozen=True):
    """One request on its way to a handler: who calls, and the request itself."""

    principal: Principal
    request: Asked

    def header(self, name: bytes) -> str | None:
        """The value of a header, its name in small letters; of several with one name the first."""
        return self.request.header(name)

    @property
    def origin(self) -> str:
        """Scheme and host by which the caller reached us: `http://127.0.0.1:8700`."""
        return str(self.request.base_url).rstrip("/")

    @property
    def raw_query(self) -> str:
        """The query as it was sent. Bytes that should have been escaped are read as UTF-8."""
        return bytes(self.request.scope["query_string"]).decode("utf-8", "replace")

    @property
    def query(self) -> QueryParams:
        """The parameters of the query."""
        return QueryParams(self.raw_query)

    async def body(self, most: int = MAX_BODY) -> bytes:
        """The whole body. Raises `TooLarge`, having drained a bounded amount so that the client reads why (R39)."""
        whole = self.request.whole
        taken = whole.taken() if whole is not None else None
        if taken is not None:
            if len(taken) > most:
                raise TooLarge(f"the body is larger than {most:,} bytes")
            return taken
        parts: list[bytes] = []
        size = 0
        async for part in self.request.stream():
            size += len(part)
            if size <= most:
                parts.append(part)
            elif size > _MOST_DRAINED:
                break
        if size > most:
            raise TooLarge(f"the body is larger than {most:,} bytes")
        return b"".join(parts)

    def flag(self, name: str) -> bool:
        """A switch in the query: `?name=true`. Absent is false; anything but true or false is malformed."""
        if not self.request.scope["query_string"]:
            return False
        value = self.query.get(name, "false").lower()
        if value in {"true", "1", ""}:
            return True
        if value in {"false", "0"}:
            return False
        raise Malformed(f"`{name}` is `true` or `false`, not `{value[:50]}`", code="bad-parameter")


Handler: TypeAlias = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One line of a surface's URL table."""

    method: str
    path: str
    handler: Handler


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """A name, a prefix, a list of endpoints, and the statuses it words differently."""

    name: str
    prefix: str
    endpoints: Sequence[Endpoint]
    statuses: Mapping[Kind, int] = field(default_factory=dict)

    def routes(self, authenticator: Authenticator) -> list[Route]:
        """Return its routes; each authenticates its caller first."""
        methods: dict[str, dict[str, Handler]] = {}
        for endpoint in self.endpoints:
            methods.setdefault(endpoint.path, {})[endpoint.method] = endpoint.handler
        return [
            Route(
                self.prefix + path,
                _serve(handlers, authenticator, self.statuses),
                methods=sorted(handlers),
                name=f"{self.name}{path}",
            )
            for path, handlers in methods.items()
        ]


def _serve(
    handlers: Mapping[str, Handler], authenticator: Authenticator, statuses: Mapping[Kind, int]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        request = as_asked(request)
        request_id = request_id_of(request)
        try:
            method = request.scope["method"]
            if method == "HEAD":
                method = "GET"
            principal = await authenticator.authenticate(request)
            response = await handlers[method](Call(principal, request))
        except ProfferError as error:
            await drain(request)
            document = problems.describe(error, request_id, statuses)
            response = problems.respond(document, problems.headers_of(error))
        except ClientDisconnect:
            response = Response(status_code=400)  # nobody reads it
        else:  # what was refused says it already
            response.raw_headers.append((b"x-request-id", request_id.encode("latin-1")))
        return response

    return endpoint


async def drain(request: Request) -> None:
    """Take in what is still to come of a body nobody wants, within bounds: who still writes does not read."""
    if "expect" in request.headers:
        return  # such a client waits for our word before it sends anything
    size = 0
    with suppress(ClientDisconnect, TimeoutError, RuntimeError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > _MOST_DRAINED:
                    break


def request_id_of(request: Request) -> str:
    """The caller's own request id, or a new one. Any text will do; it is echoed."""
    given = as_asked(request).header(b"x-request-id")
    return given[:_MOST_OF_A_REQUEST_ID] if given else CHANCE.take(32)


async def http_exception(request: Request, error: Exception) -> Response:
    """What no route takes, as a problem document: 404 and 405."""
    assert isinstance(error, HTTPException)
    await drain(request)
    code = {404: "no-such-path", 405: "method-not-allowed"}.get(error.status_code, "http")
    path = str(request.scope["path"])[:200]
    detail = {
        404: f"nothing is served at `{path}`",
        405: f"`{request.method[:20]}` is not served at `{path}`",
    }.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if "Allow" in headers:
        headers["Allow"] = ", ".join(sorted(headers["Allow"].split(", ")))
    document = problems.problem(error.status_code, code, detail, requestId=request_id_of(request))
    return problems.respond(document, headers)
