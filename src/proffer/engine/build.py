"""From the catalogue to a snapshot, decision by decision: what does not compile is out of play and reported.

`Builder` remembers what it has built, so that a write rebuilds only the decisions that reach the changed
object. The snapshot it gives is the same as one built from scratch (a property holds it to that).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from proffer.engine.content import Templated, prepared
from proffer.engine.needs import caps_of, reads_of_scope
from proffer.engine.ranking import number_of
from proffer.engine.snapshot import (
    Barred,
    BoundConstraint,
    BoundFormula,
    BoundRule,
    Candidate,
    Fault,
    PlayableCriterion,
    PlayableDecision,
    PlayableOffer,
    PlayableScope,
    Snapshot,
    absent,
)
from proffer.model.collection import Collection, FilterType
from proffer.model.constraint import Constraint, ConstraintType
from proffer.model.content import Component
from proffer.model.decision import Criterion, Decision
from proffer.model.field_schema import FieldSchema
from proffer.model.lifecycle import DecisionStatus, OfferStatus
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.placement import Placement
from proffer.model.ranking import RankingFormula, RankingMethod, RankingType
from proffer.model.reading import Entity
from proffer.model.rule import EligibilityRule
from proffer.model.trace import Stage
from proffer.pql import (
    CompiledFormula,
    CompiledRule,
    Schema,
    compile_formula,
    compile_rule,
    schema_with,
)


class Builder:
    """Builds the snapshots of one container, one after another."""

    def __init__(self, container: str) -> None:
        self._container = container
        self._entities: dict[str, Entity] = {}
        self._schema = schema_with({})
        self._rules: dict[str, BoundRule] = {}
        self._formulas: dict[str, BoundFormula] = {}
        self._offers: dict[str, PlayableOffer] = {}
        self._decisions: dict[str, PlayableDecision] = {}
        self._idle: dict[str, Decision] = {}
        self._placements: dict[str, Placement] = {}
        self._sources: dict[str, set[str]] = {}  # decision -> what it was built from
        self._reach: dict[str, set[str]] = {}  # and the other way round
        self._offers_by_formula: dict[str, set[str]] = {}
        self._offers_by_rule: dict[str, set[str]] = {}
        self._offers_by_tag: dict[str, set[str]] = {}
        self._collections_by_member: dict[str, set[str]] = {}  # offer or tag -> collections
        self._standing: dict[
            str, dict[str, Standing]
        ] = {}  # placement -> offer -> how it stands there

    def apply(self, changes: Iterable[tuple[str, Entity | None]], revision: int) -> Snapshot:
        """The snapshot after these changes: each an id with the object as it is now, or None if it is gone."""
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
        for decision in stale:
            self._rebuild(decision)
        return Snapshot(
            container=self._container,
            revision=revision,
            decisions=MappingProxyType(dict(self._decisions)),
            idle=MappingProxyType(dict(self._idle)),
            placements=MappingProxyType(dict(self._placements)),
        )

    # what a change reaches

    def _touched(self, key: str, entity: Entity | None) -> set[str]:
        """The decisions that have to be built again because of this object."""
        reached = set(self._reach.get(key, ()))
        if isinstance(entity, Decision):
            reached.add(key)
        elif isinstance(entity, PersonalizedOffer):
            for source in self._collections_of(entity):
                reached |= self._reach.get(source, set())
        elif isinstance(entity, RankingFormula):
            for offer in self._offers_by_formula.get(key, ()):
                reached |= self._touched(offer, self._entities.get(offer))
        return reached

    def _bind_again(self, rule: str) -> set[str]:
        """Give every offer that names the rule the rule as it is now; the decisions that reach those offers."""
        reached: set[str] = set()
        for key in self._offers_by_rule.get(rule, ()):
            offer = self._offers[key].offer
            self._offers[key] = self._playable(offer)
            reached |= self._touched(key, offer)
        return reached

    def _check_again(self) -> set[str]:
        """Compile every rule and formula against the schemas as they are now; that reaches every decision."""
        schemas = (one for one in self._entities.values() if isinstance(one, FieldSchema))
        self._schema = schema_with({one.name: one.fields for one in schemas})
        for key, entity in list(self._entities.items()):
            if isinstance(entity, EligibilityRule | RankingFormula):
                self._remember(key, entity)
        for key, playable in list(self._offers.items()):
            self._offers[key] = self._playable(playable.offer)
        return self._decisions.keys() | self._idle.keys()

    def _collections_of(self, offer: PersonalizedOffer) -> set[str]:
        found = set(self._collections_by_member.get(offer.id, ()))
        for tag in offer.tags:
            found |= self._collections_by_member.get(tag, set())
        return found

    # what is known of each object

    def _remember(self, key: str, entity: Entity) -> None:
        self._entities[key] = entity
        if isinstance(entity, EligibilityRule):
            self._rules[key] = bind(entity, self._schema)
        elif isinstance(entity, RankingFormula):
            self._formulas[key] = bind_formula(entity, self._schema)
        elif isinstance(entity, PersonalizedOffer):
            self._offers[key] = self._playable(entity)
            for rule in entity.constraint.rules:
                self._offers_by_rule.setdefault(rule, set()).add(key)
            if entity.ranking.reference is not None:
                self._offers_by_formula.setdefault(entity.ranking.reference, set()).add(key)
            for tag in entity.tags:
                self._offers_by_tag.setdefault(tag, set()).add(key)
        elif isinstance(entity, Collection):
            for member in entity.ids:
                self._collections_by_member.setdefault(member, set()).add(key)
        elif isinstance(entity, Placement):
            self._placements[key] = entity

    def _forget(self, key: str, entity: Entity | None) -> None:
        self._entities.pop(key, None)
        if isinstance(entity, EligibilityRule):
            self._rules.pop(key, None)
        elif isinstance(entity, RankingFormula):
            self._formulas.pop(key, None)
        elif isinstance(entity, PersonalizedOffer):
            self._offers.pop(key, None)
            for known in self._standing.values():
                known.pop(key, None)
            for rule in entity.constraint.rules:
                _discard(self._offers_by_rule, rule, key)
            if entity.ranking.reference is not None:
                _discard(self._offers_by_formula, entity.ranking.reference, key)
            for tag in entity.tags:
                _discard(self._offers_by_tag, tag, key)
        elif isinstance(entity, Collection):
            for member in entity.ids:
                _discard(self._collections_by_member, member, key)
        elif isinstance(entity, Placement):
            self._placements.pop(key, None)
            self._standing.pop(key, None)

    def _playable(self, offer: PersonalizedOffer) -> PlayableOffer:
        return PlayableOffer(
            offer=offer, constraint=self._bound(offer.constraint), draw=number_of(offer.id)
        )

    def _bound(self, constraint: Constraint) -> BoundConstraint | None:
        if constraint.type is ConstraintType.NONE:
            return None
        rules = tuple(self._rules[rule] for rule in constraint.rules if rule in self._rules)
        return BoundConstraint(
            declared=constraint,
            rules=rules,
            missing=tuple(rule for rule in constraint.rules if rule not in self._rules),
            per_offer=any(rule.per_offer for rule in rules),
        )

    # one decision

    def _rebuild(self, key: str) -> None:
        for source in self._sources.pop(key, ()):
            _discard(self._reach, source, key)
        self._decisions.pop(key, None)
        self._idle.pop(key, None)
        decision = self._entities.get(key)
        if not isinstance(decision, Decision):
            return
        self._sources[key] = _sources(decision)
        for source in self._sources[key]:
            self._reach.setdefault(source, set()).add(key)
        fallback = self._entities.get(decision.fallback)
        if decision.status is DecisionStatus.LIVE and isinstance(fallback, FallbackOffer):
            self._decisions[key] = self._decision(decision, fallback)
        else:
            self._idle[key] = decision

    def _decision(self, decision: Decision, fallback: FallbackOffer) -> PlayableDecision:
        faults = {key: absent(key) for key in _sources(decision) if key not in self._entities}
        if fallback.status is not OfferStatus.APPROVED:
            faults[fallback.id] = Fault(
                description=f"The fallback offer `{fallback.name}` is {fallback.status}, not approved",
                id=fallback.id,
                instance_id=fallback.instance_id,
                etag=fallback.etag,
            )
        scopes: dict[str, PlayableScope] = {}
        for key in decision.placements:
            placement = self._placements.get(key)
            if placement is not None:
                scopes[key] = self._scope(decision, placement, fallback, faults)
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
        faults: dict[str, Fault],
    ) -> PlayableScope:
        representation = fallback.representations.get(placement.id)
        components = tuple(
            prepared(component)
            for component in (representation.components if representation else ())
            if placement.takes(component.type)
        )
        _report_content(fallback, components, faults)
        if not components:
            faults[f"{fallback.id} {placement.id}"] = Fault(
                description=f"The fallback offer `{fallback.name}` has no content for placement `{placement.name}`",
                id=fallback.id,
                instance_id=fallback.instance_id,
                etag=fallback.etag,
            )
        groups: dict[int, list[PlayableCriterion]] = {}
        for position, criterion in enumerate(decision.criteria):
            if placement.id in criterion.placements:
                playable = self._criterion(position, criterion, placement, faults)
                groups.setdefault(criterion.priority, []).append(playable)
        in_order = tuple(tuple(groups[priority]) for priority in sorted(groups, reverse=True))
        return PlayableScope(
            decision=decision,
            placement=placement,
            groups=in_order,
            fallback=fallback,
            fallback_components=components,
            caps=caps_of(in_order),
            reads=reads_of_scope(in_order, components),
        )

    def _criterion(
        self,
        position: int,
        criterion: Criterion,
        placement: Placement,
        faults: dict[str, Fault],
    ) -> PlayableCriterion:
        constraint = self._bound(criterion.constraint)
        _report(constraint, faults)
        formula = self._formula(criterion.ranking, faults)
        candidates: list[Candidate] = []
        barred: list[Barred] = []
        known = self._standing.setdefault(placement.id, {})
        for playable in self._members(criterion):
            standing = known.get(playable.offer.id)
            if standing is None or standing.playable is not playable:
                standing = known[playable.offer.id] = stand(playable, placement)
            if standing.candidate is None:
                barred += standing.barred
                continue
            if standing.faults:
                faults.update(standing.faults)
            candidate = standing.candidate
            by_priority = playable.offer.ranking.type is RankingType.PRIORITY
            if formula is not None or not by_priority:
                own = formula or self._formula(playable.offer.ranking, faults)
                candidate = Candidate(playable, candidate.components, own)
            candidates.append(candidate)
        candidates.sort(key=lambda one: (-one.playable.offer.priority, one.playable.offer.id))
        return PlayableCriterion(
            position=position,
            constraint=constraint,
            candidates=tuple(candidates),
            barred=tuple(sorted(barred, key=lambda one: one.offer.id)),
        )

    def _formula(self, ranking: RankingMethod, faults: dict[str, Fault]) -> BoundFormula | None:
        """What a criterion or an offer ranks by; None for priority, and, with a fault, for what is not there."""
        if ranking.type is RankingType.PRIORITY or ranking.reference is None:
            return None
        formula = self._formulas.get(ranking.reference)
        if formula is None:
            faults[ranking.reference] = Fault(
                description=f"There is no ranking `{ranking.reference}`: offers are ranked by priority"
            )
        elif formula.compiled is None:
            faults[formula.id] = _broken(formula, "ranking formula")
        return formula

    def _members(self, criterion: Criterion) -> list[PlayableOffer]:
        """The offers that a criterion chooses from, whatever their status."""
        if criterion.collection is None:
            found = tuple(dict.fromkeys(criterion.options))
        else:
            collection = self._entities.get(criterion.collection)
            found = self._listed(collection) if isinstance(collection, Collection) else ()
        return [self._offers[key] for key in found if key in self._offers]

    def _listed(self, collection: Collection) -> tuple[str, ...]:
        if collection.filter_type is FilterType.OFFERS:
            return tuple(dict.fromkeys(collection.ids))
        tagged = [self._offers_by_tag.get(tag, set()) for tag in collection.ids]
        if not tagged:
            return ()
        any_tag = collection.filter_type is FilterType.ANY_TAGS
        return tuple(set.union(*tagged) if any_tag else set.intersection(*tagged))


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one offer stands in one placement, whoever asks: a candidate, or barred; and what is wrong with it."""

    playable: PlayableOffer
    candidate: Candidate | None = None
    barred: tuple[Barred, ...] = ()
    faults: Mapping[str, Fault] = field(default_factory=dict)


def stand(playable: PlayableOffer, placement: Placement) -> Standing:
    """What can be said of an offer in a placement ahead of any request. Its formula, if any, is not part of it."""
    offer = playable.offer
    representation = offer.representations.get(placement.id)
    if offer.status is not OfferStatus.APPROVED:
        reason = f"the offer is {offer.status}, not approved"
        return Standing(playable=playable, barred=(Barred(offer, Stage.STATUS, reason),))
    if representation is None:
        reason = f"no representation for placement `{placement.name}`"
        return Standing(playable=playable, barred=(Barred(offer, Stage.PLACEMENT, reason),))
    faults: dict[str, Fault] = {}
    _report(playable.constraint, faults)
    fitting = tuple(prepared(c) for c in representation.components if placement.takes(c.type))
    _report_content(offer, fitting, faults)
    return Standing(playable=playable, candidate=Candidate(playable, fitting), faults=faults)


def bind(rule: EligibilityRule, schema: Schema) -> BoundRule:
    """Compile a rule. One that does not compile is kept, with the reasons, and counts as false."""
    roots = {"profile", "xEvent", "offer", *rule.roots}
    result = compile_rule(rule.condition, roots=roots, name=rule.name, schema=schema)
    compiled = result if isinstance(result, CompiledRule) else None
    return BoundRule(
        id=rule.id,
        name=rule.name,
        etag=rule.etag,
        instance_id=rule.instance_id,
        compiled=compiled,
        diagnostics=result.diagnostics,
    )


def bind_formula(formula: RankingFormula, schema: Schema) -> BoundFormula:
    """Compile a formula. One that does not compile is kept, with the reasons, and scores nothing."""
    roots = {"profile", "xEvent", "offer", *formula.roots}
    result = compile_formula(formula.expression, roots=roots, name=formula.name, schema=schema)
    return BoundFormula(
        id=formula.id,
        name=formula.name,
        etag=formula.etag,
        instance_id=formula.instance_id,
        compiled=result if isinstance(result, CompiledFormula) else None,
        diagnostics=result.diagnostics,
    )


def build(container: str, entities: Iterable[tuple[str, Entity]], revision: int) -> Snapshot:
    """The snapshot of a whole catalogue, from scratch."""
    return Builder(container).apply(entities, revision)


def _sources(decision: Decision) -> set[str]:
    """Everything a decision is built from, other than through its collections and offers."""
    found = {decision.fallback, *decision.placements}
    for criterion in decision.criteria:
        found |= {*criterion.options, *criterion.constraint.rules}
        if criterion.ranking.reference is not None:
            found.add(criterion.ranking.reference)
        if criterion.collection is not None:
            found.add(criterion.collection)
    return found


def _report(constraint: BoundConstraint | None, faults: dict[str, Fault]) -> None:
    """Note every rule of a constraint that is not there or does not compile."""
    for key in constraint.missing if constraint is not None else ():
        faults[key] = absent(key)
    for rule in constraint.rules if constraint is not None else ():
        if rule.compiled is None and rule.id not in faults:
            faults[rule.id] = _broken(rule, "eligibility rule")


def _report_content(
    offer: PersonalizedOffer | FallbackOffer,
    components: Iterable[Component],
    faults: dict[str, Fault],
) -> None:
    """Note an offer whose content has a template that does not compile."""
    for component in components:
        if isinstance(component, Templated) and component.broken is not None:
            faults[f"{offer.id} content"] = Fault(
                description=f"Encountered issues with the content of offer `{offer.name}`",
                id=offer.id,
                instance_id=offer.instance_id,
                etag=offer.etag,
                causes=(Fault(description=component.broken),),
            )


def _broken(what: BoundRule | BoundFormula, word: str) -> Fault:
    """The fault of a rule or formula that does not compile, down to what the language said."""
    return Fault(
        description=f"Encountered issues with the dependency: {word} `{what.name}`",
        id=what.id,
        instance_id=what.instance_id,
        etag=what.etag,
        causes=(
            Fault(
                description="Error while validating PQL query",
                causes=tuple(Fault(description=one.message) for one in what.diagnostics),
            ),
        ),
    )


def _discard(index: dict[str, set[str]], source: str, key: str) -> None:
    members = index.get(source)
    if members is not None:
        members.discard(key)
        if not members:
            del index[source]
