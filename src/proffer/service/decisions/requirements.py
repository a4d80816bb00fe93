"""Requirements of a request's scopes: the cap limits and field paths they may read.

Cached per snapshot, because requests repeat the same scopes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from proffer.engine.snapshot import Snapshot
from proffer.model.capping import OfferLimits
from proffer.model.request import ScopeRequest

_MAX_CACHED = 1_000
_NON_EVENT_ROOTS = frozenset({"profile", "context", "offer"})

ScopesKey: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeRequirements:
    """Cap limits and field paths of a list of scopes.

    `caps`: (offer id, limit) pairs. `reads`: field paths. `reads_events`, `reads_context`: whether
    event history or context data is read.
    """

    caps: OfferLimits
    reads: frozenset[str]
    reads_events: bool
    reads_context: bool = False


@dataclass(slots=True)
class RequirementsCache:
    """Cache of requirements by container and scopes, for the latest snapshot."""

    _cache: dict[str, tuple[Snapshot, dict[ScopesKey, ScopeRequirements]]] = field(default_factory=dict)

    def get(self, snapshot: Snapshot, scopes: Sequence[ScopeRequest]) -> ScopeRequirements:
        """Return `requirements_of(snapshot, scopes)`, cached."""
        cached = self._cache.get(snapshot.container)
        if cached is None or cached[0] is not snapshot:
            cached = self._cache[snapshot.container] = (snapshot, {})
        requirements_by_scopes = cached[1]
        key = tuple([(scope.decision, scope.placement) for scope in scopes])
        requirements = requirements_by_scopes.get(key)
        if requirements is None:
            if len(requirements_by_scopes) >= _MAX_CACHED:
                requirements_by_scopes.clear()
            requirements = requirements_by_scopes[key] = requirements_of(snapshot, scopes)
        return requirements


def requirements_of(snapshot: Snapshot, scopes: Sequence[ScopeRequest]) -> ScopeRequirements:
    """Return the requirements of these scopes. Unknown scopes have none."""
    caps: list[OfferLimits] = []
    reads: frozenset[str] = frozenset()
    for request_scope in scopes:
        playable = snapshot.decisions.get(request_scope.decision)
        scope = None if playable is None else playable.scopes.get(request_scope.placement)
        if scope is not None:
            # Scopes over the same offers share one instance, so identity is a cheap comparison.
            if scope.caps and not any(limits is scope.caps for limits in caps):
                caps.append(scope.caps)
            reads |= scope.reads
    roots = {path.partition(".")[0] for path in reads}
    return ScopeRequirements(
        caps=_merge_caps(caps),
        reads=reads,
        reads_events=any(root not in _NON_EVENT_ROOTS and not root.startswith("context:") for root in roots),
        reads_context=any(root == "context" or root.startswith("context:") for root in roots),
    )


def _merge_caps(cap_lists: Sequence[OfferLimits]) -> OfferLimits:
    """Return each limit once; a single list is returned as it is."""
    if len(cap_lists) == 1:
        return cap_lists[0]
    return OfferLimits(
        {(offer, limit.name): (offer, limit) for limits in cap_lists for offer, limit in limits}.values()
    )
