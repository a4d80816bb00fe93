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
        "write the content here, or store it in the offer's `characteristics`",
    ),
    "inline": UnsupportedHelper(
        "there are no stored fragments",
        "write the text",
    ),
    "url": UnsupportedHelper(
        "links are not tracked or shortened",
        "write the address, with `encodeUrl` around values",
    ),
    "executionMetadata": UnsupportedHelper(
        "there are no delivery events for it",
        "store it in the offer's `characteristics`, or send it in the request's context",
    ),
    "externalDataLookup": UnsupportedHelper(
        "a decision calls no external services",
        "send the data in the request's context, and read `context`",
    ),
    "datasetLookup": UnsupportedHelper(
        "there are no data sets",
        "send the data in the request's context, or store it in the profile",
    ),
    "qrCode": UnsupportedHelper(
        "there is no asset host for images",
        "create the image elsewhere, and write its address",
    ),
}

# `name key="value"`, `name "value"` and `name path` are not expressions. A field may be called `url`, so a
# name that a PQL operator follows is not a helper.
_AS_HELPER = re.compile(
    rf"\s*(?P<name>{'|'.join(UNSUPPORTED_HELPERS)})\s+"
    r"(?!(?:and|or|in|notIn|like|occurs|not|over|where|from|as)\b)[\w\"'@`]"
)


def unsupported_message(name: str) -> tuple[str, str]:
    """Return the message about an unsupported helper, and the suggested alternative."""
    helper = UNSUPPORTED_HELPERS[name]
    return f"`{name}` is not supported: {helper.reason}", helper.alternative


def find_unsupported_helper(text: str) -> str | None:
    """Return the unsupported helper that a tag calls, else None. The call is in helper syntax, without brackets."""
    match = _AS_HELPER.match(text)
    return match["name"] if match is not None else None
