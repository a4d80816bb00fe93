"""Comparison of version numbers by the precedence of Semantic Versioning 2 (ours)."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from proffer.pql.functions.registry import Function, ValueKind, function

_VERSION = re.compile(
    r"[vV]?(?P<numbers>\d{1,18}(?:\.\d{1,18}){0,7})"
    r"(?:-(?P<pre>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?",
    re.ASCII,
)
_MAX_LENGTH = 200


def parse_version(text: str) -> tuple[Any, ...] | None:
    """Return a key that orders versions by precedence; None if the text is not a version."""
    return _parse_version(text) if len(text) <= _MAX_LENGTH else None  # the cache keeps no long texts


@lru_cache(maxsize=1024)
def _parse_version(text: str) -> tuple[Any, ...] | None:
    match_ = _VERSION.fullmatch(text.strip())
    if match_ is None:
        return None
    numbers = [int(number) for number in match_["numbers"].split(".")]
    while numbers and numbers[-1] == 0:
        del numbers[-1]
    if match_["pre"] is None:
        return numbers, 1
    identifiers = match_["pre"].split(".")
    return numbers, 0, [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in identifiers]


def _comparison(name: str, doc: str, examples: dict[str, Any], holds: Callable[[int], bool]) -> Function:
    def body(version: str, other: str) -> bool:
        result = _compare(version, other)
        return result is not None and holds(result)

    return function(
        name,
        parameter_kinds=(ValueKind.TEXT, ValueKind.TEXT),
        returns=ValueKind.BOOLEAN,
        method=False,
        doc=doc,
        examples=examples,
        body=body,
    )


def _compare(version: str, other: str) -> int | None:
    key, other_key = parse_version(version), parse_version(other)
    return None if key is None or other_key is None else (key > other_key) - (key < other_key)


FUNCTIONS = (
    function(
        "versionCompare",
        parameter_kinds=(ValueKind.TEXT, ValueKind.TEXT),
        returns=ValueKind.INTEGER,
        method=False,
        doc="-1 when the first version is lower than the second, 0 when they are the same, 1 when it is higher, by the "
        "precedence of Semantic Versioning 2; null if a side is not a version. A `v` in front and build metadata do "
        "not count, missing numbers are 0, and there may be up to eight.",
        examples={
            'versionCompare("10.2.0", "9.11.3")': 1,
            'versionCompare("v1.2", "1.2.0")': 0,
            'versionCompare("2.0.0-beta.2", "2.0.0-beta.11")': -1,
            'versionCompare("2.0.0-rc.1", "2.0.0")': -1,
            'versionCompare("latest", "2.0.0")': None,
        },
        body=_compare,
    ),
    _comparison(
        "versionAtLeast",
        "True when the first version is the same as the second or higher, as `versionCompare` orders them.",
        {'versionAtLeast("10.2.0", "9.11")': True, 'versionAtLeast("latest", "9.11")': False},
        lambda result: result >= 0,
    ),
    _comparison(
        "versionBelow",
        "True when the first version is lower than the second, as `versionCompare` orders them.",
        {'versionBelow("9.11.3", "10.0.0-rc.1")': True, 'versionBelow("latest", "9.11")': False},
        lambda result: result < 0,
    ),
    _comparison(
        "versionEquals",
        "True when both versions have the same precedence, as `versionCompare` orders them.",
        {'versionEquals("v1.2", "1.2.0+build.5")': True, 'versionEquals("1.2", "1.20")': False},
        lambda result: result == 0,
    ),
)
