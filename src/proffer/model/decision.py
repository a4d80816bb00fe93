"""A decision (formerly: activity): criteria in priority groups, and one fallback offer (spec 1.7, 10.1)."""

from dataclasses import dataclass

from proffer.model.constraint import EVERYBODY, Constraint
from proffer.model.lifecycle import DecisionStatus
from proffer.model.ranking import BY_PRIORITY, RankingMethod
from proffer.model.window import ALWAYS, TimeWindow


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """Which offers are considered for which placements, by whom, in which order.

    `collection` names a collection; where it is None the offers are those of `options`. Criteria of
    equal `priority` are evaluated together, higher ones first.
    """

    placements: tuple[str, ...]
    collection: str | None = None
    options: tuple[str, ...] = ()
    constraint: Constraint = EVERYBODY
    priority: int = 0
    ranking: RankingMethod = BY_PRIORITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What may be asked for. `placements` are all those its criteria name, in their order."""

    id: str
    name: str
    etag: int
    instance_id: str
    status: DecisionStatus
    fallback: str
    criteria: tuple[Criterion, ...]
    window: TimeWindow = ALWAYS
    spelled: str = ""

    @property
    def shown_id(self) -> str:
        """The id as answers say it: as it was given or minted."""
        return self.spelled or self.id

    @property
    def placements(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(p for criterion in self.criteria for p in criterion.placements))
