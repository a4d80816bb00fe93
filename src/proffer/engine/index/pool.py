"""Pools: offers sorted by priority and indexed, shared by decisions with the same sources."""

from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from operator import is_
from typing import TYPE_CHECKING

from proffer.engine.compiled import BoundConstraint, BoundOffer, BoundRule
from proffer.engine.index.bitset import Bits, bits_of, flags_of, positions_of, without
from proffer.engine.index.date_windows import Calendar, build_calendar
from proffer.engine.index.index import PredicateIndex, build_index
from proffer.engine.index.tie_break import order_ties

if TYPE_CHECKING:
    from proffer.engine.index.arrays import PoolArrays


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexTuning:
    """Size thresholds; they affect speed only, never results.

    `max_whole_rules`: pools up to this size evaluate rules whole. `min_composite_offers`: see
    `build_index`. `min_array_offers`: pools of this size have `PoolArrays`, used for sets of more than
    `max_scalar_offers`. `min_cached_offers`: pools of this size keep build data between builds.
    """

    max_whole_rules: int = 16
    min_composite_offers: int = 4
    min_array_offers: int = 64
    max_scalar_offers: int = 20
    min_cached_offers: int = 1_024


DEFAULT_TUNING = IndexTuning()


_TOP_OFFERS = 512
"""Minimum number of offers in `Pool.top_offers`, which always ends at a priority level."""


@dataclass(slots=True, kw_only=True, eq=False)
class Pool:
    """Approved offers by priority, highest first, then id; positions are the bits of all bitsets.

    `levels` are the positions at which the priority changes; `top_offers` the offers of the first
    levels. `id_hashes` and `priorities` are by position. `capped` are the offers with limits. Only
    `replace_index` changes a pool, and it does not change its results.
    """

    offers: tuple[BoundOffer, ...]
    index: PredicateIndex
    calendar: Calendar
    levels: tuple[int, ...]
    top_offers: Bits
    id_hashes: Sequence[int] = field(repr=False)
    priorities: Sequence[int] = field(repr=False)
    capped: Bits
    arrays: "PoolArrays | None"
    max_scalar_offers: int
    _by_name: tuple[int, ...] | None = field(default=None, init=False, repr=False)
    _single_rules: list[BoundRule | None] | None = field(default=None, init=False, repr=False)

    def positions_by_name(self, offers: Bits) -> list[int]:
        """Return the positions in a set by name, then public id; the order is computed on first use."""
        if self._by_name is None:
            names = [(bound_offer.offer.name, bound_offer.offer.public_id) for bound_offer in self.offers]
            self._by_name = tuple(sorted(range(len(names)), key=names.__getitem__))
        if not offers:
            return []
        return list(compress(self._by_name, map(flags_of(offers, len(self.offers)).__getitem__, self._by_name)))

    @property
    def single_rules(self) -> list[BoundRule | None]:
        """By position, the rule of an offer that has only one, which does not read the offer.

        Computed on first use; None for all other offers.
        """
        if self._single_rules is None:
            self._single_rules = [_single_rule(bound_offer.constraint) for bound_offer in self.offers]
        return self._single_rules

    def replace_index(self, index: PredicateIndex, calendar: Calendar) -> None:
        """Replace index and calendar by equivalent, faster ones."""
        self.index, self.calendar = index, calendar

    def positions(self, offers: Bits) -> list[int]:
        """Return the positions in a set, in order."""
        if self.arrays is None or offers.bit_count() <= self.max_scalar_offers:
            return positions_of(offers)
        return self.arrays.positions(offers)

    def ids(self, offers: Bits) -> list[str]:
        """Return the ids of the offers in a set."""
        return [self.offers[position].offer.id for position in self.positions(offers)]

    def without(self, offers: Bits, positions: Sequence[int]) -> Bits:
        """Return a set without some positions."""
        if self.arrays is not None and len(positions) > self.max_scalar_offers:
            return self.arrays.without(offers, positions)
        removed = 0
        for position in positions:
            removed |= 1 << position
        return without(offers, removed)

    def ranked_positions(
        self,
        offers: Bits,
        seed: int,
        *,
        order_all: bool = False,
        tie_orders: "TieOrderCache | None" = None,
    ) -> Iterator[int]:
        """Yield positions by priority, ties by seeded random key (R17).

        Ties are broken lazily, level by level; with `order_all` all at once, which is faster if most
        positions are consumed. `tie_orders` caches the orders of this seed for later subsets.
        """
        if order_all and self.arrays is not None and offers.bit_count() > self.max_scalar_offers:
            return iter(self.arrays.order_by_level(offers, seed))
        return self._order_by_level(offers, seed, tie_orders)

    def _order_by_level(self, offers: Bits, seed: int, tie_orders: "TieOrderCache | None") -> Iterator[int]:
        # The first levels are usually enough, and operations on short bitsets are faster.
        levels = self.levels
        pending: Bits | None = offers
        offers &= self.top_offers
        while True:
            while offers:
                first = (offers & -offers).bit_length() - 1
                level = bisect_right(levels, first)
                if level < len(levels):
                    end = levels[level]
                    lower = offers >> end
                    ties = (offers ^ lower << end) >> first
                    offers = lower << end
                else:
                    ties, offers = offers >> first, 0
                if ties == 1:
                    yield first
                elif tie_orders is None:
                    yield from self._order_ties(ties, first, seed)
                else:
                    yield from self._cached_tie_order(ties, first, seed, tie_orders, level)
            if pending is None:
                return
            offers, pending = without(pending, self.top_offers), None

    def _cached_tie_order(
        self, ties: Bits, first: int, seed: int, tie_orders: "TieOrderCache", level: int
    ) -> list[int]:
        """Return the tie order of one level, cached if possible."""
        cached = tie_orders.get((self, level))
        if cached is not None:
            cached_first, cached_ties, order = cached
            if first >= cached_first and not ties << (first - cached_first) & ~cached_ties:
                return [position for position in order if position >= first and ties >> (position - first) & 1]
        order = self._order_ties(ties, first, seed)
        tie_orders[self, level] = (first, ties, order)
        return order

    def _order_ties(self, ties: Bits, first: int, seed: int) -> list[int]:
        if self.arrays is not None and ties.bit_count() > self.max_scalar_offers:
            return self.arrays.order_ties(ties, first, seed)
        return order_ties(seed, ties, first, self.id_hashes)


def _single_rule(constraint: BoundConstraint | None) -> BoundRule | None:
    if constraint is None or constraint.per_offer or constraint.missing or len(constraint.rules) != 1:
        return None
    return constraint.rules[0]


def top_offers_of(levels: Sequence[int], size: int) -> Bits:
    """Return the bitset of the first levels with at least `_TOP_OFFERS` offers."""
    return (1 << next((start for start in levels if start >= _TOP_OFFERS), size)) - 1


TieOrderCache = dict[tuple[Pool, int], tuple[int, Bits, list[int]]]
"""(pool, priority level) → (first position, bitset of tied offers from there, their order)."""


def build_pool(
    offers: Sequence[BoundOffer], tuning: IndexTuning = DEFAULT_TUNING, before: Pool | None = None
) -> Generator[None, None, Pool]:
    """Build a pool in short steps; faster if the offers are nearly sorted.

    The index of `before` is reused if only names or content of offers differ.
    """
    ordered = tuple(sorted(offers, key=lambda bound_offer: bound_offer.sort_key))
    yield
    if before is not None and _can_share_index(before.offers, ordered):
        yield
        capped = bits_of(position for position, bound_offer in enumerate(ordered) if bound_offer.offer.caps)
        yield
        return replace(before, offers=ordered, index=replace(before.index, offers=ordered), capped=capped)
    return (yield from build_ordered_pool(ordered, tuning))


def build_ordered_pool(offers: tuple[BoundOffer, ...], tuning: IndexTuning) -> Generator[None, None, Pool]:
    """Build a pool of sorted offers in short steps."""
    index = yield from build_index(
        offers,
        decompose=len(offers) > tuning.max_whole_rules,
        min_offers=tuning.min_composite_offers,
    )
    yield
    negated = [bound_offer.sort_key[0] for bound_offer in offers]
    yield
    levels = [position for position in range(1, len(negated)) if negated[position] != negated[position - 1]]
    yield
    calendar = yield from build_calendar([bound_offer.offer.window for bound_offer in offers])
    yield
    id_hashes = tuple([bound_offer.id_hash for bound_offer in offers])
    yield
    arrays: PoolArrays | None = None
    if offers and len(offers) >= tuning.min_array_offers:
        from proffer.engine.index.arrays import PoolArrays as Arrays

        arrays = Arrays(id_hashes, levels)
        yield
    capped = bits_of(position for position, bound_offer in enumerate(offers) if bound_offer.offer.caps)
    yield
    return Pool(
        offers=offers,
        index=index,
        calendar=calendar,
        levels=tuple(levels),
        top_offers=top_offers_of(levels, len(offers)),
        id_hashes=id_hashes,
        priorities=tuple([-priority for priority in negated]),
        capped=capped,
        arrays=arrays,
        max_scalar_offers=tuning.max_scalar_offers,
    )


def _can_share_index(before: Sequence[BoundOffer], after: Sequence[BoundOffer]) -> bool:
    """Return whether the old offers' index is valid for the new."""
    return len(before) == len(after) and all(
        is_index_equivalent(old, new) for old, new in zip(before, after, strict=True) if old is not new
    )


def is_index_equivalent(old: BoundOffer, new: BoundOffer) -> bool:
    """Return whether both have the same sort key, hash, window and constraint."""
    return (
        old.sort_key == new.sort_key
        and old.id_hash == new.id_hash
        and old.offer.window == new.offer.window
        and _has_same_constraint(old.constraint, new.constraint)
    )


def _has_same_constraint(old: BoundConstraint | None, new: BoundConstraint | None) -> bool:
    if old is None or new is None:
        return old is new
    return (
        old.declared == new.declared
        and old.missing == new.missing
        and len(old.rules) == len(new.rules)
        and all(map(is_, old.rules, new.rules))
    )
