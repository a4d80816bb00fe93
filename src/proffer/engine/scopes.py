"""Resolution of requested scopes (R8). The reasons are returned to the caller."""

from proffer.engine.snapshot import CompiledScope, Snapshot
from proffer.model.lifecycle import DecisionStatus
from proffer.model.outcome import UnknownScope
from proffer.model.request import ScopeRequest


def resolve_scope(snapshot: Snapshot, request: ScopeRequest, now_us: int) -> CompiledScope | UnknownScope:
    """Return the requested scope, or the reason it cannot be decided."""
    compiled_decision = snapshot.decisions.get(request.decision)
    if compiled_decision is None:
        inactive = snapshot.inactive.get(request.decision)
        if inactive is None:
            return _unknown(request, f"there is no decision `{request.decision}`")
        if inactive.status is DecisionStatus.LIVE:
            return _unknown(request, f"decision `{inactive.name}` has no fallback offer")
        return _unknown(request, f"decision `{inactive.name}` is {inactive.status}, not live")
    window, name = compiled_decision.decision.window, compiled_decision.decision.name
    if window.is_before(now_us):
        return _unknown(request, f"decision `{name}` has not started")
    if window.is_over(now_us):
        return _unknown(request, f"decision `{name}` has ended")
    scope = compiled_decision.scopes.get(request.placement)
    if scope is None:
        if request.placement not in snapshot.placements:
            return _unknown(request, f"there is no placement `{request.placement}`")
        return _unknown(request, f"decision `{name}` does not use placement `{request.placement}`")
    return scope


def _unknown(request: ScopeRequest, reason: str) -> UnknownScope:
    return UnknownScope(decision=request.decision, placement=request.placement, reason=reason)
