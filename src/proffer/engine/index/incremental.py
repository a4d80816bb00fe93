"""Incremental update of a pool after few changes (an LSM-style delta).

The old index and calendar stay in use: their results are remapped to the new positions, and changed
offers are evaluated one by one.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from proffer.engine.compiled import RULE_TYPES, BoundConstraint, BoundOffer
from proffer.engine.index.audiences import qualifies
from proffer.engine.index.bitset import Bits
from proffer.engine.index.date_windows import FOREVER, Calendar
from proffer.engine.index.index import ONE_OFFER, PER_OFFER, PredicateIndex
from proffer.engine.index.pool import Pool, is_index_equivalent, top_offers_of
from proffer.engine.index.position_map import PositionChanges, apply_changes, position_of
from proffer.pql import Environment
from proffer.pql.syntax.nodes import Node

MAX_CHANGES = 8
"""Maximum number of changed offers; beyond it the index is rebuilt, as each slows every request."""

OfferChange: TypeAlias = tuple[BoundOffer | None, BoundOffer | None]
"""(indexed version, current version) of an offer; None where it does not exist."""
_NO_CHANGE: OfferChange = (None, None)


@dataclass(slots=True)
class IndexDelta:
    """The pool an index was built from, plus the offers changed since: id → (old, new)."""

    pool: Pool
    changes: dict[str, OfferChange] = field(default_factory=dict)

    def record(self, removed: Iterable[BoundOffer], added: Iterable[BoundOffer]) -> None:
        """Record removed offers, then added ones."""
        for bound_offer in removed:
            old, _ = self.changes.get(bound_offer.offer.id, (bound_offer, None))
            self.changes[bound_offer.offer.id] = (old, None)
        for bound_offer in added:
            old, _ = self.changes.get(bound_offer.offer.id, (None, None))
            self.changes[bound_offer.offer.id] = (old, bound_offer)
        changed = self.changes.items()
        self.changes = {key: change for key, change in changed if not _is_index_valid(*change)}

    def rebased(self, new_pool: Pool, old_changes: Mapping[str, OfferChange]) -> "IndexDelta":
        """Return the delta to a new pool built at `old_changes`."""
        delta = IndexDelta(new_pool)
        for key in self.changes.keys() | old_changes.keys():
            old, new = old_changes.get(key), self.changes.get(key)
            if old is not new:
                # An offer without a change is equivalent to its indexed version.
                indexed = (old or new or _NO_CHANGE)[0]
                change = (indexed if old is None else old[1], indexed if new is None else new[1])
                if not _is_index_valid(*change):
                    delta.changes[key] = change
        return delta


def patch_pool(
    pool: Pool, index_delta: IndexDelta, removed: Sequence[BoundOffer], added: Sequence[BoundOffer]
) -> Generator[None, None, tuple[Pool, PositionChanges] | None]:
    """Return the updated pool and its position changes, in short steps.

    None if the pool should be rebuilt. `index_delta` is updated.
    """
    index_delta.record(removed, added)
    if len(index_delta.changes) > MAX_CHANGES:
        return None
    offers, changes = apply_changes(pool.offers, removed, added)
    yield
    index, calendar = overlay(index_delta, offers)
    yield
    capped = changes.remap_bits(pool.capped)
    for position in changes.inserted:
        if offers[position].offer.caps:
            capped |= 1 << position
    levels, id_hashes, priorities, arrays = (
        pool.levels,
        pool.id_hashes,
        pool.priorities,
        pool.arrays,
    )
    if not (changes.keeps_positions and all(map(_has_same_tie_order, removed, added))):
        levels = _updated_levels(pool.levels, changes, offers)
        added_hashes = [offers[position].id_hash for position in changes.inserted]
        id_hashes = tuple(changes.remap_list(pool.id_hashes, added_hashes))
        priorities = tuple(
            changes.remap_list(pool.priorities, [offers[position].offer.priority for position in changes.inserted])
        )
        yield
        arrays = None if arrays is None else arrays.with_changes(changes, added_hashes, levels)
    # Construct it instead of calling replace(), so that a new field cannot be forgotten.
    updated = Pool(
        offers=offers,
        index=index,
        calendar=calendar,
        levels=levels,
        top_offers=top_offers_of(levels, len(offers)),
        id_hashes=id_hashes,
        priorities=priorities,
        capped=capped,
        arrays=arrays,
        max_scalar_offers=pool.max_scalar_offers,
    )
    if not index_delta.changes:
        index_delta.pool = updated
    return updated, changes


def overlay(index_delta: IndexDelta, offers: Sequence[BoundOffer]) -> tuple[PredicateIndex, Calendar]:
    """Return the base's index and calendar as seen through its changes."""
    index, calendar = index_delta.pool.index, index_delta.pool.calendar
    offer_changes = index_delta.changes.values()
    if not offer_changes:
        return replace(index, offers=offers), calendar
    removed = sorted(
        position_of(index_delta.pool.offers, bound_offer.sort_key)
        for bound_offer, _ in offer_changes
        if bound_offer is not None
    )
    added = sorted(
        position_of(offers, bound_offer.sort_key) for _, bound_offer in offer_changes if bound_offer is not None
    )
    position_changes = PositionChanges(tuple(removed), tuple(added))
    return _OverlayIndex.create(index, position_changes, offers), _OverlayCalendar(calendar, position_changes, offers)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _OverlayIndex(PredicateIndex):
    """Overlay over `base` with remapped positions; offers in `added` are evaluated whole."""

    base: PredicateIndex
    added: Bits
    changes: PositionChanges

    @staticmethod
    def create(base: PredicateIndex, changes: PositionChanges, offers: Sequence[BoundOffer]) -> "_OverlayIndex":
        added, residual = 0, 0
        residuals = list(base.residuals)
        numbers = []
        for position in changes.inserted:
            constraint = offers[position].constraint
            numbers.append(len(residuals))
            if constraint is None:
                added |= 1 << position
            elif constraint.type not in RULE_TYPES or constraint.conjunction is not None:
                added |= 1 << position
                residual |= 1 << position
                residuals.append(
                    (
                        _constraint_evaluator(constraint),
                        PER_OFFER if constraint.per_offer else ONE_OFFER,
                    )
                )
        return _OverlayIndex(
            offers=offers,
            possible=changes.remap_bits(base.possible) | added,
            audiences=base.audiences,
            field_lookup=base.field_lookup,
            composites=base.composites,
            residual=changes.remap_bits(base.residual) | residual,
            residuals=tuple(residuals),
            residual_at=changes.remap_list(base.residual_at, numbers),
            base=base,
            added=added,
            changes=changes,
        )

    def lookup(self, environment: Environment) -> Bits:
        return self.changes.remap_bits(self.base.lookup(environment)) | self.added

    def lookup_by_subject(self, value_of: Callable[[str, Node], Any]) -> tuple[Bits, dict[str, Bits]]:
        covered, passing = self.base.lookup_by_subject(value_of)
        remap = self.changes.remap_bits
        return remap(covered), {name: remap(offers) for name, offers in passing.items()}


def _constraint_evaluator(constraint: BoundConstraint) -> Callable[[Environment], bool]:
    """Return the constraint as one function."""
    if constraint.type not in RULE_TYPES:
        return lambda environment: qualifies(environment.profile, constraint.declared)
    evaluators = [rule.compiled for rule in constraint.rules if rule.compiled is not None]
    if len(evaluators) == 1:
        return lambda environment: evaluators[0].holds(environment)  # noqa: PLW0108 - loaded on first use
    return lambda environment: all(evaluator.holds(environment) for evaluator in evaluators)


class _OverlayCalendar(Calendar):
    """Overlay over a calendar with remapped positions; windows of inserted offers are checked each."""

    __slots__ = ("_base", "_changes", "_windows")

    def __init__(self, base: Calendar, changes: PositionChanges, offers: Sequence[BoundOffer]) -> None:
        self._base, self._changes = base, changes
        self._windows = [(position, offers[position].offer.window) for position in changes.inserted]
        self._valid_from, self._valid_until, self._open = FOREVER, FOREVER, 0

    def span_at(self, moment_us: int) -> tuple[int, int, Bits]:
        valid_from, valid_until, base_offers = self._base.span_at(moment_us)
        open_offers = self._changes.remap_bits(base_offers)
        for position, window in self._windows:
            if moment_us in window:
                open_offers |= 1 << position
            for start, offset in ((window.start_us, 0), (window.end_us, 1)):
                if start is not None and start + offset <= moment_us:
                    valid_from = max(valid_from, start + offset)
                elif start is not None:
                    valid_until = min(valid_until, start + offset)
        return valid_from, valid_until, open_offers


def _updated_levels(before: Sequence[int], changes: PositionChanges, offers: Sequence[BoundOffer]) -> tuple[int, ...]:
    """Return the positions of priority changes; only neighbours of changes are recomputed."""
    removed = set(changes.removed)
    starts = {changes.remap_position(position) for position in before if position not in removed}
    touched = {
        *changes.inserted,
        *(changes.remap_position(position) for position in changes.removed),
    }
    for index in {*touched, *(start + 1 for start in touched), *(start - 1 for start in touched)}:
        if 0 < index < len(offers) and offers[index].sort_key[0] != offers[index - 1].sort_key[0]:
            starts.add(index)
        else:
            starts.discard(index)
    return tuple(sorted(starts))


def _has_same_tie_order(old: BoundOffer, new: BoundOffer) -> bool:
    return old.sort_key == new.sort_key and old.id_hash == new.id_hash


def _is_index_valid(before: BoundOffer | None, now: BoundOffer | None) -> bool:
    """Return whether index entries of `before` are still valid for `now`."""
    if before is None or now is None:
        return before is now
    return is_index_equivalent(before, now)
