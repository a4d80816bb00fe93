"""What is found wrong while building: rules, formulas and content that do not compile or are not there."""

from collections.abc import Iterable

from proffer.engine.compiled import BoundConstraint, BoundFormula, BoundRule
from proffer.engine.content import Templated
from proffer.engine.snapshot import Fault, absent
from proffer.model.content import Component
from proffer.model.offer import FallbackOffer, PersonalizedOffer


def report_constraint(constraint: BoundConstraint | None, faults: dict[str, Fault]) -> None:
    """Note every rule of a constraint that is not there or does not compile."""
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


def broken(what: BoundRule | BoundFormula, word: str) -> Fault:
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
