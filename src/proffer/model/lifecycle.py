"""Statuses of offers and decisions (spec 1.10). Any transition is allowed (R10)."""

from enum import StrEnum


class OfferStatus(StrEnum):
    """Status of personalized and fallback offers. Only approved ones are delivered."""

    DRAFT = "draft"
    PENDING = "pending"
    REJECTED = "rejected"
    APPROVED = "approved"
    ARCHIVED = "archived"


class DecisionStatus(StrEnum):
    """Status of decisions. Only live ones can be requested. `completed` means `complete`."""

    DRAFT = "draft"
    LIVE = "live"
    COMPLETE = "complete"
    COMPLETED = "completed"
    ARCHIVED = "archived"
