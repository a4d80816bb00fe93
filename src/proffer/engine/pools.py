"""The pools of a library, as they are built: decisions that choose from the same collections share one."""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import is_
from typing import TypeAlias, TypeVar

from proffer.engine.bound import BoundFormula, PlayableOffer
from proffer.engine.index.bits import Bits, bits_of
from proffer.engine.index.pool import SIZES, Pool, Sizes, pool_of
from proffer.engine.parts import Parts, Table
from proffer.engine.snapshot import Barred
from proffer.engine.stands import Cast, FormulaOf, Stands, cast_of
from proffer.model.decision import Criterion, Decision
from proffer.model.lifecycle import OfferStatus
from proffer.model.placement import Placement

T = TypeVar("T")
Source: TypeAlias = str | tuple[str, ...]
"""What a criterion chooses from: a collection by its id, or offers listed one by one."""

_STEP = 1_024


def source_of(criterion: Criterion) -> Source:
    return criterion.options if criterion.collection is None else criterion.collection


@dataclass(slots=True)
class Field:
    """One pool with what decisions on it have in common. `members` are whom each source gives, approved or not.

    `tables` are those of formulas: for all offers of the pool, or, by `own`, for those that name it.
    """

    pool: Pool
    members: dict[Source, tuple[PlayableOffer, ...]]
    among: dict[Source, Bits] = field(default_factory=dict)
    casts: dict[str, Cast] = field(default_factory=dict)
    barred: dict[tuple[Source, str], tuple[Barred, ...]] = field(default_factory=dict)
    tables: dict[tuple[str, bool], Table] = field(default_factory=dict)


class Pools:
    """All pools of one container. Within one build each is looked at once, however many decisions use it."""

    def __init__(
        self,
        members_of: Callable[[Source], Iterable[PlayableOffer]],
        formula_of: FormulaOf,
        sizes: Sizes = SIZES,
    ) -> None:
        self._members_of = members_of
        self._formula_of = formula_of
        self._sizes = sizes
        self._fields: dict[frozenset[Source], Field] = {}
        self._used: dict[str, frozenset[Source]] = {}  # decision -> the sources of its pool
        self._seen: set[frozenset[Source]] = set()
        self._stands: dict[str, Stands] = {}
        self._parts: dict[str, Parts] = {}

    @property
    def is_empty(self) -> bool:
        """True when nothing is kept of what has been built."""
        return not (self._fields or self._used or self._seen or self._stands or self._parts)

    def begin(self) -> None:
        """A new build: offers, formulas and placements may have changed."""
        self._seen.clear()

    def end(self) -> None:
        """Let go of what no decision uses any more, and of what only building needed."""
        used = set(self._used.values())
        for key in [key for key in self._fields if key not in used]:
            del self._fields[key]
        for key in self._seen & used:
            field = self._fields[key]
            field.casts.clear()
            field.among.clear()
            field.barred.clear()
        self._seen.clear()

    def leave(self, decision: str) -> None:
        """The decision is about to be built again, or is gone."""
        self._used.pop(decision, None)

    def forget_offer(self, offer: str) -> None:
        for stands in self._stands.values():
            stands.forget(offer)
        for parts in self._parts.values():
            parts.forget(offer)

    def forget_formula(self, formula: str) -> None:
        self._parts.pop(formula, None)
        for known in self._fields.values():
            for own in (False, True):
                known.tables.pop((formula, own), None)

    def forget_placement(self, placement: str) -> None:
        self._stands.pop(placement, None)

    def of(self, decision: Decision) -> Generator[None, None, Field]:
        """The pool that this decision chooses from, over all its criteria."""
        key = frozenset(map(source_of, decision.criteria))
        self._used[decision.id] = key
        field = self._fields.get(key)
        if field is not None and key in self._seen:
            return field
        members: dict[Source, tuple[PlayableOffer, ...]] = {}
        for source in key:
            found = yield from _in_steps(self._members_of(source))
            members[source] = tuple(found)
        if field is None or not _same(field.members, members):
            playable: dict[str, PlayableOffer] = {}
            for source in key:
                for start in range(0, len(members[source]), _STEP):
                    playable.update(
                        (one.offer.id, one) for one in members[source][start : start + _STEP]
                    )
                    yield
            # Those that were there before stand in order already, but for the few that have changed.
            before = field.pool.offers if field is not None else ()
            known = yield from _in_steps(
                one for one in (*(at.offer.id for at in before), *playable) if one in playable
            )
            yield
            approved = yield from _in_steps(
                one
                for at in dict.fromkeys(known)
                if (one := playable[at]).offer.status is OfferStatus.APPROVED
            )
            pool = yield from pool_of(approved, self._sizes, field.pool if field else None)
            field = self._fields[key] = Field(pool, members)
        self._seen.add(key)
        return field

    def among(self, field: Field, source: Source) -> Bits:
        """The members of a source, as bits of the pool."""
        known = field.among.get(source)
        if known is None:
            if len(field.members) == 1:
                known = (1 << len(field.pool.offers)) - 1
            else:
                members = {one.offer.id for one in field.members[source]}
                known = bits_of(
                    at for at, one in enumerate(field.pool.offers) if one.offer.id in members
                )
            field.among[source] = known
        return known

    def cast(self, field: Field, placement: Placement) -> Generator[None, None, Cast]:
        """How the offers of a pool stand in a placement."""
        known = field.casts.get(placement.id)
        if known is None:
            stands = self._stands.setdefault(placement.id, Stands())
            known = yield from cast_of(field.pool, placement, stands, self._formula_of)
            field.casts[placement.id] = known
        return known

    def tables(
        self, field: Field, cast: Cast, formula: BoundFormula | None
    ) -> Generator[None, None, tuple[Table, ...]]:
        """The table of a criterion's formula, or those of the formulas that its offers name."""
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
        """The members of a source that cannot stand in a placement, by id. The placement has been cast."""
        known = field.barred.get((source, placement.id))
        if known is None:
            stands = self._stands.setdefault(placement.id, Stands())
            unapproved = (
                stands.of(one, placement).barred
                for one in field.members[source]
                if one.offer.status is not OfferStatus.APPROVED
            )
            among = self.among(field, source)
            found = [barred for at, barred in field.casts[placement.id].barred if among >> at & 1]
            found += [barred for barred in unapproved if barred is not None]
            known = tuple(sorted(found, key=lambda one: one.offer.id))
            field.barred[source, placement.id] = known
        return known


def _in_steps(found: Iterable[T]) -> Generator[None, None, list[T]]:
    """All of these, taken in short steps."""
    left = iter(found)
    taken: list[T] = []
    while some := list(islice(left, _STEP)):
        taken += some
        yield
    return taken


def _same(
    before: dict[Source, tuple[PlayableOffer, ...]], after: dict[Source, tuple[PlayableOffer, ...]]
) -> bool:
    return all(
        len(before[source]) == len(found) and all(map(is_, before[source], found))
        for source, found in after.items()
    )
