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

from proffer.errors import Invalid, Malformed, Violation
from proffer.model.instance import Instance
from proffer.service.search.properties import Path, PropertyReader, parse_path, values_at
from proffer.validation import parse_timestamp_us

MAX_KEYS = 10
MAX_COMPARED_LENGTH = 200
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
    keys = [OrderKey(parse_path(part[1:] if part[0] in "+-" else part), part.startswith("-")) for part in parts if part]
    if len(keys) > MAX_KEYS:
        finding = Violation(
            code="order",
            message=f"{len(keys)} sort keys are more than {MAX_KEYS}",
            help="Order by fewer properties.",
        )
        raise Invalid.of([finding])
    return keys


def total_order(keys: Sequence[OrderKey]) -> tuple[OrderKey, ...]:
    """Return the keys up to `instanceId`, which is added if missing. This makes the order total."""
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

    def __lt__(self, right: "_Reversed") -> bool:
        return right.text < self.text

    def __eq__(self, right: object) -> bool:
        return isinstance(right, _Reversed) and right.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


# A sort value: (rank, value compared within the rank). Ranks put numbers before texts; missing values
# come last in both directions.
_SortValue = tuple[int, Any]
_BOOLEAN, _NUMBER, _MOMENT, _TEXT, _MISSING = range(5)
SortKey = tuple[_SortValue, ...]


def sort_key(keys: Sequence[OrderKey], read_values: PropertyReader = values_at) -> Callable[[Instance], SortKey]:
    """Return a function from instances to sort keys."""
    readers = [(_value_reader(key.path, read_values), key.descending) for key in keys]
    return lambda instance: tuple(_apply_direction(read(instance), descending) for read, descending in readers)


def _apply_direction(value: _SortValue, descending: bool) -> _SortValue:
    rank, within = value
    if not descending or rank == _MISSING:
        return value
    return -rank, _Reversed(within) if isinstance(within, str) else -within


def _remove_direction(value: _SortValue) -> _SortValue:
    rank, within = value
    if rank == _MISSING:
        return value
    return -rank, within.text if isinstance(within, _Reversed) else -within


def _value_reader(path: Path, read_values: PropertyReader) -> Callable[[Instance], _SortValue]:
    if path == ("repo:createdDate",):
        return lambda instance: (_MOMENT, instance.created_us // 1000)
    if path == ("repo:lastModifiedDate",):
        return lambda instance: (_MOMENT, instance.modified_us // 1000)
    if path == BY_INSTANCE.path:
        return lambda instance: (_TEXT, instance.instance_id)
    return lambda instance: _sort_value(read_values(instance, path))


def _sort_value(values: Sequence[Any]) -> _SortValue:
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
        return _MOMENT, parse_timestamp_us(value) // 1000
    except ValueError:
        return _TEXT, value[:MAX_COMPARED_LENGTH]


# Cursors.

PLAIN_DATES = (("repo:createdDate",), ("repo:lastModifiedDate",))
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_INSTANCE_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


def write_cursor(keys: Sequence[OrderKey], sort_values: SortKey) -> str:
    """Return the cursor of a row with this sort key."""
    return ",".join(_encode_value(key, value) for key, value in zip(keys, sort_values, strict=True))


def read_cursor(keys: Sequence[OrderKey], cursor: str) -> SortKey:
    """Return the sort key of a cursor. Raises `Malformed` if it does not fit this order."""
    parts = cursor.split(",")
    if len(parts) != len(keys):
        raise _bad_cursor()
    return tuple(
        _apply_direction(_decode_value(key, part), key.descending) for key, part in zip(keys, parts, strict=True)
    )


def _encode_value(key: OrderKey, value: _SortValue) -> str:
    rank, within = _remove_direction(value) if key.descending else value
    if rank == _MISSING:
        return "!"
    if rank == _TEXT:
        return quote(within, safe="")
    if rank == _MOMENT:
        return f"{within}" if key.path in PLAIN_DATES else f"!d{within}"
    return f"!b{within}" if rank == _BOOLEAN else f"!n{json.dumps(within)}"


def _decode_value(key: OrderKey, part: str) -> _SortValue:
    if key.path == BY_INSTANCE.path:
        if _INSTANCE_ID.fullmatch(part) is None:
            raise _bad_cursor()
        return _TEXT, part
    if key.path in PLAIN_DATES:
        return _MOMENT, _integer(part)
    mark, payload = part[:2], part[2:]
    if part == "!":
        return _MISSING, 0
    if mark == "!b" and payload in ("0", "1"):
        return _BOOLEAN, int(payload)
    if mark == "!d":
        return _MOMENT, _integer(payload)
    if mark == "!n":
        return _NUMBER, _number(payload)
    if part.startswith("!"):
        raise _bad_cursor()
    try:
        return _TEXT, unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise _bad_cursor() from None


def _integer(text: str) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise _bad_cursor()
    return int(text)


def _number(text: str) -> int | float:
    if _INTEGER.fullmatch(text):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        raise _bad_cursor() from None
    if number - number != 0:  # infinite, or not a number
        raise _bad_cursor()
    return number


def _bad_cursor() -> Malformed:
    finding = Violation(
        code="cursor",
        message="`start` is not a cursor of this listing",
        help="Follow the `next` link unchanged, or leave `start` out to begin again.",
    )
    return Malformed(finding.message, violations=[finding])
