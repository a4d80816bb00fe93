"""Segment definitions (audiences), uploaded members, and size estimates of rules."""

import io
from typing import Any

from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall, Endpoint
from proffer.api.kit.json_body import json_response, read_object
from proffer.api.kit.permissions import OperationRoutes, RouteSpec
from proffer.api.kit.warnings import warning_headers
from proffer.api.ups.common import parse_number
from proffer.api.ups.openapi_audiences import OPERATIONS
from proffer.api.ups.routes import PREFIX
from proffer.auth.principal import Permission
from proffer.errors import Invalid, Malformed, ProfferError, Violation
from proffer.model.identity import encode_xid, unknown_namespace
from proffer.model.instance import Instance
from proffer.service.customers.audience_upload import ListFormat, parse_upload
from proffer.service.customers.audiences import AudienceService, Estimate
from proffer.service.customers.delimiters import parse_delimiter
from proffer.service.customers.estimates import EstimateJobs
from proffer.service.library.objects import WriteReceipt
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.validation import validate
from proffer.wire import segments

MAX_LIST = 16_000_000
"""Maximum bytes of an uploaded member list; use the command line for longer lists."""
_SORTABLE = ("creationTime", "updateTime", "name")
_DEFAULT_PAGE = 100
_MAX_PAGE = 1_000


class AudienceRoutes:
    """The handlers of `/segment/definitions`, `/preview` and `/estimate`."""

    def __init__(self, audiences: AudienceService, estimates: EstimateJobs, registry: ContainerRegistry) -> None:
        self._audiences = audiences
        self._estimates = estimates
        self._registry = registry

    def endpoints(self) -> list[Endpoint]:
        table: list[RouteSpec] = [
            ("listAudiences", Permission.LIBRARY_READ, self.list),
            ("createAudience", Permission.LIBRARY_WRITE, self.create),
            ("getAudiences", Permission.LIBRARY_READ, self.bulk_get),
            ("getAudience", Permission.LIBRARY_READ, self.get),
            ("reviseAudience", Permission.LIBRARY_WRITE, self.patch),
            ("deleteAudience", Permission.LIBRARY_WRITE, self.delete),
            ("putMembers", Permission.PROFILES_WRITE, self.members),
            ("startEstimate", Permission.PROFILES_READ, self.preview),
            ("getPreview", Permission.PROFILES_READ, self.preview_results),
            ("deletePreview", Permission.PROFILES_READ, self.delete_preview),
            ("getEstimate", Permission.PROFILES_READ, self.estimate),
        ]
        return OperationRoutes(OPERATIONS, PREFIX).in_sandbox(self._registry, table, sees_all_writes=True)

    async def create(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """POST: define an audience."""
        document = await read_object(call)
        receipt = await self._audiences.create(access, document)
        return _receipt(access, receipt)

    async def get(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        instance = self._audiences.get(access, _key(call))
        return json_response(_segment_document(access, instance))

    async def patch(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """PATCH: replace the members in the body."""
        changes = await read_object(call)
        receipt = await self._audiences.revise(access, _key(call), _editable_members(changes))
        return _receipt(access, receipt)

    async def delete(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        await self._audiences.delete(access, _key(call))
        return Response(status_code=200)

    async def members(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """PUT /members: replace the members by those of a CSV list."""
        query = call.request.query_params
        namespace = query.get("namespace")
        if not namespace:
            raise Malformed("`namespace` is missing: name the namespace of the identities", code="bad-parameter")
        code = access.state.customer_schema.namespaces.code(namespace)
        if code is None:
            raise Invalid.of([unknown_namespace("namespace", namespace)])
        replace = query.get("replace")
        if replace not in {None, "all"}:
            raise Malformed("`replace` must be `all`, or left out", code="bad-parameter")
        format_ = ListFormat(
            namespace=code, column=query.get("identity"), delimiter=parse_delimiter(query.get("delimiter"))
        )
        text = io.TextIOWrapper(io.BytesIO(await call.body(MAX_LIST)), "utf-8-sig", newline="")
        # Parse all lines before the upload, so that errors change nothing.
        lines = list(parse_upload(text, "the list", format_))
        outcome = await self._audiences.upload(
            access, _key(call), lines, listed=len({key for key, _ in lines}), replace_all=replace == "all"
        )
        return json_response({"listed": outcome.customers, "left": outcome.changed})

    async def list(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET: a page of definitions, newest first by default."""
        query = call.request.query_params
        field, _, order = query.get("sort", "creationTime:desc").partition(":")
        if field not in _SORTABLE or order not in {"", "asc", "desc"}:
            raise Malformed(
                f"`sort` must be one of {', '.join(_SORTABLE)}, then `:asc` or `:desc`",
                code="bad-parameter",
            )
        limit = min(parse_number("limit", query.get("limit"), _DEFAULT_PAGE), _MAX_PAGE)
        page = parse_number("page", query.get("page"), 0, minimum=0)
        start = parse_number("start", query.get("start"), page * limit, minimum=0)
        definitions = [_segment_document(access, definition) for definition in self._audiences.all_audiences(access)]
        streaming = query.get("evaluationInfo.continuous.enabled")
        if streaming is not None:
            continuous = call.flag("evaluationInfo.continuous.enabled")
            definitions = [
                definition
                for definition in definitions
                if definition["evaluationInfo"].get("continuous", {}).get("enabled", False) is continuous
            ]
        definitions.sort(key=lambda definition: definition[field], reverse=order != "asc")
        return json_response(
            segments.segments_page(
                definitions[start : start + limit],
                total=len(definitions),
                limit=limit,
                sort_field=field,
                order=order or "desc",
            )
        )

    async def bulk_get(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """POST /bulk-get: several definitions by id; unknown ids are left out."""
        body = await read_object(call)
        ids = body.get("ids")
        if not isinstance(ids, list) or not all(isinstance(entry, dict) for entry in ids):
            raise Invalid.of([Violation(code="type", message="`ids` must be a list of `{id}`", path="$.ids")])
        requested_ids = {str(entry.get("id", "")).lower() for entry in ids}
        instances = self._audiences.all_audiences(access)
        results = {
            instance.instance_id: _segment_document(access, instance)
            for instance in instances
            if instance.instance_id in requested_ids
        }
        return json_response({"results": results}, 207)

    async def preview(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """POST /preview: start to count the customers that match a rule."""
        body = await read_object(call)
        findings = validate(segments.PREVIEW_REQUEST, body)
        if findings:
            raise Invalid.of(findings)
        _rule, warnings = await self._audiences.check(access, body["predicateExpression"])
        key = self._estimates.start(access, body["predicateExpression"])
        return json_response(segments.preview(key), 201, headers=warning_headers(warnings))

    async def estimate(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET /estimate/{previewId}: the estimate, or that it is still running."""
        result = self._result(call, access)
        headers = warning_headers(result.warnings) if result is not None else {}
        return json_response(_estimate_document(result), headers=headers)

    async def preview_results(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """GET /preview/{previewId}: the first customers that match, or that the count is still running."""
        result = self._result(call, access)
        return json_response(
            segments.preview_results(
                None if result is None else [[encode_xid(key) for key in keys] for keys in result.preview],
                key=_preview_key(call),
                origin=call.origin,
            )
        )

    async def delete_preview(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """DELETE /preview/{previewId}: stop a count that runs, and forget it."""
        self._estimates.delete(access, _preview_key(call))
        return Response(status_code=200)

    def _result(self, call: ApiCall, access: AuthorizedContainer) -> Estimate | None:
        """Return the estimate of the path; None while it runs. Raises its error."""
        result = self._estimates.get(access, _preview_key(call)).result
        if isinstance(result, ProfferError):
            raise result
        return result


def _receipt(access: AuthorizedContainer, receipt: WriteReceipt) -> Response:
    document = _segment_document(access, receipt.instance)
    return json_response(document, headers=warning_headers(receipt.warnings))


def _segment_document(access: AuthorizedContainer, instance: Instance) -> dict[str, Any]:
    container = access.state.container
    return segments.segment(
        instance.document,
        key=instance.instance_id,
        organisation=container.organisation,
        sandbox=container.sandbox,
        created_ms=instance.created_us // 1000,
        updated_ms=instance.modified_us // 1000,
    )


def _key(call: ApiCall) -> str:
    return str(call.request.path_params["segment"])


def _preview_key(call: ApiCall) -> str:
    return str(call.request.path_params["preview"])


def _editable_members(changes: dict[str, Any]) -> dict[str, Any]:
    """Remove the server's own members. Clients send them back as they read them."""
    server_members = ("id", "imsOrgId", "sandbox", "creationTime", "updateTime", "updateEpoch")
    return {name: value for name, value in changes.items() if name not in server_members}


def _estimate_document(estimate: Estimate | None) -> dict[str, Any]:
    if estimate is None:
        return {"state": "RUNNING", "estimatedSize": 0, "profilesReadSoFar": 0}
    low, high = estimate.interval
    return {
        "state": "RESULT_READY",
        "estimatedSize": estimate.size,
        "numRowsToRead": estimate.evaluated,
        "profilesReadSoFar": estimate.evaluated,
        "profilesMatchedSoFar": estimate.matched,
        "totalRows": estimate.total,
        "standardError": round(estimate.error, 3),
        "confidenceInterval": "95%",
        "between": [low, high],
        "error": {"description": "", "traceback": ""},
    }
