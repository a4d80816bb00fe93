"""What has to be known before a scope can be decided: which counters, and which fields of the customer.

Whoever gathers the inputs of a decision asks for these and no more, and whoever records a decision keeps
these and no more.
"""

from collections.abc import Iterable

from proffer.engine.compiled import BoundConstraint, BoundFormula, Candidate
from proffer.engine.content import Templated
from proffer.engine.snapshot import PlayableCriterion
from proffer.model.content import Component
from proffer.templating.reads import reads_of_template


def reads_of_candidate(candidate: Candidate) -> frozenset[str]:
    """What a candidate reads, by its own constraint and content.

    The field paths that rules, audiences and templates read, each with its root, as `CompiledRule.reads`
    has them: `profile.person.age`, `xEvent.eventType`, `context:<reference>.celsius`. A path stands for
    the whole value there, a bare root such as `profile` for all of it. Paths of the offer itself are left
    out: the snapshot has them.
    """
    found = _Reads()
    found.constraint(candidate.playable.constraint)
    found.content(candidate.components)
    return found.without_offer()


def reads_of_formula(formula: BoundFormula) -> frozenset[str]:
    """What a formula reads, less the offer."""
    found = _Reads()
    found.formula(formula)
    return found.without_offer()


def reads_of_scope(
    groups: Iterable[Iterable[PlayableCriterion]], fallback: Iterable[Component]
) -> frozenset[str]:
    """What a scope reads beside its candidates: for its criteria, and for the content of its fallback."""
    found = _Reads()
    found.content(fallback)
    for criterion in (one for group in groups for one in group):
        found.constraint(criterion.constraint)
        found.formula(criterion.formula)
    return found.without_offer()


class _Reads:
    """Paths as they are found."""

    __slots__ = ("_paths",)

    def __init__(self) -> None:
        self._paths: set[str] = set()

    def without_offer(self) -> frozenset[str]:
        return frozenset(path for path in self._paths if path.partition(".")[0] != "offer")

    def constraint(self, constraint: BoundConstraint | None) -> None:
        if constraint is None:
            return
        for rule in constraint.rules:
            if rule.compiled is not None:
                self._paths |= rule.compiled.reads
        for audience in constraint.declared.audiences:
            self._paths.add(f"profile.segmentMembership.{audience.namespace}.{audience.id}")

    def formula(self, formula: BoundFormula | None) -> None:
        if formula is not None and formula.compiled is not None:
            self._paths |= formula.compiled.reads

    def content(self, components: Iterable[Component]) -> None:
        for component in components:
            if isinstance(component, Templated):
                for template in component.templates.values():
                    self._paths |= reads_of_template(template)
