"""Diagnostics of the build: missing references, and rules, formulas and content that do not compile."""

from collections.abc import Iterable

from proffer.engine.compiled import BoundConstraint, BoundFormula, BoundRule
from proffer.engine.content import Templated
from proffer.engine.snapshot import Fault, absent
from proffer.model.content import Component
from proffer.model.offer import FallbackOffer, PersonalizedOffer


def report_constraint(constraint: BoundConstraint | None, faults: dict[str, Fault]) -> None:
    """Report each rule of a constraint that is missing or does not compile."""
    for key in constraint.missing if constraint is not None else ():
        faults[key] = absent(key)
    for rule in constraint.rules if constraint is not None else ():
        if rule.compiled is None and rule.id not in faults:
            faults[rule.id] = broken(rule, "eligibility rule")


def report_content(
    offer: PersonalizedOffer | FallbackOffer,
    components: Iterable[Component],
    faults: dict[str, Fault],
) -> None:
    """Report an offer if a template of its content does not compile."""
    for component in components:
        if isinstance(component, Templated) and component.broken is not None:
            faults[f"{offer.id} content"] = Fault(
                description=f"Encountered issues with the content of offer `{offer.name}`",
                id=offer.id,
                instance_id=offer.instance_id,
                etag=offer.etag,
                causes=(Fault(description=component.broken),),
            )


def broken(what: BoundRule | BoundFormula, word: str) -> Fault:
    """Return the diagnostic of a failed rule or formula, with compiler messages."""
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
