"""The decision scope string: base64 of compact JSON that names a decision and a placement (spec 5.2)."""

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from proffer.wire.codec import encode

MAX_SCOPE_ITEMS = 30
"""Offers that one scope may ask for."""

_LONGEST = 1_024
_REMEMBERED = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeName:
    """What a scope string names. `item_count` is None where it does not say, 0 where it asks for nonsense."""

    decision: str
    placement: str
    item_count: int | None = None


def encode_scope(decision: str, placement: str | None = None) -> str:
    """The scope string of the hub's answers; without a placement, that of a 0.9 answer."""
    members = {"xdm:activityId": decision}
    if placement is not None:
        members["xdm:placementId"] = placement
    return b64encode(encode(members)).decode()


def mobile_scope(decision: str, placement: str, item_count: int = 1) -> str:
    """The scope string that the mobile SDKs make: names without prefix, the number only where it is above 1."""
    members: dict[str, Any] = {"activityId": decision, "placementId": placement}
    if item_count > 1:
        members["itemCount"] = item_count
    return b64encode(encode(members)).decode()


def decode_scope(text: str) -> ScopeName | None:
    """What a scope string names, in any spelling that clients use; None for any other text.

    Missing padding and the alphabet for URLs are accepted. A text that names no decision and placement
    is somebody else's: a page view, or the place of another product.
    """
    return _remembered(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=_REMEMBERED)
def _remembered(text: str) -> ScopeName | None:
    plain = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        value = msgspec.json.decode(b64decode(plain + "=" * (-len(plain) % 4), validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    decision, placement = _member(value, "activityId"), _member(value, "placementId")
    if not isinstance(decision, str) or not isinstance(placement, str):
        return None
    count = _member(value, "itemCount")
    if count is not None and (
        isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_SCOPE_ITEMS
    ):
        count = 0
    return ScopeName(decision=decision, placement=placement, item_count=count)


def _member(value: dict[str, Any], name: str) -> Any:
    return value.get(name, value.get(f"xdm:{name}"))
