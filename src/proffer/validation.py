"""Document schemas declared as data, and a validator that reports every violation.

A shape describes the allowed JSON values; `validate` compares a plain document with it and reports all
violations in document order, each with a JSON path and a hint how to fix it. Objects are open: a member
that the shape does not name is never an error.

Codes of violations: `required`, `twice`, `type`, `enum`, `range`, `format`, `kind`, `unique`, `nul`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import MappingProxyType
from typing import Any, TypeAlias

from proffer.errors import Violation

MAX_VIOLATIONS = 100
"""Validation stops after this many violations."""

MAX_MISSPELT = 20
_MAX_NAME_LENGTH = 200
_MIN_NEAR_LENGTH = 3
_MAX_NEAR_LENGTH = 60
_MAX_EXAMINED_NAMES = 100
_MIN_LENGTH_OF_TWO_EDITS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TextShape:
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
class IntegerShape:
    """An integer. `true` and `1.0` do not count as integers, although Python compares them equal to 1."""

    min: int | None = None
    max: int | None = None
    help: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberShape:
    min: float | None = None
    max: float | None = None
    help: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BooleanShape:
    help: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NullShape:
    help: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DateTimeShape:
    """An RFC 3339 date-time with a zone, as `parse_timestamp_us` accepts it."""

    help: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceShape:
    """The `@id` of another object, of one of `kinds`; of any kind if `kinds` is empty."""

    kinds: Sequence[str] = ()
    help: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyShape:
    """Any JSON value. Only NUL characters in it are violations."""


@dataclass(frozen=True, slots=True)
class ListShape:
    """A list. `unique` compares strings and numbers only, not nested lists or objects."""

    shape: "Shape"
    min: int = 0
    max: int | None = None
    unique: bool = False
    help: str | None = None


@dataclass(frozen=True, slots=True)
class MapShape:
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
class ObjectShape:
    """An object with these members and any others.

    Each entry of `at_least_one_of` is a group of member names of which one must be present.
    """

    members: Mapping[str, Member]
    at_least_one_of: Sequence[Sequence[str]] = ()
    help: str | None = None


@dataclass(frozen=True, slots=True)
class OneOfShape:
    """Any of several shapes. Reports the violations of the shape with the fewest."""

    shapes: Sequence["Shape"]
    help: str | None = None


Shape: TypeAlias = (
    TextShape
    | IntegerShape
    | NumberShape
    | BooleanShape
    | NullShape
    | DateTimeShape
    | ReferenceShape
    | AnyShape
    | ListShape
    | MapShape
    | ObjectShape
    | OneOfShape
)
_ScalarShape: TypeAlias = (
    TextShape | IntegerShape | NumberShape | BooleanShape | NullShape | DateTimeShape | ReferenceShape
)
_ANY_SHAPE = AnyShape()
_Location: TypeAlias = "tuple[_Location, str | int] | None"
_VisitStep: TypeAlias = Violation | tuple[Shape, Any, _Location]


def validate(shape: Shape, document: Any) -> list[Violation]:
    """Return the violations of the document in document order, at most `MAX_VIOLATIONS`.

    Missing members are reported after present ones. Nesting depth is not limited.
    """
    return list(islice(_iter_violations(shape, document, None), MAX_VIOLATIONS))


def misspelt_members(shape: Shape, document: Any, places: Mapping[str, str] = MappingProxyType({})) -> list[Violation]:
    """Return a warning for each unknown member whose name is within two edits of a known one.

    Prefixes do not count, so `endDate` is near `xdm:endDate`. `places`: where members belong that are known in
    other objects, by their names without prefix; these have a warning too. At most `MAX_MISSPELT` warnings.
    """
    return list(islice(_iter_misspelt(shape, document, places), MAX_MISSPELT))


def places_of(shape: Shape, name: str) -> dict[str, str]:
    """Return in which member each member of nested objects belongs, by its name without prefix.

    `name`: what the members of the object itself belong in.
    """
    places: dict[str, str] = {}
    visits: list[tuple[Shape, str]] = [(shape, name)]
    for each, place in visits:
        if isinstance(each, OneOfShape):
            visits += [(choice, place) for choice in each.shapes]
        elif isinstance(each, ListShape | MapShape):
            visits.append((each.shape, place))
        elif isinstance(each, ObjectShape):
            for member_name, member in each.members.items():
                places.setdefault(member_name.rpartition(":")[2], place)
                visits.append((member.shape, f"`{member_name}`"))
    return places


def _iter_misspelt(document_shape: Shape, document: Any, places: Mapping[str, str]) -> Iterator[Violation]:
    visits: list[tuple[Shape, Any, _Location]] = [(document_shape, document, None)]
    examined = 0
    while visits:
        shape, value, location = visits.pop()
        if isinstance(shape, OneOfShape):
            visits += [(choice, value, location) for choice in shape.shapes if _has_type(choice, value)][:1]
        elif isinstance(shape, ListShape) and isinstance(value, list):
            visits += [(shape.shape, element, (location, index)) for index, element in reversed(list(enumerate(value)))]
        elif isinstance(shape, MapShape) and isinstance(value, Mapping):
            visits += [(shape.shape, member, (location, name)) for name, member in value.items()]
        elif isinstance(shape, ObjectShape) and isinstance(value, Mapping):
            for name, member_value in value.items():
                member = shape.members.get(name) or _member_by_alias(shape, name)
                if member is not None:
                    if isinstance(member_value, Mapping | list):
                        visits.append((member.shape, member_value, (location, name)))
                elif examined < _MAX_EXAMINED_NAMES:
                    examined += 1
                    near, place = near_name(name, shape.members), places.get(name.rpartition(":")[2])
                    if near is not None or place is not None:
                        yield Violation(
                            code="misspelt-member",
                            message=f"`{name}` is not a known member {'' if near else 'here '}and has no effect",
                            path=_path_to((location, name)),
                            help=f"did you mean `{near}`?" if near else f"it belongs in {place}",
                        )


def _member_by_alias(shape: ObjectShape, name: str) -> Member | None:
    return next((member for member in shape.members.values() if name in member.aliases), None)


def near_name(name: str, known_names: Iterable[str]) -> str | None:
    """Return the nearest known name within two edits, one for short names. Prefixes do not count."""
    local_name = name.rpartition(":")[2]
    if not _MIN_NEAR_LENGTH <= len(local_name) <= _MAX_NEAR_LENGTH:
        return None
    max_edits = 1 if len(local_name) < _MIN_LENGTH_OF_TWO_EDITS else 2
    distances = {
        known: edit_distance(local_name, known_local_name, max_edits)
        for known in known_names
        if len(known_local_name := known.rpartition(":")[2]) >= _MIN_NEAR_LENGTH
    }
    near = min(distances, key=lambda known: distances[known], default=None)
    return near if near is not None and distances[near] <= max_edits else None


def edit_distance(first: str, second: str, most: int) -> int:
    """Return the number of edits between two words, or `most` + 1 if there are more.

    An edit inserts, deletes or replaces a character, or exchanges two neighbours (optimal string
    alignment).
    """
    if abs(len(first) - len(second)) > most:
        return most + 1
    before_previous: list[int] = []
    previous = list(range(len(second) + 1))
    for row, character in enumerate(first, 1):
        current = [row]
        for column, other in enumerate(second, 1):
            edits = min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (character != other))
            is_exchange = row > 1 and column > 1 and character == second[column - 2] and first[row - 2] == other
            current.append(min(edits, before_previous[column - 2] + 1) if is_exchange else edits)
        if min(current) > most:
            return most + 1
        before_previous, previous = previous, current
    return min(previous[-1], most + 1)


def json_path(*keys: str | int) -> str:
    """Return the JSON path of these keys: `json_path("xdm:ids", 0)` is `$.xdm:ids[0]`."""
    return "$" + "".join(map(_path_step, keys))


_PLAIN_NAME = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9_@:-]*")


def _path_step(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    if len(key) > _MAX_NAME_LENGTH:  # a hundred violations must not repeat a very long name
        key = key[:_MAX_NAME_LENGTH] + "…"
    return f".{key}" if _PLAIN_NAME.fullmatch(key) else f"[{json.dumps(key, ensure_ascii=False)}]"


def _path_to(location: _Location) -> str:
    keys: list[str | int] = []
    while location is not None:
        location, key = location
        keys.append(key)
    return json_path(*reversed(keys))


def _iter_violations(shape: Shape, value: Any, location: _Location) -> Iterator[Violation]:
    # An explicit stack of unfinished visits instead of recursion, so that depth costs only memory.
    visits = [_visit(shape, value, location)]
    while visits:
        for step in visits[-1]:
            if isinstance(step, Violation):
                yield step
            else:
                visits.append(_visit(*step))
                break
        else:
            visits.pop()


def _visit(shape: Shape, value: Any, location: _Location) -> Iterator[_VisitStep]:
    """Yield this value's own violations, and the nested values to visit."""
    if isinstance(value, str) and "\0" in value:
        yield _nul_violation(location)
        if isinstance(shape, TextShape | DateTimeShape | ReferenceShape):
            return  # other violations would only follow from this one
    match shape:
        case AnyShape():
            yield from _visit_contents(value, location)
        case OneOfShape():
            yield from _visit_one_of(shape, value, location)
        case ObjectShape() | MapShape() | ListShape() if not _has_type(shape, value):
            yield _type_violation(shape, value, location)
            yield from _visit_contents(value, location)
        case ObjectShape():
            yield from _visit_object(shape, value, location)
        case MapShape():
            yield from _check_size(shape, 0, value, location)
            yield from _visit_members(value, location, dict.fromkeys(value, shape.shape))
        case ListShape():
            yield from _visit_list(shape, value, location)
        case _:
            violation = _check_scalar(shape, value, location)
            if violation is not None:
                yield violation
            yield from _visit_contents(value, location)


def _visit_contents(value: Any, location: _Location) -> Iterator[_VisitStep]:
    """Yield nested values without a shape. They are still searched for NUL."""
    if isinstance(value, dict):
        yield from _visit_members(value, location, {})
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield _ANY_SHAPE, element, (location, index)


def _visit_members(value: Mapping[str, Any], location: _Location, shapes: Mapping[str, Shape]) -> Iterator[_VisitStep]:
    for name, member in value.items():
        member_location = (location, name)
        if "\0" in name:
            yield _nul_violation(member_location)
        yield shapes.get(name, _ANY_SHAPE), member, member_location


def _visit_object(shape: ObjectShape, value: Mapping[str, Any], location: _Location) -> Iterator[_VisitStep]:
    spellings = {
        spelling: member.shape for name, member in shape.members.items() for spelling in (name, *member.aliases)
    }
    yield from _visit_members(value, location, spellings)
    for name, member in shape.members.items():
        present_names = [spelling for spelling in (name, *member.aliases) if spelling in value]
        for spelling in present_names[1:]:
            yield Violation(
                code="twice",
                message=f"`{spelling}` is another spelling of `{present_names[0]}`, which is also given",
                path=_path_to((location, spelling)),
                help=f"Give one of them; `{name}` is the usual spelling.",
            )
        if member.required and not _has_member(shape, name, value):
            yield Violation(
                code="required",
                message=f"`{name}` is missing",
                path=_path_to((location, name)),
                help=shape.help or f"Add `{name}`: {_describe_shape(member.shape)}.",
            )
    for group in shape.at_least_one_of:
        if not any(_has_member(shape, name, value) for name in group):
            names = " or ".join(f"`{name}`" for name in group)
            yield Violation(
                code="required",
                message=f"{names} is missing",
                path=_path_to(location),
                help=shape.help or f"Add {names}.",
            )


def _has_member(shape: ObjectShape, name: str, value: Mapping[str, Any]) -> bool:
    member = shape.members.get(name)
    return name in value or (member is not None and any(alias in value for alias in member.aliases))


def _visit_list(shape: ListShape, value: list[Any], location: _Location) -> Iterator[_VisitStep]:
    yield from _check_size(shape, shape.min, value, location)
    seen: set[tuple[bool, Any]] = set()
    for index, element in enumerate(value):
        element_location = (location, index)
        yield shape.shape, element, element_location
        if shape.unique and isinstance(element, str | int | float):
            key = (isinstance(element, bool), element)
            if key in seen:
                yield Violation(
                    code="unique",
                    message=f"{_quote(element)} is listed twice",
                    path=_path_to(element_location),
                    help="List each value once.",
                )
            seen.add(key)


def _check_size(shape: ListShape | MapShape, minimum: int, value: Any, location: _Location) -> Iterator[Violation]:
    if len(value) < minimum:
        message = f"At least {_pluralize(minimum, 'entry', 'entries')} needed, found {len(value)}"
        remedy = f"Give at least {minimum}."
    elif shape.max is not None and len(value) > shape.max:
        message = f"At most {_pluralize(shape.max, 'entry', 'entries')} allowed, found {len(value)}"
        remedy = f"Give {shape.max} or fewer."
    else:
        return
    yield Violation(code="range", message=message, path=_path_to(location), help=shape.help or remedy)


def _visit_one_of(shape: OneOfShape, value: Any, location: _Location) -> Iterator[_VisitStep]:
    matching_shapes = [choice for choice in shape.shapes if _has_type(choice, value)]
    if not matching_shapes:
        yield _type_violation(shape, value, location)
        yield from _visit_contents(value, location)
        return
    attempts = (list(islice(_iter_violations(choice, value, location), MAX_VIOLATIONS)) for choice in matching_shapes)
    yield from min(attempts, key=len)


# Scalars.


def _check_scalar(shape: _ScalarShape, value: Any, location: _Location) -> Violation | None:
    if not _has_type(shape, value):
        return _type_violation(shape, value, location)
    match shape:
        case TextShape():
            problem = _text_problem(shape, value)
        case IntegerShape() | NumberShape():
            problem = _number_problem(shape, value)
        case DateTimeShape():
            problem = _timestamp_problem(value)
        case ReferenceShape():
            problem = _reference_problem(shape, value)
        case _:
            problem = None
    if problem is None:
        return None
    code, message, remedy = problem
    return Violation(code=code, message=message, path=_path_to(location), help=shape.help or remedy)


_ScalarProblem: TypeAlias = tuple[str, str, str] | None  # code, message, hint how to fix it


def _text_problem(shape: TextShape, value: str) -> _ScalarProblem:
    if shape.one_of and value not in shape.one_of:
        choices = ", ".join(f"`{choice}`" for choice in shape.one_of)
        return "enum", f"{_quote(value)} is not one of the values allowed here", f"Use {choices}."
    if len(value) < shape.min:
        if not value:
            return "range", "The text is empty", "Write something, or leave the member out."
        minimum = _pluralize(shape.min, "character", "characters")
        return "range", f"The text has fewer than {minimum}", f"Write at least {minimum}."
    if shape.max is not None and len(value) > shape.max:
        maximum = _pluralize(shape.max, "character", "characters")
        return (
            "range",
            f"The text has {len(value)} characters, more than {shape.max}",
            f"Use at most {maximum}.",
        )
    if shape.max_bytes is not None:
        size = len(value.encode("utf-8", "surrogatepass"))
        if size > shape.max_bytes:
            message = f"The text has {size:,} bytes, more than {shape.max_bytes:,}"
            return "range", message, f"Shorten it to {shape.max_bytes:,} bytes of UTF-8."
    if shape.pattern is not None and re.fullmatch(shape.pattern, value) is None:
        return (
            "format",
            f"{_quote(value)} does not have the expected format",
            f"It must match `{shape.pattern}`.",
        )
    return None


def _number_problem(shape: IntegerShape | NumberShape, value: float) -> _ScalarProblem:
    if shape.min is not None and value < shape.min:
        return "range", f"{_quote(value)} is less than {shape.min}", f"Use {shape.min} or more."
    if shape.max is not None and value > shape.max:
        return "range", f"{_quote(value)} is more than {shape.max}", f"Use {shape.max} or less."
    return None


def _timestamp_problem(value: str) -> _ScalarProblem:
    try:
        parse_timestamp_us(value)
    except ValueError as error:
        return "format", f"{_quote(value)} is not a date and time: {error}", _TIMESTAMP_HELP
    return None


_REFERENCE = re.compile(r"(?:xcore|dps):([a-z][a-z-]*):[0-9a-f]{1,16}")


def _reference_problem(shape: ReferenceShape, value: str) -> _ScalarProblem:
    kinds = " or ".join(f"`{kind}`" for kind in shape.kinds)
    match = _REFERENCE.fullmatch(value)
    if match is None:
        example = f"xcore:{shape.kinds[0] if shape.kinds else 'tag'}:124e0be5699743d3"
        return "format", f"{_quote(value)} is not an `@id`", f"Give an `@id` such as `{example}`."
    if shape.kinds and match[1] not in shape.kinds:
        message = f"{_quote(value)} is the `@id` of a `{match[1]}`, not of a {kinds}"
        return "kind", message, f"Give the `@id` of a {kinds}."
    return None


def _nul_violation(location: _Location) -> Violation:
    return Violation(
        code="nul",
        message="The text contains the character U+0000",
        path=_path_to(location),
        help="Remove it; it is usually left over from a fixed-width export.",
    )


# Type checks and their labels.


def _has_type(shape: Shape, value: Any) -> bool:
    match shape:
        case TextShape() | DateTimeShape() | ReferenceShape():
            return isinstance(value, str)
        case IntegerShape():
            return isinstance(value, int) and not isinstance(value, bool)
        case NumberShape():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case BooleanShape():
            return isinstance(value, bool)
        case NullShape():
            return value is None
        case ListShape():
            return isinstance(value, list)
        case MapShape() | ObjectShape():
            return isinstance(value, dict)
        case AnyShape():
            return True
        case OneOfShape():
            return any(_has_type(choice, value) for choice in shape.shapes)


def _type_violation(shape: Shape, value: Any, location: _Location) -> Violation:
    remedy = None if isinstance(shape, AnyShape) else shape.help
    if isinstance(shape, IntegerShape) and isinstance(value, float) and value.is_integer():
        remedy = remedy or "Write it without a decimal point or exponent."
    return Violation(
        code="type",
        message=f"Expected {_describe_shape(shape)}, found {_describe_value(value)}",
        path=_path_to(location),
        help=remedy or f"Give {_describe_shape(shape)}.",
    )


_SHAPE_LABELS: Mapping[type, str] = {
    TextShape: "text",
    IntegerShape: "a whole number",
    NumberShape: "a number",
    BooleanShape: "true or false",
    NullShape: "null",
    DateTimeShape: "a date and time",
    ReferenceShape: "an `@id`",
    AnyShape: "a value",
    ListShape: "a list",
    MapShape: "an object",
    ObjectShape: "an object",
}


def _describe_shape(shape: Shape) -> str:
    if isinstance(shape, OneOfShape):
        return " or ".join(dict.fromkeys(map(_describe_shape, shape.shapes)))
    return _SHAPE_LABELS[type(shape)]


def _describe_value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"the {'text' if isinstance(value, str) else 'number'} {_quote(value)}"


def _quote(value: Any) -> str:
    if isinstance(value, str) and len(value) > 60:
        value = value[:60] + "…"
    return f"`{value}`" if isinstance(value, str) else json.dumps(value)


def _pluralize(number: int, singular: str, plural: str) -> str:
    return f"{number} {singular if number == 1 else plural}"


# Timestamps.

_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))?"
)
_TIMESTAMP_HELP = "Write it as in `2025-03-01T08:30:00Z` or `2025-03-01T08:30:00+01:00`."
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def parse_timestamp_us(text: str) -> int:
    """Return an RFC 3339 date-time as microseconds since 1970, UTC.

    The zone is required. Fractions beyond microseconds are truncated. A leap second counts as the first
    second of the next minute. Raises ValueError with the reason as text.
    """
    match = _TIMESTAMP.fullmatch(text)
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
