"""Document schemas declared as data, and a validator that reports every violation.

A shape describes the allowed JSON values; `validate` compares a plain document with it and reports all
violations in document order, each with a JSON path and a hint how to fix it. Objects are open: a member
that the shape does not name is never an error.

Codes of violations: `required`, `twice`, `type`, `enum`, `range`, `format`, `kind`, `unique`, `nul`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeAlias

from proffer.errors import Finding

MOST_FINDINGS = 100
"""Validation stops after this many violations."""

_LONGEST_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A string. `min` and `max` count characters; `pattern` must match the whole text.

    `help` replaces the default hint how to fix a value, here and in the other shapes.
    """

    min: int = 0
    max: int | None = None
    max_bytes: int | None = None
    pattern: str | None = None
    one_of: Sequence[str] = ()
    help: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Integer:
    """An integer. `true` and `1.0` do not count as integers, although Python compares them equal to 1."""

    min: int | None = None
    max: int | None = None
    help: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    min: float | None = None
    max: float | None = None
    help: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Boolean:
    help: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Null:
    help: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DateTime:
    """An RFC 3339 date-time with a zone, as `parse_timestamp_us` accepts it."""

    help: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The `@id` of another object, of one of `kinds`; of any kind if `kinds` is empty."""

    kinds: Sequence[str] = ()
    help: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Anything:
    """Any JSON value. Only NUL characters in it are violations."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list. `unique` compares strings and numbers only, not nested lists or objects."""

    shape: "Shape"
    min: int = 0
    max: int | None = None
    unique: bool = False
    help: str | None = None


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with arbitrary member names whose values all have one shape."""

    shape: "Shape"
    max: int | None = None
    help: str | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object. `aliases` are further accepted names."""

    shape: "Shape"
    required: bool = False
    aliases: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Object:
    """An object with these members and any others.

    Each entry of `at_least_one_of` is a group of member names of which one must be present.
    """

    members: Mapping[str, Member]
    at_least_one_of: Sequence[Sequence[str]] = ()
    help: str | None = None


@dataclass(frozen=True, slots=True)
class OneOf:
    """Any of several shapes. Reports the violations of the shape with the fewest."""

    shapes: Sequence["Shape"]
    help: str | None = None


Shape: TypeAlias = (
    Text
    | Integer
    | Number
    | Boolean
    | Null
    | DateTime
    | Reference
    | Anything
    | ListOf
    | MapOf
    | Object
    | OneOf
)
_Leaf: TypeAlias = Text | Integer | Number | Boolean | Null | DateTime | Reference
_ANYTHING = Anything()
_Place: TypeAlias = "tuple[_Place, str | int] | None"
_Step: TypeAlias = Finding | tuple[Shape, Any, _Place]


def walk(shape: Shape, document: Any) -> list[Finding]:
    """Return the violations of the document in document order, at most `MAX_VIOLATIONS`.

    Missing members are reported after present ones. Nesting depth is not limited.
    """
    return list(islice(_findings(shape, document, None), MOST_FINDINGS))


def path(*keys: str | int) -> str:
    """Return the JSON path of these keys: `json_path("xdm:ids", 0)` is `$.xdm:ids[0]`."""
    return "$" + "".join(map(_step, keys))


_PLAIN_NAME = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9_@:-]*")


def _step(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    if len(key) > _LONGEST_SHOWN:  # a hundred violations must not repeat a very long name
        key = key[:_LONGEST_SHOWN] + "…"
    return f".{key}" if _PLAIN_NAME.fullmatch(key) else f"[{json.dumps(key, ensure_ascii=False)}]"


def _path_to(place: _Place) -> str:
    keys: list[str | int] = []
    while place is not None:
        place, key = place
        keys.append(key)
    return path(*reversed(keys))


def _findings(shape: Shape, value: Any, place: _Place) -> Iterator[Finding]:
    # An explicit stack of unfinished visits instead of recursion, so that depth costs only memory.
    visits = [_visit(shape, value, place)]
    while visits:
        for step in visits[-1]:
            if isinstance(step, Finding):
                yield step
            else:
                visits.append(_visit(*step))
                break
        else:
            visits.pop()


def _visit(shape: Shape, value: Any, place: _Place) -> Iterator[_Step]:
    """Yield the violations of this value itself, and the nested values to visit."""
    if isinstance(value, str) and "\0" in value:
        yield _nul(place)
        if isinstance(shape, Text | DateTime | Reference):
            return  # other violations would only follow from this one
    match shape:
        case Anything():
            yield from _contents(value, place)
        case OneOf():
            yield from _visit_one_of(shape, value, place)
        case Object() | MapOf() | ListOf() if not _has_type(shape, value):
            yield _wrong_type(shape, value, place)
            yield from _contents(value, place)
        case Object():
            yield from _visit_object(shape, value, place)
        case MapOf():
            yield from _size(shape, 0, value, place)
            yield from _members(value, place, dict.fromkeys(value, shape.shape))
        case ListOf():
            yield from _visit_list(shape, value, place)
        case _:
            finding = _check(shape, value, place)
            if finding is not None:
                yield finding
            yield from _contents(value, place)


def _contents(value: Any, place: _Place) -> Iterator[_Step]:
    """Yield nested values without a shape, so that they are still searched for NUL."""
    if isinstance(value, dict):
        yield from _members(value, place, {})
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield _ANYTHING, element, (place, index)


def _members(
    value: Mapping[str, Any], place: _Place, shapes: Mapping[str, Shape]
) -> Iterator[_Step]:
    for name, member in value.items():
        here = (place, name)
        if "\0" in name:
            yield _nul(here)
        yield shapes.get(name, _ANYTHING), member, here


def _visit_object(shape: Object, value: Mapping[str, Any], place: _Place) -> Iterator[_Step]:
    spellings = {
        spelling: member.shape
        for name, member in shape.members.items()
        for spelling in (name, *member.aliases)
    }
    yield from _members(value, place, spellings)
    for name, member in shape.members.items():
        given = [spelling for spelling in (name, *member.aliases) if spelling in value]
        for spelling in given[1:]:
            yield Finding(
                code="twice",
                message=f"`{spelling}` is another spelling of `{given[0]}`, which is given too",
                path=_path_to((place, spelling)),
                help=f"Give one of them; `{name}` is the usual spelling.",
            )
        if member.required and not _given(shape, name, value):
            yield Finding(
                code="required",
                message=f"`{name}` is missing",
                path=_path_to((place, name)),
                help=shape.help or f"Add `{name}`: {_expected(member.shape)}.",
            )
    for group in shape.at_least_one_of:
        if not any(_given(shape, name, value) for name in group):
            names = " or ".join(f"`{name}`" for name in group)
            yield Finding(
                code="required",
                message=f"{names} is missing",
                path=_path_to(place),
                help=shape.help or f"Add {names}.",
            )


def _given(shape: Object, name: str, value: Mapping[str, Any]) -> bool:
    member = shape.members.get(name)
    return name in value or (member is not None and any(alias in value for alias in member.aliases))


def _visit_list(shape: ListOf, value: list[Any], place: _Place) -> Iterator[_Step]:
    yield from _size(shape, shape.min, value, place)
    seen: set[tuple[bool, Any]] = set()
    for index, element in enumerate(value):
        here = (place, index)
        yield shape.shape, element, here
        if shape.unique and isinstance(element, str | int | float):
            key = (isinstance(element, bool), element)
            if key in seen:
                yield Finding(
                    code="unique",
                    message=f"{_show(element)} is listed twice",
                    path=_path_to(here),
                    help="List each value once.",
                )
            seen.add(key)


def _size(shape: ListOf | MapOf, least: int, value: Any, place: _Place) -> Iterator[Finding]:
    if len(value) < least:
        message = f"At least {_count(least, 'entry', 'entries')} needed, found {len(value)}"
        mend = f"Give at least {least}."
    elif shape.max is not None and len(value) > shape.max:
        message = f"At most {_count(shape.max, 'entry', 'entries')} allowed, found {len(value)}"
        mend = f"Give {shape.max} or fewer."
    else:
        return
    yield Finding(code="range", message=message, path=_path_to(place), help=shape.help or mend)


def _visit_one_of(shape: OneOf, value: Any, place: _Place) -> Iterator[_Step]:
    fitting = [choice for choice in shape.shapes if _has_type(choice, value)]
    if not fitting:
        yield _wrong_type(shape, value, place)
        yield from _contents(value, place)
        return
    tries = (list(islice(_findings(choice, value, place), MOST_FINDINGS)) for choice in fitting)
    yield from min(tries, key=len)


# Scalars.


def _check(shape: _Leaf, value: Any, place: _Place) -> Finding | None:
    if not _has_type(shape, value):
        return _wrong_type(shape, value, place)
    match shape:
        case Text():
            fault = _text_fault(shape, value)
        case Integer() | Number():
            fault = _number_fault(shape, value)
        case DateTime():
            fault = _moment_fault(value)
        case Reference():
            fault = _reference_fault(shape, value)
        case _:
            fault = None
    if fault is None:
        return None
    code, message, mend = fault
    return Finding(code=code, message=message, path=_path_to(place), help=shape.help or mend)


_Fault: TypeAlias = tuple[str, str, str] | None  # code, message, hint how to fix it


def _text_fault(shape: Text, value: str) -> _Fault:
    if shape.one_of and value not in shape.one_of:
        choices = ", ".join(f"`{choice}`" for choice in shape.one_of)
        return "enum", f"{_show(value)} is not one of the values allowed here", f"Use {choices}."
    if len(value) < shape.min:
        if not value:
            return "range", "The text is empty", "Write something, or leave the member out."
        least = _count(shape.min, "character", "characters")
        return "range", f"The text has fewer than {least}", f"Write at least {least}."
    if shape.max is not None and len(value) > shape.max:
        most = _count(shape.max, "character", "characters")
        return (
            "range",
            f"The text has {len(value)} characters, more than {shape.max}",
            f"Use at most {most}.",
        )
    if shape.max_bytes is not None:
        size = len(value.encode("utf-8", "surrogatepass"))
        if size > shape.max_bytes:
            message = f"The text has {size:,} bytes, more than {shape.max_bytes:,}"
            return "range", message, f"Shorten it to {shape.max_bytes:,} bytes of UTF-8."
    if shape.pattern is not None and re.fullmatch(shape.pattern, value) is None:
        return (
            "format",
            f"{_show(value)} is not written as expected",
            f"It must match `{shape.pattern}`.",
        )
    return None


def _number_fault(shape: Integer | Number, value: float) -> _Fault:
    if shape.min is not None and value < shape.min:
        return "range", f"{_show(value)} is less than {shape.min}", f"Use {shape.min} or more."
    if shape.max is not None and value > shape.max:
        return "range", f"{_show(value)} is more than {shape.max}", f"Use {shape.max} or less."
    return None


def _moment_fault(value: str) -> _Fault:
    try:
        parse_moment(value)
    except ValueError as error:
        return "format", f"{_show(value)} is not a date and time: {error}", _MOMENT_HELP
    return None


_REFERENCE = re.compile(r"(?:xcore|dps):([a-z][a-z-]*):[0-9a-f]{1,16}")


def _reference_fault(shape: Reference, value: str) -> _Fault:
    kinds = " or ".join(f"`{kind}`" for kind in shape.kinds)
    match = _REFERENCE.fullmatch(value)
    if match is None:
        example = f"xcore:{shape.kinds[0] if shape.kinds else 'tag'}:124e0be5699743d3"
        return "format", f"{_show(value)} is not an `@id`", f"Give an `@id` such as `{example}`."
    if shape.kinds and match[1] not in shape.kinds:
        message = f"{_show(value)} is the `@id` of a `{match[1]}`, not of a {kinds}"
        return "kind", message, f"Give the `@id` of a {kinds}."
    return None


def _nul(place: _Place) -> Finding:
    return Finding(
        code="nul",
        message="The text contains the character U+0000",
        path=_path_to(place),
        help="Remove it; it is usually left over from a fixed-width export.",
    )


# Type checks and their labels.


def _has_type(shape: Shape, value: Any) -> bool:
    match shape:
        case Text() | DateTime() | Reference():
            return isinstance(value, str)
        case Integer():
            return isinstance(value, int) and not isinstance(value, bool)
        case Number():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case Boolean():
            return isinstance(value, bool)
        case Null():
            return value is None
        case ListOf():
            return isinstance(value, list)
        case MapOf() | Object():
            return isinstance(value, dict)
        case Anything():
            return True
        case OneOf():
            return any(_has_type(choice, value) for choice in shape.shapes)


def _wrong_type(shape: Shape, value: Any, place: _Place) -> Finding:
    mend = None if isinstance(shape, Anything) else shape.help
    if isinstance(shape, Integer) and isinstance(value, float) and value.is_integer():
        mend = mend or "Write it without a decimal point or exponent."
    return Finding(
        code="type",
        message=f"Expected {_expected(shape)}, found {_found(value)}",
        path=_path_to(place),
        help=mend or f"Give {_expected(shape)}.",
    )


_EXPECTED: Mapping[type, str] = {
    Text: "text",
    Integer: "a whole number",
    Number: "a number",
    Boolean: "true or false",
    Null: "null",
    DateTime: "a date and time",
    Reference: "an `@id`",
    Anything: "a value",
    ListOf: "a list",
    MapOf: "an object",
    Object: "an object",
}


def _expected(shape: Shape) -> str:
    if isinstance(shape, OneOf):
        return " or ".join(dict.fromkeys(map(_expected, shape.shapes)))
    return _EXPECTED[type(shape)]


def _found(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"the {'text' if isinstance(value, str) else 'number'} {_show(value)}"


def _show(value: Any) -> str:
    if isinstance(value, str) and len(value) > 60:
        value = value[:60] + "…"
    return f"`{value}`" if isinstance(value, str) else json.dumps(value)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


# Timestamps.

_MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))?"
)
_MOMENT_HELP = "Write it as in `2025-03-01T08:30:00Z` or `2025-03-01T08:30:00+01:00`."
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def parse_moment(text: str) -> int:
    """Return an RFC 3339 date-time as microseconds since 1970, UTC.

    The zone is required. Fractions beyond microseconds are truncated. A leap second counts as the first
    second of the next minute. Raises ValueError with the reason as text.
    """
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError("it must have the form year-month-dayThour:minute:second and a zone")
    fraction, sign = match[7], match[8]
    if sign is None and text[-1] not in "Zz":
        raise ValueError("it has no time zone")
    year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
    zone = timedelta()
    if sign is not None:
        if int(match[9]) > 23 or int(match[10]) > 59:
            raise ValueError(f"there is no zone {sign}{match[9]}:{match[10]}")
        zone = timedelta(hours=int(match[9]), minutes=int(match[10]))
    extra = timedelta(
        seconds=1 if second == 60 else 0,
        microseconds=int((fraction or "0")[:6].ljust(6, "0")),
    )
    try:
        moment = datetime(year, month, day, hour, minute, second - extra.seconds, tzinfo=UTC)
        moment += extra + (zone if sign == "-" else -zone)
    except ValueError as error:
        raise ValueError(str(error)) from None
    except OverflowError:
        raise ValueError("in UTC it is outside the years 1 to 9999") from None
    return (moment - _EPOCH) // _MICROSECOND
