"""Helpers of other personalization languages that are not supported, and their alternatives.

They need stored fragments, an asset host or an external call during a decision. They are rejected by
name on saving, so that migrated content is not rendered with gaps.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UnsupportedHelper:
    """Reason why a helper is not supported, and an alternative."""

    reason: str
    alternative: str


UNSUPPORTED_HELPERS: Mapping[str, UnsupportedHelper] = {
    "fragment": UnsupportedHelper(
        "there are no stored fragments",
        "write its content here, or keep it in the offer's `characteristics`",
    ),
    "inline": UnsupportedHelper(
        "there are no stored pieces to put in line",
        "write the text itself",
    ),
    "url": UnsupportedHelper(
        "links are not tracked or shortened",
        "write the address itself, with `encodeUrl` around values",
    ),
    "executionMetadata": UnsupportedHelper(
        "there are no events of delivery to write it to",
        "keep it in the offer's `characteristics`, or send it in the request's context",
    ),
    "externalDataLookup": UnsupportedHelper(
        "nothing outside is asked while a decision waits",
        "send the data in the request's context, and read `context`",
    ),
    "datasetLookup": UnsupportedHelper(
        "there are no data sets to look into",
        "send the data in the request's context, or keep it in the profile",
    ),
    "qrCode": UnsupportedHelper(
        "there is no asset host to serve pictures",
        "make the picture elsewhere, and write its address",
    ),
}

# `name key="value"`, `name "value"` and `name path` are not expressions. A field may be called `url`, so a
# name that a PQL operator follows is not a helper.
_AS_HELPER = re.compile(
    rf"\s*(?P<name>{'|'.join(UNSUPPORTED_HELPERS)})\s+"
    r"(?!(?:and|or|in|notIn|like|occurs|not|over|where|from|as)\b)[\w\"'@`]"
)


def unsupported_message(name: str) -> tuple[str, str]:
    """Return the message about an unsupported helper, and the hint what to use instead."""
    helper = UNSUPPORTED_HELPERS[name]
    return f"`{name}` is not supported: {helper.reason}", helper.alternative


def find_unsupported_helper(text: str) -> str | None:
    """Return the unsupported helper that a tag calls in helper syntax, without brackets; else None."""
    match = _AS_HELPER.match(text)
    return match["name"] if match is not None else None
