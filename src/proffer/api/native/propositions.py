"""`/api/propositions`: read and replay recorded decisions (Proffer extension, R31).

The library is that of the caller's sandbox.
"""

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall, Surface
from proffer.api.kit.fragments import candidate_documents
from proffer.api.kit.json_body import json_response
from proffer.api.kit.permissions import OperationRoutes, RouteSpec
from proffer.api.native.openapi_feedback import OPERATIONS
from proffer.auth.principal import Permission
from proffer.model.trace import ScopeTrace
from proffer.service.decisions.replay import Replay, ReplayService, ScopeDifference
from proffer.service.event_log.export import EventExport
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry


class PropositionRoutes:
    """Routes and handlers over recorded decisions."""

    def __init__(self, export: EventExport, replay: ReplayService, registry: ContainerRegistry) -> None:
        self._export = export
        self._replay = replay
        self._registry = registry

    def surface(self) -> Surface:
        table: list[RouteSpec] = [
            ("getProposition", Permission.PROFILES_READ, self.decision),
            ("replayProposition", Permission.PROFILES_READ, self.replay),
        ]
        return Surface(
            name="record",
            prefix="/api",
            endpoints=OperationRoutes(OPERATIONS, "/api").in_sandbox(self._registry, table, sees_all_writes=True),
        )

    async def decision(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET /api/propositions/…: the recorded decision, as a row of its dataset."""
        event = await self._replay.find(access, _proposition(call))
        return json_response(await self._export.row(access, event))

    async def replay(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET /api/propositions/…/replay: replay the decision, as it was and with today's data."""
        replayed = await self._replay.replay(access, _proposition(call))
        return json_response(
            {
                **_meaning(replayed),
                "propositionId": _proposition(call),
                "decisionId": replayed.event.id,
                "revision": replayed.event.revision,
                "reproduced": replayed.reproduced,
                "customerKept": replayed.customer_stored,
                "explanation": [_explanation(scope_trace) for scope_trace in replayed.traces],
                "asItWas": _differences(replayed.as_recorded),
                "libraryToday": _differences(replayed.current_library),
                "allToday": _differences(replayed.current_state),
            }
        )


def _proposition(call: ApiCall) -> str:
    return str(call.request.path_params["proposition"])


def _meaning(replayed: Replay) -> dict[str, Any]:
    """Return the member that says that the decision was made with another meaning of rules."""
    if replayed.meaning_note is None:
        return {}
    return {
        "meaning": {
            "recorded": replayed.event.meaning,
            "used": replayed.meaning,
            "note": replayed.meaning_note,
            "changes": list(replayed.meaning_changes),
        }
    }


def _differences(differences: Sequence[ScopeDifference]) -> list[dict[str, Any]]:
    return [
        {
            "scope": difference.scope,
            "decision": difference.decision,
            "placement": difference.placement,
            "before": list(difference.before),
            "after": list(difference.after),
            "reasons": list(difference.reasons),
        }
        for difference in differences
    ]


def _explanation(scope_trace: ScopeTrace) -> dict[str, Any]:
    return {
        "decision": scope_trace.decision,
        "placement": scope_trace.placement,
        "candidates": candidate_documents(scope_trace),
    }
