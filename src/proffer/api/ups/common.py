"""Helpers of the handlers: read the body, parse numbers, build responses."""

from typing import Any

from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall
from proffer.errors import Invalid, Malformed, Violation
from proffer.wire.codec import decode, encode


async def read_body(call: ApiCall) -> dict[str, Any]:
    """Decode the body as a JSON object. Raises `Invalid` for other values."""
    value = decode(await call.body())
    if not isinstance(value, dict):
        raise Invalid.of([Violation(code="type", message="the body is not an object", path="$", help="send one")])
    return value


def parse_number(name: str, raw: Any, default: int, minimum: int = 1) -> int:
    """Parse an integer of a query or body; `default` if absent. Raises `Malformed`."""
    if raw is None:
        return default
    try:
        value = int(raw)
    except (TypeError, ValueError):
        raise Malformed(f"`{name}` is not a number", code="bad-parameter") from None
    if value < minimum:
        raise Malformed(f"`{name}` is less than {minimum}", code="bad-parameter")
    return value


def json_response(document: Any, status: int = 200) -> Response:
    return Response(encode(document), status, media_type="application/json")
