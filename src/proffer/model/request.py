"""What is asked of a decision: scopes, duplicate policy, what to put into the answer. Who asks is in the profile."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import Struct, field


class ScopeRequest(Struct, frozen=True, array_like=True):
    """One decision for one placement, and how many offers (1 to 30)."""

    decision: str
    placement: str
    item_count: int = 1


class RequestedScope(NamedTuple):
    """A scope as it is requested: ids as they are kept; `item_count` None leaves it to the placement."""

    decision: str
    placement: str
    item_count: int | None = None


class DecisionRequest(Struct, frozen=True, kw_only=True, array_like=True):
    """One call. Scopes are answered in this order, and later ones lose where duplicates are not allowed (spec 4.5).

    `across_decisions` and `across_placements`: whether the same offer may be proposed twice across that
    dimension. `languages`: wanted ones, best first. `context`: what the request says about the moment,
    by the type it declares; `event` is all of it together, as the one event that a rule written for
    the edge reads as `xEvent` (spec 15 row 39).
    """

    scopes: tuple[ScopeRequest, ...]
    across_decisions: bool = False
    across_placements: bool = False
    languages: tuple[str, ...] = ()
    context: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    event: Mapping[str, Any] | None = None
