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
from proffer.api.kit.media import parse_media
from proffer.api.kit.request import Asked
from proffer.api.kit.surface import Authenticator, Call, drain, request_id_of
from proffer.auth.policy import require, sees
from proffer.auth.principal import Permission
from proffer.errors import Forbidden, Invalid, Malformed, ProfferError, Unsupported
from proffer.model.datastream import EdgeAccess
from proffer.service.edge.datastreams import DatastreamService, Stream
from proffer.telemetry import failure
from proffer.validation import Shape
from proffer.wire import edge
from proffer.wire.codec import decode_as, has_nul

BODY_SECONDS = 10.0
"""Timeout for receiving the body of a request."""

_MOST_OF_A_REQUEST_ID = 200
_MOST_OF_A_HEADER = 1_000
_MOST_OF_AN_ID = 200
_PARAMETERS = {"v1": ("configId",), "v2": ("datastreamId", "dataStreamId", "configId")}

_USUAL_TYPES = frozenset(
    {"text/plain; charset=UTF-8", "text/plain;charset=UTF-8", "application/json"}
)
"""Content types as clients usually send them."""
_PREFIX = b'"xdm:'
_SEPARATOR = re.compile(rb'("recordSeparator"\s*:\s*)"\\u0000"')

_TO_A_PAGE = (
    (b"access-control-allow-credentials", b"true"),
    (b"access-control-expose-headers", b"Retry-After, X-Adobe-Edge, X-Request-ID"),
)
_TO_ALL = ((b"vary", b"Origin"), (b"cache-control", b"no-store"))

T = TypeVar("T")


class Hit(Struct):
    """A request to the edge, with its datastream and query parameters.

    `is_plain`: the names in its body have no `xdm:` prefixes.
    """

    stream: Stream
    version: str
    request: Asked
    request_id: str
    query: Mapping[str, str]
    is_plain: bool = False


Handler: TypeAlias = Callable[[Hit], Awaitable[Response]]


class Envelope:
    """Check requests before, and complete responses after, an edge handler.

    `authenticator` is used for datastreams that require a token.
    """

    def __init__(self, datastreams: DatastreamService, authenticator: Authenticator) -> None:
        self._datastreams = datastreams
        self._authenticator = authenticator

    async def around(self, handler: Handler, version: str, request: Asked) -> Response:
        """Return the handler's response, or the response to its error."""
        query = query_of(request)
        request_id = request_id_for(request, query)
        stream: Stream | None = None
        try:
            stream = self._stream(version, query)
            self._check_origin(stream, request)
            if stream.datastream.access is EdgeAccess.AUTHENTICATED:
                await self._authenticate(stream, request)
            _check_type(request)
            response = await handler(Hit(stream, version, request, request_id, query))
        except ProfferError as error:
            await drain(request)
            organisation = stream.container.organisation if stream is not None else None
            response = problems.refused(error, request_id, organisation)
        except TimeoutError:
            response = problems.refusal(
                408,
                problems.SLOW_BODY,
                f"the body did not arrive within {BODY_SECONDS:g} seconds",
                request_id,
            )
            response.headers["Connection"] = "close"
        except ClientDisconnect:
            response = Response(status_code=400)  # the client has disconnected
        except Exception as error:  # noqa: BLE001 - a page sees errors only with CORS headers
            failure(f"request {request_id} failed", error)
            response = problems.refusal(
                500,
                problems.UNEXPECTED,
                "this should not have happened; the log of the server has the reason under this request id",
                request_id,
            )
        return closed(response, request, request_id)

    def _stream(self, version: str, query: Mapping[str, str]) -> Stream:
        named = ""
        for name in _PARAMETERS[version]:
            named = named or query.get(name, "")
        if not named:
            raise Malformed(
                f"the datastream is missing: `?{_PARAMETERS[version][0]}=…`", code="EXEG-0002-400"
            )
        stream = self._datastreams.find(named) if len(named) <= _MOST_OF_AN_ID else None
        if stream is None:
            raise Malformed(f"there is no datastream `{named[:100]}`", code="EXEG-0003-400")
        if not stream.datastream.enabled:
            raise Invalid("the datastream is disabled", code="EXEG-0004-422")
        return stream

    def _check_origin(self, stream: Stream, request: Asked) -> None:
        origin = request.header(b"origin")
        if not stream.datastream.admits(origin):
            raise Forbidden(
                f"pages of `{str(origin)[:200]}` may not use this datastream",
                code="origin-not-allowed",
            )

    async def _authenticate(self, stream: Stream, request: Asked) -> None:
        caller = await self._authenticator.authenticate(request)
        require(caller, Permission.DECISIONS_EXECUTE)
        container = stream.container
        if not sees(caller, container.organisation, container.sandbox):
            raise Forbidden(
                "the token is one of another organisation or sandbox than the datastream",
                code="organisation-mismatch",
            )


async def document_of(hit: Hit, type_: type[T], shape: Shape) -> T:
    """Decode the body of a request, and set `edge_request.is_plain`.

    Raises `Malformed` or `Invalid` with every mistake, `TooLarge` or `TimeoutError`.
    """
    whole = hit.request.whole
    body = whole.taken() if whole is not None else None
    if body is None or len(body) > edge.MAX_BODY:
        call = Call(hit.stream.access.principal, hit.request)
        async with asyncio.timeout(BODY_SECONDS):
            body = await call.body(edge.MAX_BODY)
    if has_nul(body):
        # A NUL is allowed only as `recordSeparator`, where it is the default, so null means the same.
        # Within a string value these quotes would be escaped.
        body = _SEPARATOR.sub(rb"\1null", body)
    hit.is_plain = _PREFIX not in body
    return decode_as(type_, body, shape=shape)


def preflight(request: Asked) -> Response:
    """Answer a CORS preflight request."""
    headers = {
        "Access-Control-Allow-Methods": "POST, OPTIONS",
        "Access-Control-Max-Age": "86400",
    }
    asked = request.header(b"access-control-request-headers")
    if asked is not None and _is_plain(asked):
        headers["Access-Control-Allow-Headers"] = asked
    response = Response(status_code=204, headers=headers)
    return closed(response, request, request_id_for(request, query_of(request)))


def closed(response: Response, request: Asked, request_id: str) -> Response:
    """Add the headers that every edge response carries."""
    raw = response.raw_headers
    origin = request.header(b"origin")
    if origin is not None and _is_plain(origin):
        raw.append((b"access-control-allow-origin", origin.encode()))
        raw += _TO_A_PAGE
    raw += _TO_ALL
    if response.status_code < 400:  # problem responses carry it already
        raw.append((b"x-request-id", request_id.encode("latin-1", "replace")))
    return response


def query_of(request: Asked) -> Mapping[str, str]:
    """Return the query parameters."""
    raw: bytes = request.scope["query_string"]
    if b"%" in raw or b"+" in raw or not raw.isascii():
        return request.query_params
    # Fast path for the usual query without escapes. Of several with one name the last counts.
    found = {}
    for part in raw.decode().split("&"):
        name, _, value = part.partition("=")
        if value:
            found[name] = value
    return found


def request_id_for(request: Asked, query: Mapping[str, str]) -> str:
    """Return the request id of the query or header, else a new one."""
    given = query.get("requestId", "")[:_MOST_OF_A_REQUEST_ID]
    return given if given and _is_plain(given) else request_id_of(request)


def _check_type(request: Asked) -> None:
    given = request.header(b"content-type")
    if given is None or given in _USUAL_TYPES:
        return  # a beacon may have no content type
    media = parse_media(given).type
    if media not in edge.CONTENT_TYPES:
        raise Unsupported(
            f"`{media[:100]}` is not read here; send `application/json` or `text/plain`"
        )


def _is_plain(text: str) -> bool:
    return len(text) <= _MOST_OF_A_HEADER and text.isascii() and text.isprintable()
