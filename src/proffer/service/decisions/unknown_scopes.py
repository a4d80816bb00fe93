"""The 404 error for unknown scopes (R8): code and messages for all interfaces and the CLI."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from proffer.errors import NotFound, Violation
from proffer.model.outcome import DecisionOutcome, UnknownScope

SCOPE_NOT_FOUND = "ODE-0001-404"
"""The documented code of a scope that cannot be answered."""


def scope_name(scope: UnknownScope) -> str:
    """Return `decision/placement`; of a request without placements, the decision alone."""
    return f"{scope.decision}/{scope.placement}" if scope.placement else scope.decision


def not_found_message(names: Sequence[str]) -> str:
    """Return the sentence that names these scopes."""
    word = "scope was" if len(names) == 1 else "scopes were"
    return f"The following {word} not found: {', '.join(names)}"


def scope_violation(scope: UnknownScope, path: str | None = None) -> Violation:
    """Return why a scope is unknown and how to fix it; `path` is its JSON path in the request."""
    return Violation(
        code="unknown-scope",
        message=scope.reason,
        path=path,
        help="request a live decision and a placement it uses",
    )


class ScopesNotFound(NotFound):
    """Scopes that cannot be answered. `positions`: index in the request of each violation."""

    def __init__(self, outcome: DecisionOutcome) -> None:
        super().__init__(
            not_found_message([scope_name(scope) for scope in outcome.unknown_scopes]),
            code=SCOPE_NOT_FOUND,
            violations=[scope_violation(scope) for scope in outcome.unknown_scopes],
        )
        self.positions = tuple(
            position for position, scope in enumerate(outcome.scopes) if isinstance(scope, UnknownScope)
        )

    def at(self, paths: Sequence[str]) -> Self:
        """Set the path of each violation; `paths` has one path per scope of the request."""
        self.violations = tuple(
            replace(finding, path=paths[position])
            for finding, position in zip(self.violations, self.positions, strict=True)
        )
        return self
