"""What the scopes of a request need together: which limits they meet, which fields they may read.

Requests ask for the same scopes again and again, so this is worked out once for a snapshot.
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
    """`caps`: each limit with its offer's id; `reads`: field paths, and whether some are of events or of context."""

    caps: tuple[tuple[str, CapLimit], ...]
    reads: frozenset[str]
    reads_events: bool
    reads_context: bool = False


@dataclass(slots=True)
class Needing:
    """Remembers what lists of scopes need, by container, for the snapshot that was asked last."""

    _kept: dict[str, tuple[Snapshot, dict[Key, Needed]]] = field(default_factory=dict)

    def of(self, snapshot: Snapshot, scopes: Sequence[ScopeRequest]) -> Needed:
        """As `needed_by` says."""
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
    """What these scopes need. Those that nobody can answer need nothing."""
    caps: list[tuple[tuple[str, CapLimit], ...]] = []
    reads: frozenset[str] = frozenset()
    for asked in scopes:
        playable = snapshot.decisions.get(asked.decision)
        scope = None if playable is None else playable.scopes.get(asked.placement)
        if scope is not None:
            # Scopes over the same offers share one tuple: comparing contents would take longer.
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
    """Each limit once. It is a list that is there already, where there is but one."""
    if len(lists) == 1:
        return lists[0]
    return tuple({(one[0], one[1].name): one for listed in lists for one in listed}.values())
