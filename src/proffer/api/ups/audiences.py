"""Segment definitions: create, read, list, revise, delete; and how many people a rule picks."""

import io
from typing import Any

from starlette.responses import Response

from proffer.api.kit.permissions import needing
from proffer.api.kit.surface import Call, Endpoint
from proffer.api.ups.common import answered, body_of, container_of, number
from proffer.auth.principal import Permission
from proffer.errors import Finding, Invalid, Malformed, ProfferError
from proffer.model.identity import IdentityKey, unknown_namespace
from proffer.model.instance import Instance
from proffer.service.customers.audience_upload import list_lines
from proffer.service.customers.audiences import AudienceService, Estimate
from proffer.service.customers.estimates import Estimates
from proffer.service.library.registry import Libraries
from proffer.validation import walk
from proffer.wire import segments

_PATH = "/ups/segment/definitions"
MAX_LIST = 16_000_000
"""Bytes of a list of people; a longer one is uploaded by the command line."""
_SORTABLE = ("creationTime", "updateTime", "name")
_DEFAULT_PAGE = 100
_MOST_PER_PAGE = 1_000


class Audiences:
    """The handlers of `/segment/definitions`, `/preview` and `/estimate`."""

    def __init__(
        self, audiences: AudienceService, estimates: Estimates, libraries: Libraries
    ) -> None:
        self._audiences = audiences
        self._estimates = estimates
        self._libraries = libraries

    def endpoints(self) -> list[Endpoint]:
        table = [
            ("GET", _PATH, Permission.LIBRARY_READ, self.list),
            ("POST", _PATH, Permission.LIBRARY_WRITE, self.create),
            ("POST", f"{_PATH}/bulk-get", Permission.LIBRARY_READ, self.bulk_get),
            ("GET", f"{_PATH}/{{segment}}", Permission.LIBRARY_READ, self.get),
            ("PATCH", f"{_PATH}/{{segment}}", Permission.LIBRARY_WRITE, self.patch),
            ("DELETE", f"{_PATH}/{{segment}}", Permission.LIBRARY_WRITE, self.delete),
            ("PUT", f"{_PATH}/{{segment}}/members", Permission.PROFILES_WRITE, self.members),
            ("POST", "/ups/preview", Permission.PROFILES_READ, self.preview),
            ("GET", "/ups/estimate/{preview}", Permission.PROFILES_READ, self.estimate),
        ]
        return [
            Endpoint(method=method, path=path, handler=needing(permission, handler))
            for method, path, permission, handler in table
        ]

    async def create(self, call: Call) -> Response:
        """POST: define an audience."""
        document = await body_of(call)
        made = await self._audiences.create(call.principal, self._container(call), document)
        return answered(self._segment(call, made))

    async def get(self, call: Call) -> Response:
        found = self._audiences.get(call.principal, self._container(call), _key(call))
        return answered(self._segment(call, found))

    async def patch(self, call: Call) -> Response:
        """PATCH: the members that are named get these values."""
        changes = await body_of(call)
        revised = await self._audiences.revise(
            call.principal, self._container(call), _key(call), _own(changes)
        )
        return answered(self._segment(call, revised))

    async def delete(self, call: Call) -> Response:
        await self._audiences.delete(call.principal, self._container(call), _key(call))
        return Response(status_code=200)

    async def members(self, call: Call) -> Response:
        """PUT /members: the people of a CSV list, with its other columns, are the members from now on."""
        query = call.request.query_params
        named = query.get("namespace")
        if not named:
            raise Malformed(
                "`namespace` is missing: say which identities these are", code="bad-parameter"
            )
        container = self._libraries.find(call.principal, self._container(call))
        code = container.customers.namespaces.code(named)
        if code is None:
            raise Invalid.of([unknown_namespace("namespace", named)])
        text = io.TextIOWrapper(io.BytesIO(await call.body(MAX_LIST)), "utf-8-sig", newline="")
        people = list(list_lines(text, "the list", query.get("identity")))  # wrong lines come first
        done = await self._audiences.upload(
            call.principal,
            self._container(call),
            _key(call),
            ((IdentityKey(code, person), columns) for person, columns in people),
        )
        return answered({"listed": done.customers, "left": done.changed})

    async def list(self, call: Call) -> Response:
        """GET: a page of definitions, the newest first unless told otherwise."""
        query = call.request.query_params
        field, _, order = query.get("sort", "creationTime:desc").partition(":")
        if field not in _SORTABLE or order not in {"", "asc", "desc"}:
            raise Malformed(
                f"`sort` is one of {', '.join(_SORTABLE)}, then `:asc` or `:desc`",
                code="bad-parameter",
            )
        limit = min(number("limit", query.get("limit"), _DEFAULT_PAGE), _MOST_PER_PAGE)
        page = number("page", query.get("page"), 0, least=0)
        start = number("start", query.get("start"), page * limit, least=0)
        found = [
            self._segment(call, one)
            for one in self._audiences.every(call.principal, self._container(call))
        ]
        streaming = query.get("evaluationInfo.continuous.enabled")
        if streaming is not None:
            wanted = call.flag("evaluationInfo.continuous.enabled")
            found = [
                one
                for one in found
                if one["evaluationInfo"].get("continuous", {}).get("enabled", False) is wanted
            ]
        found.sort(key=lambda one: one[field], reverse=order != "asc")
        return answered(
            segments.segments(
                found[start : start + limit],
                total=len(found),
                limit=limit,
                sort_field=field,
                order=order or "desc",
            )
        )

    async def bulk_get(self, call: Call) -> Response:
        """POST /bulk-get: several definitions by id; those that are not there are left out."""
        asked = await body_of(call)
        ids = asked.get("ids")
        if not isinstance(ids, list) or not all(isinstance(one, dict) for one in ids):
            raise Invalid.of(
                [Finding(code="type", message="`ids` is a list of `{id}`", path="$.ids")]
            )
        wanted = {str(one.get("id", "")).lower() for one in ids}
        found = self._audiences.every(call.principal, self._container(call))
        results = {
            one.instance_id: self._segment(call, one) for one in found if one.instance_id in wanted
        }
        return answered({"results": results}, 207)

    async def preview(self, call: Call) -> Response:
        """POST /preview: begin to count whom a rule picks."""
        asked = await body_of(call)
        found = walk(segments.PREVIEW_REQUEST, asked)
        if found:
            raise Invalid.of(found)
        key = self._estimates.start(
            call.principal, self._container(call), asked["predicateExpression"]
        )
        return answered(segments.preview(key), 201)

    async def estimate(self, call: Call) -> Response:
        """GET /estimate/{previewId}: the count, or that it is still under way."""
        key = str(call.request.path_params["preview"])
        result = self._estimates.get(self._container(call), key).result
        if isinstance(result, ProfferError):
            raise result
        return answered(_estimate(result))

    def _container(self, call: Call) -> str:
        return container_of(call, self._libraries).id

    def _segment(self, call: Call, instance: Instance) -> dict[str, Any]:
        container = container_of(call, self._libraries)
        return segments.segment(
            instance.document,
            key=instance.instance_id,
            organisation=container.organisation,
            sandbox=container.sandbox,
            created_ms=instance.created_us // 1000,
            updated_ms=instance.modified_us // 1000,
        )


def _key(call: Call) -> str:
    return str(call.request.path_params["segment"]).lower()


def _own(changes: dict[str, Any]) -> dict[str, Any]:
    """A change without what the server itself says of a definition, for clients send back what they read."""
    given = ("id", "imsOrgId", "sandbox", "creationTime", "updateTime", "updateEpoch")
    return {name: value for name, value in changes.items() if name not in given}


def _estimate(done: Estimate | None) -> dict[str, Any]:
    if done is None:
        return {"state": "RUNNING", "estimatedSize": 0, "profilesReadSoFar": 0}
    low, high = done.interval
    return {
        "state": "RESULT_READY",
        "estimatedSize": done.size,
        "numRowsToRead": done.asked,
        "profilesReadSoFar": done.asked,
        "profilesMatchedSoFar": done.matched,
        "totalRows": done.total,
        "standardError": round(done.error, 3),
        "confidenceInterval": "95%",
        "between": [low, high],
        "error": {"description": "", "traceback": ""},
    }
