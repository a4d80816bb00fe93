"""Compiler and cache of pools; decisions with the same sources share one pool."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeVar

from proffer.engine.compile.candidates import (
    CandidateCache,
    FormulaOf,
    PlacementCandidates,
    compile_candidates,
    update_candidates,
)
from proffer.engine.compile.collections import OfferRegistry, OfferSource
from proffer.engine.compiled import BoundFormula, BoundOffer, sort_key
from proffer.engine.formula_table import OfferTermCache, OfferTerms
from proffer.engine.index.bitset import Bits, bits_of
from proffer.engine.index.incremental import MAX_CHANGES, IndexDelta, overlay, patch_pool
from proffer.engine.index.pool import (
    DEFAULT_TUNING,
    IndexTuning,
    Pool,
    build_ordered_pool,
    build_pool,
)
from proffer.engine.index.position_map import PositionChanges, position_of
from proffer.engine.snapshot import Exclusion
from proffer.model.decision import Criterion, Decision
from proffer.model.lifecycle import OfferStatus
from proffer.model.placement import Placement

T = TypeVar("T")

_STEP = 1_024


def source_of(criterion: Criterion) -> OfferSource:
    return criterion.options if criterion.collection is None else criterion.collection


@dataclass(slots=True)
class PoolEntry:
    """One cached pool and the data derived from it.

    `member_bits`: source → approved members, if there are several sources; `unapproved`: source → other
    members by id. `exclusions` are by (source, placement id). `tables`: (formula id, own_only) → terms;
    own_only tables cover only offers whose own ranking uses the formula.
    """

    pool: Pool
    index_delta: IndexDelta
    member_bits: dict[OfferSource, Bits]
    unapproved: dict[OfferSource, dict[str, BoundOffer]]
    candidates_by_placement: dict[str, PlacementCandidates] = field(default_factory=dict)
    exclusions: dict[tuple[OfferSource, str], tuple[Exclusion, ...]] = field(default_factory=dict)
    tables: dict[tuple[str, bool], OfferTerms] = field(default_factory=dict)


class PoolCompiler:
    """All pools of one container. Each is updated at most once per build."""

    def __init__(self, offers: OfferRegistry, formula_of: FormulaOf, tuning: IndexTuning = DEFAULT_TUNING) -> None:
        self._offers = offers
        self._formula_of = formula_of
        self._tuning = tuning
        self._placements: dict[str, Placement] = {}  # with cached candidates
        self._entries: dict[frozenset[OfferSource], PoolEntry] = {}
        self._sources_by_decision: dict[str, frozenset[OfferSource]] = {}  # decision id -> key of its pool
        self._current_keys: set[frozenset[OfferSource]] = set()
        self._is_building = False
        self._candidate_caches: dict[str, CandidateCache] = {}
        self._term_caches: dict[str, OfferTermCache] = {}

    @property
    def is_empty(self) -> bool:
        """True if nothing is cached."""
        caches = (
            self._placements,
            self._entries,
            self._sources_by_decision,
            self._current_keys,
            self._candidate_caches,
            self._term_caches,
        )
        return not any(caches)

    def begin_build(self) -> None:
        """Begin a build: offers, formulas and placements may have changed."""
        self._is_building = True
        self._current_keys.clear()

    def end_build(self) -> None:
        """End a build: drop unused pools, and the candidates and exclusions of small ones."""
        used_keys = set(self._sources_by_decision.values())
        for key in [key for key in self._entries if key not in used_keys]:
            del self._entries[key]
        for key in self._current_keys & used_keys:
            entry = self._entries[key]
            if len(entry.pool.offers) < self._tuning.min_cached_offers:
                entry.candidates_by_placement.clear()
                entry.exclusions.clear()
        self._current_keys.clear()
        self._is_building = False

    def changed_offer_count(self) -> int:
        """Return the largest number of unindexed, changed offers in one pool."""
        return max((len(entry.index_delta.changes) for entry in self._entries.values()), default=0)

    def reindex_in_background(self) -> Generator[None, None, None]:
        """Rebuild the indexes of patched pools in short steps; builds may run in between.

        Pools in use get the new, equivalent indexes.
        """
        for key, entry in list(self._entries.items()):
            if not entry.index_delta.changes:
                continue
            old_changes = dict(entry.index_delta.changes)
            new_pool = yield from build_ordered_pool(entry.pool.offers, self._tuning)
            while self._is_building:
                yield
            if self._entries.get(key) is entry:
                index_delta = entry.index_delta = entry.index_delta.rebased(new_pool, old_changes)
                pool = entry.pool
                pool.replace_index(*overlay(index_delta, pool.offers))
            yield

    def release(self, decision: str) -> None:
        """Note that the decision no longer uses its pool."""
        self._sources_by_decision.pop(decision, None)

    def forget_offer(self, offer: str) -> None:
        for candidate_cache in self._candidate_caches.values():
            candidate_cache.forget(offer)
        for term_cache in self._term_caches.values():
            term_cache.forget(offer)

    def forget_formula(self, formula: str) -> None:
        """Drop cached data of a formula that was added, changed or deleted."""
        self._term_caches.pop(formula, None)
        for entry in self._entries.values():
            for own_only in (False, True):
                entry.tables.pop((formula, own_only), None)
            for placement, candidates in list(entry.candidates_by_placement.items()):
                if candidates.own_formula_bits or candidates.formula_diagnostics:
                    entry.candidates_by_placement.pop(placement)
                    _clear_exclusions(entry, placement)  # it is not updated without candidates

    def forget_placement(self, placement: str) -> None:
        self._candidate_caches.pop(placement, None)
        if self._placements.pop(placement, None) is not None:
            for entry in self._entries.values():
                entry.candidates_by_placement.pop(placement, None)
                _clear_exclusions(entry, placement)

    def entry_for(self, decision: Decision) -> Generator[None, None, PoolEntry]:
        """Return the pool entry for the sources of a decision's criteria."""
        key = frozenset(map(source_of, decision.criteria))
        self._sources_by_decision[decision.id] = key
        entry = self._entries.get(key)
        if entry is not None and key in self._current_keys:
            return entry
        if entry is None or not (yield from self._try_incremental_update(key, entry)):
            entry = self._entries[key] = yield from self._build_entry(key, entry)
        self._current_keys.add(key)
        return entry

    def _build_entry(self, key: frozenset[OfferSource], old: PoolEntry | None) -> Generator[None, None, PoolEntry]:
        """Build an entry from its members; an equivalent index of the old pool is reused."""
        bound_by_id: dict[str, BoundOffer] = {}
        members: dict[OfferSource, list[BoundOffer]] = {}
        for source in key:
            source_members = members[source] = yield from _collect_in_steps(self._offers.members(source))
            for start in range(0, len(source_members), _STEP):
                bound_by_id.update(
                    (bound_offer.offer.id, bound_offer) for bound_offer in source_members[start : start + _STEP]
                )
                yield
        # List the offers of the old pool first: they are nearly sorted already.
        old_offers = old.pool.offers if old is not None else ()
        ordered_ids = yield from _collect_in_steps(
            offer_id
            for offer_id in (*(bound_offer.offer.id for bound_offer in old_offers), *bound_by_id)
            if offer_id in bound_by_id
        )
        yield
        approved = yield from _collect_in_steps(
            bound_offer for offer_id in dict.fromkeys(ordered_ids) if _is_approved(bound_offer := bound_by_id[offer_id])
        )
        old_pool = old.pool if old is not None and not old.index_delta.changes else None
        pool = yield from build_pool(approved, self._tuning, old_pool)
        member_bits: dict[OfferSource, Bits] = {}
        for source in key if len(key) > 1 else ():
            ids = {bound_offer.offer.id for bound_offer in members[source]}
            yield
            member_bits[source] = bits_of(
                at for at, bound_offer in enumerate(pool.offers) if bound_offer.offer.id in ids
            )
            yield
        unapproved: dict[OfferSource, dict[str, BoundOffer]] = {}
        for source in key:
            source_unapproved = yield from _collect_in_steps(
                bound_offer for bound_offer in members[source] if not _is_approved(bound_offer)
            )
            unapproved[source] = {bound_offer.offer.id: bound_offer for bound_offer in source_unapproved}
        return PoolEntry(pool, IndexDelta(pool), member_bits, unapproved)

    def _try_incremental_update(self, key: frozenset[OfferSource], entry: PoolEntry) -> Generator[None, None, bool]:
        """Apply the offers changed since the last build; False if a full build is needed."""
        changed = self._offers.changed_offers()
        if len(changed) > MAX_CHANGES or any(map(self._offers.is_changed, key)):
            return False
        removed: list[BoundOffer] = []
        added: list[tuple[BoundOffer, list[OfferSource]]] = []
        for offer_id, old in changed.items():
            old_sources = self._sources_of(old, key)
            new = self._offers.get(offer_id)
            new_sources = self._sources_of(new, key)
            if old is not None and old_sources and _is_approved(old):
                removed.append(old)
            elif old_sources:
                _update_unapproved(entry, old_sources, offer_id, None)
            if new is not None and new_sources and _is_approved(new):
                added.append((new, new_sources))
            elif new_sources:
                _update_unapproved(entry, new_sources, offer_id, new)
        if not removed and not added:
            return True
        size = len(entry.pool.offers)
        if min(size, size - len(removed) + len(added)) < self._tuning.min_array_offers:
            return False
        result = yield from patch_pool(
            entry.pool, entry.index_delta, removed, [bound_offer for bound_offer, _ in added]
        )
        if result is None:
            return False
        yield from self._apply_position_changes(entry, *result, added)
        return True

    def _sources_of(self, bound_offer: BoundOffer | None, sources: Iterable[OfferSource]) -> list[OfferSource]:
        """Return those of the sources that contain the offer."""
        if bound_offer is None:
            return []
        return [source for source in sources if self._offers.is_member(bound_offer.offer, source)]

    def _apply_position_changes(
        self,
        entry: PoolEntry,
        pool: Pool,
        changes: PositionChanges,
        added: Iterable[tuple[BoundOffer, list[OfferSource]]],
    ) -> Generator[None, None, None]:
        """Apply position changes to all data derived from the pool."""
        for source, bits in entry.member_bits.items():
            entry.member_bits[source] = changes.remap_bits(bits)
        for bound_offer, sources in added if entry.member_bits else ():
            for source in sources:
                entry.member_bits[source] |= 1 << position_of(pool.offers, bound_offer.sort_key)
        for key, candidates in entry.candidates_by_placement.items():
            placement, cache = self._placements[key], self._candidate_caches[key]
            updated = yield from update_candidates(candidates, pool, changes, placement, cache, self._formula_of)
            if updated.exclusions is not candidates.exclusions:
                _clear_exclusions(entry, key)
            entry.candidates_by_placement[key] = updated
        entry.tables = {
            key: replace(table, pool=pool)
            for key, table in entry.tables.items()
            if changes.keeps_positions and self._is_table_valid(table, changes, pool, own_only=key[1])
        }
        entry.pool = pool

    def _is_table_valid(self, table: OfferTerms, changes: PositionChanges, pool: Pool, *, own_only: bool) -> bool:
        """Return whether the table's rows are valid for the inserted offers too."""
        term_cache = self._term_caches.get(table.formula.id)
        if term_cache is None or term_cache.formula is not table.formula:
            return False
        for position in changes.inserted:
            offer = pool.offers[position].offer
            if (position in table.rows) != (not own_only or offer.ranking.reference == table.formula.id):
                return False
            # 1 == 1.0 == True, but their representations differ.
            if position in table.rows and repr(term_cache.get(offer)) != repr(table.rows[position]):
                return False
        return True

    def member_bits(self, entry: PoolEntry, source: OfferSource) -> Bits:
        """Return the approved members of a source as a bitset."""
        if not entry.member_bits:
            return (1 << len(entry.pool.offers)) - 1
        return entry.member_bits[source]

    def candidates(self, entry: PoolEntry, placement: Placement) -> Generator[None, None, PlacementCandidates]:
        """Return the candidates of a pool in a placement."""
        candidates = entry.candidates_by_placement.get(placement.id)
        if candidates is None:
            self._placements[placement.id] = placement
            cache = self._candidate_caches.setdefault(placement.id, CandidateCache())
            candidates = yield from compile_candidates(entry.pool, placement, cache, self._formula_of)
            entry.candidates_by_placement[placement.id] = candidates
        return candidates

    def tables(
        self, entry: PoolEntry, candidates: PlacementCandidates, formula: BoundFormula | None
    ) -> Generator[None, None, tuple[OfferTerms, ...]]:
        """Return the terms of the criterion's formula, else of own formulas."""
        all_positions = range(len(entry.pool.offers))
        if formula is not None:
            table = yield from self._get_table(entry, formula, all_positions, own_only=False)
            return () if table is None else (table,)
        formula_by_id: dict[str, BoundFormula] = {}
        positions_by_formula: dict[str, list[int]] = {}
        for position in entry.pool.positions(candidates.own_formula_bits):
            candidate = candidates.candidates_by_position[position]
            if candidate is not None and candidate.formula is not None:
                formula_by_id[candidate.formula.id] = candidate.formula
        yield
        for position in all_positions if formula_by_id else ():
            reference = entry.pool.offers[position].offer.ranking.reference
            if reference in formula_by_id:
                positions_by_formula.setdefault(reference, []).append(position)
        yield
        tables: list[OfferTerms] = []
        for key, own_formula in formula_by_id.items():
            table = yield from self._get_table(entry, own_formula, positions_by_formula[key], own_only=True)
            tables += [] if table is None else [table]
        return tuple(tables)

    def _get_table(
        self, entry: PoolEntry, formula: BoundFormula, positions: Sequence[int], *, own_only: bool
    ) -> Generator[None, None, OfferTerms | None]:
        if formula.compiled is None:
            return None
        table = entry.tables.get((formula.id, own_only))
        if table is None or table.formula is not formula:
            term_cache = self._term_caches.get(formula.id)
            if term_cache is None or term_cache.formula is not formula:
                term_cache = self._term_caches[formula.id] = OfferTermCache(formula)
            table = yield from term_cache.build_terms(entry.pool, bits_of(positions), positions)
            entry.tables[formula.id, own_only] = table
        return table

    def exclusions(self, entry: PoolEntry, source: OfferSource, placement: Placement) -> tuple[Exclusion, ...]:
        """Return the statically excluded members of a source, by id; call `candidates` first."""
        exclusions = entry.exclusions.get((source, placement.id))
        if exclusions is None:
            offers, member_bits = entry.pool.offers, entry.member_bits.get(source)
            unsorted = [
                exclusion
                for exclusion in entry.candidates_by_placement[placement.id].exclusions.values()
                if member_bits is None or member_bits >> position_of(offers, sort_key(exclusion.offer)) & 1
            ]
            cache = self._candidate_caches[placement.id]
            unapproved = entry.unapproved[source].values()
            unsorted += [
                static_exclusion
                for bound_offer in unapproved
                if (static_exclusion := cache.get(bound_offer, placement).exclusion) is not None
            ]
            exclusions = tuple(sorted(unsorted, key=lambda exclusion: exclusion.offer.id))
            entry.exclusions[source, placement.id] = exclusions
        return exclusions


def _is_approved(bound_offer: BoundOffer) -> bool:
    return bound_offer.offer.status is OfferStatus.APPROVED


def _update_unapproved(
    entry: PoolEntry, sources: Iterable[OfferSource], offer_id: str, bound_offer: BoundOffer | None
) -> None:
    """Set or, if None, delete the offer among the sources' unapproved members."""
    for source in sources:
        if bound_offer is None:
            del entry.unapproved[source][offer_id]
        else:
            entry.unapproved[source][offer_id] = bound_offer
    entry.exclusions.clear()


def _clear_exclusions(entry: PoolEntry, placement: str) -> None:
    for key in [key for key in entry.exclusions if key[1] == placement]:
        del entry.exclusions[key]


def _collect_in_steps(items: Iterable[T]) -> Generator[None, None, list[T]]:
    """Collect the items of an iterable in short steps."""
    iterator = iter(items)
    collected: list[T] = []
    while chunk := list(islice(iterator, _STEP)):
        collected += chunk
        yield
    return collected
