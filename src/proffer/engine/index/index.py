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
from typing import Any, Final, Literal, TypeAlias

from proffer.engine.compiled import RULE_TYPES, BoundConstraint, BoundOffer, BoundRule
from proffer.engine.index.audiences import AudienceIndex
from proffer.engine.index.bitset import Bits, bits_of
from proffer.engine.index.codegen import CompositeIndex, FieldLookup, generate_lookup
from proffer.engine.index.predicate_table import (
    ConditionPositions,
    FieldIndex,
    UnindexableValue,
    build_field_index,
)
from proffer.model.constraint import Constraint
from proffer.pql import Environment
from proffer.pql.index.conjuncts import Conjunction, Residual
from proffer.pql.index.predicates import Condition, PredicateTree
from proffer.pql.syntax.nodes import Node

_MAX_COMPOSITES = 64
"""Maximum number of composite indexes of shared shapes; each costs every request a lookup."""

ResidualScope: TypeAlias = Literal["of one offer", "of several", "per offer"]
"""Whether a residual belongs to one offer, is shared by several, or may differ per offer."""
ONE_OFFER: Final = "of one offer"
SHARED: Final = "of several"
PER_OFFER: Final = "per offer"

_STEP = 64
"""Offers or rules processed between two yields."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PredicateIndex:
    """Immutable predicate index over a pool's constraints.

    `possible`: offers whose constraint can hold at all. `residual`: offers whose rule has predicates
    that the index cannot answer; `residual_at[position]` is an index into `residuals`, each a function
    with its scope. `composites` are what `field_lookup` is generated from.
    """

    offers: Sequence[BoundOffer]
    possible: Bits
    audiences: AudienceIndex | None
    field_lookup: FieldLookup | None
    composites: tuple[CompositeIndex, ...]
    residual: Bits
    residuals: tuple[tuple[Callable[[Environment], bool], ResidualScope], ...]
    residual_at: Sequence[int]

    def lookup(self, environment: Environment) -> Bits:
        """Return the offers that pass the index; those in `residual` may still fail."""
        passing = self.possible
        if self.audiences is not None:
            passing &= self.audiences.lookup(environment.profile)
        if self.field_lookup is not None:
            try:
                return self.field_lookup(environment, passing)
            except Exception:  # noqa: BLE001 - unindexable value, or error in a subject
                return self._evaluate_rules(passing, environment)
        return passing

    def lookup_by_subject(self, value_of: Callable[[str, Node], Any]) -> tuple[Bits, dict[str, Bits]]:
        """Return the offers that the index covers, and which of them pass, by the name of each subject.

        `value_of` returns the value of a subject with this name. Subjects without a value that tables
        cover are missing, as are predicates of several subjects.
        """
        passing: dict[str, Bits] = {}
        missing: set[str] = set()
        for composite in self.composites:
            if len(composite.names) > 1:
                continue
            (name,), (subject,), (field_index,) = composite.names, composite.subjects, composite.field_indexes
            try:
                offers = field_index.lookup(value_of(name, subject))
            except UnindexableValue:
                missing.add(name)
            else:
                passing[name] = passing.get(name, offers) & offers
        return (1 << len(self.offers)) - 1, {name: passing[name] for name in passing.keys() - missing}

    def residual_failures(
        self, positions: Iterable[int], environment: Environment, results: dict[int, bool]
    ) -> list[int]:
        """Evaluate residual predicates; return the positions of offers that fail.

        `results` memoises shared residuals by their index.
        """
        failing: list[int] = []
        residual_at, residuals = self.residual_at, self.residuals
        for position in positions:
            number = residual_at[position]
            holds, scope = residuals[number]
            if scope is ONE_OFFER:
                result = holds(environment)
            elif scope is PER_OFFER:
                environment.offer = self.offers[position].offer.attributes
                result = holds(environment)
                environment.offer = None
            else:
                cached = results.get(number)
                if cached is None:
                    cached = results[number] = holds(environment)
                result = cached
            if not result:
                failing.append(position)
        return failing

    def _evaluate_rules(self, passing: Bits, environment: Environment) -> Bits:
        """Filter by evaluating every rule whole, without the field indexes."""
        failing: list[int] = []
        results: dict[tuple[str, ...], bool] = {}
        for position, bound_offer in enumerate(self.offers):
            constraint = bound_offer.constraint
            if constraint is None or constraint.type not in RULE_TYPES:
                continue
            if constraint.per_offer:
                environment.offer = bound_offer.offer.attributes
                holds = _all_hold(constraint.rules, environment)
                environment.offer = None
            else:
                key = constraint.declared.rules
                cached = results.get(key)
                holds = _all_hold(constraint.rules, environment) if cached is None else cached
                results[key] = holds
            if not holds:
                failing.append(position)
        return passing & ~bits_of(failing)


def _all_hold(rules: Sequence[BoundRule], environment: Environment) -> bool:
    return all(rule.compiled is not None and rule.compiled.holds(environment) for rule in rules)


def build_index(
    offers: Sequence[BoundOffer], *, decompose: bool, min_offers: int
) -> Generator[None, None, PredicateIndex]:
    """Build an index in short steps.

    Without `decompose`, rules stay whole, which is better for few offers. Predicates that are not on a
    single path get a composite index if at least `min_offers` offers share their shape.
    """
    builder = _IndexBuilder(offers, decompose=decompose)
    positions_by_constraint: dict[object, list[int]] = {}
    for position, bound_offer in enumerate(offers):
        if bound_offer.constraint is not None:
            declared = bound_offer.constraint.declared
            positions_by_constraint.setdefault(declared.rules or declared, []).append(position)
        if position % (16 * _STEP) == 0:
            yield
    for number, positions in enumerate(positions_by_constraint.values()):
        builder.add(positions)
        if number % _STEP == 0:
            yield
    selected = builder.select_groups(min_offers)
    selected_set = set(selected)
    for number, positions in enumerate(positions_by_constraint.values()):
        builder.add_residuals(positions, selected_set)
        if number % _STEP == 0:
            yield
    composites: list[CompositeIndex] = []
    for name, conditions in sorted(builder.by_path.items()):
        recompute = partial(_conditions_on, name, offers)
        field_index = yield from build_field_index(len(offers), list(conditions.values()), recompute)
        composites.append(CompositeIndex("0", (name,), (_subject(conditions),), (field_index,)))
    for group in selected:
        field_indexes: list[FieldIndex] = []
        for leaf, conditions in enumerate(builder.by_group[group]):
            recompute = partial(_conditions_at, group, leaf, offers)
            field_indexes.append((yield from build_field_index(len(offers), list(conditions.values()), recompute)))
        subjects = tuple(map(_subject, builder.by_group[group]))
        composites.append(CompositeIndex(group[0], group[1], subjects, tuple(field_indexes)))
    yield
    residual_at = [builder.residual_at.get(position, 0) for position in range(len(offers))]
    yield
    return builder.build(composites, residual_at)


_GroupKey = tuple[str, tuple[str, ...], int]
"""Key of a composite index: shape, subject names, and ordinal within one rule."""
_ConditionsByKey = dict[str, tuple[Condition, list[int]]]
"""Condition key → condition on one subject, with the positions of the offers that require it."""


def _predicate_groups(
    conjunction: Conjunction,
) -> Iterator[tuple[_GroupKey, PredicateTree, Residual]]:
    """Yield the indexable residuals of a rule with their group keys."""
    count_by_kind: dict[tuple[str, tuple[str, ...]], int] = {}
    for part in conjunction.residuals:
        if part.predicate_tree is not None:
            kind = (part.predicate_tree.shape, part.predicate_tree.subject_names)
            number = count_by_kind[kind] = count_by_kind.get(kind, -1) + 1
            yield (*kind, number), part.predicate_tree, part


def _conditions_on(name: str, offers: Sequence[BoundOffer]) -> ConditionPositions:
    """Return every condition on a path, with its offers."""
    conditions: _ConditionsByKey = {}
    for position, conjunction in _conjunctions(offers):
        for condition in conjunction.conditions:
            if condition.name == name:
                _add_condition(conditions, condition, [position])
    return list(conditions.values())


def _conditions_at(group: _GroupKey, leaf: int, offers: Sequence[BoundOffer]) -> ConditionPositions:
    """Return every condition on a subject of a group, with its offers."""
    conditions: _ConditionsByKey = {}
    for position, conjunction in _conjunctions(offers):
        for rule_group, tests, _ in _predicate_groups(conjunction):
            if rule_group == group:
                _add_condition(conditions, tests.conditions[leaf], [position])
    return list(conditions.values())


def _conjunctions(offers: Sequence[BoundOffer]) -> Iterator[tuple[int, Conjunction]]:
    for position, bound_offer in enumerate(offers):
        constraint = bound_offer.constraint
        if constraint is not None and constraint.conjunction is not None:
            yield position, constraint.conjunction


def _add_condition(conditions: _ConditionsByKey, condition: Condition, positions: list[int]) -> None:
    entry = conditions.get(condition.key)
    if entry is None:
        conditions[condition.key] = (condition, list(positions))
    else:
        entry[1].extend(positions)


def _subject(conditions: _ConditionsByKey) -> Node:
    return next(iter(conditions.values()))[0].subject


class _IndexBuilder:
    """Builder of a PredicateIndex."""

    def __init__(self, offers: Sequence[BoundOffer], *, decompose: bool) -> None:
        self.offers = offers
        self.decompose = decompose
        self.by_path: dict[str, _ConditionsByKey] = {}
        self.by_group: dict[_GroupKey, list[_ConditionsByKey]] = {}
        self.never_eligible: list[int] = []
        self.audiences: list[tuple[Constraint, Bits]] = []
        self.residuals: dict[tuple[Residual, ...], int] = {}
        self.residual_at: dict[int, int] = {}

    def add(self, positions: list[int]) -> None:
        """Add the constraint shared by the offers at these positions."""
        constraint = self.offers[positions[0]].constraint
        assert constraint is not None
        if constraint.type not in RULE_TYPES:
            self.audiences.append((constraint.declared, bits_of(positions)))
        elif constraint.conjunction is None:
            self.never_eligible += positions
        elif self.decompose:
            for condition in constraint.conjunction.conditions:
                _add_condition(self.by_path.setdefault(condition.name, {}), condition, positions)
            for group, tests, _ in _predicate_groups(constraint.conjunction):
                conditions = self.by_group.get(group)
                if conditions is None:
                    conditions = self.by_group[group] = [{} for _ in tests.conditions]
                for leaf, condition in enumerate(tests.conditions):
                    _add_condition(conditions[leaf], condition, positions)

    def select_groups(self, min_offers: int) -> list[_GroupKey]:
        """Return the groups to index, sorted so that pools share generated code."""
        sizes = {
            group: sum(len(positions) for _, positions in conditions[0].values())
            for group, conditions in self.by_group.items()
        }
        groups = [group for group, size in sizes.items() if size >= min_offers]
        groups.sort(key=lambda group: (-sizes[group], group))
        return sorted(groups[:_MAX_COMPOSITES])

    def add_residuals(self, positions: list[int], selected: set[_GroupKey]) -> None:
        """Store the residuals of these offers that no selected group covers."""
        constraint = self.offers[positions[0]].constraint
        assert constraint is not None
        if constraint.type not in RULE_TYPES or constraint.conjunction is None:
            return
        parts = constraint.conjunction.residuals if self.decompose else _whole_rules(constraint)
        if self.decompose and parts:
            indexed = {part for group, _, part in _predicate_groups(constraint.conjunction) if group in selected}
            parts = tuple([part for part in parts if part not in indexed])
        if parts:
            number = self.residuals.setdefault(parts, len(self.residuals))
            for position in positions:
                self.residual_at[position] = number

    def build(self, composites: list[CompositeIndex], residual_at: list[int]) -> PredicateIndex:
        size = len(self.offers)
        users = Counter(self.residual_at.values())
        return PredicateIndex(
            offers=self.offers,
            possible=(1 << size) - 1 & ~bits_of(self.never_eligible),
            audiences=AudienceIndex(size, self.audiences) if self.audiences else None,
            field_lookup=generate_lookup(composites),
            composites=tuple(composites),
            residual=bits_of(self.residual_at),
            residuals=tuple(
                (_conjoin(parts), _residual_scope(parts, users[number])) for number, parts in enumerate(self.residuals)
            ),
            residual_at=residual_at,
        )


def _residual_scope(parts: tuple[Residual, ...], users: int) -> ResidualScope:
    if any(part.reads_offer for part in parts):
        return PER_OFFER
    return ONE_OFFER if users == 1 else SHARED


def _conjoin(parts: tuple[Residual, ...]) -> Callable[[Environment], bool]:
    """Return the conjunction of residuals as one function."""
    if len(parts) == 1:
        return parts[0].holds
    tests = [part.holds for part in parts]

    def all_hold(environment: Environment) -> bool:
        return all(holds(environment) for holds in tests)

    return all_hold


def _whole_rules(constraint: BoundConstraint) -> tuple[Residual, ...]:
    return tuple(
        Residual(rule.compiled.holds, reads_offer=rule.per_offer)
        for rule in constraint.rules
        if rule.compiled is not None
    )
