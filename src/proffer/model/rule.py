"""An eligibility rule: a named PQL text. It is compiled by the engine, never here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class EligibilityRule:
    """`condition` is PQL text, or the tree of its JSON form. `roots` are the names it declares beyond the profile."""

    id: str
    name: str
    etag: int
    instance_id: str
    condition: str | Mapping[str, Any]
    roots: frozenset[str] = frozenset()
