"""`/api/propositions`: decisions on record, looked at and made again (ours, R31).

The library meant is that of the caller's sandbox.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from starlette.responses import Response

from proffer.api.kit.surface import Call, Endpoint, Surface
from proffer.auth.policy import require
from proffer.auth.principal import Permission
from proffer.model.trace import ScopeTrace
from proffer.service.decisions.replay import Differing, ReplayService
from proffer.service.event_log.export import EventExport
from proffer.service.library.registry import Libraries
from proffer.wire.codec import encode


class RecordSurface:
    """The handlers."""

    def __init__(self, export: EventExport, replay: ReplayService, libraries: Libraries) -> None:
        self._export = export
        self._replay = replay
        self._libraries = libraries

    def surface(self) -> Surface:
        """The URL table."""
        table = [
            ("GET", "/propositions/{proposition}", self.decision),
            ("GET", "/propositions/{proposition}/replay", self.replay),
        ]
        return Surface(
            name="record",
            prefix="/api",
            endpoints=[
                Endpoint(method=method, path=path, handler=handler)
                for method, path, handler in table
            ],
        )

    async def decision(self, call: Call) -> Response:
        """GET /api/propositions/…: the decision on record, as its dataset has it."""
        container, proposition = self._asked(call)
        event = await self._replay.find(call.principal, container, proposition)
        return _json(await self._export.row(call.principal, container, event))

    async def replay(self, call: Call) -> Response:
        """GET /api/propositions/…/replay: the decision made again, as it was and as it would be today."""
        container, proposition = self._asked(call)
        made = await self._replay.replay(call.principal, container, proposition)
        return _json(
            {
                "propositionId": proposition,
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

    def _asked(self, call: Call) -> tuple[str, str]:
        require(call.principal, Permission.PROFILES_READ)
        named = call.request.headers.get("x-sandbox-name")
        container = self._libraries.of_sandbox(call.principal, named).container.id
        return container, str(call.request.path_params["proposition"])


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
