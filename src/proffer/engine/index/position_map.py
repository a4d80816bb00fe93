"""A few offers of a pool change places: its sets and lists as they are afterwards."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from proffer.engine.compiled import PlayableOffer
from proffer.engine.index.bitset import Bits, bits_of, without

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Moves:
    """Where offers have gone from, as positions before, and where others have come to, as positions after.

    Both in rising order. All others keep their order.
    """

    gone: tuple[int, ...]
    come: tuple[int, ...]

    @property
    def in_place(self) -> bool:
        """True where all others stay at their positions."""
        return self.gone == self.come

    def bits(self, before: Bits) -> Bits:
        """The set as it is afterwards, without those that have come."""
        if self.gone == self.come:
            return without(before, bits_of(self.gone))
        for position in reversed(self.gone):
            before = before & (1 << position) - 1 | before >> position + 1 << position
        for position in self.come:
            before = before & (1 << position) - 1 | before >> position << position + 1
        return before

    def place(self, before: int) -> int:
        """Where the offer is that was at this position, and has stayed."""
        after = before - bisect_left(self.gone, before)
        for position in self.come:
            if position > after:
                break
            after += 1
        return after

    def listed(self, before: Iterable[T], come: Sequence[T]) -> list[T]:
        """The list as it is afterwards, with what is to be said of those that have come."""
        found = list(before)
        for position in reversed(self.gone):
            del found[position]
        for position, one in zip(self.come, come, strict=True):
            found.insert(position, one)
        return found


def position_of(offers: Sequence[PlayableOffer], place: tuple[int, str]) -> int:
    """Where an offer of this place stands among these, or would."""
    return bisect_left(offers, place, key=_place)


def moved(
    offers: Sequence[PlayableOffer], gone: Iterable[PlayableOffer], come: Iterable[PlayableOffer]
) -> tuple[tuple[PlayableOffer, ...], Moves]:
    """The offers of a pool in order, less some of them and with others; and how they have moved."""
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
