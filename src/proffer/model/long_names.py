"""Library documents with full names: `https://ns.adobe.com/experience/decisioning/…` (wire 1).

The published classes of offers, placements and decisions name some members otherwise than the documents of
the repository, and nest the constraints of offers otherwise.
"""

from collections.abc import Iterator, Mapping
from typing import Any

ADDRESS = "https://ns.adobe.com/experience/decisioning"
_SHORT_NAMES = {
    "lifecycleStatus": "xdm:status",
    "contents": "xdm:representations",
    "ranking": "xdm:rank",
    "channelID": "xdm:channel",
    "startTime": "xdm:startDate",
    "endTime": "xdm:endDate",
}
_CONSTRAINTS = ("calendarConstraints", "profileConstraints")
_SELECTION = "xdm:selectionConstraint"


def with_short_names(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the document with the names of the repository. A member with a short name has precedence."""
    if not any(name.startswith(ADDRESS) for name in document):
        return document
    short = {name: value for name, value in document.items() if not name.startswith(ADDRESS)}
    for name, value in _addressed_members(document):
        if name in _CONSTRAINTS and isinstance(value, Mapping):
            selection = short.get(_SELECTION)
            short[_SELECTION] = {**value, **selection} if isinstance(selection, Mapping) else value
        else:
            short.setdefault(_SHORT_NAMES.get(name, f"xdm:{name}"), value)
    return short


def _addressed_members(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the members under the address, by their name behind it."""
    for name, value in document.items():
        if name.startswith(ADDRESS):
            member = name.removeprefix(ADDRESS).strip("/")
            if member:
                yield member, _nested(value)
            elif isinstance(value, Mapping):
                yield from ((inner.removeprefix("xdm:"), _nested(inner_value)) for inner, inner_value in value.items())


def _nested(value: Any) -> Any:
    """Return a value with the addresses of its members replaced by `xdm:`."""
    if isinstance(value, list):
        return [_nested(element) for element in value]
    if isinstance(value, Mapping):
        return {name.replace(f"{ADDRESS}/", "xdm:", 1): _nested(member) for name, member in value.items()}
    return value
