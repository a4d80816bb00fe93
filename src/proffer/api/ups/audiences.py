"""Segment definitions (audiences), uploaded members, and size estimates of rules."""

import io
from typing import Any

from starlette.responses import Response

from proffer.api.kit.permissions import Row, in_sandbox
from proffer.api.kit.surface import Call, Endpoint
from proffer.api.ups.common import answered, body_of, number
from proffer.auth.principal import Permission
from proffer.errors import Finding, Invalid, Malformed, ProfferError
from proffer.model.identity import IdentityKey, unknown_namespace
from proffer.model.instance import Instance
from proffer.service.customers.audience_upload import list_lines
from proffer.service.customers.audiences import AudienceService, Estimate
from proffer.service.customers.estimates import Estimates
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.validation import walk
from proffer.wire import segments

_PATH = "/ups/segment/definitions"
MAX_LIST = 16_000_000
"""Maximum bytes of an uploaded member list; use the command line for longer lists."""
_SORTABLE = ("creationTime", "updateTime", "name")
_DEFAULT_PAGE = 100
_MOST_PER_PAGE = 1_000


class Audiences:
    """The handlers of `/segment/definitions`, `/preview` and `/estimate`."""

    def __init__(
        self, audiences: AudienceService, estimates: Estimates, registry: ContainerRegistry
    ) -> None:
        self._audiences = audiences
        self._estimates = estimates
        self._registry = registry

    def endpoints(self) -> list[Endpoint]:
        table: list[Row] = [
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
        return in_sandbox(self._registry, table)

    async def create(self, call: Call, access: AuthorizedContainer) -> Response:
        """POST: define an audience."""
        document = await body_of(call)
        made = await self._audiences.create(access, document)
        return answered(_segment(access, made))

    async def get(self, call: Call, access: AuthorizedContainer) -> Response:
        found = self._audiences.get(access, _key(call))
        return answered(_segment(access, found))

    async def patch(self, call: Call, access: AuthorizedContainer) -> Response:
        """PATCH: replace the members in the body."""
        changes = await body_of(call)
        revised = await self._audiences.revise(access, _key(call), _own(changes))
        return answered(_segment(access, revised))

    async def delete(self, call: Call, access: AuthorizedContainer) -> Response:
        await self._audiences.delete(access, _key(call))
        return Response(status_code=200)

    async def members(self, call: Call, access: AuthorizedContainer) -> Response:
        """PUT /members: replace the members by those of a CSV list."""
        query = call.request.query_params
        named = query.get("namespace")
        if not named:
            raise Malformed(
                "`namespace` is missing: say which identities these are", code="bad-parameter"
            )
        code = access.state.customers.namespaces.code(named)
        if code is None:
            raise Invalid.of([unknown_namespace("namespace", named)])
        text = io.TextIOWrapper(io.BytesIO(await call.body(MAX_LIST)), "utf-8-sig", newline="")
        # Parse all lines before the upload, so that errors change nothing.
        people = list(list_lines(text, "the list", query.get("identity")))
        done = await self._audiences.upload(
            access,
            _key(call),
            ((IdentityKey(code, person), columns) for person, columns in people),
        )
        return answered({"listed": done.customers, "left": done.changed})

    async def list(self, call: Call, access: AuthorizedContainer) -> Response:
        """GET: a page of definitions, newest first by default."""
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
        found = [_segment(access, one) for one in self._audiences.every(access)]
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

    async def bulk_get(self, call: Call, access: AuthorizedContainer) -> Response:
        """POST /bulk-get: several definitions by id; unknown ids are left out."""
        asked = await body_of(call)
        ids = asked.get("ids")
        if not isinstance(ids, list) or not all(isinstance(one, dict) for one in ids):
            raise Invalid.of(
                [Finding(code="type", message="`ids` is a list of `{id}`", path="$.ids")]
            )
        wanted = {str(one.get("id", "")).lower() for one in ids}
        found = self._audiences.every(access)
        results = {
            instance.instance_id: _segment(access, instance)
            for instance in found
            if instance.instance_id in wanted
        }
        return answered({"results": results}, 207)

    async def preview(self, call: Call, access: AuthorizedContainer) -> Response:
        """POST /preview: start to count the customers that match a rule."""
        asked = await body_of(call)
        found = walk(segments.PREVIEW_REQUEST, asked)
        if found:
            raise Invalid.of(found)
        key = self._estimates.start(access, asked["predicateExpression"])
        return answered(segments.preview(key), 201)

    async def estimate(self, call: Call, access: AuthorizedContainer) -> Response:
        """GET /estimate/{previewId}: the estimate, or that it is still running."""
        key = str(call.request.path_params["preview"])
        result = self._estimates.get(access, key).result
        if isinstance(result, ProfferError):
            raise result
        return answered(_estimate(result))


def _segment(access: AuthorizedContainer, instance: Instance) -> dict[str, Any]:
    container = access.state.container
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
    """Remove the server's own members, which clients send back as they read them."""
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
