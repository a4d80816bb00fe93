"""The decisioning API by sandbox, under its current path (spec 4.1).

Placements supply defaults for what a request leaves open: how many offers, whether they may be
repeated, and which fields the response has (spec 1.1, 4.2, 4.5).
"""

from collections.abc import Mapping
from functools import partial

from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall, Surface
from proffer.api.kit.media_types import parse_content_type
from proffer.api.kit.permissions import OperationRoutes, RouteSpec
from proffer.api.ode import translate
from proffer.api.ode.fragments import FieldSelection, field_selection
from proffer.api.ode.openapi import OPERATIONS
from proffer.api.ode.routes import OdeRoutes
from proffer.auth.principal import Permission
from proffer.model.placement import Placement
from proffer.service.library.registry import AuthorizedContainer

PREFIX = "/data/core/ods"

_METADATA_MEMBERS: Mapping[str, tuple[str, str]] = {
    "decisionName": ("decision", "name"),
    "placementName": ("placement", "name"),
    "channelType": ("placement", "channel"),
    "contentType": ("placement", "componentType"),
    "offerName": ("option", "name"),
    "offerAttributes": ("option", "characteristics"),
    "offerPriority": ("option", "priority"),
}
"""Response member per `returnMetaData` setting of a placement: (object, member)."""


class OdsRoutes(OdeRoutes):
    """Routes and handler over the decide service."""

    name = "ods"

    def surface(self) -> Surface:
        table: list[RouteSpec] = [("decideInSandbox", Permission.DECISIONS_EXECUTE, self.decide)]
        endpoints = OperationRoutes(OPERATIONS, PREFIX).in_sandbox(self._registry, table)
        return Surface(name=self.name, prefix=PREFIX, endpoints=endpoints)

    async def decide(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """POST /decisions: options or a fallback for every scope."""
        body = await call.body()
        # This interface has one request version; the schema's version is ignored.
        media = parse_content_type(call.header(b"content-type"))
        request = translate.read(media, body, newest_only=True)
        sees_writes = await self._service.see_scopes(access, request.scopes, partial=call.flag("partial"))
        placements = self._service.placements(access, [scope.placement for scope in request.scopes])
        apply_placement_defaults(request, placements)
        return await self.decide_and_respond(
            call, access, request, partial(select_fields, request), sees_writes=sees_writes
        )


def apply_placement_defaults(request: translate.DecisionInput, placements: Mapping[str, Placement]) -> None:
    """Set what the request leaves open to the defaults of its placements."""
    request.scopes = [
        scope._replace(item_count=placements[scope.placement].item_count)
        if scope.item_count is None and scope.placement in placements
        else scope
        for scope in request.scopes
    ]
    request.check_option_count()
    if request.across_placements is None:
        request.across_placements = all(placement.allow_duplicates for placement in placements.values())


def select_fields(request: translate.DecisionInput, placement: Placement) -> FieldSelection:
    """Return the response fields that the request, else the placement, selects."""
    content = request.content
    if content is None:
        content = bool(placement.return_content)
    if request.metadata is not None:
        return field_selection(content, *request.metadata)
    members: dict[str, set[str]] = {"decision": set(), "placement": set(), "option": set()}
    for switch, is_enabled in (placement.metadata or {}).items():
        if is_enabled and switch in _METADATA_MEMBERS:
            owner, member = _METADATA_MEMBERS[switch]
            members[owner].add(member)
    return field_selection(content, *(frozenset(names) for names in members.values()))
