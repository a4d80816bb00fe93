"""Large sets of offers as arrays. What is here gives what the plain way gives, to the last bit."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from proffer.engine.index.bits import Bits
from proffer.engine.index.lots import FIRST, SECOND, THIRD

Positions = npt.NDArray[np.intp]
Words = npt.NDArray[np.uint64]


_FIRST, _SECOND, _THIRD = np.uint64(FIRST), np.uint64(SECOND), np.uint64(THIRD)
_16, _27, _30, _31, _48 = (np.uint64(bits) for bits in (16, 27, 30, 31, 48))


class Bulk:
    """The offers of one pool: the numbers that their draws are made from, and their levels."""

    __slots__ = ("_draws", "_levels", "_levels_high")

    def __init__(self, draws: Sequence[int], levels: Sequence[int]) -> None:
        """`levels` are the positions at which another priority begins."""
        self._draws = np.array(draws, dtype=np.uint64)
        found = np.zeros(len(draws), dtype=np.uint64)
        found[list(levels)] = 1
        self._levels = np.cumsum(found, dtype=np.uint64)
        self._levels_high = self._levels << _48 if len(levels) < 1 << 16 else None

    def positions(self, offers: Bits) -> list[int]:
        """The positions in a set, in order."""
        return _listed(_among(offers))

    def without(self, offers: Bits, positions: Sequence[int]) -> Bits:
        """A set less some positions."""
        gone = np.zeros(len(self._draws), dtype=np.uint8)
        gone[positions] = 1
        packed = np.packbits(gone, bitorder="little")
        return offers & ~int.from_bytes(packed.tobytes(), "little")

    def by_lot(self, offers: Bits, first: int, seed: int) -> list[int]:
        """The positions in a set, which begins at `first`, by lot alone."""
        found = _among(offers) + first
        return _listed(found[self._lots(found, seed).argsort(kind="stable")])

    def in_order(self, offers: Bits, seed: int) -> list[int]:
        """The positions in a set by level, then by lot."""
        found = _among(offers)
        lots = self._lots(found, seed)
        if self._levels_high is not None:
            # One number for both, as long as the rest of the lot does not matter.
            keys = self._levels_high[found]
            keys |= lots >> _16
            order = keys.argsort()
            keys = keys[order]
            if not np.count_nonzero(keys[1:] == keys[:-1]):
                return _listed(found[order])
        return _listed(found[np.lexsort((lots, self._levels[found]))])

    def _lots(self, positions: Positions, seed: int) -> Words:
        x: Words = self._draws[positions]
        x ^= np.uint64(seed)
        x *= _FIRST
        x ^= x >> _30
        x *= _SECOND
        x ^= x >> _27
        x *= _THIRD
        x ^= x >> _31
        return x


def _among(offers: Bits) -> Positions:
    packed = np.frombuffer(offers.to_bytes((offers.bit_length() + 7) // 8, "little"), np.uint8)
    return np.unpackbits(packed, bitorder="little").nonzero()[0]


def _listed(positions: Positions) -> list[int]:
    listed: list[int] = positions.tolist()
    return listed
