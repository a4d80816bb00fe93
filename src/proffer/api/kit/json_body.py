"""JSON bodies of requests and responses, and whole numbers in parameters."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall
from proffer.errors import Invalid, Malformed, Violation
from proffer.wire.codec import decode, encode


async def read_object(call: ApiCall) -> dict[str, Any]:
    """Decode the body as a JSON object. Raises `Invalid` for other values."""
    value = decode(await call.body())
    if not isinstance(value, dict):
        raise Invalid.of([Violation(code="type", message="the body is not an object", path="$", help="send one")])
    return value


def parse_whole_number(name: str, text: str) -> int:
    """Parse a parameter of at most 18 digits. Raises `Malformed` for other texts."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Malformed(f"`{name}` must be a whole number, not `{text[:50]}`", code="bad-parameter")
    return int(text)


def json_response(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encode(document), status, headers, media_type="application/json")
