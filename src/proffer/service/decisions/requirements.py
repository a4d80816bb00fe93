"""Requirements of a request's scopes: the cap limits and field paths they may read.

Cached per snapshot, because requests repeat the same scopes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from proffer.engine.snapshot import Snapshot
from proffer.model.capping import CapLimit
from proffer.model.request import ScopeRequest

_MOST_KEPT = 1_000
_NOT_EVENTS = frozenset({"profile", "context", "offer"})

Key: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """Cap limits and field paths of a list of scopes.

    `caps`: (offer id, limit) pairs. `reads`: field paths. `reads_events`, `reads_context`: whether
    event history or context data is read.
    """

    caps: tuple[tuple[str, CapLimit], ...]
    reads: frozenset[str]
    reads_events: bool
    reads_context: bool = False


@dataclass(slots=True)
class Needing:
    """Cache of requirements by container and scopes, for the latest snapshot."""

    _kept: dict[str, tuple[Snapshot, dict[Key, Needed]]] = field(default_factory=dict)

    def of(self, snapshot: Snapshot, scopes: Sequence[ScopeRequest]) -> Needed:
        """Return `requirements_of(snapshot, scopes)`, cached."""
        known = self._kept.get(snapshot.container)
        if known is None or known[0] is not snapshot:
            known = self._kept[snapshot.container] = (snapshot, {})
        kept = known[1]
        key = tuple([(one.decision, one.placement) for one in scopes])
        needed = kept.get(key)
        if needed is None:
            if len(kept) >= _MOST_KEPT:
                kept.clear()
            needed = kept[key] = needed_by(snapshot, scopes)
        return needed


def needed_by(snapshot: Snapshot, scopes: Sequence[ScopeRequest]) -> Needed:
    """Return the requirements of these scopes. Unknown scopes have none."""
    caps: list[tuple[tuple[str, CapLimit], ...]] = []
    reads: frozenset[str] = frozenset()
    for asked in scopes:
        playable = snapshot.decisions.get(asked.decision)
        scope = None if playable is None else playable.scopes.get(asked.placement)
        if scope is not None:
            # Scopes over the same offers share one tuple, so identity is a cheap comparison.
            if scope.caps and not any(limits is scope.caps for limits in caps):
                caps.append(scope.caps)
            reads |= scope.reads
    roots = {path.partition(".")[0] for path in reads}
    return Needed(
        caps=_together(caps),
        reads=reads,
        reads_events=any(
            root not in _NOT_EVENTS and not root.startswith("context:") for root in roots
        ),
        reads_context=any(root == "context" or root.startswith("context:") for root in roots),
    )


def _together(
    lists: Sequence[tuple[tuple[str, CapLimit], ...]],
) -> tuple[tuple[str, CapLimit], ...]:
    """Return each limit once; a single list is returned as it is."""
    if len(lists) == 1:
        return lists[0]
    return tuple({(one[0], one[1].name): one for listed in lists for one in listed}.values())
