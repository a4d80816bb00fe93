"""Diagnostics of the build: missing references, and rules, formulas and content that do not compile."""

from collections.abc import Iterable

from proffer.engine.compiled import BoundConstraint, BoundFormula, BoundRule
from proffer.engine.content import TemplatedComponent
from proffer.engine.snapshot import SnapshotDiagnostic, missing_reference
from proffer.model.content import Component
from proffer.model.offer import FallbackOffer, PersonalizedOffer


def report_constraint(constraint: BoundConstraint | None, diagnostics: dict[str, SnapshotDiagnostic]) -> None:
    """Report a constraint's rules that are missing or do not compile."""
    for key in constraint.missing if constraint is not None else ():
        diagnostics[key] = missing_reference(key)
    for rule in constraint.rules if constraint is not None else ():
        if rule.compiled is None and rule.id not in diagnostics:
            diagnostics[rule.id] = compile_failure(rule, "eligibility rule")


def report_content(
    offer: PersonalizedOffer | FallbackOffer,
    components: Iterable[Component],
    diagnostics: dict[str, SnapshotDiagnostic],
) -> None:
    """Report an offer if a template of its content does not compile."""
    for component in components:
        if isinstance(component, TemplatedComponent) and component.error is not None:
            diagnostics[f"{offer.id} content"] = SnapshotDiagnostic(
                description=f"Encountered issues with the content of offer `{offer.name}`",
                id=offer.id,
                instance_id=offer.instance_id,
                etag=offer.etag,
                causes=(SnapshotDiagnostic(description=component.error),),
            )


def compile_failure(definition: BoundRule | BoundFormula, kind_name: str) -> SnapshotDiagnostic:
    """Return the diagnostic of a failed rule or formula, with compiler messages."""
    return SnapshotDiagnostic(
        description=f"Encountered issues with the dependency: {kind_name} `{definition.name}`",
        id=definition.id,
        instance_id=definition.instance_id,
        etag=definition.etag,
        causes=(
            SnapshotDiagnostic(
                description="Error while validating PQL query",
                causes=tuple(
                    SnapshotDiagnostic(description=diagnostic.message) for diagnostic in definition.diagnostics
                ),
            ),
        ),
    )
