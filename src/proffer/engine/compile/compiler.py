"""Compiler from the catalog to a snapshot; objects that do not compile are excluded and reported.

`SnapshotBuilder` is incremental: a write rebuilds only the decisions that depend on the changed object.
The result equals that of a build from scratch (a property test checks this).
"""

from collections.abc import Generator, Iterable, Mapping
from functools import partial
from types import MappingProxyType

from proffer.engine.compile.bind import bind_constraint, bind_formula, bind_rule, bind_threshold
from proffer.engine.compile.candidates import PlacementCandidates
from proffer.engine.compile.collections import OfferRegistry, discard
from proffer.engine.compile.diagnostics import compile_failure, report_constraint, report_content
from proffer.engine.compile.pools import PoolCompiler, PoolEntry, source_of
from proffer.engine.compile.reads import reads_of_scope
from proffer.engine.compiled import (
    BoundConstraint,
    BoundFormula,
    BoundOffer,
    BoundRule,
    BoundThreshold,
    sort_key,
)
from proffer.engine.content import compile_component
from proffer.engine.formula_table import OfferTerms
from proffer.engine.index.bitset import Bits
from proffer.engine.index.pool import DEFAULT_TUNING, IndexTuning
from proffer.engine.index.tie_break import hash64
from proffer.engine.snapshot import (
    CompiledCriterion,
    CompiledDecision,
    CompiledScope,
    Snapshot,
    SnapshotDiagnostic,
    missing_reference,
)
from proffer.engine.steps import run_to_completion
from proffer.model.collection import Collection
from proffer.model.constraint import Constraint, NamedAudience, audience_ids
from proffer.model.decision import Criterion, Decision
from proffer.model.field_schema import FieldSchema
from proffer.model.lifecycle import DecisionStatus, OfferStatus
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.parse import Entity
from proffer.model.placement import Placement
from proffer.model.ranking import RankingFormula, RankingMethod, RankingType
from proffer.model.rule import EligibilityRule
from proffer.pql import schema_with


class SnapshotBuilder:
    """Incremental builder of the snapshots of one container."""

    def __init__(self, container: str, *, tuning: IndexTuning = DEFAULT_TUNING) -> None:
        self._container = container
        self._entities: dict[str, Entity] = {}
        self._schema = self._content_schema = schema_with({})
        self._rules: dict[str, BoundRule] = {}
        self._formulas: dict[str, BoundFormula] = {}
        self._thresholds: dict[str, BoundThreshold] = {}  # by text, during a build
        self._offers = OfferRegistry()
        self._decisions: dict[str, CompiledDecision] = {}
        self._inactive: dict[str, Decision] = {}
        self._placements: dict[str, Placement] = {}
        self._audiences: dict[str, NamedAudience] = {}
        self._audience_ids: Mapping[str, str] = MappingProxyType({})
        self._dependencies: dict[str, set[str]] = {}  # decision -> ids it was built from
        self._dependents: dict[str, set[str]] = {}  # the inverse
        self._offers_by_formula: dict[str, set[str]] = {}
        self._offers_by_rule: dict[str, set[str]] = {}
        # Not a method: a cycle would keep each library that is compiled for a replay until the next full collection.
        self._find_formula = partial(_find_formula, self._formulas)
        self._pools = PoolCompiler(self._offers, self._find_formula, tuning)

    def apply(self, changes: Iterable[tuple[str, Entity | None]], revision: int) -> Snapshot:
        """Apply (id, object or None) changes and return the new snapshot."""
        return run_to_completion(self.apply_in_steps(changes, revision))

    def apply_in_steps(
        self, changes: Iterable[tuple[str, Entity | None]], revision: int
    ) -> Generator[None, None, Snapshot]:
        """As `apply`, in short steps; must be exhausted before the next call."""
        stale: set[str] = set()
        audiences_changed = False
        for key, entity in changes:
            old = self._entities.get(key)
            stale |= self._affected_decisions(key, old)
            self._remove(key, old)
            if entity is not None:
                self._add(key, entity)
            stale |= self._affected_decisions(key, entity)
            if isinstance(old, EligibilityRule) or isinstance(entity, EligibilityRule):
                stale |= self._rebind_offers(key)
            if isinstance(old, FieldSchema) or isinstance(entity, FieldSchema):
                stale |= self._recompile_all()
            audiences_changed |= isinstance(old, NamedAudience) or isinstance(entity, NamedAudience)
            yield
        if audiences_changed:
            self._audience_ids = MappingProxyType(audience_ids(self._audiences.values()))
        self._pools.begin_build()
        try:
            for decision in stale:
                yield from self._rebuild(decision)
        finally:
            self._pools.end_build()
            self._thresholds.clear()
        self._offers.mark_built()
        return Snapshot(
            container=self._container,
            revision=revision,
            decisions=MappingProxyType(dict(self._decisions)),
            inactive=MappingProxyType(dict(self._inactive)),
            placements=MappingProxyType(dict(self._placements)),
            audience_ids=self._audience_ids,
        )

    @property
    def changed_offer_count(self) -> int:
        """The largest number of unindexed, changed offers in one pool."""
        return self._pools.changed_offer_count()

    def reindex_in_background(self) -> Generator[None, None, None]:
        """Rebuild the indexes of patched pools in short steps; builds may run in between."""
        return self._pools.reindex_in_background()

    # dependencies of changes

    def _affected_decisions(self, key: str, entity: Entity | None) -> set[str]:
        """Return the ids of decisions that depend on this object."""
        affected = set(self._dependents.get(key, ()))
        if isinstance(entity, Decision):
            affected.add(key)
        elif isinstance(entity, PersonalizedOffer):
            for source in self._offers.collections_of(entity):
                affected |= self._dependents.get(source, set())
        elif isinstance(entity, RankingFormula):
            for offer in self._offers_by_formula.get(key, ()):
                affected |= self._affected_decisions(offer, self._entities.get(offer))
        return affected

    def _rebind_offers(self, rule: str) -> set[str]:
        """Rebind all offers that name the rule; return the decisions that depend on them."""
        affected: set[str] = set()
        for key in self._offers_by_rule.get(rule, ()):
            offer = self._offers[key].offer
            self._offers.put(key, self._bind_offer(offer))
            affected |= self._affected_decisions(key, offer)
        return affected

    def _recompile_all(self) -> set[str]:
        """Recompile all rules and formulas after a schema change; return all decisions."""
        schemas = (schema for schema in self._entities.values() if isinstance(schema, FieldSchema))
        self._schema = schema_with({schema.name: schema.fields for schema in schemas})
        self._content_schema = self._schema.lenient()
        self._thresholds.clear()
        for key, entity in list(self._entities.items()):
            if isinstance(entity, EligibilityRule | RankingFormula):
                self._add(key, entity)
        for bound_offer in list(self._offers):
            self._offers.put(bound_offer.offer.id, self._bind_offer(bound_offer.offer))
        return self._decisions.keys() | self._inactive.keys()

    # state per object

    def _add(self, key: str, entity: Entity) -> None:
        self._entities[key] = entity
        if isinstance(entity, EligibilityRule):
            self._rules[key] = bind_rule(entity, self._schema)
        elif isinstance(entity, RankingFormula):
            self._formulas[key] = bind_formula(entity, self._schema)
            self._pools.forget_formula(key)
        elif isinstance(entity, PersonalizedOffer):
            self._offers.put(key, self._bind_offer(entity))
            for rule in entity.constraint.rules:
                self._offers_by_rule.setdefault(rule, set()).add(key)
            if entity.ranking.reference is not None:
                self._offers_by_formula.setdefault(entity.ranking.reference, set()).add(key)
        elif isinstance(entity, Collection):
            self._offers.put_collection(key, entity)
        elif isinstance(entity, Placement):
            self._placements[key] = entity
        elif isinstance(entity, NamedAudience):
            self._audiences[key] = entity

    def _remove(self, key: str, entity: Entity | None) -> None:
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
            self._offers.remove_collection(key)
        elif isinstance(entity, Placement):
            self._placements.pop(key, None)
            self._pools.forget_placement(key)
        elif isinstance(entity, NamedAudience):
            self._audiences.pop(key, None)

    def _bind_offer(self, offer: PersonalizedOffer) -> BoundOffer:
        return BoundOffer(
            offer=offer,
            constraint=self._bind_constraint(offer.constraint),
            id_hash=hash64(offer.id),
            sort_key=sort_key(offer),
            schema=self._content_schema,
            thresholds={
                limit.name: self._bind_threshold(limit.threshold) for limit in offer.caps if limit.threshold is not None
            },
        )

    def _bind_threshold(self, text: str) -> BoundThreshold:
        """Return the compiled threshold; many offers share one text."""
        threshold = self._thresholds.get(text)
        if threshold is None:
            threshold = self._thresholds[text] = bind_threshold(text, self._schema)
        return threshold

    def _bind_constraint(self, constraint: Constraint) -> BoundConstraint | None:
        return bind_constraint(constraint, self._rules)

    # one decision

    def _rebuild(self, key: str) -> Generator[None, None, None]:
        for source in self._dependencies.pop(key, ()):
            discard(self._dependents, source, key)
        self._decisions.pop(key, None)
        self._inactive.pop(key, None)
        self._pools.release(key)
        decision = self._entities.get(key)
        if not isinstance(decision, Decision):
            return
        self._dependencies[key] = _dependencies_of(decision)
        for source in self._dependencies[key]:
            self._dependents.setdefault(source, set()).add(key)
        fallback = self._entities.get(decision.fallback)
        if decision.status is DecisionStatus.LIVE and isinstance(fallback, FallbackOffer):
            self._decisions[key] = yield from self._compile_decision(decision, fallback)
        else:
            self._inactive[key] = decision

    def _compile_decision(self, decision: Decision, fallback: FallbackOffer) -> Generator[None, None, CompiledDecision]:
        diagnostics = {key: missing_reference(key) for key in _dependencies_of(decision) if key not in self._entities}
        if fallback.status is not OfferStatus.APPROVED:
            diagnostics[fallback.id] = SnapshotDiagnostic(
                description=f"The fallback offer `{fallback.name}` is {fallback.status}, not approved",
                id=fallback.id,
                instance_id=fallback.instance_id,
                etag=fallback.etag,
            )
        pool_entry = yield from self._pools.entry_for(decision)
        scopes: dict[str, CompiledScope] = {}
        for key in decision.placements:
            placement = self._placements.get(key)
            if placement is not None:
                scopes[key] = yield from self._compile_scope(decision, placement, fallback, pool_entry, diagnostics)
        return CompiledDecision(
            decision=decision,
            scopes=MappingProxyType(scopes),
            diagnostics=tuple(diagnostics[object_id] for object_id in sorted(diagnostics)),
        )

    def _compile_scope(
        self,
        decision: Decision,
        placement: Placement,
        fallback: FallbackOffer,
        pool_entry: PoolEntry,
        diagnostics: dict[str, SnapshotDiagnostic],
    ) -> Generator[None, None, CompiledScope]:
        representation = fallback.representations.get(placement.id)
        components = tuple(
            compile_component(component, self._content_schema)
            for component in (representation.components if representation else ())
            if placement.accepts(component.type)
        )
        report_content(fallback, components, diagnostics)
        if not components:
            diagnostics[f"{fallback.id} {placement.id}"] = SnapshotDiagnostic(
                description=f"The fallback offer `{fallback.name}` has no content for placement `{placement.name}`",
                id=fallback.id,
                instance_id=fallback.instance_id,
                etag=fallback.etag,
            )
        candidates = yield from self._pools.candidates(pool_entry, placement)
        groups: dict[int, list[CompiledCriterion]] = {}
        for position, criterion in enumerate(decision.criteria):
            if placement.id in criterion.placements:
                compiled = yield from self._compile_criterion(
                    position, criterion, placement, pool_entry, candidates, diagnostics
                )
                groups.setdefault(criterion.priority, []).append(compiled)
                yield
        ordered_groups = tuple(tuple(groups[priority]) for priority in sorted(groups, reverse=True))
        candidate_bits = _union(criterion.candidate_bits for group in ordered_groups for criterion in group)
        caps = yield from candidates.caps(candidate_bits)
        reads = yield from candidates.reads(candidate_bits)
        return CompiledScope(
            decision=decision,
            placement=placement,
            pool=pool_entry.pool,
            candidates_by_position=candidates.candidates_by_position,
            groups=ordered_groups,
            fallback=fallback,
            fallback_components=components,
            caps=caps,
            reads=reads | reads_of_scope(ordered_groups, components),
        )

    def _compile_criterion(
        self,
        position: int,
        criterion: Criterion,
        placement: Placement,
        pool_entry: PoolEntry,
        candidates: PlacementCandidates,
        diagnostics: dict[str, SnapshotDiagnostic],
    ) -> Generator[None, None, CompiledCriterion]:
        constraint = self._bind_constraint(criterion.constraint)
        report_constraint(constraint, diagnostics)
        formula = self._find_formula(criterion.ranking, diagnostics)
        source = source_of(criterion)
        candidate_bits = self._pools.member_bits(pool_entry, source) & candidates.candidate_bits
        diagnostics.update(candidates.diagnostics_of(candidate_bits, own_formulas=formula is None))
        uses_formulas = formula is not None or bool(candidate_bits & candidates.own_formula_bits)
        tables: tuple[OfferTerms, ...] = ()
        if uses_formulas:
            tables = yield from self._pools.tables(pool_entry, candidates, formula)
        return CompiledCriterion(
            position=position,
            constraint=constraint,
            candidate_bits=candidate_bits,
            formula=formula,
            uses_formulas=uses_formulas,
            tables=tables,
            exclusions=self._pools.exclusions(pool_entry, source, placement),
            pool=pool_entry.pool,
            candidates_by_position=candidates.candidates_by_position,
        )


def _find_formula(
    formulas: Mapping[str, BoundFormula], ranking: RankingMethod, diagnostics: dict[str, SnapshotDiagnostic]
) -> BoundFormula | None:
    """Return the formula of a ranking; None for priority or, with a diagnostic, if it is missing."""
    if ranking.type is RankingType.PRIORITY or ranking.reference is None:
        return None
    formula = formulas.get(ranking.reference)
    if formula is None:
        diagnostics[ranking.reference] = SnapshotDiagnostic(
            description=f"There is no ranking `{ranking.reference}`: offers are ranked by priority"
        )
    elif formula.compiled is None:
        diagnostics[formula.id] = compile_failure(formula, "ranking formula")
    return formula


def build_snapshot(
    container: str,
    entities: Iterable[tuple[str, Entity]],
    revision: int,
    tuning: IndexTuning = DEFAULT_TUNING,
) -> Snapshot:
    """Build the snapshot of a catalog from scratch."""
    return SnapshotBuilder(container, tuning=tuning).apply(entities, revision)


def _dependencies_of(decision: Decision) -> set[str]:
    """Return the ids that a decision refers to directly."""
    ids = {decision.fallback, *decision.placements}
    for criterion in decision.criteria:
        ids |= {*criterion.options, *criterion.constraint.rules}
        if criterion.ranking.reference is not None:
            ids.add(criterion.ranking.reference)
        if criterion.collection is not None:
            ids.add(criterion.collection)
    return ids


def _union(sets: Iterable[Bits]) -> Bits:
    union = 0
    for offers in sets:
        union |= offers
    return union
