"""The draw among equals: documented, so that other languages can make it again (R17)."""

from collections.abc import Sequence
from hashlib import blake2b

from proffer.engine.index.bitset import Bits

_MASK = 0xFFFF_FFFF_FFFF_FFFF
FIRST, SECOND, THIRD = 0x9E37_79B9_7F4A_7C15, 0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB


def number_of(text: str) -> int:
    """64 bits that stand for a text, the same on every machine."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def draw(seed: int, offer: int) -> int:
    """This offer's lot under this seed, uniform over 64 bits: the finalizer of SplitMix64 over both numbers."""
    x = (seed ^ offer) * FIRST & _MASK
    x = (x ^ x >> 30) * SECOND & _MASK
    x = (x ^ x >> 27) * THIRD & _MASK
    return x ^ x >> 31


def by_lot(seed: int, offers: Bits, first: int, numbers: Sequence[int]) -> list[int]:
    """The positions in a set, which begins at `first`, in the order of their draws; `numbers` are by position."""
    drawn: list[tuple[int, int]] = []
    while offers:
        lowest = offers & -offers
        offers ^= lowest
        position = first + lowest.bit_length() - 1
        # As `draw`, in place: this is where the time of small libraries goes.
        x = (seed ^ numbers[position]) * FIRST & _MASK
        x = (x ^ x >> 30) * SECOND & _MASK
        x = (x ^ x >> 27) * THIRD & _MASK
        drawn.append((x ^ x >> 31, position))
    # Positions of equals are in the order of ids, which decides should two lots be the same.
    drawn.sort()
    return [position for _, position in drawn]
