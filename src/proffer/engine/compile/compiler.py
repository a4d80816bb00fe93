"""Compiler from the catalog to a snapshot; objects that do not compile are excluded and reported.

`SnapshotBuilder` is incremental: a write rebuilds only the decisions that depend on the changed object.
The result equals that of a build from scratch (a property test checks this).
"""

from collections.abc import Generator, Iterable
from types import MappingProxyType

from proffer.engine.compile.bind import bind, bind_constraint, bind_formula
from proffer.engine.compile.candidates import Cast
from proffer.engine.compile.collections import Offers, discard
from proffer.engine.compile.diagnostics import broken, report_constraint, report_content
from proffer.engine.compile.pools import Field, Pools, source_of
from proffer.engine.compile.reads import reads_of_scope
from proffer.engine.compiled import (
    BoundConstraint,
    BoundFormula,
    BoundRule,
    PlayableOffer,
    place_of,
)
from proffer.engine.content import prepared
from proffer.engine.formula_table import Table
from proffer.engine.index.bitset import Bits
from proffer.engine.index.pool import SIZES, Sizes
from proffer.engine.index.tie_break import number_of
from proffer.engine.snapshot import (
    Fault,
    PlayableCriterion,
    PlayableDecision,
    PlayableScope,
    Snapshot,
    absent,
)
from proffer.model.collection import Collection
from proffer.model.constraint import Constraint
from proffer.model.decision import Criterion, Decision
from proffer.model.field_schema import FieldSchema
from proffer.model.lifecycle import DecisionStatus, OfferStatus
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.parse import Entity
from proffer.model.placement import Placement
from proffer.model.ranking import RankingFormula, RankingMethod, RankingType
from proffer.model.rule import EligibilityRule
from proffer.pql import schema_with


class Builder:
    """Incremental builder of the snapshots of one container."""

    def __init__(self, container: str, *, sizes: Sizes = SIZES) -> None:
        self._container = container
        self._entities: dict[str, Entity] = {}
        self._schema = schema_with({})
        self._rules: dict[str, BoundRule] = {}
        self._formulas: dict[str, BoundFormula] = {}
        self._offers = Offers()
        self._decisions: dict[str, PlayableDecision] = {}
        self._idle: dict[str, Decision] = {}
        self._placements: dict[str, Placement] = {}
        self._sources: dict[str, set[str]] = {}  # decision -> ids it was built from
        self._reach: dict[str, set[str]] = {}  # the inverse
        self._offers_by_formula: dict[str, set[str]] = {}
        self._offers_by_rule: dict[str, set[str]] = {}
        self._pools = Pools(self._offers, self._formula, sizes)

    def apply(self, changes: Iterable[tuple[str, Entity | None]], revision: int) -> Snapshot:
        """Apply (id, object or None) changes and return the new snapshot."""
        steps = self.steps(changes, revision)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                snapshot: Snapshot = done.value
                return snapshot

    def steps(
        self, changes: Iterable[tuple[str, Entity | None]], revision: int
    ) -> Generator[None, None, Snapshot]:
        """As `apply`, in short steps; must be exhausted before the next call."""
        stale: set[str] = set()
        for key, entity in changes:
            before = self._entities.get(key)
            stale |= self._touched(key, before)
            self._forget(key, before)
            if entity is not None:
                self._remember(key, entity)
            stale |= self._touched(key, entity)
            if isinstance(before, EligibilityRule) or isinstance(entity, EligibilityRule):
                stale |= self._bind_again(key)
            if isinstance(before, FieldSchema) or isinstance(entity, FieldSchema):
                stale |= self._check_again()
            yield
        self._pools.begin()
        try:
            for decision in stale:
                yield from self._rebuild(decision)
        finally:
            self._pools.end()
        self._offers.settle()
        return Snapshot(
            container=self._container,
            revision=revision,
            decisions=MappingProxyType(dict(self._decisions)),
            idle=MappingProxyType(dict(self._idle)),
            placements=MappingProxyType(dict(self._placements)),
        )

    @property
    def patches(self) -> int:
        """The largest number of unindexed, changed offers in one pool."""
        return self._pools.patches()

    def renewal(self) -> Generator[None, None, None]:
        """Rebuild the indexes of patched pools in short steps; builds may run in between."""
        return self._pools.renewal()

    # dependencies of changes

    def _touched(self, key: str, entity: Entity | None) -> set[str]:
        """Return the ids of decisions that depend on this object."""
        reached = set(self._reach.get(key, ()))
        if isinstance(entity, Decision):
            reached.add(key)
        elif isinstance(entity, PersonalizedOffer):
            for source in self._offers.collections_of(entity):
                reached |= self._reach.get(source, set())
        elif isinstance(entity, RankingFormula):
            for offer in self._offers_by_formula.get(key, ()):
                reached |= self._touched(offer, self._entities.get(offer))
        return reached

    def _bind_again(self, rule: str) -> set[str]:
        """Rebind all offers that name the rule; return the decisions that depend on them."""
        reached: set[str] = set()
        for key in self._offers_by_rule.get(rule, ()):
            offer = self._offers[key].offer
            self._offers.put(key, self._playable(offer))
            reached |= self._touched(key, offer)
        return reached

    def _check_again(self) -> set[str]:
        """Recompile all rules and formulas after a schema change; return all decisions."""
        schemas = (one for one in self._entities.values() if isinstance(one, FieldSchema))
        self._schema = schema_with({one.name: one.fields for one in schemas})
        for key, entity in list(self._entities.items()):
            if isinstance(entity, EligibilityRule | RankingFormula):
                self._remember(key, entity)
        for playable in list(self._offers):
            self._offers.put(playable.offer.id, self._playable(playable.offer))
        return self._decisions.keys() | self._idle.keys()

    # state per object

    def _remember(self, key: str, entity: Entity) -> None:
        self._entities[key] = entity
        if isinstance(entity, EligibilityRule):
            self._rules[key] = bind(entity, self._schema)
        elif isinstance(entity, RankingFormula):
            self._formulas[key] = bind_formula(entity, self._schema)
            self._pools.forget_formula(key)
        elif isinstance(entity, PersonalizedOffer):
            self._offers.put(key, self._playable(entity))
            for rule in entity.constraint.rules:
                self._offers_by_rule.setdefault(rule, set()).add(key)
            if entity.ranking.reference is not None:
                self._offers_by_formula.setdefault(entity.ranking.reference, set()).add(key)
        elif isinstance(entity, Collection):
            self._offers.define(key, entity)
        elif isinstance(entity, Placement):
            self._placements[key] = entity

    def _forget(self, key: str, entity: Entity | None) -> None:
        self._entities.pop(key, None)
        if isinstance(entity, EligibilityRule):
            self._rules.pop(key, None)
        elif isinstance(entity, RankingFormula):
            self._formulas.pop(key, None)
            self._pools.forget_formula(key)
        elif isinstance(entity, PersonalizedOffer):
            self._offers.remove(key)
            self._pools.forget_offer(key)
            for rule in entity.constraint.rules:
                discard(self._offers_by_rule, rule, key)
            if entity.ranking.reference is not None:
                discard(self._offers_by_formula, entity.ranking.reference, key)
        elif isinstance(entity, Collection):
            self._offers.undefine(key)
        elif isinstance(entity, Placement):
            self._placements.pop(key, None)
            self._pools.forget_placement(key)

    def _playable(self, offer: PersonalizedOffer) -> PlayableOffer:
        return PlayableOffer(
            offer=offer,
            constraint=self._bound(offer.constraint),
            draw=number_of(offer.id),
            place=place_of(offer),
        )

    def _bound(self, constraint: Constraint) -> BoundConstraint | None:
        return bind_constraint(constraint, self._rules)

    # one decision

    def _rebuild(self, key: str) -> Generator[None, None, None]:
        for source in self._sources.pop(key, ()):
            discard(self._reach, source, key)
        self._decisions.pop(key, None)
        self._idle.pop(key, None)
        self._pools.leave(key)
        decision = self._entities.get(key)
        if not isinstance(decision, Decision):
            return
        self._sources[key] = _sources(decision)
        for source in self._sources[key]:
            self._reach.setdefault(source, set()).add(key)
        fallback = self._entities.get(decision.fallback)
        if decision.status is DecisionStatus.LIVE and isinstance(fallback, FallbackOffer):
            self._decisions[key] = yield from self._decision(decision, fallback)
        else:
            self._idle[key] = decision

    def _decision(
        self, decision: Decision, fallback: FallbackOffer
    ) -> Generator[None, None, PlayableDecision]:
        faults = {key: absent(key) for key in _sources(decision) if key not in self._entities}
        if fallback.status is not OfferStatus.APPROVED:
            faults[fallback.id] = Fault(
                description=f"The fallback offer `{fallback.name}` is {fallback.status}, not approved",
                id=fallback.id,
                instance_id=fallback.instance_id,
                etag=fallback.etag,
            )
        field = yield from self._pools.of(decision)
        scopes: dict[str, PlayableScope] = {}
        for key in decision.placements:
            placement = self._placements.get(key)
            if placement is not None:
                scopes[key] = yield from self._scope(decision, placement, fallback, field, faults)
        return PlayableDecision(
            decision=decision,
            scopes=MappingProxyType(scopes),
            faults=tuple(faults[about] for about in sorted(faults)),
        )

    def _scope(
        self,
        decision: Decision,
        placement: Placement,
        fallback: FallbackOffer,
        field: Field,
        faults: dict[str, Fault],
    ) -> Generator[None, None, PlayableScope]:
        representation = fallback.representations.get(placement.id)
        components = tuple(
            prepared(component)
            for component in (representation.components if representation else ())
            if placement.takes(component.type)
        )
        report_content(fallback, components, faults)
        if not components:
            faults[f"{fallback.id} {placement.id}"] = Fault(
                description=f"The fallback offer `{fallback.name}` has no content for placement `{placement.name}`",
                id=fallback.id,
                instance_id=fallback.instance_id,
                etag=fallback.etag,
            )
        cast = yield from self._pools.cast(field, placement)
        groups: dict[int, list[PlayableCriterion]] = {}
        for position, criterion in enumerate(decision.criteria):
            if placement.id in criterion.placements:
                playable = yield from self._criterion(
                    position, criterion, placement, field, cast, faults
                )
                groups.setdefault(criterion.priority, []).append(playable)
                yield
        in_order = tuple(tuple(groups[priority]) for priority in sorted(groups, reverse=True))
        among = _together(criterion.among for group in in_order for criterion in group)
        caps = yield from cast.caps(among)
        reads = yield from cast.reads(among)
        return PlayableScope(
            decision=decision,
            placement=placement,
            pool=field.pool,
            stand=cast.stand,
            groups=in_order,
            fallback=fallback,
            fallback_components=components,
            caps=caps,
            reads=reads | reads_of_scope(in_order, components),
        )

    def _criterion(
        self,
        position: int,
        criterion: Criterion,
        placement: Placement,
        field: Field,
        cast: Cast,
        faults: dict[str, Fault],
    ) -> Generator[None, None, PlayableCriterion]:
        constraint = self._bound(criterion.constraint)
        report_constraint(constraint, faults)
        formula = self._formula(criterion.ranking, faults)
        source = source_of(criterion)
        among = self._pools.among(field, source) & cast.able
        faults.update(cast.faults_of(among, own_formulas=formula is None))
        scored = formula is not None or bool(among & cast.by_formula)
        tables: tuple[Table, ...] = ()
        if scored:
            tables = yield from self._pools.tables(field, cast, formula)
        return PlayableCriterion(
            position=position,
            constraint=constraint,
            among=among,
            formula=formula,
            scored=scored,
            tables=tables,
            barred=self._pools.barred(field, source, placement),
            pool=field.pool,
            stand=cast.stand,
        )

    def _formula(self, ranking: RankingMethod, faults: dict[str, Fault]) -> BoundFormula | None:
        """Return the formula of a ranking; None for priority or, with a diagnostic, if it is missing."""
        if ranking.type is RankingType.PRIORITY or ranking.reference is None:
            return None
        formula = self._formulas.get(ranking.reference)
        if formula is None:
            faults[ranking.reference] = Fault(
                description=f"There is no ranking `{ranking.reference}`: offers are ranked by priority"
            )
        elif formula.compiled is None:
            faults[formula.id] = broken(formula, "ranking formula")
        return formula


def build(
    container: str, entities: Iterable[tuple[str, Entity]], revision: int, sizes: Sizes = SIZES
) -> Snapshot:
    """Build the snapshot of a catalog from scratch."""
    return Builder(container, sizes=sizes).apply(entities, revision)


def _sources(decision: Decision) -> set[str]:
    """Return the ids that a decision refers to directly."""
    found = {decision.fallback, *decision.placements}
    for criterion in decision.criteria:
        found |= {*criterion.options, *criterion.constraint.rules}
        if criterion.ranking.reference is not None:
            found.add(criterion.ranking.reference)
        if criterion.collection is not None:
            found.add(criterion.collection)
    return found


def _together(sets: Iterable[Bits]) -> Bits:
    found = 0
    for one in sets:
        found |= one
    return found
