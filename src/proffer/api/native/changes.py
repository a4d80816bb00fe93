"""`/api/changes`, `/api/library`, `/api/revisions`: change log and history (R31).

The library is that of the caller's sandbox. Documents are in the repository API's spelling.
"""

from typing import Any

from starlette.responses import Response

from proffer.api.kit.etags import etag as etag_header
from proffer.api.kit.permissions import Row, in_sandbox
from proffer.api.kit.surface import Call, Surface
from proffer.auth.policy import require
from proffer.auth.principal import Permission
from proffer.errors import Malformed
from proffer.model.instance import Instance, timestamp
from proffer.service.library.changes import Change, ChangeService
from proffer.service.library.load import SECTIONS
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.service.search.search import parse_limit
from proffer.validation import parse_moment
from proffer.wire.codec import encode


class ChangesSurface:
    """Routes and handlers over the change service."""

    def __init__(self, service: ChangeService, registry: ContainerRegistry) -> None:
        self._service = service
        self._registry = registry

    def surface(self) -> Surface:
        table: list[Row] = [
            ("GET", "/changes", Permission.LIBRARY_READ, self.changes),
            ("GET", "/library", Permission.LIBRARY_READ, self.library),
            ("GET", "/revisions/{id}/{etag}", Permission.LIBRARY_READ, self.revision),
            ("POST", "/revisions/{id}/{etag}/restore", Permission.LIBRARY_WRITE, self.restore),
        ]
        return Surface(
            name="changes",
            prefix="/api",
            endpoints=in_sandbox(self._registry, table),
        )

    async def changes(self, call: Call, access: AuthorizedContainer) -> Response:
        """GET /api/changes: changes of one object or the whole library, newest first."""
        before = call.query.get("before")
        found, following = await self._service.changes(
            access,
            entity_id=call.query.get("id"),
            before=_number("before", before) if before else None,
            limit=parse_limit(call.query.get("limit")),
        )
        return _json({"changes": [_change(one) for one in found], "next": following})

    async def library(self, call: Call, access: AuthorizedContainer) -> Response:
        """GET /api/library: all objects at a point in time, by section."""
        at = call.query.get("at")
        if at is None:
            raise Malformed("`at` is missing: say which moment", code="bad-parameter")
        try:
            moment = parse_moment(at.replace(" ", "+"))
        except ValueError as error:
            detail = f"`at` is not a date and time: {error}"
            raise Malformed(detail, code="bad-parameter") from None
        revision, instances = await self._service.library_at(access, moment)
        listed = {
            name: [one.document for one in instances if one.kind is kind]
            for name, kind in SECTIONS.items()
        }
        return _json({"revision": revision, "at": timestamp(moment), "library": listed})

    async def revision(self, call: Call, access: AuthorizedContainer) -> Response:
        """GET /api/revisions/…: the revision of an object with this etag."""
        found = await self._service.revision(access, *_named(call))
        return _json({**_who(found), "document": found.document})

    async def restore(self, call: Call, access: AuthorizedContainer) -> Response:
        """POST /api/revisions/…/restore: make an earlier revision the newest one."""
        entity_id, revision_etag = _named(call)
        require(access.principal, Permission.LIBRARY_READ)  # the response contains the document
        made = await self._service.restore(access, entity_id, revision_etag)
        response = _json({**_who(made), "document": made.document})
        response.headers["ETag"] = etag_header(made.etag)
        return response


def _named(call: Call) -> tuple[str, int]:
    parameters = call.request.path_params
    return str(parameters["id"]), _number("etag", str(parameters["etag"]))


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Malformed(f"`{name}` is a whole number, not `{text[:50]}`", code="bad-parameter")
    return int(text)


def _who(version: Instance) -> dict[str, Any]:
    return {
        "id": version.id,
        "kind": str(version.kind),
        "name": version.name,
        "etag": version.etag,
        "revision": version.revision,
        "at": timestamp(version.modified_us),
        "user": version.modified_by.user,
        "client": version.modified_by.client,
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        **_who(change.version),
        "what": change.what,
        "difference": list(change.difference),
    }


def _json(document: dict[str, Any]) -> Response:
    return Response(encode(document), media_type="application/json")
