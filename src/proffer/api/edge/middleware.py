"""Common handling of edge requests: datastream lookup, CORS, authentication and errors.

Every response, errors included, carries the CORS headers that browsers need (edge 6). Callers need a
token only if the datastream requires one.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias, TypeVar

from msgspec import Struct
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from proffer.api.edge import problems
from proffer.api.kit.endpoints import ApiCall, Authenticator, drain_body, request_id_of
from proffer.api.kit.media_types import parse_content_type
from proffer.api.kit.request import FastRequest
from proffer.auth.policy import can_see_container, require_permission
from proffer.auth.principal import Permission
from proffer.errors import Forbidden, Invalid, Malformed, ProfferError, Unsupported
from proffer.model.datastream import EdgeAccess
from proffer.service.edge.datastreams import AuthorizedDatastream, DatastreamService
from proffer.telemetry import log_failure
from proffer.validation import Shape
from proffer.wire import edge
from proffer.wire.codec import decode_as, has_nul

BODY_SECONDS = 10.0
"""Timeout for receiving the body of a request."""

_MAX_REQUEST_ID = 200
_MAX_HEADER = 1_000
_MAX_DATASTREAM_ID = 200
_DATASTREAM_PARAMETERS = {"v1": ("configId",), "v2": ("datastreamId", "dataStreamId", "configId")}

_COMMON_CONTENT_TYPES = frozenset({"text/plain; charset=UTF-8", "text/plain;charset=UTF-8", "application/json"})
"""Content types as clients usually send them."""
_XDM_PREFIX = b'"xdm:'
_NUL_SEPARATOR = re.compile(rb'("recordSeparator"\s*:\s*)"\\u0000"')

_CORS_HEADERS = (
    (b"access-control-allow-credentials", b"true"),
    (b"access-control-expose-headers", b"Retry-After, X-Adobe-Edge, X-Request-ID"),
)
_COMMON_HEADERS = ((b"vary", b"Origin"), (b"cache-control", b"no-store"))

T = TypeVar("T")


class EdgeRequest(Struct):
    """A request to the edge, with its datastream and query parameters.

    `is_plain`: the names in its body have no `xdm:` prefixes.
    """

    stream: AuthorizedDatastream
    version: str
    request: FastRequest
    request_id: str
    query: Mapping[str, str]
    is_plain: bool = False


EdgeHandler: TypeAlias = Callable[[EdgeRequest], Awaitable[Response]]


class EdgeMiddleware:
    """Check requests before, and complete responses after, an edge handler.

    `authenticator` is used for datastreams that require a token.
    """

    def __init__(self, datastreams: DatastreamService, authenticator: Authenticator) -> None:
        self._datastreams = datastreams
        self._authenticator = authenticator

    async def wrap(self, handler: EdgeHandler, version: str, request: FastRequest) -> Response:
        """Return the handler's response, or the response to its error."""
        query = query_parameters(request)
        request_id = request_id_for(request, query)
        stream: AuthorizedDatastream | None = None
        try:
            stream = await self._find_stream(version, query)
            self._check_origin(stream, request)
            if stream.datastream.access is EdgeAccess.AUTHENTICATED:
                await self._authenticate(stream, request)
            _check_content_type(request)
            response = await handler(EdgeRequest(stream, version, request, request_id, query))
        except ProfferError as error:
            await drain_body(request)
            organisation = stream.container.organisation if stream is not None else None
            response = problems.error_response(error, request_id, organisation)
        except TimeoutError:
            response = problems.status_response(
                408,
                problems.BODY_TIMEOUT,
                f"the body did not arrive within {BODY_SECONDS:g} seconds",
                request_id,
            )
            response.headers["Connection"] = "close"
        except ClientDisconnect:
            response = Response(status_code=400)  # the client has disconnected
        except Exception as error:  # noqa: BLE001 - a page sees errors only with CORS headers
            log_failure(f"request {request_id} failed", error)
            response = problems.status_response(
                500,
                problems.UNEXPECTED_ERROR,
                "internal error; the server's log gives the reason under this request id",
                request_id,
            )
        return with_common_headers(response, request, request_id)

    async def _find_stream(self, version: str, query: Mapping[str, str]) -> AuthorizedDatastream:
        datastream_id = ""
        for name in _DATASTREAM_PARAMETERS[version]:
            datastream_id = datastream_id or query.get(name, "")
        if not datastream_id:
            raise Malformed(
                f"the datastream is missing: `?{_DATASTREAM_PARAMETERS[version][0]}=…`",
                code="EXEG-0002-400",
            )
        stream = None
        if len(datastream_id) <= _MAX_DATASTREAM_ID:
            stream = await self._datastreams.find_latest(datastream_id)
        if stream is None:
            raise Malformed(f"there is no datastream `{datastream_id[:100]}`", code="EXEG-0003-400")
        if not stream.datastream.enabled:
            raise Invalid("the datastream is disabled", code="EXEG-0004-422")
        return stream

    def _check_origin(self, stream: AuthorizedDatastream, request: FastRequest) -> None:
        origin = request.header(b"origin")
        if not stream.datastream.allows_origin(origin):
            raise Forbidden(
                f"pages of `{str(origin)[:200]}` may not use this datastream",
                code="origin-not-allowed",
            )

    async def _authenticate(self, stream: AuthorizedDatastream, request: FastRequest) -> None:
        caller = await self._authenticator.authenticate(request)
        require_permission(caller, Permission.DECISIONS_EXECUTE)
        container = stream.container
        if not can_see_container(caller, container.organisation, container.sandbox):
            raise Forbidden(
                "the token belongs to another organisation or sandbox than the datastream",
                code="organisation-mismatch",
            )


async def read_document(edge_request: EdgeRequest, type_: type[T], shape: Shape) -> T:
    """Decode the body of a request, and set `edge_request.is_plain`.

    Raises `Malformed` or `Invalid` with every mistake, `TooLarge` or `TimeoutError`.
    """
    full_body = edge_request.request.full_body
    body = full_body.complete_body() if full_body is not None else None
    if body is None or len(body) > edge.MAX_BODY:
        call = ApiCall(edge_request.stream.access.principal, edge_request.request)
        async with asyncio.timeout(BODY_SECONDS):
            body = await call.body(edge.MAX_BODY)
    if has_nul(body):
        # A NUL is allowed only as `recordSeparator`, where it is the default, so null means the same.
        # Within a string value these quotes would be escaped.
        body = _NUL_SEPARATOR.sub(rb"\1null", body)
    edge_request.is_plain = _XDM_PREFIX not in body
    return decode_as(type_, body, shape=shape)


def preflight_response(request: FastRequest) -> Response:
    """Answer a CORS preflight request."""
    headers = {
        "Access-Control-Allow-Methods": "POST, OPTIONS",
        "Access-Control-Max-Age": "86400",
    }
    requested_headers = request.header(b"access-control-request-headers")
    if requested_headers is not None and _is_safe_header(requested_headers):
        headers["Access-Control-Allow-Headers"] = requested_headers
    response = Response(status_code=204, headers=headers)
    return with_common_headers(response, request, request_id_for(request, query_parameters(request)))


def with_common_headers(response: Response, request: FastRequest, request_id: str) -> Response:
    """Add the headers that every edge response carries."""
    raw = response.raw_headers
    origin = request.header(b"origin")
    if origin is not None and _is_safe_header(origin):
        raw.append((b"access-control-allow-origin", origin.encode()))
        raw += _CORS_HEADERS
    raw += _COMMON_HEADERS
    if response.status_code < 400:  # problem responses carry it already
        raw.append((b"x-request-id", request_id.encode("latin-1", "replace")))
    return response


def query_parameters(request: FastRequest) -> Mapping[str, str]:
    """Return the query parameters."""
    raw: bytes = request.scope["query_string"]
    if b"%" in raw or b"+" in raw or not raw.isascii():
        return request.query_params
    # Fast path for the usual query without escapes. Of several with one name the last counts.
    parameters = {}
    for part in raw.decode().split("&"):
        name, _, value = part.partition("=")
        if value:
            parameters[name] = value
    return parameters


def request_id_for(request: FastRequest, query: Mapping[str, str]) -> str:
    """Return the request id of query or header, else a new one."""
    request_id = query.get("requestId", "")[:_MAX_REQUEST_ID]
    return request_id if request_id and _is_safe_header(request_id) else request_id_of(request)


def _check_content_type(request: FastRequest) -> None:
    content_type = request.header(b"content-type")
    if content_type is None or content_type in _COMMON_CONTENT_TYPES:
        return  # a beacon may have no content type
    media = parse_content_type(content_type).type
    if media not in edge.CONTENT_TYPES:
        raise Unsupported(f"`{media[:100]}` is not supported; send `application/json` or `text/plain`")


def _is_safe_header(text: str) -> bool:
    return len(text) <= _MAX_HEADER and text.isascii() and text.isprintable()
