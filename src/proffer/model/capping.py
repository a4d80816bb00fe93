"""How often an offer may be proposed: limits as marketers set them, and what has been used (spec 9)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class CapScope(StrEnum):
    """Whether a limit counts everybody together or each profile for itself."""

    GLOBAL = "global"
    PROFILE = "profile"


class CapEntity(StrEnum):
    """Whether a limit sums all placements or counts each placement for itself."""

    OFFER = "offer"
    PLACEMENT = "placement"


@dataclass(frozen=True, slots=True, kw_only=True)
class CapLimit:
    """At most `limit` events. `name` tells the limits of one offer apart (`globalCap`, `profileCap`, `1`…)."""

    name: str
    limit: int
    scope: CapScope
    entity: CapEntity = CapEntity.OFFER
    placement: str | None = None
    events: frozenset[str] = field(default=frozenset({"decisioning"}))

    def counts_in(self, placement: str) -> bool:
        """True when what happens in this placement moves this limit's counter."""
        return self.placement is None or self.placement == placement

    def counter(self, offer: str, placement: str) -> "CapKey":
        """The counter that this limit reads for an offer in a placement."""
        return (offer, self.name, placement if self.entity is CapEntity.PLACEMENT else "")


CapKey = tuple[str, str, str]
"""Offer id, name of the limit, and the placement counted for itself (empty: all together)."""


@dataclass(frozen=True, slots=True)
class CapUsage:
    """What has been used at the moment of the decision, for the profile asked about. Absent means 0."""

    counts: Mapping[CapKey, int] = field(default_factory=dict)


UNUSED = CapUsage()
