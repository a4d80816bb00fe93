"""Ranking: eligible offers in order of score, then priority, then a draw seeded by the request (R17). Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from proffer.engine.bound import BoundFormula, Candidate
from proffer.engine.index.lots import draw
from proffer.engine.index.pool import Pool


class Score(NamedTuple):
    """An offer's score, and the formula that was asked for it; None where it is the priority by order."""

    value: float
    formula: BoundFormula | None


@dataclass(frozen=True, slots=True)
class Scored:
    """A survivor and its score: the priority, unless a formula or model says otherwise.

    `position` is its place in the scope's pool.
    """

    candidate: Candidate
    score: float
    formula: BoundFormula | None = None
    position: int = 0


def in_order(pool: Pool, scores: Mapping[int, Score], seed: int) -> Iterator[int]:
    """Positions by score, highest first, then by priority; equals by lot, fair over seeds and the same on replay.

    Lots are drawn only for equals that somebody asks for: the caller usually stops early.
    """
    # Positions are in the order of priorities, and of ids among equals; the sorts keep that.
    best = sorted(sorted(scores), key=lambda at: scores[at].value, reverse=True)
    offers = pool.offers
    for _, equals in groupby(best, key=lambda at: (scores[at].value, offers[at].offer.priority)):
        tied = list(equals)
        if len(tied) > 1:
            tied.sort(key=lambda at: draw(seed, offers[at].draw))
        yield from tied
