"""The fields a sandbox declares for a root of its rules: what its profiles, events or context really hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSchema:
    """`name` is the root: `profile`, `xEvent`, `offer` or the type of a context; `fields` says the type of each.

    A type is one of `text integer number boolean date date-time any`, `text: a|b` for known values, a
    list of one type, `{"*": type}` for a map, or an object of fields.
    """

    id: str
    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
