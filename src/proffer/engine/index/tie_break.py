"""Seeded random tie-break, specified so that other languages can reproduce it (R17)."""

from collections.abc import Sequence
from hashlib import blake2b

from proffer.engine.index.bitset import Bits

_MASK = 0xFFFF_FFFF_FFFF_FFFF
GOLDEN_GAMMA, MIX_1, MIX_2 = 0x9E37_79B9_7F4A_7C15, 0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB


def hash64(text: str) -> int:
    """Return a 64-bit hash of a text, the same on every machine."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def tie_key(seed: int, id_hash: int) -> int:
    """Return the tie-break key: the SplitMix64 finalizer of seed and offer id hash, 64 bits."""
    x = (seed ^ id_hash) * GOLDEN_GAMMA & _MASK
    x = (x ^ x >> 30) * MIX_1 & _MASK
    x = (x ^ x >> 27) * MIX_2 & _MASK
    return x ^ x >> 31


def order_ties(seed: int, offers: Bits, first: int, id_hashes: Sequence[int]) -> list[int]:
    """Return the positions in a set by tie key; bit 0 of the set is position `first`."""
    keyed: list[tuple[int, int]] = []
    while offers:
        lowest = offers & -offers
        offers ^= lowest
        position = first + lowest.bit_length() - 1
        # `tie_key` inlined: a hot path of small libraries.
        x = (seed ^ id_hashes[position]) * GOLDEN_GAMMA & _MASK
        x = (x ^ x >> 30) * MIX_1 & _MASK
        x = (x ^ x >> 27) * MIX_2 & _MASK
        keyed.append((x ^ x >> 31, position))
    # On equal tie keys the position decides, which is in order of id.
    keyed.sort()
    return [position for _, position in keyed]
