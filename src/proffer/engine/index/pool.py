"""Pools: offers sorted by priority and indexed, shared by decisions with the same sources."""

from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import is_
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
    """Size thresholds; they affect speed only, never results.

    `max_whole_rules`: pools up to this size evaluate rules whole. `min_composite_offers`: see
    `build_index`. `min_array_offers`: pools of this size have `PoolArrays`, used for sets of more than
    `max_scalar_offers`. `min_cached_offers`: pools of this size keep build data between builds.
    """

    handful: int = 16
    worth: int = 4
    many: int = 64
    few: int = 20
    large: int = 1_024


SIZES = Sizes()


_HEAD = 512
"""Minimum number of offers in `Pool.top_offers`, which always ends at a priority level."""


@dataclass(slots=True, kw_only=True, eq=False)
class Pool:
    """Approved offers by priority, highest first, then id; positions are the bits of all bitsets.

    `levels` are the positions at which the priority changes; `top_offers` the offers of the first
    levels. `id_hashes` and `priorities` are by position. `capped` are the offers with limits. Only
    `replace_index` changes a pool, and it does not change its results.
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
        """Replace index and calendar by equivalent, faster ones."""
        self.index, self.calendar = index, calendar

    def positions(self, offers: Bits) -> list[int]:
        """Return the positions in a set, in order."""
        if self.bulk is None or offers.bit_count() <= self.few:
            return positions_of(offers)
        return self.bulk.positions(offers)

    def ids(self, offers: Bits) -> list[str]:
        """Return the ids of the offers in a set."""
        return [self.offers[position].offer.id for position in self.positions(offers)]

    def without(self, offers: Bits, positions: Sequence[int]) -> Bits:
        """Return a set without some positions."""
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
        """Yield positions by priority, ties by seeded random key (R17).

        Ties are broken lazily, level by level; with `order_all` all at once, which is faster if most
        positions are consumed. `tie_orders` caches the orders of this seed for later subsets.
        """
        if all_of_them and self.bulk is not None and offers.bit_count() > self.few:
            return iter(self.bulk.in_order(offers, seed))
        return self._level_by_level(offers, seed, drawn)

    def _level_by_level(self, offers: Bits, seed: int, drawn: "Drawn | None") -> Iterator[int]:
        # The first levels are usually enough, and operations on short bitsets are faster.
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
        """Return the tie order of one level, cached if possible."""
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
    """Return the bitset of the first levels with at least `_TOP_OFFERS` offers."""
    return (1 << next((at for at in levels if at >= _HEAD), size)) - 1


Drawn = dict[tuple[Pool, int], tuple[int, Bits, list[int]]]
"""(pool, priority level) → (first position, bitset of tied offers from there, their order)."""


def pool_of(
    offers: Sequence[PlayableOffer], sizes: Sizes = SIZES, before: Pool | None = None
) -> Generator[None, None, Pool]:
    """Build a pool in short steps; faster if the offers are nearly sorted.

    The index of `before` is reused if only names or content of offers differ.
    """
    ordered = tuple(sorted(offers, key=lambda one: one.place))
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
    """Build a pool of sorted offers in short steps."""
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
    """Return whether the old offers' index is valid for the new."""
    return len(before) == len(after) and all(
        asks_the_same(one, other)
        for one, other in zip(before, after, strict=True)
        if one is not other
    )


def asks_the_same(one: PlayableOffer, other: PlayableOffer) -> bool:
    """Return whether both have the same sort key, hash, window and constraint."""
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
