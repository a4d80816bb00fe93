"""How a criterion puts its offers in order (spec 8.1), and the formulas it may do it by (spec 1.8)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingFormula:
    """A named PQL expression that gives each offer its score. `expression` is text, or the tree of its JSON form."""

    id: str
    name: str
    etag: int
    instance_id: str
    expression: str | Mapping[str, Any]
    roots: frozenset[str] = frozenset()
