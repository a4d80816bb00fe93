"""NumPy operations on large sets of offers; results equal those of the scalar code exactly."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from proffer.engine.index.bitset import Bits, without
from proffer.engine.index.position_map import Moves
from proffer.engine.index.tie_break import FIRST, SECOND, THIRD

Positions = npt.NDArray[np.intp]
Words = npt.NDArray[np.uint64]


def _constant(value: int) -> Words:
    """Return a zero-dimensional array: operations with it take half the time of a scalar."""
    return np.array(value, dtype=np.uint64)


_FIRST, _SECOND, _THIRD = map(_constant, (FIRST, SECOND, THIRD))
_27, _30, _31 = map(_constant, (27, 30, 31))
_LEAST_OF_LOT = 24
"""Minimum tie-key bits in a combined sort key; with fewer, combined keys are not used."""


class Bulk:
    """Offer id hashes and priority levels of one pool, as arrays."""

    __slots__ = ("_draws", "_frame", "_levels", "_lot", "_low", "_position", "_room")

    def __init__(self, draws: Sequence[int], levels: Sequence[int]) -> None:
        """`levels` are the positions at which the priority changes."""
        self._begin(np.array(draws, dtype=np.uint64), levels)

    def moved(self, moves: Moves, draws: Sequence[int], levels: Sequence[int]) -> Self:
        """Return the arrays after position changes; `added_hashes` are those of inserted offers."""
        found = self._draws
        if moves.gone:
            found = np.delete(found, list(moves.gone))
        if moves.come:
            # Inserted positions are in the new order; np.insert expects positions in the old array.
            places = [position - number for number, position in enumerate(moves.come)]
            found = np.insert(found, places, np.array(draws, dtype=np.uint64))
        made = object.__new__(type(self))
        made._begin(found, levels)
        return made

    def _begin(self, draws: Words, levels: Sequence[int]) -> None:
        self._draws = draws
        found = np.zeros(len(draws), dtype=np.uint64)
        found[list(levels)] = 1
        self._levels = np.cumsum(found, dtype=np.uint64)
        # Combined sort key: level, then the leading bits of the tie key that fit, then position.
        first, last = len(levels).bit_length(), max(1, (len(draws) - 1).bit_length())
        room = 64 - first - last
        self._frame: Words | None = None
        if room >= _LEAST_OF_LOT:
            self._frame = np.arange(len(draws), dtype=np.uint64)
            if first:
                self._frame |= self._levels << np.uint64(64 - first)
        self._room, self._low = _constant(first), _constant(last)
        self._position = _constant((1 << last) - 1)
        self._lot = _constant((1 << room) - 1 << last)

    def positions(self, offers: Bits) -> list[int]:
        """Return the positions in a set, in order."""
        return _listed(_among(offers))

    def without(self, offers: Bits, positions: Sequence[int]) -> Bits:
        """Return a set without some positions."""
        gone = np.zeros(len(self._draws), dtype=np.uint8)
        gone[positions] = 1
        packed = np.packbits(gone, bitorder="little")
        return without(offers, int.from_bytes(packed.tobytes(), "little"))

    def by_lot(self, offers: Bits, first: int, seed: int) -> list[int]:
        """Return the positions in a set by tie key; its bit 0 is position `first`."""
        found = _among(offers) + first
        return _listed(found[self._lots(found, seed).argsort(kind="stable")])

    def in_order(self, offers: Bits, seed: int) -> list[int]:
        """Return the positions in a set by level, then tie key."""
        found = _among(offers)
        lots = self._lots(found, seed)
        if self._frame is not None:
            # Sort the combined keys; valid unless two of them differ in position only.
            keys = np.right_shift(lots, self._room)
            np.bitwise_and(keys, self._lot, keys)
            np.bitwise_or(keys, self._frame[found], keys)
            keys.sort()
            drawn = np.right_shift(keys, self._low)
            if not np.count_nonzero(drawn[1:] == drawn[:-1]):
                return _listed(np.bitwise_and(keys, self._position, keys))
        return _listed(found[np.lexsort((lots, self._levels[found]))])

    def _lots(self, positions: Positions, seed: int) -> Words:
        x: Words = self._draws[positions]
        rest = np.empty_like(x)
        np.bitwise_xor(x, _constant(seed), x)
        np.multiply(x, _FIRST, x)
        np.bitwise_xor(x, np.right_shift(x, _30, rest), x)
        np.multiply(x, _SECOND, x)
        np.bitwise_xor(x, np.right_shift(x, _27, rest), x)
        np.multiply(x, _THIRD, x)
        np.bitwise_xor(x, np.right_shift(x, _31, rest), x)
        return x


def _among(offers: Bits) -> Positions:
    packed = np.frombuffer(offers.to_bytes((offers.bit_length() + 7) // 8, "little"), np.uint8)
    # nonzero() is several times faster on bool than on uint8.
    return np.unpackbits(packed, bitorder="little").view(np.bool_).nonzero()[0]


def _listed(positions: Positions | Words) -> list[int]:
    listed: list[int] = positions.tolist()
    return listed
