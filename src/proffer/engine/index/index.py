"""Which offers of a pool are for this customer, answered for all of them together.

Rules are taken apart (`pql.apart`). Conditions over one path meet in the slot of that path, which is a
table from values to offers; constraints on audiences meet in a table from audiences to offers. A request
looks each of its values up once and intersects what it finds. What is left over of a rule, its parts, is
asked afterwards, only for the offers still there.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from proffer.engine.bound import BY_RULE, BoundConstraint, BoundRule, PlayableOffer
from proffer.engine.index.audiences import Audiences
from proffer.engine.index.bits import Bits, bits_of
from proffer.engine.index.slot import Known, Slot, slot_of
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
    left over; `rest_at` has, by position, the number of what is left, and `rest` that itself, and
    whether it may differ from offer to offer.
    """

    offers: Sequence[PlayableOffer]
    possible: Bits
    audiences: Audiences | None
    slots: tuple[Slot, ...]
    load: Loader
    asked: Bits
    rest: tuple[tuple[Callable[[Environment], bool], bool], ...]
    rest_at: Sequence[int]

    def passing(self, environment: Environment) -> Bits:
        """The offers whose audiences and conditions hold; of those in `asked`, some may be `failing`."""
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

    def failing(
        self, positions: Iterable[int], environment: Environment, said: dict[int, bool]
    ) -> list[int]:
        """Those of these offers for whom what is left over does not hold.

        `said` remembers, by number, what does not depend on the offer.
        """
        found: list[int] = []
        numbers, rest = self.rest_at, self.rest
        for position in positions:
            number = numbers[position]
            held = said.get(number)
            if held is None:
                holds, per_offer = rest[number]
                if per_offer:
                    environment.offer = self.offers[position].offer.attributes
                    held = holds(environment)
                    environment.offer = None
                else:
                    held = said[number] = holds(environment)
            if not held:
                found.append(position)
        return found

    def _by_rules(self, passing: Bits, environment: Environment) -> Bits:
        """The same without tables: every rule asked as it stands."""
        failing: list[int] = []
        held: dict[tuple[str, ...], bool] = {}
        for position, playable in enumerate(self.offers):
            constraint = playable.constraint
            if constraint is None or constraint.type not in BY_RULE:
                continue
            if constraint.per_offer:
                environment.offer = playable.offer.attributes
                holds = _all_hold(constraint.rules, environment)
                environment.offer = None
            else:
                key = constraint.declared.rules
                known = held.get(key)
                holds = _all_hold(constraint.rules, environment) if known is None else known
                held[key] = holds
            if not holds:
                failing.append(position)
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
    for name, wanted in making.wanted.items():
        known, again = list(wanted.conditions.values()), partial(_conditions_on, name, offers)
        slots.append((yield from slot_of(len(offers), known, again)))
    yield
    rest_at = [making.parts_at.get(position, 0) for position in range(len(offers))]
    yield
    return making.done(slots, rest_at)


def _conditions_on(name: str, offers: Sequence[PlayableOffer]) -> Known:
    """Every condition on a path, with the offers that it must hold for."""
    wanted = _Wanted(Node())
    for position, playable in enumerate(offers):
        constraint = playable.constraint
        if constraint is not None and constraint.apart is not None:
            for condition in constraint.apart.conditions:
                if condition.name == name:
                    wanted.add(condition, [position])
    return list(wanted.conditions.values())


@dataclass(slots=True)
class _Wanted:
    """One path, and by its key each condition on it with the offers that it must hold for."""

    path: Node
    conditions: dict[str, tuple[Condition, list[int]]] = field(default_factory=dict)

    def add(self, condition: Condition, positions: list[int]) -> None:
        known = self.conditions.get(condition.key)
        if known is None:
            self.conditions[condition.key] = (condition, list(positions))
        else:
            known[1].extend(positions)


class _Making:
    """An index on its way."""

    def __init__(self, offers: Sequence[PlayableOffer], *, apart: bool) -> None:
        self.offers = offers
        self.apart = apart
        self.wanted: dict[str, _Wanted] = {}
        self.never: list[int] = []
        self.audiences: list[tuple[Constraint, Bits]] = []
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
        parts = constraint.apart.parts
        if self.apart:
            for condition in constraint.apart.conditions:
                wanted = self.wanted.get(condition.name)
                if wanted is None:
                    wanted = self.wanted[condition.name] = _Wanted(condition.path)
                wanted.add(condition, positions)
        else:
            parts = _in_one_piece(constraint)
        if parts:
            number = self.parts.setdefault(parts, len(self.parts))
            for position in positions:
                self.parts_at[position] = number

    def done(self, slots: list[Slot], rest_at: list[int]) -> Index:
        size = len(self.offers)
        return Index(
            offers=self.offers,
            possible=(1 << size) - 1 & ~bits_of(self.never),
            audiences=Audiences(size, self.audiences) if self.audiences else None,
            slots=tuple(slots),
            load=loader([wanted.path for wanted in self.wanted.values()]),
            asked=bits_of(self.parts_at),
            rest=tuple(_as_one(parts) for parts in self.parts),
            rest_at=rest_at,
        )


def _as_one(parts: tuple[Part, ...]) -> tuple[Callable[[Environment], bool], bool]:
    """One function for all parts, and whether what it says may differ from offer to offer."""
    per_offer = any(part.per_offer for part in parts)
    if len(parts) == 1:
        return parts[0].holds, per_offer
    tests = [part.holds for part in parts]

    def all_hold(environment: Environment) -> bool:
        return all(holds(environment) for holds in tests)

    return all_hold, per_offer


def _in_one_piece(constraint: BoundConstraint) -> tuple[Part, ...]:
    return tuple(
        Part(rule.compiled.holds, rule.per_offer)
        for rule in constraint.rules
        if rule.compiled is not None
    )
