"""Decisions (formerly: activities): criteria by priority, and a fallback offer (spec 1.7, 10.1)."""

from dataclasses import dataclass

from proffer.model.constraint import NO_CONSTRAINT, Constraint
from proffer.model.lifecycle import DecisionStatus
from proffer.model.ranking import BY_PRIORITY, RankingMethod
from proffer.model.window import ALWAYS, TimeWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """Offers considered for some placements, with their constraint and ranking.

    `collection` is a collection id; if it is None, `options` are the offer ids. Criteria of equal
    `priority` are evaluated together, higher ones first.
    """

    placements: tuple[str, ...]
    collection: str | None = None
    options: tuple[str, ...] = ()
    constraint: Constraint = NO_CONSTRAINT
    priority: int = 0
    ranking: RankingMethod = BY_PRIORITY


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Decision:
    """A decision. `placements` are all placements of its criteria, in order."""

    id: str
    name: str
    etag: int
    instance_id: str
    status: DecisionStatus
    fallback: str
    criteria: tuple[Criterion, ...]
    window: TimeWindow = ALWAYS
    original_id: str = ""

    @property
    def public_id(self) -> str:
        """The id as responses show it: as it was given or generated."""
        return self.original_id or self.id

    @property
    def placements(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(placement for criterion in self.criteria for placement in criterion.placements))
