"""HTTP interfaces: endpoints, the call passed to handlers, errors as problem documents."""

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
from proffer.api.kit.request import MAX_BODY, FastRequest, as_fast_request
from proffer.auth.principal import Principal
from proffer.errors import Kind, Malformed, ProfferError, TooLarge
from proffer.model.ids import RANDOM_DIGITS

_MAX_DRAINED_BYTES = 16 * MAX_BODY
_DRAIN_SECONDS = 1.0
_MAX_REQUEST_ID = 200


class Authenticator(Protocol):
    """Determine the caller of a request; see `security.py`."""

    async def authenticate(self, request: FastRequest) -> Principal: ...


class ApiCall(Struct, frozen=True):
    """A request passed to a handler, with its caller."""

    principal: Principal
    request: FastRequest

    def header(self, name: bytes) -> str | None:
        """Return a header by its lower-case name; of several, the first."""
        return self.request.header(name)

    @property
    def origin(self) -> str:
        """Scheme and host of the request URL: `http://127.0.0.1:8700`."""
        return str(self.request.base_url).rstrip("/")

    @property
    def raw_query(self) -> str:
        """The raw query string; unescaped bytes are decoded as UTF-8."""
        return bytes(self.request.scope["query_string"]).decode("utf-8", "replace")

    @property
    def query(self) -> QueryParams:
        """The query parameters."""
        return QueryParams(self.raw_query)

    async def body(self, max_bytes: int = MAX_BODY) -> bytes:
        """Return the whole body. Raises `TooLarge` after draining a bounded amount (R39)."""
        full_body = self.request.full_body
        body = full_body.complete_body() if full_body is not None else None
        if body is not None:
            if len(body) > max_bytes:
                raise TooLarge(f"the body is larger than {max_bytes:,} bytes")
            return body
        parts: list[bytes] = []
        size = 0
        async for part in self.request.stream():
            size += len(part)
            if size <= max_bytes:
                parts.append(part)
            elif size > _MAX_DRAINED_BYTES:
                break
        if size > max_bytes:
            raise TooLarge(f"the body is larger than {max_bytes:,} bytes")
        return b"".join(parts)

    def flag(self, name: str) -> bool:
        """Return a boolean query parameter, false if absent. Raises `Malformed` if invalid."""
        if not self.request.scope["query_string"]:
            return False
        value = self.query.get(name, "false").lower()
        if value in {"true", "1", ""}:
            return True
        if value in {"false", "0"}:
            return False
        raise Malformed(f"`{name}` must be `true` or `false`, not `{value[:50]}`", code="bad-parameter")


Handler: TypeAlias = Callable[[ApiCall], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One route of an interface."""

    method: str
    path: str
    handler: Handler


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """An HTTP interface: name, URL prefix, endpoints, and status overrides by error kind."""

    name: str
    prefix: str
    endpoints: Sequence[Endpoint]
    status_overrides: Mapping[Kind, int] = field(default_factory=dict)

    def routes(self, authenticator: Authenticator) -> list[Route]:
        """Return Starlette routes that authenticate the caller first."""
        methods: dict[str, dict[str, Handler]] = {}
        for endpoint in self.endpoints:
            methods.setdefault(endpoint.path, {})[endpoint.method] = endpoint.handler
        return [
            Route(
                self.prefix + path,
                _serve(handlers, authenticator, self.status_overrides),
                methods=sorted(handlers),
                name=f"{self.name}{path}",
            )
            for path, handlers in methods.items()
        ]


def _serve(
    handlers: Mapping[str, Handler],
    authenticator: Authenticator,
    status_overrides: Mapping[Kind, int],
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        request = as_fast_request(request)
        request_id = request_id_of(request)
        try:
            method = request.scope["method"]
            if method == "HEAD":
                method = "GET"
            principal = await authenticator.authenticate(request)
            response = await handlers[method](ApiCall(principal, request))
        except ProfferError as error:
            await drain_body(request)
            document = problems.describe(error, request_id, status_overrides)
            response = problems.problem_response(document, problems.error_headers(error))
        except ClientDisconnect:
            response = Response(status_code=400)  # the client has disconnected
        else:  # problem documents carry the request id already
            response.raw_headers.append((b"x-request-id", request_id.encode("latin-1")))
        return response

    return endpoint


async def drain_body(request: Request) -> None:
    """Read and discard the body, within limits, so clients read the response."""
    if "expect" in request.headers:
        return  # the client sends no body before `100 Continue`
    size = 0
    with suppress(ClientDisconnect, TimeoutError, RuntimeError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > _MAX_DRAINED_BYTES:
                    break


def request_id_of(request: Request) -> str:
    """Return the caller's `x-request-id`, or a new one. Any text is accepted and echoed."""
    header = as_fast_request(request).header(b"x-request-id")
    return header[:_MAX_REQUEST_ID] if header else RANDOM_DIGITS.take(32)


async def handle_http_exception(request: Request, error: Exception) -> Response:
    """Answer unmatched routes (404, 405) with a problem document."""
    assert isinstance(error, HTTPException)
    await drain_body(request)
    code = {404: "no-such-path", 405: "method-not-allowed"}.get(error.status_code, "http")
    path = str(request.scope["path"])[:200]
    detail = {
        404: f"the path `{path}` does not exist",
        405: f"`{request.method[:20]}` is not allowed for `{path}`",
    }.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if "Allow" in headers:
        headers["Allow"] = ", ".join(sorted(headers["Allow"].split(", ")))
    document = problems.problem(error.status_code, code, detail, requestId=request_id_of(request))
    return problems.problem_response(document, headers)
