"""Numbers in queries and bodies of the customer API."""

from typing import Any

from proffer.errors import Malformed


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
