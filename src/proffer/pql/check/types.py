"""Static types of values: scalars, arrays, maps, objects, or unknown.

Every type includes null. Comparisons and arithmetic use the declared types of fields (see `declared`); all other
types are used for diagnostics only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from proffer.pql.functions.registry import ValueKind


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
class ArrayType(Type):
    item: Type = field(default_factory=Type)

    def __str__(self) -> str:
        return "array"


@dataclass(frozen=True, slots=True)
class MapType(Type):
    item: Type = field(default_factory=Type)

    def __str__(self) -> str:
        return "map"


@dataclass(frozen=True, slots=True)
class ObservedType(Type):
    """An undeclared scalar field; `observed` is the type of its values in stored profiles.

    Its type is unknown to everything else: values of an undeclared field decide their own type (R44).
    """

    observed: Shape = Shape.ANY


@dataclass(frozen=True, slots=True)
class ObjectType(Type):
    """An object with known fields, which equality ignores: the tables are large.

    `other`: the type of all other fields; None if there are none. `complete`: no stored profile has another
    field there, not even one of a tenant.
    """

    fields: Mapping[str, Type] = field(default_factory=dict, compare=False)
    other: Type | None = field(default=None, compare=False)
    complete: bool = field(default=False, compare=False)

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

_TYPE_BY_KIND = {
    ValueKind.TEXT: TEXT,
    ValueKind.PRINTABLE: TEXT,
    ValueKind.NUMBER: NUMBER,
    ValueKind.DOUBLE: NUMBER,
    ValueKind.INTEGER: INTEGER,
    ValueKind.BOOLEAN: BOOLEAN,
    ValueKind.TIME: MOMENT,
    ValueKind.LOCAL: MOMENT,
    ValueKind.ARRAY: ArrayType(),
    ValueKind.MAP: MapType(),
    ValueKind.ENTRY: Type(Shape.ENTRY),
}

_TIMES = frozenset({Shape.DATE, Shape.MOMENT})
_NUMBERS = frozenset({Shape.INTEGER, Shape.NUMBER})
_ACCEPTS: dict[ValueKind, frozenset[Shape]] = {
    # Dates in a profile are texts, so text functions accept them.
    ValueKind.TEXT: frozenset({Shape.TEXT, *_TIMES}),
    ValueKind.PRINTABLE: frozenset({Shape.TEXT, Shape.BOOLEAN, *_NUMBERS, *_TIMES}),
    ValueKind.NUMBER: _NUMBERS,
    ValueKind.DOUBLE: _NUMBERS,
    ValueKind.INTEGER: _NUMBERS,
    ValueKind.BOOLEAN: frozenset({Shape.BOOLEAN}),
    ValueKind.TIME: frozenset({Shape.TEXT, *_TIMES}),
    ValueKind.LOCAL: frozenset({Shape.TEXT, *_TIMES}),
    ValueKind.ARRAY: frozenset(),
    ValueKind.MAP: frozenset(),
}


def type_of_kind(kind: ValueKind) -> Type:
    """Return the type of a function result."""
    return _TYPE_BY_KIND.get(kind, ANY)


def fits(kind: ValueKind, type_: Type) -> bool:
    """Return whether the type can be an argument of the kind; true if unknown."""
    if kind not in _ACCEPTS or is_unknown(type_):
        return True
    if isinstance(type_, ArrayType):
        return kind is ValueKind.ARRAY
    if isinstance(type_, (MapType, ObjectType)):
        return kind in (ValueKind.ARRAY, ValueKind.MAP)
    return type_.shape in _ACCEPTS[kind]


def is_unknown(type_: Type) -> bool:
    """Return whether the type is unknown or null, which is allowed everywhere."""
    return type(type_) in (Type, ObservedType) and type_.shape in (Shape.ANY, Shape.NULL)


def is_number(type_: Type) -> bool:
    return type_.shape in _NUMBERS


def is_time(type_: Type) -> bool:
    return type_.shape in _TIMES


def item_type(type_: Type) -> Type:
    """Return the item type where an array is expected; an object is an array of one."""
    if isinstance(type_, ArrayType):
        return type_.item
    return type_ if isinstance(type_, ObjectType) else ANY


def is_comparable(left: Type, right: Type) -> bool:
    """Return whether `=` can be true for these types; true if unknown (PQL D-COERCE)."""
    if is_unknown(left) or is_unknown(right):
        return True
    is_container = (
        isinstance(left, (ArrayType, MapType, ObjectType)),
        isinstance(right, (ArrayType, MapType, ObjectType)),
    )
    if any(is_container):
        return isinstance(left, ArrayType) == isinstance(right, ArrayType) and all(is_container)
    if left.shape is Shape.TEXT or right.shape is Shape.TEXT:
        return True
    if left.shape is Shape.BOOLEAN or right.shape is Shape.BOOLEAN:
        return left.shape is right.shape
    return is_number(left) == is_number(right)
