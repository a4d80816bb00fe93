"""Why each candidate of a scope stayed or left: the vocabulary of explanations."""

from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """Where a candidate left, in the order the stages run; `ranked` means that it stayed."""

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
    """What became of one candidate. `rank` (from 1) and `score` belong to those that stayed."""

    id: str
    name: str
    stage: Stage
    reason: str
    rank: int | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeTrace:
    """Every candidate of one scope: the ranked ones first, in order, then the others by stage and name."""

    decision: str
    placement: str
    seed: str
    candidates: tuple[Verdict, ...]
