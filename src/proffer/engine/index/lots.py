"""The draw among equals: documented, so that other languages can make it again (R17)."""

from hashlib import blake2b

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
