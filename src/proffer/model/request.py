"""Decision requests: scopes, duplicate policy and context. The customer is in the profile."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import Struct, field


class ScopeRequest(Struct, frozen=True, array_like=True):
    """One decision for one placement, and the offer count (1 to 30)."""

    decision: str
    placement: str
    item_count: int = 1


class RequestedScope(NamedTuple):
    """A requested scope with canonical ids. `item_count` None: the placement decides."""

    decision: str
    placement: str
    item_count: int | None = None


class DecisionRequest(Struct, frozen=True, kw_only=True, array_like=True):
    """One request. Scopes are decided in order; without duplicates, earlier ones win (spec 4.5).

    `across_decisions` and `across_placements`: whether an offer may be proposed twice across that
    dimension. `languages`: preferred ones, best first. `context`: context data by declared type; `event`
    is all context data combined, as the event that edge rules read as `xEvent` (spec 15 row 39).
    """

    scopes: tuple[ScopeRequest, ...]
    across_decisions: bool = False
    across_placements: bool = False
    languages: tuple[str, ...] = ()
    context: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    event: Mapping[str, Any] | None = None
