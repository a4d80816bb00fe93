"""What has to be known before a scope can be decided: which counters, and which fields of the customer.

Whoever gathers the inputs of a decision asks for these and no more, and whoever records a decision keeps
these and no more.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from proffer.engine.bound import BoundConstraint, BoundFormula, Candidate
from proffer.engine.content import Templated
from proffer.engine.snapshot import PlayableCriterion
from proffer.model.capping import CapLimit
from proffer.model.content import Component
from proffer.templating.reads import reads_of_template


@dataclass(frozen=True, slots=True)
class Needs:
    """What some candidates need. `caps`: each limit with the id of its offer, by offer and then in its order.

    `reads`: the field paths that rules, formulas, audiences and templates read, each with its root, as
    `CompiledRule.reads` has them: `profile.person.age`, `xEvent.eventType`, `context:<reference>.celsius`.
    A path stands for the whole value there, a bare root such as `profile` for all of it. Paths of the
    offer itself are left out: the snapshot has them.
    """

    caps: tuple[tuple[str, CapLimit], ...]
    reads: frozenset[str]


def needs_of(candidates: Iterable[Candidate]) -> Needs:
    """What candidates need, by their own constraints, formulas and content."""
    found = _Reads()
    capped = {}
    for candidate in candidates:
        offer = candidate.playable.offer
        if offer.caps:
            capped[offer.id] = offer.caps
        found.constraint(candidate.playable.constraint)
        found.formula(candidate.formula)
        found.content(candidate.components)
    caps = tuple((offer, limit) for offer in sorted(capped) for limit in capped[offer])
    return Needs(caps, found.without_offer())


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
    """Paths as they are found. What many offers share is looked at once."""

    __slots__ = ("_paths", "_seen")

    def __init__(self) -> None:
        self._paths: set[str] = set()
        self._seen: set[int] = set()

    def without_offer(self) -> frozenset[str]:
        return frozenset(path for path in self._paths if path.partition(".")[0] != "offer")

    def constraint(self, constraint: BoundConstraint | None) -> None:
        if constraint is None or self._again(constraint):
            return
        for rule in constraint.rules:
            if rule.compiled is not None:
                self._paths |= rule.compiled.reads
        for audience in constraint.declared.audiences:
            self._paths.add(f"profile.segmentMembership.{audience.namespace}.{audience.id}")

    def formula(self, formula: BoundFormula | None) -> None:
        if formula is not None and formula.compiled is not None and not self._again(formula):
            self._paths |= formula.compiled.reads

    def content(self, components: Iterable[Component]) -> None:
        for component in components:
            if isinstance(component, Templated) and not self._again(component):
                for template in component.templates.values():
                    self._paths |= reads_of_template(template)

    def _again(self, what: object) -> bool:
        # All of it is held by the scope meanwhile, so that no identity is used twice.
        known = len(self._seen)
        self._seen.add(id(what))
        return len(self._seen) == known
