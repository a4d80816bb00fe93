"""Remapping of bitsets and lists after changes of a pool."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from proffer.engine.compiled import BoundOffer
from proffer.engine.index.bitset import Bits, bits_of, without

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PositionChanges:
    """Removed (old order) and inserted (new order) positions, both rising."""

    removed: tuple[int, ...]
    inserted: tuple[int, ...]

    @property
    def keeps_positions(self) -> bool:
        """True if all other offers keep their positions."""
        return self.removed == self.inserted

    def remap_bits(self, before: Bits) -> Bits:
        """Remap a bitset to the new positions; inserted positions are not set."""
        if self.removed == self.inserted:
            return without(before, bits_of(self.removed))
        for position in reversed(self.removed):
            before = before & (1 << position) - 1 | before >> position + 1 << position
        for position in self.inserted:
            before = before & (1 << position) - 1 | before >> position << position + 1
        return before

    def remap_position(self, before: int) -> int:
        """Return the new position of an offer that was not removed."""
        after = before - bisect_left(self.removed, before)
        for position in self.inserted:
            if position > after:
                break
            after += 1
        return after

    def remap_list(self, before: Iterable[T], inserted: Sequence[T]) -> list[T]:
        """Remap a list by position, with these values for inserted offers."""
        result = list(before)
        for position in reversed(self.removed):
            del result[position]
        for position, value in zip(self.inserted, inserted, strict=True):
            result.insert(position, value)
        return result


def position_of(offers: Sequence[BoundOffer], key: tuple[int, str]) -> int:
    """Return the position of a sort key, or its insertion point."""
    return bisect_left(offers, key, key=_sort_key)


def apply_changes(
    offers: Sequence[BoundOffer], removed: Iterable[BoundOffer], added: Iterable[BoundOffer]
) -> tuple[tuple[BoundOffer, ...], PositionChanges]:
    """Remove and insert offers of a sorted sequence; return it with the position changes."""
    removed_positions = sorted(position_of(offers, bound_offer.sort_key) for bound_offer in removed)
    sorted_added = sorted(added, key=_sort_key)
    remaining = list(offers)
    for position in reversed(removed_positions):
        del remaining[position]
    inserted_positions: list[int] = []
    for bound_offer in sorted_added:
        position = position_of(remaining, bound_offer.sort_key)
        remaining.insert(position, bound_offer)
        inserted_positions.append(position)
    return tuple(remaining), PositionChanges(tuple(removed_positions), tuple(inserted_positions))


def _sort_key(bound_offer: BoundOffer) -> tuple[int, str]:
    return bound_offer.sort_key
