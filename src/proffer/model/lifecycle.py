"""Statuses of offers and decisions (spec 1.10). Any of a kind's statuses may be written at any time (R10)."""

from collections.abc import Mapping
from enum import StrEnum

from proffer.model.ids import EntityKind


class OfferStatus(StrEnum):
    """Of personalized and fallback offers; only approved ones are ever delivered."""

    DRAFT = "draft"
    PENDING = "pending"
    REJECTED = "rejected"
    APPROVED = "approved"
    ARCHIVED = "archived"


class DecisionStatus(StrEnum):
    """Of decisions; only live ones answer. `completed` is another spelling of `complete`."""

    DRAFT = "draft"
    LIVE = "live"
    COMPLETE = "complete"
    COMPLETED = "completed"
    ARCHIVED = "archived"


_OF_OFFERS: Mapping[str, frozenset[str]] = {
    "draft": frozenset({"approved", "archived"}),
    "pending": frozenset({"approved", "draft", "archived"}),
    "rejected": frozenset({"draft", "archived"}),
    "approved": frozenset({"draft", "archived"}),
}
_OF_DECISIONS: Mapping[str, frozenset[str]] = {
    "draft": frozenset({"live", "archived"}),
    "live": frozenset({"draft", "complete", "archived"}),
    "complete": frozenset({"archived"}),
    "completed": frozenset({"archived"}),
}
_STEPS = {
    EntityKind.OFFER: _OF_OFFERS,
    EntityKind.FALLBACK: _OF_OFFERS,
    EntityKind.DECISION: _OF_DECISIONS,
}


def may_become(kind: EntityKind, now: str, status: str) -> bool:
    """Whether the lifecycle of a kind has the step from one status to another; archived is where it ends."""
    return status in _STEPS.get(kind, {}).get(now, frozenset())
