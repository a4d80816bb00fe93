"""`/api/propositions`: read and replay recorded decisions (Proffer extension, R31).

The library is that of the caller's sandbox.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from starlette.responses import Response

from proffer.api.kit.permissions import Row, in_sandbox
from proffer.api.kit.surface import Call, Surface
from proffer.auth.principal import Permission
from proffer.model.trace import ScopeTrace
from proffer.service.decisions.replay import Differing, ReplayService
from proffer.service.event_log.export import EventExport
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.wire.codec import encode


class RecordSurface:
    """Routes and handlers over recorded decisions."""

    def __init__(
        self, export: EventExport, replay: ReplayService, registry: ContainerRegistry
    ) -> None:
        self._export = export
        self._replay = replay
        self._registry = registry

    def surface(self) -> Surface:
        table: list[Row] = [
            ("GET", "/propositions/{proposition}", Permission.PROFILES_READ, self.decision),
            ("GET", "/propositions/{proposition}/replay", Permission.PROFILES_READ, self.replay),
        ]
        return Surface(
            name="record",
            prefix="/api",
            endpoints=in_sandbox(self._registry, table),
        )

    async def decision(self, call: Call, access: AuthorizedContainer) -> Response:
        """GET /api/propositions/…: the recorded decision, as a row of its dataset."""
        event = await self._replay.find(access, _proposition(call))
        return _json(await self._export.row(access, event))

    async def replay(self, call: Call, access: AuthorizedContainer) -> Response:
        """GET /api/propositions/…/replay: replay the decision, as it was and with today's data."""
        made = await self._replay.replay(access, _proposition(call))
        return _json(
            {
                "propositionId": _proposition(call),
                "decisionId": made.event.id,
                "revision": made.event.revision,
                "reproduced": made.reproduced,
                "customerKept": made.customer_kept,
                "explanation": [_explained(one) for one in made.traces],
                "asItWas": _differences(made.as_it_was),
                "libraryToday": _differences(made.library_today),
                "allToday": _differences(made.all_today),
            }
        )


def _proposition(call: Call) -> str:
    return str(call.request.path_params["proposition"])


def _differences(found: Sequence[Differing]) -> list[dict[str, Any]]:
    return [
        {
            "scope": one.scope,
            "decision": one.decision,
            "placement": one.placement,
            "before": list(one.before),
            "after": list(one.after),
            "reasons": list(one.reasons),
        }
        for one in found
    ]


def _explained(one: ScopeTrace) -> dict[str, Any]:
    return {
        "decision": one.decision,
        "placement": one.placement,
        "candidates": [
            {name: value for name, value in asdict(verdict).items() if value is not None}
            for verdict in one.candidates
        ],
    }


def _json(document: Mapping[str, Any]) -> Response:
    return Response(encode(document), media_type="application/json")
