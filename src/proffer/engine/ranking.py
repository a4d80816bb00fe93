"""Ranking by score, priority, and a seeded random tie-break (R17)."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from msgspec import Struct

from proffer.engine.compiled import BoundFormula, Candidate
from proffer.engine.index.bitset import bits_of
from proffer.engine.index.pool import Pool


class Scored(Struct, frozen=True):
    """A candidate and its score: its priority, or the result of `formula`.

    `position` is that of the offer in the scope's pool.
    """

    candidate: Candidate
    score: float
    formula: BoundFormula | None = None
    position: int = 0


class Best:
    """Best score of each offer by position, with its formula."""

    __slots__ = ("_alone", "_formulas", "_scores")

    def __init__(self) -> None:
        # In the common case one formula scores all offers, and no dictionaries are needed.
        self._alone: tuple[Sequence[int], Sequence[float], BoundFormula | None] | None = None
        self._scores: dict[int, float] = {}
        self._formulas: dict[int, BoundFormula | None] = {}

    def enter(
        self, positions: Sequence[int], scores: Sequence[float], formula: BoundFormula | None
    ) -> None:
        """Add scores by one formula. The higher score of an offer wins; of equal ones, the first."""
        if not self._scores and self._alone is None:
            self._alone = (positions, scores, formula)
            return
        if self._alone is not None:
            alone, self._alone = self._alone, None
            self._merge(*alone)
        self._merge(positions, scores, formula)

    def _merge(
        self, positions: Sequence[int], scores: Sequence[float], formula: BoundFormula | None
    ) -> None:
        if self._scores.keys().isdisjoint(positions):
            self._scores.update(zip(positions, scores, strict=True))
            self._formulas.update(dict.fromkeys(positions, formula))
            return
        for position, score in zip(positions, scores, strict=True):
            before = self._scores.get(position)
            if before is None or score > before:
                self._scores[position] = score
                self._formulas[position] = formula

    def listed(self) -> tuple[Sequence[int], Sequence[float]]:
        """Return all positions in order, and their scores."""
        if self._alone is not None:
            return self._alone[:2]
        positions = sorted(self._scores)
        return positions, [self._scores[position] for position in positions]

    def formula_of(self, position: int) -> BoundFormula | None:
        return self._formulas[position] if self._alone is None else self._alone[2]


def in_order(
    pool: Pool, positions: Sequence[int], scores: Sequence[float], seed: int
) -> Iterator[tuple[int, float]]:
    """Yield positions with scores, best first; ties by priority, then seeded random key (R17).

    `positions` must be in rising order. Lazy, because the caller usually stops early: positions below
    the best score are sorted, and ties broken, only when reached.
    """
    if not scores:
        return
    highest = max(scores)
    found = _all_that_are(highest, scores)
    best = {positions[at]: scores[at] for at in found}
    for position in _by_priority(pool, list(best), seed):
        yield position, best[position]
    # The sort is stable: equal scores stay in order of position, that is of priority and id.
    others = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)[len(found) :]
    for _, equals in groupby(others, key=scores.__getitem__):
        by_position = {positions[at]: scores[at] for at in equals}
        for position in _by_priority(pool, list(by_position), seed):
            yield position, by_position[position]


def _all_that_are(score: float, scores: Sequence[float]) -> list[int]:
    """Return the indexes of this score."""
    found: list[int] = []
    at = -1
    try:
        while True:
            at = scores.index(score, at + 1)
            found.append(at)
    except ValueError:
        return found


def _by_priority(pool: Pool, positions: list[int], seed: int) -> Iterator[int]:
    """Yield positions of equal scores by priority, ties in random order."""
    if len(positions) == 1:
        return iter(positions)
    return pool.best_first(bits_of(positions), seed)
