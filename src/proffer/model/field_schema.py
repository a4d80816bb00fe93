"""Field schemas: declared fields of profiles, events, offers or context of a sandbox."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSchema:
    """Field types of one root. `name`: `profile`, `xEvent`, `offer` or a context type.

    A type is one of `text integer number boolean date date-time any`, `text: a|b` for known values, a
    list of one type, `{"*": type}` for a map, or an object of fields.
    """

    id: str
    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
