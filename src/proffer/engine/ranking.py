"""Ranking by score, priority, and a seeded random tie-break (R17)."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from msgspec import Struct

from proffer.engine.compiled import BoundFormula, Candidate
from proffer.engine.index.bitset import bits_of
from proffer.engine.index.pool import Pool


class ScoredCandidate(Struct, frozen=True):
    """A candidate and its score: its priority, or the result of `formula`.

    `position` is that of the offer in the scope's pool.
    """

    candidate: Candidate
    score: float
    formula: BoundFormula | None = None
    position: int = 0


class BestScores:
    """Best score of each offer by position, with its formula."""

    __slots__ = ("_formulas", "_scores", "_single")

    def __init__(self) -> None:
        # In the common case one formula scores all offers, and no dictionaries are needed.
        self._single: tuple[Sequence[int], Sequence[float], BoundFormula | None] | None = None
        self._scores: dict[int, float] = {}
        self._formulas: dict[int, BoundFormula | None] = {}

    def add(self, positions: Sequence[int], scores: Sequence[float], formula: BoundFormula | None) -> None:
        """Add scores by one formula. The higher score of an offer wins; of equal ones, the first."""
        if not self._scores and self._single is None:
            self._single = (positions, scores, formula)
            return
        if self._single is not None:
            single, self._single = self._single, None
            self._merge(*single)
        self._merge(positions, scores, formula)

    def _merge(self, positions: Sequence[int], scores: Sequence[float], formula: BoundFormula | None) -> None:
        if self._scores.keys().isdisjoint(positions):
            self._scores.update(zip(positions, scores, strict=True))
            self._formulas.update(dict.fromkeys(positions, formula))
            return
        for position, score in zip(positions, scores, strict=True):
            previous = self._scores.get(position)
            if previous is None or score > previous:
                self._scores[position] = score
                self._formulas[position] = formula

    def positions_and_scores(self) -> tuple[Sequence[int], Sequence[float]]:
        """Return all positions in order, and their scores."""
        if self._single is not None:
            return self._single[:2]
        positions = sorted(self._scores)
        return positions, [self._scores[position] for position in positions]

    def formula_of(self, position: int) -> BoundFormula | None:
        return self._formulas[position] if self._single is None else self._single[2]


def order_by_score(
    pool: Pool, positions: Sequence[int], scores: Sequence[float], seed: int
) -> Iterator[tuple[int, float]]:
    """Yield positions with scores, best first; ties by priority, then seeded random key (R17).

    `positions` must be in rising order. Lazy, because the caller usually stops early: positions below
    the best score are sorted, and ties broken, only when reached.
    """
    if not scores:
        return
    highest = max(scores)
    best_indexes = _indexes_of(highest, scores)
    best_scores = {positions[index]: scores[index] for index in best_indexes}
    for position in _order_by_priority(pool, list(best_scores), seed):
        yield position, best_scores[position]
    # The sort is stable: equal scores stay in order of position, that is of priority and id.
    remaining = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)[len(best_indexes) :]
    for _, ties in groupby(remaining, key=scores.__getitem__):
        by_position = {positions[index]: scores[index] for index in ties}
        for position in _order_by_priority(pool, list(by_position), seed):
            yield position, by_position[position]


def _indexes_of(score: float, scores: Sequence[float]) -> list[int]:
    """Return the indexes of this score."""
    indexes: list[int] = []
    index = -1
    try:
        while True:
            index = scores.index(score, index + 1)
            indexes.append(index)
    except ValueError:
        return indexes


def _order_by_priority(pool: Pool, positions: list[int], seed: int) -> Iterator[int]:
    """Yield positions of equal scores by priority, ties in random order."""
    if len(positions) == 1:
        return iter(positions)
    return pool.ranked_positions(bits_of(positions), seed)
