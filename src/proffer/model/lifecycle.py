"""Statuses of offers and decisions (spec 1.10). Any of a kind's statuses may be written at any time (R10)."""

from enum import StrEnum


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
