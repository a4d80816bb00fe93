"""Reading of a field's value as the type that its schema declares (R44).

A null stays null. A value that cannot be read becomes `UNREADABLE`. The items of an array are read one by one.
"""

from collections.abc import Callable, Mapping
from datetime import date, tzinfo
from typing import Any

from proffer.pql.syntax.nodes import Reading
from proffer.pql.values.times import as_time
from proffer.pql.values.values import (
    UNREADABLE,
    Value,
    format_number,
    is_list,
    is_number,
    parse_boolean,
    parse_json_number,
    parse_number,
    truth,
)


def read_number(value: Value) -> Value:
    """Read a number or a text that is one."""
    if isinstance(value, str):
        number = parse_json_number(value)
        return UNREADABLE if number is None else number
    if value is None or is_number(value):
        return value
    return _read_items(read_number, value)


def read_numeric(value: Value) -> Value:
    """Read a number or a text that is one; any other value stays as it is."""
    return list(map(_read_if_number, value)) if is_list(value) else _read_if_number(value)


def _read_if_number(value: Value) -> Value:
    number = parse_json_number(value) if isinstance(value, str) else None
    return value if number is None else number


def read_text(value: Value) -> Value:
    """Read a text, or a number or Boolean as its JSON spelling. A date stays one."""
    if value is None or isinstance(value, (str, date)):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return format_number(value) if is_number(value) else _read_items(read_text, value)


def read_boolean(value: Value) -> Value:
    """Read a Boolean, the text `true` or `false` in any letter case, 1 or 0."""
    if is_number(value):
        return bool(value) if value in (0, 1) else UNREADABLE
    return read_logical(value) if not is_list(value) else _read_items(read_boolean, value)


def read_logical(value: Value) -> Value:
    """Read a Boolean, or the text `true` or `false` in any letter case."""
    if value is None or isinstance(value, bool):
        return value
    logical = parse_boolean(value) if isinstance(value, str) else None
    return UNREADABLE if logical is None else logical


def read_time(value: Value, zone: tzinfo) -> Value:
    """Read a date or date-time; without a zone it is in that of the evaluation."""
    if value is None:
        return None
    if is_list(value):
        return _read_items(lambda item: read_time(item, zone), value)
    time = as_time(value, zone)
    return UNREADABLE if time is None else time


def _read_items(read: Callable[[Value], Value], value: Value) -> Value:
    return [UNREADABLE if is_list(item) else read(item) for item in value] if is_list(value) else UNREADABLE


_READERS: Mapping[Reading, Callable[[Value], Value]] = {
    Reading.NUMBER: read_number,
    Reading.NUMERIC: read_numeric,
    Reading.TEXT: read_text,
    Reading.BOOLEAN: read_boolean,
    Reading.LOGICAL: read_logical,
    Reading.TRUTH: truth,
}


def read(reading: Reading, value: Value, zone: tzinfo) -> Value:
    """Read a value."""
    return read_time(value, zone) if reading is Reading.TIME else _READERS[reading](value)


def reader_of(reading: Reading) -> Callable[[Value], Value]:
    """Return the function that reads values, for all readings but `TIME`."""
    return _READERS[reading]


def is_plain_text(text: Any) -> bool:
    """Return whether a value is a text that only an equal text equals: no number, Boolean or date."""
    return (
        isinstance(text, str) and parse_number(text) is None and parse_boolean(text) is None and not text[:4].isdigit()
    )
