"""Comparison of engine results by value. Model objects themselves are compared by identity."""

import dataclasses
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from msgspec import Struct, structs, to_builtins

from proffer.api.kit.fragments import candidate_document
from proffer.model.trace import Verdict


def values_of(item: Any) -> Any:
    """Return objects as dictionaries of their fields, at every depth."""
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        names = [field.name for field in dataclasses.fields(item)]
        return {"": type(item), **{name: values_of(getattr(item, name)) for name in names}}
    if isinstance(item, Verdict):  # the engine finds its parts when they are read
        return to_builtins(candidate_document(item))
    if isinstance(item, Struct):
        return {"": type(item), **{name: values_of(value) for name, value in structs.asdict(item).items()}}
    if isinstance(item, Mapping):
        return {key: values_of(value) for key, value in item.items()}
    if isinstance(item, list | tuple):
        return [values_of(value) for value in item]
    if isinstance(item, AbstractSet):
        return set(item)
    return item
