"""Delta-encoded sequences of bitsets."""

from collections.abc import Iterator, Mapping
from itertools import accumulate
from operator import xor

from proffer.engine.index.bitset import Bits, bits_of, positions_of

MOST_BYTES = 1 << 21
"""Maximum size of an expanded sequence; larger ones store only every nth bitset and the deltas."""

_FEW = 8


class Steps:
    """Sequence of bitsets, stored in full or as deltas."""

    __slots__ = ("_changes", "_every", "_kept")

    def __init__(
        self,
        first: Bits,
        changes: Mapping[int, Bits],
        length: int,
        size: int,
        most: int = MOST_BYTES,
    ) -> None:
        """`first` is bitset 0; `deltas`: index → xor with the one before; `size` is that of the pool."""
        every = self._every = 1 + length * (size // 8 + 28) // most
        row = accumulate((changes.get(at, 0) for at in range(1, length)), xor, initial=first)
        known: dict[Bits, Bits] = {}  # share equal bitsets
        self._kept = [known.setdefault(one, one) for at, one in enumerate(row) if at % every == 0]
        self._changes: dict[int, Bits | list[int]] = {}
        if every > 1:
            for at, change in changes.items():
                few = change.bit_count() <= _FEW
                self._changes[at] = positions_of(change) if few else change

    @property
    def written_out(self) -> bool:
        return self._every == 1

    def __getitem__(self, at: int) -> Bits:
        if self._every == 1:
            return self._kept[at]
        near = at // self._every
        found = self._kept[near]
        for step in range(near * self._every + 1, at + 1):
            if step in self._changes:
                found ^= self.change(step)
        return found

    def change(self, at: int) -> Bits:
        """Return the xor with the bitset before; not for expanded sequences."""
        change = self._changes.get(at, 0)
        if isinstance(change, int):
            return change
        found = 0
        for position in change:
            found |= 1 << position
        return found


class Changes:
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

    def by_number(self) -> Iterator[tuple[int, Bits]]:
        """Yield (index, xor with the bitset before)."""
        return ((at, bits_of(offers)) for at, offers in self._edges.items())
