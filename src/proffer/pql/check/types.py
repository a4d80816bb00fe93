"""Static types of values: scalars, arrays, maps, objects, or unknown.

Every type includes null. Types are used for diagnostics only and never change the meaning of a rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from proffer.pql.functions.registry import Kind


class Shape(StrEnum):
    """Scalar types, `null` and the unknown type."""

    ANY = "any value"
    NULL = "null"
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "Boolean"
    DATE = "date"
    MOMENT = "date-time"
    ENTRY = "map entry"


@dataclass(frozen=True, slots=True)
class Type:
    """A scalar type; base of the other types. `values`: the possible texts, if known."""

    shape: Shape = Shape.ANY
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "number" if self.shape is Shape.INTEGER else self.shape.value


@dataclass(frozen=True, slots=True)
class Array(Type):
    item: Type = field(default_factory=Type)

    def __str__(self) -> str:
        return "array"


@dataclass(frozen=True, slots=True)
class MapOf(Type):
    item: Type = field(default_factory=Type)

    def __str__(self) -> str:
        return "map"


@dataclass(frozen=True, slots=True)
class Structure(Type):
    """An object with known fields. `fields` is ignored by equality: the tables are large."""

    fields: Mapping[str, Type] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return "object"


ANY = Type()
NULL = Type(Shape.NULL)
TEXT = Type(Shape.TEXT)
INTEGER = Type(Shape.INTEGER)
NUMBER = Type(Shape.NUMBER)
BOOLEAN = Type(Shape.BOOLEAN)
DATE = Type(Shape.DATE)
MOMENT = Type(Shape.MOMENT)

_OF_KIND = {
    Kind.TEXT: TEXT,
    Kind.PRINTABLE: TEXT,
    Kind.NUMBER: NUMBER,
    Kind.DOUBLE: NUMBER,
    Kind.INTEGER: INTEGER,
    Kind.BOOLEAN: BOOLEAN,
    Kind.TIME: MOMENT,
    Kind.LOCAL: MOMENT,
    Kind.ARRAY: Array(),
    Kind.MAP: MapOf(),
    Kind.ENTRY: Type(Shape.ENTRY),
}

_TIMES = frozenset({Shape.DATE, Shape.MOMENT})
_NUMBERS = frozenset({Shape.INTEGER, Shape.NUMBER})
_ACCEPTS: dict[Kind, frozenset[Shape]] = {
    # Dates in a profile are texts, so text functions accept them.
    Kind.TEXT: frozenset({Shape.TEXT, *_TIMES}),
    Kind.PRINTABLE: frozenset({Shape.TEXT, Shape.BOOLEAN, *_NUMBERS, *_TIMES}),
    Kind.NUMBER: _NUMBERS,
    Kind.DOUBLE: _NUMBERS,
    Kind.INTEGER: _NUMBERS,
    Kind.BOOLEAN: frozenset({Shape.BOOLEAN}),
    Kind.TIME: frozenset({Shape.TEXT, *_TIMES}),
    Kind.LOCAL: frozenset({Shape.TEXT, *_TIMES}),
    Kind.ARRAY: frozenset(),
    Kind.MAP: frozenset(),
}


def type_of_kind(kind: Kind) -> Type:
    """Return the type of a function result."""
    return _OF_KIND.get(kind, ANY)


def fits(kind: Kind, given: Type) -> bool:
    """Return whether the type can be an argument of the kind; true if unknown."""
    if kind not in _ACCEPTS or is_unknown(given):
        return True
    if isinstance(given, Array):
        return kind is Kind.ARRAY
    if isinstance(given, (MapOf, Structure)):
        return kind in (Kind.ARRAY, Kind.MAP)
    return given.shape in _ACCEPTS[kind]


def is_unknown(given: Type) -> bool:
    """Return whether the type is unknown or null, which is allowed everywhere."""
    return type(given) is Type and given.shape in (Shape.ANY, Shape.NULL)


def is_number(given: Type) -> bool:
    return given.shape in _NUMBERS


def is_time(given: Type) -> bool:
    return given.shape in _TIMES


def item_of(given: Type) -> Type:
    """Return the item type where an array is expected; an object is an array of one."""
    if isinstance(given, Array):
        return given.item
    return given if isinstance(given, Structure) else ANY


def comparable(left: Type, right: Type) -> bool:
    """Return whether `=` can be true for these types; true if unknown (PQL D-COERCE)."""
    if is_unknown(left) or is_unknown(right):
        return True
    whole = (
        isinstance(left, (Array, MapOf, Structure)),
        isinstance(right, (Array, MapOf, Structure)),
    )
    if any(whole):
        return isinstance(left, Array) == isinstance(right, Array) and all(whole)
    if left.shape is Shape.TEXT or right.shape is Shape.TEXT:
        return True
    if left.shape is Shape.BOOLEAN or right.shape is Shape.BOOLEAN:
        return left.shape is right.shape
    return is_number(left) == is_number(right)
