"""What has to be known before a scope can be decided: which counters, and which fields of the customer.

Whoever gathers the inputs of a decision asks for these and no more, and whoever records a decision keeps
these and no more.
"""

from collections.abc import Iterable

from proffer.engine.content import Templated
from proffer.engine.snapshot import BoundConstraint, BoundFormula, Candidate, PlayableCriterion
from proffer.model.capping import CapLimit
from proffer.model.content import Component
from proffer.templating.reads import reads_of_template

Groups = tuple[tuple[PlayableCriterion, ...], ...]


def caps_of(groups: Groups) -> tuple[tuple[str, CapLimit], ...]:
    """Every limit of every candidate with the id of its offer, each once, by offer and then in its order."""
    offers = {
        candidate.playable.offer.id: candidate.playable.offer
        for candidate in _candidates(groups)
        if candidate.playable.offer.caps
    }
    return tuple((key, limit) for key in sorted(offers) for limit in offers[key].caps)


def reads_of_scope(groups: Groups, fallback: Iterable[Component]) -> frozenset[str]:
    """The field paths that rules, formulas, audiences and templates of a scope read, each with its root.

    As `CompiledRule.reads` has them: `profile.person.age`, `xEvent.eventType`, `context:<reference>.celsius`.
    A path stands for the whole value there, a bare root such as `profile` for all of it. Paths of the
    offer itself are left out: the snapshot has them.
    """
    found = _Reads()
    found.content(fallback)
    for group in groups:
        for criterion in group:
            found.constraint(criterion.constraint)
    for candidate in _candidates(groups):
        found.constraint(candidate.playable.constraint)
        found.formula(candidate.formula)
        found.content(candidate.components)
    return frozenset(path for path in found.paths if path.partition(".")[0] != "offer")


def _candidates(groups: Groups) -> Iterable[Candidate]:
    return (one for group in groups for criterion in group for one in criterion.candidates)


class _Reads:
    """Paths as they are found. What many offers share is looked at once."""

    __slots__ = ("_seen", "paths")

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self._seen: set[int] = set()

    def constraint(self, constraint: BoundConstraint | None) -> None:
        if constraint is None or self._again(constraint):
            return
        for rule in constraint.rules:
            if rule.compiled is not None:
                self.paths |= rule.compiled.reads
        for audience in constraint.declared.audiences:
            self.paths.add(f"profile.segmentMembership.{audience.namespace}.{audience.id}")

    def formula(self, formula: BoundFormula | None) -> None:
        if formula is not None and formula.compiled is not None and not self._again(formula):
            self.paths |= formula.compiled.reads

    def content(self, components: Iterable[Component]) -> None:
        for component in components:
            if isinstance(component, Templated) and not self._again(component):
                for template in component.templates.values():
                    self.paths |= reads_of_template(template)

    def _again(self, what: object) -> bool:
        # All of it is held by the scope meanwhile, so that no identity is used twice.
        known = len(self._seen)
        self._seen.add(id(what))
        return len(self._seen) == known
