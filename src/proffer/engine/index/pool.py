"""The offers that one decision, or many alike, choose from: in the order of their priorities, and indexed."""

from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter, is_
from typing import TYPE_CHECKING

from proffer.engine.compiled import BoundConstraint, PlayableOffer
from proffer.engine.index.bitset import Bits, bits_of, positions_of, without
from proffer.engine.index.date_windows import Calendar, calendar_of
from proffer.engine.index.index import Index, index_of
from proffer.engine.index.tie_break import by_lot

if TYPE_CHECKING:
    from proffer.engine.index.arrays import Bulk


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Which way is the better one, by size. Whatever is chosen, the answers are the same.

    Rules of up to a `handful` of offers are asked one by one: to take them apart costs more than it
    gives. From `many` offers on arrays are kept, and used for sets of more than a `few`. A table is made
    of tests that are no conditions on a path where it is `worth` it: for so many offers. Of `large` pools
    everything is kept that building needs: smaller ones are soon made again.
    """

    handful: int = 16
    worth: int = 4
    many: int = 64
    few: int = 20
    large: int = 1_024


SIZES = Sizes()


_HEAD = 512
"""At least so many offers, with all that have the priority of the last of them, are looked at before others."""


@dataclass(slots=True, kw_only=True, eq=False)
class Pool:
    """Approved offers, highest priority first, equals by id: their positions are the bits of every set.

    `levels` are the positions at which another priority begins; `head` are the offers of the first few.
    `draws` are the numbers that lots are made from, and `priorities` the priorities, by position.
    `capped` are the offers with limits. Only `renew` changes a pool, and its answers stay the same.
    """

    offers: tuple[PlayableOffer, ...]
    index: Index
    calendar: Calendar
    levels: tuple[int, ...]
    head: Bits
    draws: Sequence[int] = field(repr=False)
    priorities: Sequence[int] = field(repr=False)
    capped: Bits
    bulk: "Bulk | None"
    few: int

    def renew(self, index: Index, calendar: Calendar) -> None:
        """Replace the index and the calendar by others of the same offers, which answer alike and faster."""
        self.index, self.calendar = index, calendar

    def positions(self, offers: Bits) -> list[int]:
        """The positions in a set, in order."""
        if self.bulk is None or offers.bit_count() <= self.few:
            return positions_of(offers)
        return self.bulk.positions(offers)

    def ids(self, offers: Bits) -> list[str]:
        """The ids of the offers in a set."""
        return [self.offers[position].offer.id for position in self.positions(offers)]

    def without(self, offers: Bits, positions: Sequence[int]) -> Bits:
        """A set less some positions."""
        if self.bulk is not None and len(positions) > self.few:
            return self.bulk.without(offers, positions)
        gone = 0
        for position in positions:
            gone |= 1 << position
        return without(offers, gone)

    def best_first(
        self,
        offers: Bits,
        seed: int,
        *,
        all_of_them: bool = False,
        drawn: "Drawn | None" = None,
    ) -> Iterator[int]:
        """The positions in a set by priority, equals by lot (R17). Lots are drawn for those asked for only.

        With `all_of_them`, all are ordered at once: better if most of them will be asked for. `drawn`
        remembers the lots of this seed, for those who ask again with fewer offers.
        """
        if all_of_them and self.bulk is not None and offers.bit_count() > self.few:
            return iter(self.bulk.in_order(offers, seed))
        return self._level_by_level(offers, seed, drawn)

    def _level_by_level(self, offers: Bits, seed: int, drawn: "Drawn | None") -> Iterator[int]:
        # The first levels are mostly enough, and among few bits everything takes less.
        levels = self.levels
        whole: Bits | None = offers
        offers &= self.head
        while True:
            while offers:
                first = (offers & -offers).bit_length() - 1
                level = bisect_right(levels, first)
                if level < len(levels):
                    end = levels[level]
                    beyond = offers >> end
                    equals = (offers ^ beyond << end) >> first
                    offers = beyond << end
                else:
                    equals, offers = offers >> first, 0
                if equals == 1:
                    yield first
                elif drawn is None:
                    yield from self._by_lot(equals, first, seed)
                else:
                    yield from self._by_lot_again(equals, first, seed, drawn, level)
            if whole is None:
                return
            offers, whole = without(whole, self.head), None

    def _by_lot_again(
        self, equals: Bits, first: int, seed: int, drawn: "Drawn", level: int
    ) -> list[int]:
        """Those of one level by lot, as they were drawn before if all of them were."""
        known = drawn.get((self, level))
        if known is not None:
            since, before, order = known
            if first >= since and not equals << (first - since) & ~before:
                return [at for at in order if at >= first and equals >> (at - first) & 1]
        order = self._by_lot(equals, first, seed)
        drawn[self, level] = (first, equals, order)
        return order

    def _by_lot(self, equals: Bits, first: int, seed: int) -> list[int]:
        if self.bulk is not None and equals.bit_count() > self.few:
            return self.bulk.by_lot(equals, first, seed)
        return by_lot(seed, equals, first, self.draws)


def head_of(levels: Sequence[int], size: int) -> Bits:
    """The offers of the first levels, so many of them that they are enough for most."""
    return (1 << next((at for at in levels if at >= _HEAD), size)) - 1


Drawn = dict[tuple[Pool, int], tuple[int, Bits, list[int]]]
"""By pool and level: the first position of those lots were drawn for, which they are from there on, and their order."""


def pool_of(
    offers: Sequence[PlayableOffer], sizes: Sizes = SIZES, before: Pool | None = None
) -> Generator[None, None, Pool]:
    """A pool of these offers, made in short steps; soonest where most of them are in order already.

    Where all that has changed since the pool `before` is what its offers say and show, its index serves on.
    """
    ordered = tuple(sorted(offers, key=attrgetter("place")))
    yield
    if before is not None and _ask_the_same(before.offers, ordered):
        yield
        capped = bits_of(at for at, one in enumerate(ordered) if one.offer.caps)
        yield
        return replace(
            before, offers=ordered, index=replace(before.index, offers=ordered), capped=capped
        )
    return (yield from pool_in_order(ordered, sizes))


def pool_in_order(offers: tuple[PlayableOffer, ...], sizes: Sizes) -> Generator[None, None, Pool]:
    """A pool of these offers, which are in order already, made in short steps."""
    index = yield from index_of(offers, apart=len(offers) > sizes.handful, worth=sizes.worth)
    yield
    places = [one.place[0] for one in offers]
    yield
    levels = [at for at in range(1, len(places)) if places[at] != places[at - 1]]
    yield
    calendar = yield from calendar_of([one.offer.window for one in offers])
    yield
    draws = tuple([one.draw for one in offers])
    yield
    bulk: Bulk | None = None
    if offers and len(offers) >= sizes.many:
        from proffer.engine.index.arrays import Bulk as Arrays

        bulk = Arrays(draws, levels)
        yield
    capped = bits_of(at for at, one in enumerate(offers) if one.offer.caps)
    yield
    return Pool(
        offers=offers,
        index=index,
        calendar=calendar,
        levels=tuple(levels),
        head=head_of(levels, len(offers)),
        draws=draws,
        priorities=tuple([-place for place in places]),
        capped=capped,
        bulk=bulk,
        few=sizes.few,
    )


def _ask_the_same(before: Sequence[PlayableOffer], after: Sequence[PlayableOffer]) -> bool:
    """Whether an index of the ones is one of the others."""
    return len(before) == len(after) and all(
        asks_the_same(one, other)
        for one, other in zip(before, after, strict=True)
        if one is not other
    )


def asks_the_same(one: PlayableOffer, other: PlayableOffer) -> bool:
    """Whether both stand in the same place, have the same window, and ask the same of a customer."""
    return (
        one.place == other.place
        and one.draw == other.draw
        and one.offer.window == other.offer.window
        and _same_constraint(one.constraint, other.constraint)
    )


def _same_constraint(one: BoundConstraint | None, other: BoundConstraint | None) -> bool:
    if one is None or other is None:
        return one is other
    return (
        one.declared == other.declared
        and one.missing == other.missing
        and len(one.rules) == len(other.rules)
        and all(map(is_, one.rules, other.rules))
    )
