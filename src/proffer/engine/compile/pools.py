"""Compiler and cache of pools; decisions with the same sources share one pool."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeVar

from proffer.engine.compile.candidates import Cast, FormulaOf, Stands, cast_after, cast_of
from proffer.engine.compile.collections import Offers, Source
from proffer.engine.compiled import BoundFormula, PlayableOffer, place_of
from proffer.engine.formula_table import Parts, Table
from proffer.engine.index.bitset import Bits, bits_of
from proffer.engine.index.incremental import MOST, Base, carried_over, patched
from proffer.engine.index.pool import SIZES, Pool, Sizes, pool_in_order, pool_of
from proffer.engine.index.position_map import Moves, position_of
from proffer.engine.snapshot import Barred
from proffer.model.decision import Criterion, Decision
from proffer.model.lifecycle import OfferStatus
from proffer.model.placement import Placement

T = TypeVar("T")

_STEP = 1_024


def source_of(criterion: Criterion) -> Source:
    return criterion.options if criterion.collection is None else criterion.collection


@dataclass(slots=True)
class Field:
    """One cached pool and the data derived from it.

    `member_bits`: source → approved members, if there are several sources; `unapproved`: source → other
    members by id. `exclusions` are by (source, placement id). `tables`: (formula id, own_only) → terms;
    own_only tables cover only offers whose own ranking uses the formula.
    """

    pool: Pool
    base: Base
    among: dict[Source, Bits]
    unapproved: dict[Source, dict[str, PlayableOffer]]
    casts: dict[str, Cast] = field(default_factory=dict)
    barred: dict[tuple[Source, str], tuple[Barred, ...]] = field(default_factory=dict)
    tables: dict[tuple[str, bool], Table] = field(default_factory=dict)


class Pools:
    """All pools of one container. Each is updated at most once per build."""

    def __init__(self, offers: Offers, formula_of: FormulaOf, sizes: Sizes = SIZES) -> None:
        self._offers = offers
        self._formula_of = formula_of
        self._sizes = sizes
        self._placements: dict[str, Placement] = {}  # with cached candidates
        self._fields: dict[frozenset[Source], Field] = {}
        self._used: dict[str, frozenset[Source]] = {}  # decision id -> key of its pool
        self._seen: set[frozenset[Source]] = set()
        self._building = False
        self._stands: dict[str, Stands] = {}
        self._parts: dict[str, Parts] = {}

    @property
    def is_empty(self) -> bool:
        """True if nothing is cached."""
        kept = (self._placements, self._fields, self._used, self._seen, self._stands, self._parts)
        return not any(kept)

    def begin(self) -> None:
        """Begin a build: offers, formulas and placements may have changed."""
        self._building = True
        self._seen.clear()

    def end(self) -> None:
        """End a build: drop unused pools, and the candidates and exclusions of small ones."""
        used = set(self._used.values())
        for key in [key for key in self._fields if key not in used]:
            del self._fields[key]
        for key in self._seen & used:
            field = self._fields[key]
            if len(field.pool.offers) < self._sizes.large:
                field.casts.clear()
                field.barred.clear()
        self._seen.clear()
        self._building = False

    def patches(self) -> int:
        """Return the largest number of unindexed, changed offers in one pool."""
        return max((len(field.base.changed) for field in self._fields.values()), default=0)

    def renewal(self) -> Generator[None, None, None]:
        """Rebuild the indexes of patched pools in short steps; builds may run in between.

        Pools in use get the new, equivalent indexes.
        """
        for key, patched_one in list(self._fields.items()):
            if not patched_one.base.changed:
                continue
            then = dict(patched_one.base.changed)
            fresh = yield from pool_in_order(patched_one.pool.offers, self._sizes)
            while self._building:
                yield
            if self._fields.get(key) is patched_one:
                base = patched_one.base = patched_one.base.after(fresh, then)
                pool = patched_one.pool
                pool.renew(*carried_over(base, pool.offers))
            yield

    def leave(self, decision: str) -> None:
        """Note that the decision no longer uses its pool."""
        self._used.pop(decision, None)

    def forget_offer(self, offer: str) -> None:
        for stands in self._stands.values():
            stands.forget(offer)
        for parts in self._parts.values():
            parts.forget(offer)

    def forget_formula(self, formula: str) -> None:
        """Drop cached data of a formula that was added, changed or deleted."""
        self._parts.pop(formula, None)
        for known in self._fields.values():
            for own in (False, True):
                known.tables.pop((formula, own), None)
            for placement, cast in list(known.casts.items()):
                if cast.by_formula or cast.formula_faults:
                    known.casts.pop(placement)
                    _forget_barred(known, placement)  # it is not updated without candidates

    def forget_placement(self, placement: str) -> None:
        self._stands.pop(placement, None)
        if self._placements.pop(placement, None) is not None:
            for known in self._fields.values():
                known.casts.pop(placement, None)
                _forget_barred(known, placement)

    def of(self, decision: Decision) -> Generator[None, None, Field]:
        """Return the pool entry for the sources of a decision's criteria."""
        key = frozenset(map(source_of, decision.criteria))
        self._used[decision.id] = key
        field = self._fields.get(key)
        if field is not None and key in self._seen:
            return field
        if field is None or not (yield from self._follow(key, field)):
            field = self._fields[key] = yield from self._made(key, field)
        self._seen.add(key)
        return field

    def _made(self, key: frozenset[Source], before: Field | None) -> Generator[None, None, Field]:
        """Build an entry from its members; an equivalent index of the old pool is reused."""
        playable: dict[str, PlayableOffer] = {}
        members: dict[Source, list[PlayableOffer]] = {}
        for source in key:
            found = members[source] = yield from _in_steps(self._offers.members(source))
            for start in range(0, len(found), _STEP):
                playable.update((one.offer.id, one) for one in found[start : start + _STEP])
                yield
        # List the offers of the old pool first: they are nearly sorted already.
        there = before.pool.offers if before is not None else ()
        known = yield from _in_steps(
            offer_id
            for offer_id in (*(one.offer.id for one in there), *playable)
            if offer_id in playable
        )
        yield
        approved = yield from _in_steps(
            one for offer_id in dict.fromkeys(known) if _is_approved(one := playable[offer_id])
        )
        last = before.pool if before is not None and not before.base.changed else None
        pool = yield from pool_of(approved, self._sizes, last)
        among: dict[Source, Bits] = {}
        for source in key if len(key) > 1 else ():
            ids = {one.offer.id for one in members[source]}
            yield
            among[source] = bits_of(at for at, one in enumerate(pool.offers) if one.offer.id in ids)
            yield
        unapproved: dict[Source, dict[str, PlayableOffer]] = {}
        for source in key:
            left_out = yield from _in_steps(one for one in members[source] if not _is_approved(one))
            unapproved[source] = {one.offer.id: one for one in left_out}
        return Field(pool, Base(pool), among, unapproved)

    def _follow(self, key: frozenset[Source], field: Field) -> Generator[None, None, bool]:
        """Apply the offers changed since the last build; False if a full build is needed."""
        changed = self._offers.changed()
        if len(changed) > MOST or any(map(self._offers.is_redefined, key)):
            return False
        gone: list[PlayableOffer] = []
        come: list[tuple[PlayableOffer, list[Source]]] = []
        for offer, before in changed.items():
            left = self._sources_of(before, key)
            now = self._offers.get(offer)
            joined = self._sources_of(now, key)
            if before is not None and left and _is_approved(before):
                gone.append(before)
            elif left:
                _set_aside(field, left, offer, None)
            if now is not None and joined and _is_approved(now):
                come.append((now, joined))
            elif joined:
                _set_aside(field, joined, offer, now)
        if not gone and not come:
            return True
        size = len(field.pool.offers)
        if min(size, size - len(gone) + len(come)) < self._sizes.many:
            return False
        found = yield from patched(field.pool, field.base, gone, [one for one, _ in come])
        if found is None:
            return False
        yield from self._move(field, *found, come)
        return True

    def _sources_of(
        self, playable: PlayableOffer | None, sources: Iterable[Source]
    ) -> list[Source]:
        """Return those of the sources that contain the offer."""
        if playable is None:
            return []
        return [source for source in sources if self._offers.belongs(playable.offer, source)]

    def _move(
        self,
        field: Field,
        pool: Pool,
        moves: Moves,
        come: Iterable[tuple[PlayableOffer, list[Source]]],
    ) -> Generator[None, None, None]:
        """Apply position changes to all data derived from the pool."""
        for source, bits in field.among.items():
            field.among[source] = moves.bits(bits)
        for playable, sources in come if field.among else ():
            for source in sources:
                field.among[source] |= 1 << position_of(pool.offers, playable.place)
        for key, cast in field.casts.items():
            placement, stands = self._placements[key], self._stands[key]
            after = yield from cast_after(cast, pool, moves, placement, stands, self._formula_of)
            if after.barred is not cast.barred:
                _forget_barred(field, key)
            field.casts[key] = after
        field.tables = {
            key: replace(table, pool=pool)
            for key, table in field.tables.items()
            if moves.in_place and self._serves_on(table, moves, pool, own=key[1])
        }
        field.pool = pool

    def _serves_on(self, table: Table, moves: Moves, pool: Pool, *, own: bool) -> bool:
        """Return whether the table's rows are valid for the inserted offers too."""
        parts = self._parts.get(table.formula.id)
        if parts is None or parts.formula is not table.formula:
            return False
        for position in moves.come:
            offer = pool.offers[position].offer
            if (position in table.rows) != (not own or offer.ranking.reference == table.formula.id):
                return False
            # 1 == 1.0 == True, but their representations differ.
            if position in table.rows and repr(parts.of(offer)) != repr(table.rows[position]):
                return False
        return True

    def among(self, field: Field, source: Source) -> Bits:
        """Return the approved members of a source as a bitset."""
        if not field.among:
            return (1 << len(field.pool.offers)) - 1
        return field.among[source]

    def cast(self, field: Field, placement: Placement) -> Generator[None, None, Cast]:
        """Return the candidates of a pool in a placement."""
        known = field.casts.get(placement.id)
        if known is None:
            self._placements[placement.id] = placement
            stands = self._stands.setdefault(placement.id, Stands())
            known = yield from cast_of(field.pool, placement, stands, self._formula_of)
            field.casts[placement.id] = known
        return known

    def tables(
        self, field: Field, cast: Cast, formula: BoundFormula | None
    ) -> Generator[None, None, tuple[Table, ...]]:
        """Return the terms of the criterion's formula, else of own formulas."""
        everyone = range(len(field.pool.offers))
        if formula is not None:
            table = yield from self._table(field, formula, everyone, own=False)
            return () if table is None else (table,)
        by_id: dict[str, BoundFormula] = {}
        positions: dict[str, list[int]] = {}
        for position in field.pool.positions(cast.by_formula):
            candidate = cast.stand[position]
            if candidate is not None and candidate.formula is not None:
                by_id[candidate.formula.id] = candidate.formula
        yield
        for position in everyone if by_id else ():
            reference = field.pool.offers[position].offer.ranking.reference
            if reference in by_id:
                positions.setdefault(reference, []).append(position)
        yield
        found: list[Table] = []
        for key, own in by_id.items():
            table = yield from self._table(field, own, positions[key], own=True)
            found += [] if table is None else [table]
        return tuple(found)

    def _table(
        self, field: Field, formula: BoundFormula, positions: Sequence[int], *, own: bool
    ) -> Generator[None, None, Table | None]:
        if formula.compiled is None:
            return None
        table = field.tables.get((formula.id, own))
        if table is None or table.formula is not formula:
            parts = self._parts.get(formula.id)
            if parts is None or parts.formula is not formula:
                parts = self._parts[formula.id] = Parts(formula)
            table = yield from parts.table(field.pool, bits_of(positions), positions)
            field.tables[formula.id, own] = table
        return table

    def barred(self, field: Field, source: Source, placement: Placement) -> tuple[Barred, ...]:
        """Return the statically excluded members of a source, by id; call `candidates` first."""
        known = field.barred.get((source, placement.id))
        if known is None:
            offers, among = field.pool.offers, field.among.get(source)
            found = [
                one
                for one in field.casts[placement.id].barred.values()
                if among is None or among >> position_of(offers, place_of(one.offer)) & 1
            ]
            stands = self._stands[placement.id]
            unapproved = field.unapproved[source].values()
            found += [
                barred
                for playable in unapproved
                if (barred := stands.of(playable, placement).barred) is not None
            ]
            known = tuple(sorted(found, key=lambda one: one.offer.id))
            field.barred[source, placement.id] = known
        return known


def _is_approved(playable: PlayableOffer) -> bool:
    return playable.offer.status is OfferStatus.APPROVED


def _set_aside(
    field: Field, sources: Iterable[Source], offer: str, playable: PlayableOffer | None
) -> None:
    """Set or, if None, delete the offer among the sources' unapproved members."""
    for source in sources:
        if playable is None:
            del field.unapproved[source][offer]
        else:
            field.unapproved[source][offer] = playable
    field.barred.clear()


def _forget_barred(field: Field, placement: str) -> None:
    for key in [key for key in field.barred if key[1] == placement]:
        del field.barred[key]


def _in_steps(found: Iterable[T]) -> Generator[None, None, list[T]]:
    """Collect the items of an iterable in short steps."""
    left = iter(found)
    taken: list[T] = []
    while some := list(islice(left, _STEP)):
        taken += some
        yield
    return taken
