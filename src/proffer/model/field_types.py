"""Declared types of fields: a check of JSON values, and the conversion of texts from tables.

`FieldTypes` is built from fields in the format of `FieldSchema`. A missing or null value has every type, a field
that is not declared too.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from math import isfinite
from typing import Any, TypeAlias

import msgspec

from proffer.errors import Violation
from proffer.model.identity import BLANKS
from proffer.validation import MAX_VIOLATIONS, json_path, parse_timestamp_us

_MAX_INTEGER = 2**63
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MIDNIGHT = re.compile(r"(\d{4}-\d{2}-\d{2})[T ]00:00:00(?:\.0+)?", re.ASCII)
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
_HELP = {
    "date": "write it as in `1990-12-31`",
    "date-time": "write it as in `2025-03-01T08:30:00Z` or `2025-03-01T08:30:00+01:00`",
    "boolean": "write `true` or `false`",
}

_Location: TypeAlias = "tuple[_Location, str | int] | None"
_Check: TypeAlias = Callable[[Any, _Location, list[Violation]], None]
_decode_number = msgspec.json.Decoder(int | float).decode


def convert_text(kind: str, text: str) -> Any:
    """Convert the text of a table's cell to a declared scalar type; None if that is impossible.

    Numbers are JSON numbers. Blanks around the value do not count, unless the type is a text.
    """
    trimmed = text.strip(BLANKS)
    match kind:
        case "number" | "integer":
            try:
                number = _decode_number(trimmed)
            except msgspec.MsgspecError:
                return None
            if kind == "integer" and isinstance(number, float) and number.is_integer():
                number = int(number)
            return number if _problem(kind, number) is None else None
        case "boolean":
            return _BOOLEANS.get(trimmed.lower())
        case "date":
            midnight = _MIDNIGHT.fullmatch(trimmed)
            return midnight[1] if midnight else trimmed
        case "date-time":
            return trimmed
    return text


def type_violation(kind: str, value: Any, path: str, reason: str = "") -> Violation:
    """Return the violation of a value that is not of this kind."""
    message = f"{_quote(value)} is not {_noun(kind)}" + (f": {reason}" if reason else "")
    code = "format" if isinstance(value, str) and kind in {"date", "date-time"} else "type"
    return Violation(
        code=code, message=message, path=path, help=_HELP.get(kind, f"send {_noun(kind)}, or leave it out")
    )


class FieldTypes:
    """Types of the fields of an object. `closed`: other fields and other than the known values are violations."""

    def __init__(self, fields: Mapping[str, Any], *, closed: bool = False) -> None:
        self._fields = fields
        self._check = _object_check(fields, closed)

    def violations(self, document: Mapping[str, Any]) -> list[Violation]:
        """Return the violations in a document, at most `MAX_VIOLATIONS`."""
        violations: list[Violation] = []
        self._check(document, None, violations)
        return violations[:MAX_VIOLATIONS]

    def converted(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the document with texts as their declared types. Those that cannot be converted stay texts."""
        return _convert_object(self._fields, document)


@dataclass(frozen=True, slots=True)
class RecordTypes:
    """Field types of ingested profiles and events. `fields`: the plain data they were built from."""

    fields: Mapping[str, Mapping[str, Any]]
    profile: FieldTypes
    event: FieldTypes

    @classmethod
    def of(cls, fields: Mapping[str, Mapping[str, Any]]) -> "RecordTypes":
        """Build the types from the fields of the roots `profile` and `xEvent`."""
        return cls(fields, FieldTypes(fields["profile"]), FieldTypes(fields["xEvent"]))


def _check_of(declared: Any, closed: bool) -> _Check | None:
    """Return the check of a declared type; None if it accepts everything."""
    if isinstance(declared, Mapping):
        return _object_check(declared, closed)
    if isinstance(declared, list | tuple):
        return _list_check(_check_of(declared[0], closed))
    kind, _, values = str(declared).partition(":")
    if kind == "any":
        return None
    known = frozenset(value.strip() for value in values.split("|")) if values and closed else None
    return _text_check(known) if kind == "text" else _scalar_check(kind)


def _object_check(fields: Mapping[str, Any], closed: bool) -> _Check:
    checks = {name: _check_of(declared, closed) for name, declared in fields.items() if name != "*"}
    is_open = "*" in fields or not closed
    other = _check_of(fields.get("*", "any"), closed)

    def check(value: Any, location: _Location, violations: list[Violation]) -> None:
        if value is None:
            return
        if not isinstance(value, dict):
            violations.append(type_violation("object", value, _path(location)))
            return
        for name, member in value.items():
            inner = checks.get(name, _UNDECLARED)
            if inner is _UNDECLARED:
                inner = checks.get(name.removeprefix("xdm:"), _UNDECLARED)
                if inner is _UNDECLARED and not is_open:
                    violations.append(_unknown_field(name, _path((location, name))))
                inner = other if inner is _UNDECLARED else inner
            if inner is not None and member is not None:
                inner(member, (location, name), violations)

    return check


def _list_check(item_check: _Check | None) -> _Check:
    def check(value: Any, location: _Location, violations: list[Violation]) -> None:
        if not isinstance(value, list):
            violations.append(type_violation("list", value, _path(location)))
        elif item_check is not None:
            for index, item in enumerate(value):
                if item is not None:
                    item_check(item, (location, index), violations)

    return check


def _text_check(known: frozenset[str] | None) -> _Check:
    def check(value: Any, location: _Location, violations: list[Violation]) -> None:
        if not isinstance(value, str):
            violations.append(type_violation("text", value, _path(location)))
        elif known is not None and value not in known:
            message = f"{_quote(value)} is not one of {', '.join(sorted(known))}"
            violations.append(Violation(code="enum", message=message, path=_path(location), help="send a known value"))

    return check


def _scalar_check(kind: str) -> _Check:
    def check(value: Any, location: _Location, violations: list[Violation]) -> None:
        reason = _problem(kind, value)
        if reason is not None:
            violations.append(type_violation(kind, value, _path(location), reason))

    return check


def _undeclared(value: Any, location: _Location, violations: list[Violation]) -> None:
    """Check of a field that is not declared."""


_UNDECLARED: _Check = _undeclared


def _problem(kind: str, value: Any) -> str | None:
    """Return why a value is not of a scalar kind, empty if that is plain; None if it is."""
    match kind:
        case "boolean":
            return None if isinstance(value, bool) else ""
        case "number" | "integer":
            if not isinstance(value, int | float) or isinstance(value, bool):
                return ""
            if isinstance(value, float):
                return None if isfinite(value) and (kind == "number" or value.is_integer()) else ""
            return None if -_MAX_INTEGER <= value < _MAX_INTEGER else "it does not fit into 64 bits"
    if not isinstance(value, str):
        return ""
    try:
        if kind == "date-time":
            parse_timestamp_us(value)
        elif _DATE.fullmatch(value) is None:
            return "it must have the form year-month-day"
        else:
            date.fromisoformat(value)
    except ValueError as error:
        return str(error) if kind == "date-time" else "there is no such day"
    return None


def _convert_object(fields: Mapping[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    return {name: _convert(fields.get(name, fields.get("*", "any")), member) for name, member in document.items()}


def _convert(declared: Any, value: Any) -> Any:
    if isinstance(declared, Mapping):
        return _convert_object(declared, value) if isinstance(value, dict) else value
    if isinstance(declared, list | tuple):
        return [_convert(declared[0], item) for item in value] if isinstance(value, list) else value
    if not isinstance(value, str):
        return value
    converted = convert_text(declared, value)
    return value if converted is None else converted


def _unknown_field(name: str, path: str) -> Violation:
    message = f"the schema has no field `{name[:100]}`"
    return Violation(code="unknown-field", message=message, path=path, help="leave it out, or declare it")


def _path(location: _Location) -> str:
    keys: list[str | int] = []
    while location is not None:
        location, key = location
        keys.append(key)
    return json_path(*reversed(keys))


def _quote(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return f"`{value[:100] if isinstance(value, str) else json.dumps(value)}`"


def _noun(kind: str) -> str:
    if kind in {"text", "json"}:
        return {"text": "text", "json": "JSON"}[kind]
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
