"""`/api/changes`, `/api/library`, `/api/revisions`: change log and history (R31).

The library is that of the caller's sandbox. Documents are in the repository API's spelling.
"""

from typing import Any

from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall, Surface
from proffer.api.kit.etags import etag as etag_header
from proffer.api.kit.json_body import json_response, parse_whole_number
from proffer.api.kit.permissions import OperationRoutes, RouteSpec
from proffer.api.native.openapi_changes import OPERATIONS
from proffer.auth.policy import require_permission
from proffer.auth.principal import Permission
from proffer.errors import Malformed
from proffer.model.instance import Instance, format_timestamp
from proffer.service.library.changes import ChangeService, LoggedChange
from proffer.service.library.load import SECTIONS
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.service.search.search import parse_limit
from proffer.validation import parse_timestamp_us


class ChangeRoutes:
    """Routes and handlers over the change service."""

    def __init__(self, service: ChangeService, registry: ContainerRegistry) -> None:
        self._service = service
        self._registry = registry

    def surface(self) -> Surface:
        table: list[RouteSpec] = [
            ("listChanges", Permission.LIBRARY_READ, self.changes),
            ("getLibraryAt", Permission.LIBRARY_READ, self.library),
            ("getRevision", Permission.LIBRARY_READ, self.revision),
            ("restoreRevision", Permission.LIBRARY_WRITE, self.restore),
        ]
        return Surface(
            name="changes",
            prefix="/api",
            endpoints=OperationRoutes(OPERATIONS, "/api").in_sandbox(self._registry, table, sees_all_writes=True),
        )

    async def changes(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET /api/changes: changes of one object or the whole library, newest first."""
        before = call.query.get("before")
        changes, next_before = await self._service.changes(
            access,
            entity_id=call.query.get("id"),
            before=parse_whole_number("before", before) if before else None,
            limit=parse_limit(call.query.get("limit")),
        )
        return json_response({"changes": [_change_document(change) for change in changes], "next": next_before})

    async def library(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET /api/library: all objects at a point in time, by section."""
        at = call.query.get("at")
        if at is None:
            raise Malformed("`at` is missing: give a date and time", code="bad-parameter")
        try:
            moment = parse_timestamp_us(at.replace(" ", "+"))
        except ValueError as error:
            detail = f"`at` is not a date and time: {error}"
            raise Malformed(detail, code="bad-parameter") from None
        revision, instances = await self._service.library_at(access, moment)
        documents_by_section = {
            name: [instance.document for instance in instances if instance.kind is kind]
            for name, kind in SECTIONS.items()
        }
        return json_response({"revision": revision, "at": format_timestamp(moment), "library": documents_by_section})

    async def revision(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET /api/revisions/…: the revision of an object with this etag."""
        version = await self._service.revision(access, *_revision_key(call))
        return json_response({**_version_document(version), "document": version.document})

    async def restore(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """POST /api/revisions/…/restore: make an earlier revision the newest one."""
        entity_id, revision_etag = _revision_key(call)
        require_permission(access.principal, Permission.LIBRARY_READ)  # the response contains the document
        version = await self._service.restore(access, entity_id, revision_etag)
        response = json_response({**_version_document(version), "document": version.document})
        response.headers["ETag"] = etag_header(version.etag)
        return response


def _revision_key(call: ApiCall) -> tuple[str, int]:
    parameters = call.request.path_params
    return str(parameters["id"]), parse_whole_number("etag", str(parameters["etag"]))


def _version_document(version: Instance) -> dict[str, Any]:
    return {
        "id": version.id,
        "kind": str(version.kind),
        "name": version.name,
        "etag": version.etag,
        "revision": version.revision,
        "at": format_timestamp(version.modified_us),
        "user": version.modified_by.user,
        "client": version.modified_by.client,
    }


def _change_document(change: LoggedChange) -> dict[str, Any]:
    return {
        **_version_document(change.version),
        "what": change.action,
        "difference": list(change.difference),
    }
