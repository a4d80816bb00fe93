"""Eligibility rules: named PQL conditions. The engine compiles them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OLDER_VALUE = "xdm:value"
"""The member with the tree of a rule in the form of 2018 to 2020, which has no condition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EligibilityRule:
    """An eligibility rule. `condition`: PQL text or tree. `roots`: declared roots beside the profile."""

    id: str
    name: str
    etag: int
    instance_id: str
    condition: str | Mapping[str, Any]
    roots: frozenset[str] = frozenset()
