"""Sort orders of listings, and cursors: the position in the order where a page ended.

A cursor holds the sort values of the last row rather than an offset, so pages stay correct when rows
are inserted or deleted. Its form is `value,…,instanceId`. Each value is percent-encoded; envelope
dates are epoch milliseconds; values other than text have a marker: `!` missing, `!b` boolean, `!n`
number, `!d` a time in milliseconds. Clients treat it as an opaque text, percent-encoded like any
other query value.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from proffer.errors import Finding, Invalid, Malformed
from proffer.model.instance import Instance
from proffer.service.search.properties import Path, Reach, parse_path, values_at
from proffer.validation import parse_moment

MOST_KEYS = 10
LONGEST_COMPARED = 200
"""Characters of a text that are compared; bounds the size of a cursor."""


@dataclass(frozen=True, slots=True)
class OrderKey:
    path: Path
    descending: bool = False


BY_INSTANCE = OrderKey(("instanceId",))


def parse_order(text: str) -> list[OrderKey]:
    """Parse an `orderby` parameter: paths separated by commas, `-` in front for descending.

    A `+` in front is accepted, also if it was decoded to a space. Raises `Invalid` for an invalid
    path and for more than `MAX_KEYS` keys.
    """
    parts = [part.strip() for part in text.split(",")]
    keys = [
        OrderKey(parse_path(part[1:] if part[0] in "+-" else part), part.startswith("-"))
        for part in parts
        if part
    ]
    if len(keys) > MOST_KEYS:
        finding = Finding(
            code="order",
            message=f"{len(keys)} sort keys are more than {MOST_KEYS}",
            help="Order by fewer properties.",
        )
        raise Invalid.of([finding])
    return keys


def total_order(keys: Sequence[OrderKey]) -> tuple[OrderKey, ...]:
    """Return the keys up to `instanceId`, added if missing, so that the order is total."""
    effective: list[OrderKey] = []
    for key in keys:
        effective.append(key)
        if key.path == BY_INSTANCE.path:
            return tuple(effective)
    return (*effective, BY_INSTANCE)


class _Reversed:
    """A text with reversed comparison, for descending order."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __lt__(self, other: "_Reversed") -> bool:
        return other.text < self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


# A sort value: (rank, value compared within the rank). Ranks put numbers before texts; missing values
# come last in both directions.
_Sort = tuple[int, Any]
_BOOLEAN, _NUMBER, _MOMENT, _TEXT, _MISSING = range(5)
SortKey = tuple[_Sort, ...]


def sort_key(keys: Sequence[OrderKey], reach: Reach = values_at) -> Callable[[Instance], SortKey]:
    """Return a function from instances to sort keys."""
    readers = [(_reader(key.path, reach), key.descending) for key in keys]
    return lambda instance: tuple(
        _directed(read(instance), descending) for read, descending in readers
    )


def _directed(value: _Sort, descending: bool) -> _Sort:
    rank, within = value
    if not descending or rank == _MISSING:
        return value
    return -rank, _Reversed(within) if isinstance(within, str) else -within


def _undirected(value: _Sort) -> _Sort:
    rank, within = value
    if rank == _MISSING:
        return value
    return -rank, within.text if isinstance(within, _Reversed) else -within


def _reader(path: Path, reach: Reach) -> Callable[[Instance], _Sort]:
    if path == ("repo:createdDate",):
        return lambda instance: (_MOMENT, instance.created_us // 1000)
    if path == ("repo:lastModifiedDate",):
        return lambda instance: (_MOMENT, instance.modified_us // 1000)
    if path == BY_INSTANCE.path:
        return lambda instance: (_TEXT, instance.instance_id)
    return lambda instance: _sort_value(reach(instance, path))


def _sort_value(values: Sequence[Any]) -> _Sort:
    """Return the sort value of the first of several values."""
    value = values[0] if values else None
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, bool):
        return _BOOLEAN, int(value)
    if isinstance(value, int | float):
        return _NUMBER, value
    if not isinstance(value, str):
        return _MISSING, 0
    try:
        return _MOMENT, parse_moment(value) // 1000
    except ValueError:
        return _TEXT, value[:LONGEST_COMPARED]


# Cursors.

PLAIN_DATES = (("repo:createdDate",), ("repo:lastModifiedDate",))
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_INSTANCE_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


def write_cursor(keys: Sequence[OrderKey], place: SortKey) -> str:
    """Return the cursor of a row with this sort key."""
    return ",".join(_written(key, value) for key, value in zip(keys, place, strict=True))


def read_cursor(keys: Sequence[OrderKey], cursor: str) -> SortKey:
    """Return the sort key of a cursor. Raises `Malformed` if it does not fit this order."""
    parts = cursor.split(",")
    if len(parts) != len(keys):
        raise _unreadable()
    return tuple(
        _directed(_read(key, part), key.descending) for key, part in zip(keys, parts, strict=True)
    )


def _written(key: OrderKey, value: _Sort) -> str:
    rank, within = _undirected(value) if key.descending else value
    if rank == _MISSING:
        return "!"
    if rank == _TEXT:
        return quote(within, safe="")
    if rank == _MOMENT:
        return f"{within}" if key.path in PLAIN_DATES else f"!d{within}"
    return f"!b{within}" if rank == _BOOLEAN else f"!n{json.dumps(within)}"


def _read(key: OrderKey, part: str) -> _Sort:
    if key.path == BY_INSTANCE.path:
        if _INSTANCE_ID.fullmatch(part) is None:
            raise _unreadable()
        return _TEXT, part
    if key.path in PLAIN_DATES:
        return _MOMENT, _integer(part)
    mark, rest = part[:2], part[2:]
    if part == "!":
        return _MISSING, 0
    if mark == "!b" and rest in ("0", "1"):
        return _BOOLEAN, int(rest)
    if mark == "!d":
        return _MOMENT, _integer(rest)
    if mark == "!n":
        return _NUMBER, _number(rest)
    if part.startswith("!"):
        raise _unreadable()
    try:
        return _TEXT, unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise _unreadable() from None


def _integer(text: str) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise _unreadable()
    return int(text)


def _number(text: str) -> int | float:
    if _INTEGER.fullmatch(text):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        raise _unreadable() from None
    if number - number != 0:  # infinite, or not a number
        raise _unreadable()
    return number


def _unreadable() -> Malformed:
    finding = Finding(
        code="cursor",
        message="`start` is not a cursor of this listing",
        help="Follow the `next` link unchanged, or leave `start` out to begin again.",
    )
    return Malformed(finding.message, findings=[finding])
