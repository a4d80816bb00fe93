"""Predicate index over the constraints of a pool.

Rules are split into conjuncts (`pql.index.conjuncts`). Predicates on one field path form a field index,
a table value → bitset of offers. Predicates of other shapes (expressions, or `or` between paths) that
enough offers share form composite indexes; audience constraints form an audience index. A request looks
up each value once and intersects the bitsets. Residual predicates are evaluated for the remaining offers.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, TypeAlias

from proffer.engine.compiled import BY_RULE, BoundConstraint, BoundRule, PlayableOffer
from proffer.engine.index.audiences import Audiences
from proffer.engine.index.bitset import Bits, bits_of
from proffer.engine.index.codegen import Layer, Passing, passing_of
from proffer.engine.index.predicate_table import Known, Slot, slot_of
from proffer.model.constraint import Constraint
from proffer.pql import Environment
from proffer.pql.index.conjuncts import Apart, Part
from proffer.pql.index.predicates import Condition, Tests
from proffer.pql.syntax.nodes import Node

_MOST = 64
"""Maximum number of composite indexes of shared shapes; each costs every request a lookup."""

Whose: TypeAlias = Literal["of one offer", "of several", "per offer"]
"""Whether a residual belongs to one offer, is shared by several, or may differ per offer."""
ALONE: Final = "of one offer"
SHARED: Final = "of several"
PER_OFFER: Final = "per offer"

_STEP = 64
"""Offers or rules processed between two yields."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Index:
    """Immutable predicate index over a pool's constraints.

    `possible`: offers whose constraint can hold at all. `residual`: offers whose rule has predicates
    that the index cannot answer; `residual_at[position]` is an index into `residuals`, each a function
    with its scope.
    """

    offers: Sequence[PlayableOffer]
    possible: Bits
    audiences: Audiences | None
    lets_pass: Passing | None
    asked: Bits
    rest: tuple[tuple[Callable[[Environment], bool], Whose], ...]
    rest_at: Sequence[int]

    def passing(self, environment: Environment) -> Bits:
        """Return the offers that pass the index; those in `residual` may still fail."""
        passing = self.possible
        if self.audiences is not None:
            passing &= self.audiences.passing(environment.profile)
        if self.lets_pass is not None:
            try:
                return self.lets_pass(environment, passing)
            except Exception:  # noqa: BLE001 - unindexable value, or error in a subject
                return self._by_rules(passing, environment)
        return passing

    def failing(
        self, positions: Iterable[int], environment: Environment, said: dict[int, bool]
    ) -> list[int]:
        """Evaluate residual predicates; return the positions of offers that fail.

        `results` memoises shared residuals by their index.
        """
        found: list[int] = []
        numbers, rest = self.rest_at, self.rest
        for position in positions:
            number = numbers[position]
            holds, whose = rest[number]
            if whose is ALONE:
                held = holds(environment)
            elif whose is PER_OFFER:
                environment.offer = self.offers[position].offer.attributes
                held = holds(environment)
                environment.offer = None
            else:
                known = said.get(number)
                if known is None:
                    known = said[number] = holds(environment)
                held = known
            if not held:
                found.append(position)
        return found

    def _by_rules(self, passing: Bits, environment: Environment) -> Bits:
        """Filter by evaluating every rule whole, without the field indexes."""
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


def index_of(
    offers: Sequence[PlayableOffer], *, apart: bool, worth: int
) -> Generator[None, None, Index]:
    """Build an index in short steps.

    Without `decompose`, rules stay whole, which is better for few offers. Predicates that are not on a
    single path get a composite index if at least `min_offers` offers share their shape.
    """
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
    chosen = making.chosen(worth)
    tabled = set(chosen)
    for number, positions in enumerate(alike.values()):
        making.leave_over(positions, tabled)
        if number % _STEP == 0:
            yield
    layers: list[Layer] = []
    for name, wanted in sorted(making.on_path.items()):
        again = partial(_conditions_on, name, offers)
        slot = yield from slot_of(len(offers), list(wanted.values()), again)
        layers.append(Layer("0", (_subject(wanted),), (slot,)))
    for place in chosen:
        slots: list[Slot] = []
        for leaf, wanted in enumerate(making.elsewhere[place]):
            again = partial(_conditions_at, place, leaf, offers)
            slots.append((yield from slot_of(len(offers), list(wanted.values()), again)))
        subjects = tuple(map(_subject, making.elsewhere[place]))
        layers.append(Layer(place[0], subjects, tuple(slots)))
    yield
    rest_at = [making.rest_at.get(position, 0) for position in range(len(offers))]
    yield
    return making.done(layers, rest_at)


_Place = tuple[str, tuple[str, ...], int]
"""Key of a composite index: shape, subject names, and ordinal within one rule."""
_Wanted = dict[str, tuple[Condition, list[int]]]
"""Condition key → condition on one subject, with the positions of the offers that require it."""


def _placed(apart: Apart) -> Iterator[tuple[_Place, Tests, Part]]:
    """Yield the indexable residuals of a rule with their group keys."""
    known: dict[tuple[str, tuple[str, ...]], int] = {}
    for part in apart.parts:
        if part.tests is not None:
            alike = (part.tests.shape, part.tests.subjects)
            number = known[alike] = known.get(alike, -1) + 1
            yield (*alike, number), part.tests, part


def _conditions_on(name: str, offers: Sequence[PlayableOffer]) -> Known:
    """Return every condition on a path, with its offers."""
    wanted: _Wanted = {}
    for position, apart in _all_apart(offers):
        for condition in apart.conditions:
            if condition.name == name:
                _add(wanted, condition, [position])
    return list(wanted.values())


def _conditions_at(place: _Place, leaf: int, offers: Sequence[PlayableOffer]) -> Known:
    """Return every condition on a subject of a group, with its offers."""
    wanted: _Wanted = {}
    for position, apart in _all_apart(offers):
        for other, tests, _ in _placed(apart):
            if other == place:
                _add(wanted, tests.conditions[leaf], [position])
    return list(wanted.values())


def _all_apart(offers: Sequence[PlayableOffer]) -> Iterator[tuple[int, Apart]]:
    for position, playable in enumerate(offers):
        constraint = playable.constraint
        if constraint is not None and constraint.apart is not None:
            yield position, constraint.apart


def _add(wanted: _Wanted, condition: Condition, positions: list[int]) -> None:
    known = wanted.get(condition.key)
    if known is None:
        wanted[condition.key] = (condition, list(positions))
    else:
        known[1].extend(positions)


def _subject(wanted: _Wanted) -> Node:
    return next(iter(wanted.values()))[0].subject


class _Making:
    """Builder of a PredicateIndex."""

    def __init__(self, offers: Sequence[PlayableOffer], *, apart: bool) -> None:
        self.offers = offers
        self.apart = apart
        self.on_path: dict[str, _Wanted] = {}
        self.elsewhere: dict[_Place, list[_Wanted]] = {}
        self.never: list[int] = []
        self.audiences: list[tuple[Constraint, Bits]] = []
        self.rest: dict[tuple[Part, ...], int] = {}
        self.rest_at: dict[int, int] = {}

    def take(self, positions: list[int]) -> None:
        """Add the constraint shared by the offers at these positions."""
        constraint = self.offers[positions[0]].constraint
        assert constraint is not None
        if constraint.type not in BY_RULE:
            self.audiences.append((constraint.declared, bits_of(positions)))
        elif constraint.apart is None:
            self.never += positions
        elif self.apart:
            for condition in constraint.apart.conditions:
                _add(self.on_path.setdefault(condition.name, {}), condition, positions)
            for place, tests, _ in _placed(constraint.apart):
                wanted = self.elsewhere.get(place)
                if wanted is None:
                    wanted = self.elsewhere[place] = [{} for _ in tests.conditions]
                for leaf, condition in enumerate(tests.conditions):
                    _add(wanted[leaf], condition, positions)

    def chosen(self, worth: int) -> list[_Place]:
        """Return the groups to index, sorted so that pools share generated code."""
        sizes = {
            place: sum(len(positions) for _, positions in wanted[0].values())
            for place, wanted in self.elsewhere.items()
        }
        found = [place for place, size in sizes.items() if size >= worth]
        found.sort(key=lambda place: (-sizes[place], place))
        return sorted(found[:_MOST])

    def leave_over(self, positions: list[int], chosen: set[_Place]) -> None:
        """Store the residuals of these offers that no selected group covers."""
        constraint = self.offers[positions[0]].constraint
        assert constraint is not None
        if constraint.type not in BY_RULE or constraint.apart is None:
            return
        parts = constraint.apart.parts if self.apart else _in_one_piece(constraint)
        if self.apart and parts:
            answered = {part for place, _, part in _placed(constraint.apart) if place in chosen}
            parts = tuple([part for part in parts if part not in answered])
        if parts:
            number = self.rest.setdefault(parts, len(self.rest))
            for position in positions:
                self.rest_at[position] = number

    def done(self, layers: list[Layer], rest_at: list[int]) -> Index:
        size = len(self.offers)
        users = Counter(self.rest_at.values())
        return Index(
            offers=self.offers,
            possible=(1 << size) - 1 & ~bits_of(self.never),
            audiences=Audiences(size, self.audiences) if self.audiences else None,
            lets_pass=passing_of(layers),
            asked=bits_of(self.rest_at),
            rest=tuple(
                (_as_one(parts), _whose(parts, users[number]))
                for number, parts in enumerate(self.rest)
            ),
            rest_at=rest_at,
        )


def _whose(parts: tuple[Part, ...], users: int) -> Whose:
    if any(part.per_offer for part in parts):
        return PER_OFFER
    return ALONE if users == 1 else SHARED


def _as_one(parts: tuple[Part, ...]) -> Callable[[Environment], bool]:
    """Return the conjunction of residuals as one function."""
    if len(parts) == 1:
        return parts[0].holds
    tests = [part.holds for part in parts]

    def all_hold(environment: Environment) -> bool:
        return all(holds(environment) for holds in tests)

    return all_hold


def _in_one_piece(constraint: BoundConstraint) -> tuple[Part, ...]:
    return tuple(
        Part(rule.compiled.holds, per_offer=rule.per_offer)
        for rule in constraint.rules
        if rule.compiled is not None
    )
