"""Decision scope strings: base64 of compact JSON with decision and placement (spec 5.2)."""

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from proffer.wire.codec import encode

MAX_SCOPE_ITEMS = 30
"""Maximum number of offers of one scope."""

_MAX_LENGTH = 1_024
_CACHE_SIZE = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedScope:
    """A decoded scope string. `item_count` is None if absent, 0 if invalid.

    A named scope (`{"xdm:name": …}`) has a name instead of decision and placement.
    """

    decision: str
    placement: str
    item_count: int | None = None
    name: str | None = None


def encode_scope(decision: str, placement: str | None = None) -> str:
    """Return the scope string of decisioning responses; without a placement, that of version 0.9."""
    members = {"xdm:activityId": decision}
    if placement is not None:
        members["xdm:placementId"] = placement
    return b64encode(encode(members)).decode()


def decode_scope(text: str) -> DecodedScope | None:
    """Decode a scope string in any form that clients use; None for any other text.

    Missing padding and the URL-safe alphabet are accepted. A text without decision and placement, or a
    name, belongs to another product, such as a page view.
    """
    return _decode_cached(text) if len(text) <= _MAX_LENGTH else None


@lru_cache(maxsize=_CACHE_SIZE)
def _decode_cached(text: str) -> DecodedScope | None:
    plain = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        value = msgspec.json.decode(b64decode(plain + "=" * (-len(plain) % 4), validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    decision, placement, name = _member(value, "activityId"), _member(value, "placementId"), value.get("xdm:name")
    if decision is None and placement is None and isinstance(name, str):
        decision = placement = ""
    else:
        name = None
    if not isinstance(decision, str) or not isinstance(placement, str):
        return None
    count = _member(value, "itemCount")
    if count is not None and (
        isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_SCOPE_ITEMS
    ):
        count = 0
    return DecodedScope(decision=decision, placement=placement, item_count=count, name=name)


def _member(value: dict[str, Any], name: str) -> Any:
    return value.get(name, value.get(f"xdm:{name}"))
