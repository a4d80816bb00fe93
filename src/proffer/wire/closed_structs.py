"""Struct types that refuse unknown members, derived from types that skip them."""

import functools
import operator
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Struct

StructType = TypeVar("StructType", bound=Struct)


@functools.cache
def closed_struct(type_: type[StructType]) -> type[StructType]:
    """Return a subtype that refuses unknown members, in nested structs too."""
    fields: list[tuple[str, Any, Any]] = []
    for info in msgspec.structs.fields(type_):
        options: dict[str, Any] = {"name": info.encode_name}
        if info.default is not NODEFAULT:
            options["default"] = info.default
        elif info.default_factory is not NODEFAULT:
            options["default_factory"] = info.default_factory
        fields.append((info.name, _closed_annotation(info.type), msgspec.field(**options)))
    closed: Callable[..., Any] = msgspec.defstruct
    subtype: type[StructType] = closed(type_.__name__, fields, bases=(type_,), forbid_unknown_fields=True)
    return subtype


def _closed_annotation(annotation: Any) -> Any:
    """Return the annotation with each struct type replaced by its closed subtype."""
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return closed_struct(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if not arguments:
        return annotation
    if origin is Annotated:
        return Annotated[(_closed_annotation(arguments[0]), *arguments[1:])]
    closed_arguments = tuple(map(_closed_annotation, arguments))
    if isinstance(origin, type) and origin is not type(int | str):
        return origin[closed_arguments]  # type: ignore[index]
    return functools.reduce(operator.or_, closed_arguments)
