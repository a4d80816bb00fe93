"""Which offers of a pool are for this customer, answered for all of them together.

Rules are taken apart (`pql.apart`). Conditions over one path meet in the slot of that path, which is a
table from values to offers; constraints on audiences meet in a table from audiences to offers. A request
looks each of its values up once and intersects what it finds. What is left over of a rule, its parts, is
asked afterwards, only for the offers still there.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from proffer.engine.bound import BY_RULE, BoundConstraint, BoundRule, PlayableOffer
from proffer.engine.index.audiences import Audiences
from proffer.engine.index.bits import Bits, bits_of
from proffer.engine.index.slot import Slot
from proffer.model.constraint import Constraint
from proffer.pql import Environment
from proffer.pql.apart import Condition, Loader, Part, loader
from proffer.pql.nodes import Node

_STEP = 64
"""Offers, or rules, that are looked at before others get a turn."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Index:
    """The constraints of the offers of one pool. Immutable.

    `possible`: the offers whose constraint can hold at all. `asked`: those of whose rules something is
    left over; `parts_at` has, by position, the number of what is left, and `parts` that itself.
    """

    offers: Sequence[PlayableOffer]
    possible: Bits
    audiences: Audiences | None
    slots: tuple[Slot, ...]
    load: Loader
    asked: Bits
    parts: tuple[tuple[Part, ...], ...]
    parts_at: Sequence[int]
    ruled: tuple[tuple[Sequence[int], BoundConstraint], ...]

    def passing(self, environment: Environment) -> Bits:
        """The offers whose audiences and conditions hold; of those in `asked`, `holds_at` is still to be asked."""
        passing = self.possible
        if self.audiences is not None:
            passing &= self.audiences.passing(environment.profile)
        if self.slots:
            try:
                for slot, value in zip(self.slots, self.load(environment), strict=True):
                    passing &= slot.passing(value)
            except Exception:  # noqa: BLE001 - a value no table is kept for, or that a path stumbles over
                return self._by_rules(passing, environment)
        return passing

    def holds_at(self, position: int, environment: Environment, said: dict[int, bool]) -> bool:
        """Whether what is left over holds for this offer. `said` remembers what does not depend on it."""
        number = self.parts_at[position]
        held = said.get(number)
        if held is not None:
            return held
        parts = self.parts[number]
        if not any(part.per_offer for part in parts):
            held = said[number] = all(part.holds(environment) for part in parts)
            return held
        environment.offer = self.offers[position].offer.attributes
        held = all(part.holds(environment) for part in parts)
        environment.offer = None
        return held

    def _by_rules(self, passing: Bits, environment: Environment) -> Bits:
        """The same without tables: every rule asked as it stands."""
        failing: list[int] = []
        for positions, constraint in self.ruled:
            if not constraint.per_offer:
                if not _all_hold(constraint.rules, environment):
                    failing += positions
                continue
            for position in positions:
                environment.offer = self.offers[position].offer.attributes
                if not _all_hold(constraint.rules, environment):
                    failing.append(position)
                environment.offer = None
        return passing & ~bits_of(failing)


def _all_hold(rules: Sequence[BoundRule], environment: Environment) -> bool:
    return all(rule.compiled is not None and rule.compiled.holds(environment) for rule in rules)


def index_of(offers: Sequence[PlayableOffer], *, apart: bool) -> Generator[None, None, Index]:
    """Build an index in short steps. Not `apart`, rules are left whole: better for a handful of offers."""
    making = _Making(offers, apart=apart)
    alike: dict[object, list[int]] = {}
    for position, playable in enumerate(offers):
        if playable.constraint is not None:
            declared = playable.constraint.declared
            alike.setdefault(declared.rules or declared, []).append(position)
        if position % (16 * _STEP) == 0:
            yield
    for number, positions in enumerate(alike.values()):
        making.take(positions)
        if number % _STEP == 0:
            yield
    slots: list[Slot] = []
    for wanted in making.wanted.values():
        slots.append(Slot(len(offers), wanted.conditions.values()))
        yield
    return making.done(slots)


@dataclass(slots=True)
class _Wanted:
    """One path, and by the key of a condition on it its trees and the offers that it must hold for."""

    path: Node
    conditions: dict[str, tuple[tuple[Node, ...], Bits]] = field(default_factory=dict)


class _Making:
    """An index on its way."""

    def __init__(self, offers: Sequence[PlayableOffer], *, apart: bool) -> None:
        self.offers = offers
        self.apart = apart
        self.wanted: dict[str, _Wanted] = {}
        self.never: list[int] = []
        self.audiences: list[tuple[Constraint, Bits]] = []
        self.ruled: list[tuple[list[int], BoundConstraint]] = []
        self.parts: dict[tuple[Part, ...], int] = {}
        self.parts_at: dict[int, int] = {}

    def take(self, positions: list[int]) -> None:
        """Take in the constraint that the offers at these positions have."""
        constraint = self.offers[positions[0]].constraint
        assert constraint is not None
        if constraint.type not in BY_RULE:
            self.audiences.append((constraint.declared, bits_of(positions)))
            return
        if constraint.apart is None:
            self.never += positions
            return
        self.ruled.append((positions, constraint))
        parts = constraint.apart.parts
        if self.apart:
            self._conditions(constraint.apart.conditions, positions)
        else:
            parts = _in_one_piece(constraint)
        if parts:
            number = self.parts.setdefault(parts, len(self.parts))
            for position in positions:
                self.parts_at[position] = number

    def _conditions(self, conditions: Sequence[Condition], positions: list[int]) -> None:
        offers = 1 << positions[0] if len(positions) == 1 else bits_of(positions)
        for condition in conditions:
            wanted = self.wanted.get(condition.name)
            if wanted is None:
                wanted = self.wanted[condition.name] = _Wanted(condition.path)
            before = wanted.conditions.get(condition.key)
            now = offers if before is None else before[1] | offers
            wanted.conditions[condition.key] = (condition.trees, now)

    def done(self, slots: list[Slot]) -> Index:
        size = len(self.offers)
        return Index(
            offers=self.offers,
            possible=(1 << size) - 1 & ~bits_of(self.never),
            audiences=Audiences(size, self.audiences) if self.audiences else None,
            slots=tuple(slots),
            load=loader([wanted.path for wanted in self.wanted.values()]),
            asked=bits_of(self.parts_at),
            parts=tuple(self.parts),
            parts_at=[self.parts_at.get(position, 0) for position in range(size)],
            ruled=tuple(self.ruled),
        )


def _in_one_piece(constraint: BoundConstraint) -> tuple[Part, ...]:
    return tuple(
        Part(rule.compiled.holds, rule.per_offer)
        for rule in constraint.rules
        if rule.compiled is not None
    )
