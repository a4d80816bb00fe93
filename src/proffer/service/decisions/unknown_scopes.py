"""The 404 error for unknown scopes (R8): code and messages for all interfaces and the CLI."""

from collections.abc import Sequence
from typing import Self, TypeAlias

from msgspec import structs

from proffer.errors import NotFound, Violation
from proffer.model.outcome import DecisionOutcome, UnknownScope
from proffer.store.errors import StoreUnavailable

SCOPE_NOT_FOUND = "ODE-0001-404"
"""The documented code of a scope that cannot be answered."""
SCOPE_UNREAD = StoreUnavailable.default_code
"""The code of a scope that only the database may have, while it is unavailable."""
ScopeIds: TypeAlias = tuple[str, str]
"""The ids of a decision and a placement, as the client spelled them."""


def as_sent(scope: UnknownScope, ids: ScopeIds) -> UnknownScope:
    """Return the scope with these spellings of its ids, in its reason too."""
    decision, placement = ids
    reason = scope.reason.replace(f"`{scope.decision}`", f"`{decision}`")
    if scope.placement:
        reason = reason.replace(f"`{scope.placement}`", f"`{placement}`")
    return structs.replace(scope, decision=decision, placement=placement, reason=reason)


def scope_name(scope: UnknownScope) -> str:
    """Return `decision/placement`; of a request without placements, the decision alone."""
    return f"{scope.decision}/{scope.placement}" if scope.placement else scope.decision


def not_found_message(names: Sequence[str]) -> str:
    """Return the sentence that names these scopes."""
    word = "scope was" if len(names) == 1 else "scopes were"
    return f"The following {word} not found: {', '.join(names)}"


def unread_message(name: str) -> str:
    """Return the sentence about a scope that only the database may have (R50)."""
    return f"the scope {name} may exist, but the database is not available; try again"


def scope_violation(scope: UnknownScope, path: str | None = None) -> Violation:
    """Return why a scope is unknown and how to fix it; `path` is its JSON path in the request."""
    return Violation(
        code="unknown-scope",
        message=scope.reason,
        path=path,
        help="request a live decision and a placement it uses",
    )


class ScopesNotFound(NotFound):
    """Scopes that cannot be answered; `unknown_scopes` has their index in the request."""

    def __init__(self, outcome: DecisionOutcome) -> None:
        self.unknown_scopes = [
            (position, scope) for position, scope in enumerate(outcome.scopes) if isinstance(scope, UnknownScope)
        ]
        scopes = outcome.unknown_scopes
        super().__init__(
            not_found_message([scope_name(scope) for scope in scopes]),
            code=SCOPE_NOT_FOUND,
            violations=[scope_violation(scope) for scope in scopes],
        )

    def at(self, paths: Sequence[str], ids: Sequence[ScopeIds]) -> Self:
        """Name the scopes as they were sent, each violation with its path; one entry per scope of the request."""
        scopes = [(as_sent(scope, ids[position]), paths[position]) for position, scope in self.unknown_scopes]
        self.detail = not_found_message([scope_name(scope) for scope, _ in scopes])
        self.violations = tuple(scope_violation(scope, path) for scope, path in scopes)
        return self
