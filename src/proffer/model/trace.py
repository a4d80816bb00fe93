"""Decision traces: the stage and reason at which each candidate was excluded."""

from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """Stage at which a candidate was excluded, in execution order; `ranked`: not excluded."""

    STATUS = "status"
    PLACEMENT = "placement"
    CALENDAR = "calendar"
    CRITERION = "criterion"
    ELIGIBILITY = "eligibility"
    CAPPING = "capping"
    DEDUP = "dedup"
    CONTENT = "content"
    RANKED = "ranked"


STAGE_ORDER = {stage: position for position, stage in enumerate(Stage)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The result of one candidate. `rank` (from 1) and `score` are set only if it was ranked."""

    id: str
    name: str
    stage: Stage
    reason: str
    rank: int | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeTrace:
    """All candidates of one scope: ranked ones first, in order, then the others by stage and name."""

    decision: str
    placement: str
    seed: str
    candidates: tuple[Verdict, ...]
