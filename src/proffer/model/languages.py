"""Choice of a language variant: lookup (RFC 4647, section 3.4) with likely subtags (R30).

`zh-TW` and `zh-Hant` are both likely `zh-Hant-TW`, so one finds the other; `zh` is likely `zh-Hans-CN`.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

MAX_TAG_LENGTH = 35
"""Characters that a language tag needs at most (RFC 4646, section 4.3.1)."""
_CACHE_SIZE = 1024


class LikelyTag(NamedTuple):
    """A language tag with its likely script and region. `declared_region`: that of the tag, or empty."""

    tag: str
    language: str
    script: str
    region: str
    declared_region: str


@lru_cache(maxsize=_CACHE_SIZE)
def best_variant(requested: tuple[str, ...], available: tuple[tuple[str, ...], ...]) -> int | None:
    """Return the index of the first variant with a requested language, best first; None if none matches.

    `available`: the languages of each variant. Of several variants the closest to a requested language wins:
    the same tag, the same likely tag, the language without region (`de` for `de-AT`), for a group of
    countries (`es-419` for `es-MX`) or for any country (`en-GB` for `en`), and last a longer or shorter tag.
    """
    variants = [[likely_tag(tag) for tag in tags] for tags in available]
    for language in map(likely_tag, requested):
        for matches in _MATCHES:
            for index, tags in enumerate(variants):
                if any(matches(tag, language) for tag in tags):
                    return index
    return None


@lru_cache(maxsize=_CACHE_SIZE)
def likely_tag(tag: str) -> LikelyTag:
    """Return a tag with its likely subtags. Their fields are empty if the tag is not valid."""
    # Loaded with the first content in several languages: its tables take some 30 ms and 4 MB.
    from langcodes.data_dicts import LANGUAGE_REPLACEMENTS, LIKELY_SUBTAGS, NORMALIZED_MACROLANGUAGES
    from langcodes.tag_parser import LanguageTagError, parse_tag

    # `Language.get` would keep every tag that a client sends.
    normalized = tag.strip().replace("_", "-").lower()
    try:
        parts = dict(reversed(parse_tag(normalized))) if len(normalized) <= MAX_TAG_LENGTH else {}
    except LanguageTagError:
        parts = {}
    language = parts.get("extlang") or parts.get("language", "")
    language = LANGUAGE_REPLACEMENTS.get(language) or language
    language = NORMALIZED_MACROLANGUAGES.get(language) or language
    language, _, replaced_script = language.partition("-")
    language = _SAME_LANGUAGE.get(language, language)
    script, region = parts.get("script") or replaced_script, parts.get("territory", "")
    candidates = (
        "-".join(filter(None, subtags))
        for subtags in ((language, script, region), (language, region), (language, script), (language,))
    )
    likely = next((LIKELY_SUBTAGS[candidate] for candidate in candidates if candidate in LIKELY_SUBTAGS), None)
    if likely is None:
        return LikelyTag(normalized, language, script, region, region)
    _, likely_script, likely_region = likely.split("-")
    return LikelyTag(normalized, language, script or likely_script, region or likely_region, region)


_SAME_LANGUAGE = {"no": "nb"}
"""Norwegian without a written standard is Bokmål."""


def _is_same_tag(available: LikelyTag, requested: LikelyTag) -> bool:
    return available.tag == requested.tag


def _is_same_likely_tag(available: LikelyTag, requested: LikelyTag) -> bool:
    return _is_same_language(available, requested) and available.region == requested.region


def _is_without_region(available: LikelyTag, requested: LikelyTag) -> bool:
    return _is_same_language(available, requested) and not available.declared_region


def _is_for_countries(available: LikelyTag, requested: LikelyTag) -> bool:
    return _is_same_language(available, requested) and available.declared_region.isdigit()


def _is_requested_without_region(available: LikelyTag, requested: LikelyTag) -> bool:
    return _is_same_language(available, requested) and not requested.declared_region


def _is_longer_or_shorter(available: LikelyTag, requested: LikelyTag) -> bool:
    return available.tag.startswith(f"{requested.tag}-") or requested.tag.startswith(f"{available.tag}-")


def _is_same_language(available: LikelyTag, requested: LikelyTag) -> bool:
    return bool(available.language) and available[1:3] == requested[1:3]


_MATCHES: tuple[Callable[[LikelyTag, LikelyTag], bool], ...] = (
    _is_same_tag,
    _is_same_likely_tag,
    _is_without_region,
    _is_for_countries,
    _is_requested_without_region,
    _is_longer_or_shorter,
)
