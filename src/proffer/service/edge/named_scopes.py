"""Scopes that are requested by the name of their decision."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from proffer.engine.snapshot import CompiledDecision, Snapshot
from proffer.model.decision import Decision
from proffer.model.placement import Placement
from proffer.model.request import RequestedScope

_MAX_LISTED_SCOPES = 10


@dataclass(slots=True)
class DecisionNames:
    """Live decisions by name, of the latest snapshot of each container."""

    _cache: dict[str, tuple[Snapshot, Mapping[str, Sequence[CompiledDecision]]]] = field(default_factory=dict)

    def scopes(self, snapshot: Snapshot, names: Iterable[str], now_us: int) -> dict[str, RequestedScope | str]:
        """Return by name the only scope of its live decisions, or the reason why it is not unique."""
        decisions = self._decisions(snapshot)
        return {
            name: _only_scope(
                name,
                [
                    (compiled.decision, snapshot.placements[placement])
                    for compiled in decisions.get(name, ())
                    if now_us in compiled.decision.window
                    for placement in compiled.scopes
                ],
            )
            for name in names
        }

    def _decisions(self, snapshot: Snapshot) -> Mapping[str, Sequence[CompiledDecision]]:
        cached = self._cache.get(snapshot.container)
        if cached is None or cached[0] is not snapshot:
            by_name: dict[str, list[CompiledDecision]] = {}
            for compiled in snapshot.decisions.values():
                by_name.setdefault(compiled.decision.name, []).append(compiled)
            cached = self._cache[snapshot.container] = (snapshot, by_name)
        return cached[1]


def _only_scope(name: str, pairs: Sequence[tuple[Decision, Placement]]) -> RequestedScope | str:
    if not pairs:
        return f"no live decision has the name `{name[:200]}`"
    if len(pairs) == 1:
        decision, placement = pairs[0]
        return RequestedScope(decision.id, placement.id)
    listed = ", ".join(
        f"`{decision.public_id}/{placement.public_id}`" for decision, placement in pairs[:_MAX_LISTED_SCOPES]
    )
    more = f" and {len(pairs) - _MAX_LISTED_SCOPES} more" if len(pairs) > _MAX_LISTED_SCOPES else ""
    return f"the name stands for {len(pairs)} scopes: {listed}{more}; request one by decision and placement"
