"""Preferred content languages, from `Accept-Language` and the customer's profile (R30)."""

from collections.abc import Mapping
from typing import Any

from proffer.model.languages import MAX_TAG_LENGTH

_MAX_LANGUAGES = 20


def preferred_languages(accept_language: str | None, attributes: Mapping[str, Any]) -> list[str]:
    """Return the preferred languages, best first: the header's, then the profile's."""
    tags = _parse_accept_language(accept_language) if accept_language else []
    preferred = attributes.get("preferredLanguage")
    if isinstance(preferred, str) and len(preferred) <= MAX_TAG_LENGTH:
        tags.append(preferred)
    return tags


def _parse_accept_language(accept_language: str) -> list[str]:
    weighted_tags: list[tuple[float, str]] = []
    for part in accept_language.split(",")[:_MAX_LANGUAGES]:
        tag, _, weight = part.partition(";")
        _, _, number = weight.partition("q=")
        try:
            quality = float(number) if number.strip() else 1.0
        except ValueError:
            quality = 0.0
        if tag.strip() not in {"", "*"} and len(tag.strip()) <= MAX_TAG_LENGTH and quality > 0:
            weighted_tags.append((-quality, tag.strip()))
    return [tag for _, tag in sorted(weighted_tags, key=lambda pair: pair[0])]
