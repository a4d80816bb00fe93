"""NumPy operations on large sets of offers; results equal those of the scalar code exactly."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from proffer.engine.index.bitset import Bits, without
from proffer.engine.index.position_map import PositionChanges
from proffer.engine.index.tie_break import GOLDEN_GAMMA, MIX_1, MIX_2

Positions = npt.NDArray[np.intp]
Words = npt.NDArray[np.uint64]


def _to_word(value: int) -> Words:
    """Return a zero-dimensional array: operations with it take half the time of a scalar."""
    return np.array(value, dtype=np.uint64)


_GOLDEN_GAMMA, _MIX_1, _MIX_2 = map(_to_word, (GOLDEN_GAMMA, MIX_1, MIX_2))
_27, _30, _31 = map(_to_word, (27, 30, 31))
_MIN_TIE_BITS = 24
"""Minimum tie-key bits in a combined sort key; with fewer, combined keys are not used."""


class PoolArrays:
    """Offer id hashes and priority levels of one pool, as arrays."""

    __slots__ = (
        "_id_hashes",
        "_key_frame",
        "_levels",
        "_position_mask",
        "_position_shift",
        "_tie_mask",
        "_tie_shift",
    )

    def __init__(self, id_hashes: Sequence[int], levels: Sequence[int]) -> None:
        """`levels` are the positions at which the priority changes."""
        self._fill(np.array(id_hashes, dtype=np.uint64), levels)

    def with_changes(self, changes: PositionChanges, added_hashes: Sequence[int], levels: Sequence[int]) -> Self:
        """Return the arrays after position changes; `added_hashes` are those of inserted offers."""
        id_hashes = self._id_hashes
        if changes.removed:
            id_hashes = np.delete(id_hashes, list(changes.removed))
        if changes.inserted:
            # Inserted positions are in the new order; np.insert expects positions in the old array.
            insertion_points = [position - number for number, position in enumerate(changes.inserted)]
            id_hashes = np.insert(id_hashes, insertion_points, np.array(added_hashes, dtype=np.uint64))
        arrays = object.__new__(type(self))
        arrays._fill(id_hashes, levels)
        return arrays

    def _fill(self, id_hashes: Words, levels: Sequence[int]) -> None:
        self._id_hashes = id_hashes
        level_starts = np.zeros(len(id_hashes), dtype=np.uint64)
        level_starts[list(levels)] = 1
        self._levels = np.cumsum(level_starts, dtype=np.uint64)
        # Combined sort key: level, then the leading bits of the tie key that fit, then position.
        level_bits, position_bits = (
            len(levels).bit_length(),
            max(1, (len(id_hashes) - 1).bit_length()),
        )
        tie_bits = 64 - level_bits - position_bits
        self._key_frame: Words | None = None
        if tie_bits >= _MIN_TIE_BITS:
            self._key_frame = np.arange(len(id_hashes), dtype=np.uint64)
            if level_bits:
                self._key_frame |= self._levels << np.uint64(64 - level_bits)
        self._tie_shift, self._position_shift = _to_word(level_bits), _to_word(position_bits)
        self._position_mask = _to_word((1 << position_bits) - 1)
        self._tie_mask = _to_word((1 << tie_bits) - 1 << position_bits)

    def positions(self, offers: Bits) -> list[int]:
        """Return the positions in a set, in order."""
        return _to_list(_position_array(offers))

    def without(self, offers: Bits, positions: Sequence[int]) -> Bits:
        """Return a set without some positions."""
        flags = np.zeros(len(self._id_hashes), dtype=np.uint8)
        flags[positions] = 1
        packed = np.packbits(flags, bitorder="little")
        return without(offers, int.from_bytes(packed.tobytes(), "little"))

    def order_ties(self, offers: Bits, first: int, seed: int) -> list[int]:
        """Return the positions in a set by tie key; its bit 0 is position `first`."""
        positions = _position_array(offers) + first
        return _to_list(positions[self._tie_keys(positions, seed).argsort(kind="stable")])

    def order_by_level(self, offers: Bits, seed: int) -> list[int]:
        """Return the positions in a set by level, then tie key."""
        positions = _position_array(offers)
        tie_keys = self._tie_keys(positions, seed)
        if self._key_frame is not None:
            # Sort the combined keys; valid unless two of them differ in position only.
            keys = np.right_shift(tie_keys, self._tie_shift)
            np.bitwise_and(keys, self._tie_mask, keys)
            np.bitwise_or(keys, self._key_frame[positions], keys)
            keys.sort()
            key_prefixes = np.right_shift(keys, self._position_shift)
            if not np.count_nonzero(key_prefixes[1:] == key_prefixes[:-1]):
                return _to_list(np.bitwise_and(keys, self._position_mask, keys))
        return _to_list(positions[np.lexsort((tie_keys, self._levels[positions]))])

    def _tie_keys(self, positions: Positions, seed: int) -> Words:
        x: Words = self._id_hashes[positions]
        scratch = np.empty_like(x)
        np.bitwise_xor(x, _to_word(seed), x)
        np.multiply(x, _GOLDEN_GAMMA, x)
        np.bitwise_xor(x, np.right_shift(x, _30, scratch), x)
        np.multiply(x, _MIX_1, x)
        np.bitwise_xor(x, np.right_shift(x, _27, scratch), x)
        np.multiply(x, _MIX_2, x)
        np.bitwise_xor(x, np.right_shift(x, _31, scratch), x)
        return x


def _position_array(offers: Bits) -> Positions:
    packed = np.frombuffer(offers.to_bytes((offers.bit_length() + 7) // 8, "little"), np.uint8)
    # nonzero() is several times faster on bool than on uint8.
    return np.unpackbits(packed, bitorder="little").view(np.bool_).nonzero()[0]


def _to_list(positions: Positions | Words) -> list[int]:
    result: list[int] = positions.tolist()
    return result
