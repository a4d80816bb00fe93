"""Helpers of other personalization languages that a template here cannot have, and what to write instead.

They need stored pieces, an asset host or a call to somewhere else while a decision waits. They are refused
on saving, by name, so that content which is moved here is not shown with a hole in it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Why there is no such helper, and what to do instead."""

    reason: str
    instead: str


UNSUPPORTED: Mapping[str, Unsupported] = {
    "fragment": Unsupported(
        "there are no stored fragments",
        "write its content here, or keep it in the offer's `characteristics`",
    ),
    "inline": Unsupported(
        "there are no stored pieces to put in line",
        "write the text itself",
    ),
    "url": Unsupported(
        "links are not tracked or shortened",
        "write the address itself, with `encodeUrl` around values",
    ),
    "executionMetadata": Unsupported(
        "there are no events of delivery to write it to",
        "keep it in the offer's `characteristics`, or send it in the request's context",
    ),
    "externalDataLookup": Unsupported(
        "nothing outside is asked while a decision waits",
        "send the data in the request's context, and read `context`",
    ),
    "datasetLookup": Unsupported(
        "there are no data sets to look into",
        "send the data in the request's context, or keep it in the profile",
    ),
    "qrCode": Unsupported(
        "there is no asset host to serve pictures",
        "make the picture elsewhere, and write its address",
    ),
}

# `name key="value"`, `name "value"` and `name path`, which are no expressions: no word of the rule language may
# follow, and a field may well be called `url`.
_AS_HELPER = re.compile(
    rf"\s*(?P<name>{'|'.join(UNSUPPORTED)})\s+"
    r"(?!(?:and|or|in|notIn|like|occurs|not|over|where|from|as)\b)[\w\"'@`]"
)


def message_of(name: str) -> tuple[str, str]:
    """What is wrong with using the helper, and how to mend it."""
    found = UNSUPPORTED[name]
    return f"`{name}` is not supported: {found.reason}", found.instead


def helper_in(text: str) -> str | None:
    """The unsupported helper that a tag spells in the manner of helpers, without brackets."""
    found = _AS_HELPER.match(text)
    return found["name"] if found is not None else None
