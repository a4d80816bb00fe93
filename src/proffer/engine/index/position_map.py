"""Remapping of bitsets and lists after changes of a pool."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from proffer.engine.compiled import PlayableOffer
from proffer.engine.index.bitset import Bits, bits_of, without

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Moves:
    """Removed (old order) and inserted (new order) positions, both rising."""

    gone: tuple[int, ...]
    come: tuple[int, ...]

    @property
    def in_place(self) -> bool:
        """True if all other offers keep their positions."""
        return self.gone == self.come

    def bits(self, before: Bits) -> Bits:
        """Remap a bitset to the new positions; inserted positions are not set."""
        if self.gone == self.come:
            return without(before, bits_of(self.gone))
        for position in reversed(self.gone):
            before = before & (1 << position) - 1 | before >> position + 1 << position
        for position in self.come:
            before = before & (1 << position) - 1 | before >> position << position + 1
        return before

    def place(self, before: int) -> int:
        """Return the new position of an offer that was not removed."""
        after = before - bisect_left(self.gone, before)
        for position in self.come:
            if position > after:
                break
            after += 1
        return after

    def listed(self, before: Iterable[T], come: Sequence[T]) -> list[T]:
        """Remap a list by position, with these values for inserted offers."""
        found = list(before)
        for position in reversed(self.gone):
            del found[position]
        for position, one in zip(self.come, come, strict=True):
            found.insert(position, one)
        return found


def position_of(offers: Sequence[PlayableOffer], place: tuple[int, str]) -> int:
    """Return the position of a sort key, or its insertion point."""
    return bisect_left(offers, place, key=_place)


def moved(
    offers: Sequence[PlayableOffer], gone: Iterable[PlayableOffer], come: Iterable[PlayableOffer]
) -> tuple[tuple[PlayableOffer, ...], Moves]:
    """Remove and insert offers of a sorted sequence; return it with the position changes."""
    left = sorted(position_of(offers, one.place) for one in gone)
    joined = sorted(come, key=_place)
    staying = list(offers)
    for position in reversed(left):
        del staying[position]
    entered: list[int] = []
    for one in joined:
        position = position_of(staying, one.place)
        staying.insert(position, one)
        entered.append(position)
    return tuple(staying), Moves(tuple(left), tuple(entered))


def _place(playable: PlayableOffer) -> tuple[int, str]:
    return playable.place
