"""Resolution of requested scopes (R8). The reasons are returned to the caller."""

from proffer.engine.snapshot import PlayableScope, Snapshot
from proffer.model.lifecycle import DecisionStatus
from proffer.model.outcome import UnknownScope
from proffer.model.request import ScopeRequest


def resolve(snapshot: Snapshot, asked: ScopeRequest, now_us: int) -> PlayableScope | UnknownScope:
    """Return the requested scope, or the reason it cannot be decided."""
    playable = snapshot.decisions.get(asked.decision)
    if playable is None:
        idle = snapshot.idle.get(asked.decision)
        if idle is None:
            return _unknown(asked, f"there is no decision `{asked.decision}`")
        if idle.status is DecisionStatus.LIVE:
            return _unknown(asked, f"decision `{idle.name}` has no fallback offer")
        return _unknown(asked, f"decision `{idle.name}` is {idle.status}, not live")
    window, name = playable.decision.window, playable.decision.name
    if window.is_before(now_us):
        return _unknown(asked, f"decision `{name}` has not started")
    if window.is_over(now_us):
        return _unknown(asked, f"decision `{name}` has ended")
    scope = playable.scopes.get(asked.placement)
    if scope is None:
        if asked.placement not in snapshot.placements:
            return _unknown(asked, f"there is no placement `{asked.placement}`")
        return _unknown(asked, f"decision `{name}` does not use placement `{asked.placement}`")
    return scope


def _unknown(asked: ScopeRequest, reason: str) -> UnknownScope:
    return UnknownScope(decision=asked.decision, placement=asked.placement, reason=reason)
