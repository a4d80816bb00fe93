"""Large sets of offers as arrays. What is here gives what the plain way gives, to the last bit."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from proffer.engine.index.bits import Bits
from proffer.engine.index.lots import FIRST, SECOND, THIRD

Positions = npt.NDArray[np.intp]
Words = npt.NDArray[np.uint64]


class Bulk:
    """The offers of one pool: the numbers that their draws are made from, and their levels."""

    __slots__ = ("_bytes", "_draws", "_levels")

    def __init__(self, draws: Sequence[int], levels: Sequence[int]) -> None:
        """`levels` are the positions at which another priority begins."""
        self._bytes = (len(draws) + 7) // 8
        self._draws = np.array(draws, dtype=np.uint64)
        found = np.zeros(len(draws), dtype=np.uint64)
        found[list(levels)] = 1
        self._levels = np.cumsum(found, dtype=np.uint64)

    def positions(self, offers: Bits) -> list[int]:
        """The positions in a set, in order."""
        return _listed(self._among(offers))

    def _among(self, offers: Bits) -> Positions:
        packed = np.frombuffer(offers.to_bytes(self._bytes, "little"), dtype=np.uint8)
        return np.flatnonzero(np.unpackbits(packed, bitorder="little"))

    def without(self, offers: Bits, positions: Sequence[int]) -> Bits:
        """A set less some positions of it."""
        gone = np.zeros(8 * self._bytes, dtype=np.uint8)
        gone[positions] = 1
        packed = np.packbits(gone, bitorder="little")
        return offers & ~int.from_bytes(packed.tobytes(), "little")

    def by_lot(self, offers: Bits, seed: int) -> list[int]:
        """The positions in a set by lot alone."""
        found = self._among(offers)
        return _listed(found[np.argsort(self._lots(found, seed), kind="stable")])

    def in_order(self, offers: Bits, seed: int) -> list[int]:
        """The positions in a set by level, then by lot."""
        found = self._among(offers)
        lots, levels = self._lots(found, seed), self._levels[found]
        if levels[-1] < 1 << 16:
            # One number for both, as long as the rest of the lot does not matter.
            keys = (levels << np.uint64(48)) | (lots >> np.uint64(16))
            order = np.argsort(keys)
            sorted_keys = keys[order]
            if not (sorted_keys[1:] == sorted_keys[:-1]).any():
                return _listed(found[order])
        return _listed(found[np.lexsort((lots, levels))])

    def _lots(self, positions: Positions, seed: int) -> Words:
        x = (self._draws[positions] ^ np.uint64(seed)) * np.uint64(FIRST)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(SECOND)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(THIRD)
        return x ^ (x >> np.uint64(31))


def _listed(positions: Positions) -> list[int]:
    listed: list[int] = positions.tolist()
    return listed
