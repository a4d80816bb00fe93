"""Preferred content languages, from `Accept-Language` and the customer's profile (R30)."""

from collections.abc import Mapping
from typing import Any

_MOST = 20


def languages(accept_language: str | None, attributes: Mapping[str, Any]) -> list[str]:
    """Return the preferred languages, best first: the header's, then the profile's."""
    found = _weighed(accept_language) if accept_language else []
    preferred = attributes.get("preferredLanguage")
    if isinstance(preferred, str):
        found.append(preferred)
    return found


def _weighed(accept_language: str) -> list[str]:
    weighed: list[tuple[float, str]] = []
    for part in accept_language.split(",")[:_MOST]:
        tag, _, weight = part.partition(";")
        _, _, number = weight.partition("q=")
        try:
            quality = float(number) if number.strip() else 1.0
        except ValueError:
            quality = 0.0
        if tag.strip() not in {"", "*"} and quality > 0:
            weighed.append((-quality, tag.strip()))
    return [tag for _, tag in sorted(weighed, key=lambda one: one[0])]
