"""Ranking: eligible offers in order of score, then priority, then a draw seeded by the request (R17). Pure."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from msgspec import Struct

from proffer.engine.compiled import BoundFormula, Candidate
from proffer.engine.index.bitset import bits_of
from proffer.engine.index.pool import Pool


class Scored(Struct, frozen=True):
    """A survivor and its score: the priority, unless a formula or model says otherwise.

    `position` is its place in the scope's pool.
    """

    candidate: Candidate
    score: float
    formula: BoundFormula | None = None
    position: int = 0


class Best:
    """The best score of each offer, by position, and the formula that was asked for it."""

    __slots__ = ("_alone", "_formulas", "_scores")

    def __init__(self) -> None:
        # Mostly one formula scores all of them: then nothing is looked up offer by offer.
        self._alone: tuple[Sequence[int], Sequence[float], BoundFormula | None] | None = None
        self._scores: dict[int, float] = {}
        self._formulas: dict[int, BoundFormula | None] = {}

    def enter(
        self, positions: Sequence[int], scores: Sequence[float], formula: BoundFormula | None
    ) -> None:
        """Scores by one formula. Of two for one offer the higher counts, of equals the one that came first."""
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
        """All positions in order, and their scores."""
        if self._alone is not None:
            return self._alone[:2]
        positions = sorted(self._scores)
        return positions, [self._scores[position] for position in positions]

    def formula_of(self, position: int) -> BoundFormula | None:
        return self._formulas[position] if self._alone is None else self._alone[2]


def in_order(
    pool: Pool, positions: Sequence[int], scores: Sequence[float], seed: int
) -> Iterator[tuple[int, float]]:
    """Each position with its score, highest first, then by priority; equals by lot, the same on replay (R17).

    The best score goes first and the rest are sorted only if somebody asks on, as lots are drawn only for
    equals that somebody asks for: the caller usually stops early. Positions come in their order.
    """
    if not scores:
        return
    highest = max(scores)
    found = _all_that_are(highest, scores)
    best = {positions[at]: scores[at] for at in found}
    for position in _by_priority(pool, list(best), seed):
        yield position, best[position]
    # Sorting by score keeps the order of positions, which is that of priorities, and of ids among equals.
    others = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)[len(found) :]
    for _, equals in groupby(others, key=scores.__getitem__):
        by_position = {positions[at]: scores[at] for at in equals}
        for position in _by_priority(pool, list(by_position), seed):
            yield position, by_position[position]


def _all_that_are(score: float, scores: Sequence[float]) -> list[int]:
    """Where this score stands."""
    found: list[int] = []
    at = -1
    try:
        while True:
            at = scores.index(score, at + 1)
            found.append(at)
    except ValueError:
        return found


def _by_priority(pool: Pool, positions: list[int], seed: int) -> Iterator[int]:
    """Positions of equal scores."""
    if len(positions) == 1:
        return iter(positions)
    return pool.best_first(bits_of(positions), seed)
