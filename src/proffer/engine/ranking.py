"""Ranking: eligible offers in order of score, then priority, then a draw seeded by the request (R17). Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from proffer.engine.bound import BoundFormula, Candidate
from proffer.engine.index.bits import bits_of
from proffer.engine.index.pool import Pool


@dataclass(frozen=True, slots=True)
class Scored:
    """A survivor and its score: the priority, unless a formula or model says otherwise.

    `position` is its place in the scope's pool.
    """

    candidate: Candidate
    score: float
    formula: BoundFormula | None = None
    position: int = 0


class Best:
    """The best score of each offer, by position, and the formula that was asked for it."""

    __slots__ = ("formulas", "scores")

    def __init__(self) -> None:
        self.scores: dict[int, float] = {}
        self.formulas: dict[int, BoundFormula | None] = {}

    def enter(
        self, positions: Sequence[int], scores: Sequence[float], formula: BoundFormula | None
    ) -> None:
        """Scores by one formula. Of two for one offer the higher counts, of equals the one that came first."""
        if not self.scores:
            self.scores.update(zip(positions, scores, strict=True))
            self.formulas.update(dict.fromkeys(positions, formula))
            return
        for position, score in zip(positions, scores, strict=True):
            before = self.scores.get(position)
            if before is None or score > before:
                self.scores[position] = score
                self.formulas[position] = formula


def in_order(pool: Pool, scores: Mapping[int, float], seed: int) -> Iterator[int]:
    """Positions by score, highest first, then by priority; equals by lot, fair over seeds and the same on replay.

    The best score goes first and the rest are sorted only if somebody asks on, as lots are drawn only for
    equals that somebody asks for: the caller usually stops early.
    """
    if not scores:
        return
    highest = max(scores.values())
    yield from _by_priority(pool, [at for at, one in scores.items() if one == highest], seed)
    # Positions are in the order of priorities, and of ids among equals; sorting by score keeps that.
    others = sorted([at for at, one in scores.items() if one != highest])
    others.sort(key=scores.__getitem__, reverse=True)
    for _, equals in groupby(others, key=scores.__getitem__):
        yield from _by_priority(pool, list(equals), seed)


def _by_priority(pool: Pool, positions: list[int], seed: int) -> Iterator[int]:
    """Positions of equal scores."""
    if len(positions) == 1:
        return iter(positions)
    return pool.best_first(bits_of(positions), seed)
