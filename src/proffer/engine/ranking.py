"""Ranking: eligible offers in order of score, then priority, then a draw seeded by the request (R17). Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from proffer.engine.bound import BoundFormula, Candidate
from proffer.engine.index.lots import draw


@dataclass(frozen=True, slots=True)
class Scored:
    """A survivor and its score: the priority, unless a formula or model says otherwise.

    `position` is its place in the scope's pool.
    """

    candidate: Candidate
    score: float
    formula: BoundFormula | None = None
    position: int = 0


def in_order(scored: Iterable[Scored], seed: int) -> Iterator[Scored]:
    """Highest score first, then highest priority; equals by lot, fair over seeds and the same on replay.

    Lots are drawn only for equals that somebody asks for: the caller usually stops early.
    """
    for _, equals in groupby(sorted(scored, key=_rank), key=_rank):
        tied = list(equals)
        if len(tied) > 1:
            tied.sort(key=lambda one: _lot(one, seed))
        yield from tied


def _rank(one: Scored) -> tuple[float, int]:
    return (-one.score, -one.candidate.playable.offer.priority)


def _lot(one: Scored, seed: int) -> tuple[int, str]:
    playable = one.candidate.playable
    return (draw(seed, playable.draw), playable.offer.id)
