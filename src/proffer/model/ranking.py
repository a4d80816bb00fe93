"""How a criterion puts its offers in order (spec 8.1)."""

from dataclasses import dataclass
from enum import StrEnum


class RankingType(StrEnum):
    """The `orderEvaluationType` of a criterion."""

    PRIORITY = "static"
    FORMULA = "scoringFunction"
    MODEL = "rankingStrategy"


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingMethod:
    """By the offers' priorities, by a formula, or by a trained model; `reference` is the formula's or model's id."""

    type: RankingType = RankingType.PRIORITY
    reference: str | None = None


BY_PRIORITY = RankingMethod()
