"""Fields that stored profiles have, as a type; and declared types extended by them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proffer.pql.check.types import ANY, ArrayType, MapType, ObjectType, ObservedType, Shape, Type, is_unknown

_MAX_DEPTH = 20
_MAX_ITEMS = 100
_MAX_NAMES = 500
"""An object with more names than this, over all profiles, is a map."""
_SHAPES = {str: Shape.TEXT, bool: Shape.BOOLEAN, int: Shape.NUMBER, float: Shape.NUMBER}


@dataclass(slots=True)
class Observation:
    """The values at one path: their scalar types, the fields of objects, and the items of arrays."""

    shapes: set[Shape] = field(default_factory=set)
    fields: dict[str, "Observation"] | None = None
    items: "Observation | None" = None

    def add_all(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Add profiles."""
        for document in documents:
            self.add(document)

    def add(self, value: Any, depth: int = 0) -> None:
        if depth == _MAX_DEPTH:
            self.shapes.add(Shape.ANY)
        elif isinstance(value, Mapping):
            self.fields = {} if self.fields is None else self.fields
            for name, inner in value.items():
                if len(self.fields) <= _MAX_NAMES:
                    self.fields.setdefault(name.removeprefix("xdm:"), Observation()).add(inner, depth + 1)
        elif isinstance(value, list):
            self.items = self.items or Observation()
            for inner in value[:_MAX_ITEMS]:
                self.items.add(inner, depth + 1)
        elif value is not None:
            self.shapes.add(_SHAPES.get(type(value), Shape.ANY))

    @property
    def type(self) -> Type:
        """The type of all values; unknown if they are of different kinds."""
        kinds = bool(self.shapes) + (self.fields is not None) + (self.items is not None)
        if kinds != 1:
            return ANY
        if self.items is not None:
            return ArrayType(item=self.items.type)
        if self.fields is None:
            return ObservedType(observed=self.shapes.copy().pop()) if len(self.shapes) == 1 else ANY
        if len(self.fields) > _MAX_NAMES:
            return MapType()
        return ObjectType(fields={name: inner.type for name, inner in self.fields.items()}, complete=True)


def with_observed(declared: Type, observed: Type) -> Type:
    """Return a declared type with the fields that only profiles have. Declared types win."""
    if is_unknown(declared):
        return observed
    if isinstance(declared, ArrayType) and isinstance(observed, ArrayType):
        return ArrayType(item=with_observed(declared.item, observed.item))
    if not isinstance(declared, ObjectType) or not isinstance(observed, ObjectType):
        return declared
    fields = {
        name: with_observed(type_, observed.fields.get(name, _absent(type_))) for name, type_ in declared.fields.items()
    }
    return ObjectType(fields={**observed.fields, **fields}, other=declared.other, complete=observed.complete)


def _absent(declared: Type) -> Type:
    """Return the observed type of a declared field that no profile has."""
    if isinstance(declared, ObjectType):
        return ObjectType(fields={}, complete=True)
    return ArrayType(item=_absent(declared.item)) if isinstance(declared, ArrayType) else declared
