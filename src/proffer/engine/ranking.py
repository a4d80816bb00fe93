"""Ranking: eligible offers in order of score, then priority, then a draw seeded by the request (R17). Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby

from proffer.engine.snapshot import Candidate

_MASK = 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True, slots=True)
class Scored:
    """A survivor and its score: the priority, unless a formula or model says otherwise (`shown`)."""

    candidate: Candidate
    score: float
    shown: bool = False


def number_of(text: str) -> int:
    """64 bits that stand for a text, the same on every machine."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def draw(seed: int, offer: int) -> int:
    """This offer's lot under this seed, uniform over 64 bits: the finalizer of SplitMix64 over both numbers."""
    x = (seed ^ offer) * 0x9E37_79B9_7F4A_7C15 & _MASK
    x = (x ^ x >> 30) * 0xBF58_476D_1CE4_E5B9 & _MASK
    x = (x ^ x >> 27) * 0x94D0_49BB_1331_11EB & _MASK
    return x ^ x >> 31


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
