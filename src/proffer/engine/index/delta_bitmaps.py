"""Delta-encoded sequences of bitsets."""

from collections.abc import Iterator, Mapping
from itertools import accumulate
from operator import xor

from proffer.engine.index.bitset import Bits, bits_of, positions_of

MAX_BYTES = 1 << 21
"""Maximum size of an expanded sequence; larger ones store only every nth bitset and the deltas."""

_SPARSE_LIMIT = 8


class DeltaBitmaps:
    """Sequence of bitsets, stored in full or as deltas."""

    __slots__ = ("_bitmaps", "_deltas", "_stride")

    def __init__(
        self,
        first: Bits,
        deltas: Mapping[int, Bits],
        length: int,
        size: int,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`first` is bitset 0; `deltas`: index → xor with the one before; `size` is that of the pool."""
        stride = self._stride = 1 + length * (size // 8 + 28) // max_bytes
        bitmaps = accumulate((deltas.get(index, 0) for index in range(1, length)), xor, initial=first)
        unique: dict[Bits, Bits] = {}  # share equal bitsets
        self._bitmaps = [
            unique.setdefault(bitmap, bitmap) for index, bitmap in enumerate(bitmaps) if index % stride == 0
        ]
        self._deltas: dict[int, Bits | list[int]] = {}
        if stride > 1:
            for index, delta in deltas.items():
                is_sparse = delta.bit_count() <= _SPARSE_LIMIT
                self._deltas[index] = positions_of(delta) if is_sparse else delta

    @property
    def is_expanded(self) -> bool:
        return self._stride == 1

    def __getitem__(self, index: int) -> Bits:
        if self._stride == 1:
            return self._bitmaps[index]
        base = index // self._stride
        bitmap = self._bitmaps[base]
        for step in range(base * self._stride + 1, index + 1):
            if step in self._deltas:
                bitmap ^= self.delta(step)
        return bitmap

    def delta(self, index: int) -> Bits:
        """Return the xor with the bitset before; not for expanded sequences."""
        delta = self._deltas.get(index, 0)
        if isinstance(delta, int):
            return delta
        bits = 0
        for position in delta:
            bits |= 1 << position
        return bits


class DeltaBuilder:
    """Builder of deltas: collects the segments in which offers pass. Each offer is added once."""

    __slots__ = ("_edges", "_first")

    def __init__(self) -> None:
        self._first: list[int] = []
        self._edges: dict[int, list[int]] = {}

    def add(self, segments: int, offers: list[int]) -> None:
        """Add offers that pass in these segments (a bitset of segments)."""
        if segments & 1:
            self._first += offers
        # An edge is a bit that differs from the one below it.
        edges = (segments ^ (segments << 1)) & ~1
        while edges:
            lowest = edges & -edges
            self._edges.setdefault(lowest.bit_length() - 1, []).extend(offers)
            edges ^= lowest

    @property
    def first(self) -> Bits:
        """Bitset 0."""
        return bits_of(self._first)

    def deltas(self) -> Iterator[tuple[int, Bits]]:
        """Yield (index, xor with the bitset before)."""
        return ((index, bits_of(offers)) for index, offers in self._edges.items())
