"""Personalized offers, which have conditions, and fallback offers, which have none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proffer.model.capping import CapLimit
from proffer.model.constraint import NO_CONSTRAINT, Constraint
from proffer.model.content import Representation
from proffer.model.lifecycle import OfferStatus
from proffer.model.ranking import BY_PRIORITY, RankingMethod
from proffer.model.window import ALWAYS, TimeWindow


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class FallbackOffer:
    """A fallback offer: no dates, eligibility, caps or rank (spec 1.6)."""

    id: str
    name: str
    etag: int
    instance_id: str
    status: OfferStatus
    representations: Mapping[str, Representation]
    characteristics: Mapping[str, str] = field(default_factory=dict)
    original_id: str = ""

    @property
    def public_id(self) -> str:
        """The id as responses show it: as it was given or generated."""
        return self.original_id or self.id


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class PersonalizedOffer:
    """An offer with its conditions (spec 1.5). `representations` are by placement.

    `attributes` is the value of `offer` in formulas and rules (spec 8.2). `ranking` is the offer's own
    ranking, used if its criterion ranks by priority.
    """

    id: str
    name: str
    etag: int
    instance_id: str
    status: OfferStatus
    representations: Mapping[str, Representation]
    characteristics: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    window: TimeWindow = ALWAYS
    constraint: Constraint = NO_CONSTRAINT
    tags: frozenset[str] = frozenset()
    ranking: RankingMethod = BY_PRIORITY
    attributes: Mapping[str, Any] = field(default_factory=dict)
    caps: tuple[CapLimit, ...] = ()
    original_id: str = ""

    @property
    def public_id(self) -> str:
        """The id as responses show it: as it was given or generated."""
        return self.original_id or self.id
