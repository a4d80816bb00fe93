"""Helpers of the handlers: read the body, parse numbers, build responses."""

from typing import Any

from starlette.responses import Response

from proffer.api.kit.surface import Call
from proffer.errors import Finding, Invalid, Malformed
from proffer.wire.codec import decode, encode


async def body_of(call: Call) -> dict[str, Any]:
    """Decode the body as a JSON object. Raises `Invalid` for other values."""
    value = decode(await call.body())
    if not isinstance(value, dict):
        raise Invalid.of(
            [Finding(code="type", message="the body is not an object", path="$", help="send one")]
        )
    return value


def number(name: str, given: Any, default: int, least: int = 1) -> int:
    """Parse an integer of a query or body; `default` if absent. Raises `Malformed`."""
    if given is None:
        return default
    try:
        value = int(given)
    except (TypeError, ValueError):
        raise Malformed(f"`{name}` is not a number", code="bad-parameter") from None
    if value < least:
        raise Malformed(f"`{name}` is less than {least}", code="bad-parameter")
    return value


def answered(document: Any, status: int = 200) -> Response:
    return Response(encode(document), status, media_type="application/json")
