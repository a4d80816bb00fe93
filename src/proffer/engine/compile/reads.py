"""Field paths that rules, formulas and content read.

The inputs of a decision contain these fields only, and the record of a decision stores no others.
"""

from collections.abc import Iterable

from proffer.engine.compiled import BoundConstraint, BoundFormula, BoundThreshold, Candidate
from proffer.engine.content import TemplatedComponent
from proffer.engine.snapshot import CompiledCriterion
from proffer.model.content import Component
from proffer.templating.reads import reads_of_template


def reads_of_candidate(candidate: Candidate) -> frozenset[str]:
    """Return the field paths read by a candidate's constraint, content and limits.

    Paths begin with their root, as in `CompiledRule.reads`: `profile.person.age`, `xEvent.eventType`,
    `context:<reference>.celsius`. A path means the whole value there, a bare root such as `profile` the
    whole object. Paths of the offer are left out: the snapshot has them.
    """
    collector = _PathCollector()
    collector.add_constraint(candidate.bound_offer.constraint)
    collector.add_content(candidate.components)
    for threshold in candidate.bound_offer.thresholds.values():
        collector.add_formula(threshold)
    return collector.without_offer()


def reads_of_formula(formula: BoundFormula) -> frozenset[str]:
    """Return the field paths read by a formula, except the offer's."""
    collector = _PathCollector()
    collector.add_formula(formula)
    return collector.without_offer()


def reads_of_scope(groups: Iterable[Iterable[CompiledCriterion]], fallback: Iterable[Component]) -> frozenset[str]:
    """Return the field paths read by a scope's criteria and fallback content."""
    collector = _PathCollector()
    collector.add_content(fallback)
    for criterion in (group_criterion for group in groups for group_criterion in group):
        collector.add_constraint(criterion.constraint)
        collector.add_formula(criterion.formula)
    return collector.without_offer()


class _PathCollector:
    """Collects field paths."""

    __slots__ = ("_paths",)

    def __init__(self) -> None:
        self._paths: set[str] = set()

    def without_offer(self) -> frozenset[str]:
        return frozenset(path for path in self._paths if path.partition(".")[0] != "offer")

    def add_constraint(self, constraint: BoundConstraint | None) -> None:
        if constraint is None:
            return
        for rule in constraint.rules:
            if rule.compiled is not None:
                self._paths |= rule.compiled.reads
        for audience in constraint.declared.audiences:
            self._paths.add(f"profile.segmentMembership.{audience.namespace}.{audience.id}")

    def add_formula(self, formula: BoundFormula | BoundThreshold | None) -> None:
        if formula is not None and formula.compiled is not None:
            self._paths |= formula.compiled.reads

    def add_content(self, components: Iterable[Component]) -> None:
        for component in components:
            if isinstance(component, TemplatedComponent):
                for template in component.templates.values():
                    self._paths |= reads_of_template(template)
