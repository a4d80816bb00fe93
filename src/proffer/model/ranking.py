"""Ranking methods of criteria (spec 8.1), and ranking formulas (spec 1.8)."""

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
    """Ranking by priority, formula or trained model. `reference` is the id of the formula or model."""

    type: RankingType = RankingType.PRIORITY
    reference: str | None = None


BY_PRIORITY = RankingMethod()


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingFormula:
    """A PQL expression that scores offers. `expression` is text, or the tree of its JSON form."""

    id: str
    name: str
    etag: int
    instance_id: str
    expression: str | Mapping[str, Any]
    roots: frozenset[str] = frozenset()
