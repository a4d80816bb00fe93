"""Documents of segment definitions, previews, merge policies, namespaces and descriptors."""

from collections.abc import Mapping, Sequence
from typing import Any

from proffer.validation import AnyShape, MapShape, Member, ObjectShape, OneOfShape, Shape, TextShape
from proffer.wire.collection import PROFILE

PREVIEW_REQUEST: Shape = ObjectShape(
    {
        "predicateExpression": Member(OneOfShape([TextShape(min=1), MapShape(AnyShape())]), required=True),
        "predicateType": Member(TextShape(one_of=["pql/text", "pql/json"])),
        "predicateModel": Member(TextShape()),
    }
)

ALL_KINDS = {"batch": True, "continuous": True, "synchronous": True}


def segment(
    document: Mapping[str, Any],
    *,
    key: str,
    organisation: str,
    sandbox: str,
    created_ms: int,
    updated_ms: int,
) -> dict[str, Any]:
    """Return one segment definition. Without `evaluationInfo`, all kinds of evaluation are enabled."""
    members = {name: value for name, value in document.items() if not name.startswith("@")}
    return {
        "id": key,
        "schema": {"name": PROFILE},
        "profileInstanceId": "ups",
        "imsOrgId": organisation,
        "sandbox": {"sandboxName": sandbox, "type": "production", "default": sandbox == "prod"},
        "description": "",
        "evaluationInfo": {name: {"enabled": enabled} for name, enabled in ALL_KINDS.items()},
        **members,
        "creationTime": created_ms,
        "updateEpoch": updated_ms // 1000,
        "updateTime": updated_ms,
    }


def segments_page(
    definitions: Sequence[Mapping[str, Any]],
    *,
    total: int,
    limit: int,
    sort_field: str,
    order: str,
) -> dict[str, Any]:
    return {
        "segments": list(definitions),
        "page": {
            "totalCount": total,
            "totalPages": -(-total // limit),
            "sortField": sort_field,
            "sort": order,
            "pageSize": len(definitions),
            "limit": limit,
        },
        "link": {},
    }


def preview(key: str) -> dict[str, Any]:
    return {
        "state": "NEW",
        "previewQueryId": key,
        "previewQueryStatus": "NEW",
        "previewId": key,
        "previewExecutionId": 0,
    }


def preview_results(matches: Sequence[Sequence[str]] | None, *, key: str, origin: str) -> dict[str, Any]:
    """Return the XIDs of matching customers, each with its other identities; None: the count runs."""

    def link(xid: str) -> dict[str, Any]:
        return {"_href": f"{origin}/data/core/ups/access/entities?schema.name={PROFILE}&entityId={xid}"}

    return {
        "state": "RUNNING" if matches is None else "RESULT_READY",
        "results": [
            {first: {**link(first), "endCustomerIds": {xid: link(xid) for xid in related}}}
            for first, *related in matches or ()
        ],
        "page": {"offset": 0, "size": len(matches or ())},
        "links": {"_self": f"{origin}/data/core/ups/preview/{key}", "next": "", "prev": ""},
    }


def merge_policies_page(children: Sequence[Mapping[str, Any]], *, total: int, next_query: str) -> dict[str, Any]:
    """Return a page of merge policies. `next_query` is the query of the next page, or empty.

    Clients read `next` without looking whether it is there.
    """
    href = f"@/mergePolicies?{next_query}" if next_query else ""
    return {
        "_page": {"totalCount": total, "pageSize": len(children)},
        "children": list(children),
        "_links": {"next": {"href": href, "templated": False}},
    }


def merge_policy(
    document: Mapping[str, Any], *, key: str, organisation: str, sandbox: str, updated_ms: int
) -> dict[str, Any]:
    members = {name: value for name, value in document.items() if not name.startswith("@")}
    return {
        "id": key,
        "imsOrgId": organisation,
        "sandbox": {"sandboxName": sandbox},
        "schema": {"name": PROFILE},
        "identityGraph": {"type": "pdg"},
        "default": False,
        **members,
        "updateEpoch": updated_ms // 1000,
    }


IDENTITY_DESCRIPTOR = "xdm:descriptorIdentity"


def descriptor(document: Mapping[str, Any], *, key: str, organisation: str, etag: int) -> dict[str, Any]:
    members = {name: value for name, value in document.items() if name != "@id"}
    return {
        "@id": key,
        "xdm:sourceVersion": 1,
        "xdm:property": "xdm:code",
        "xdm:isPrimary": False,
        **members,
        "imsOrg": organisation,
        "version": str(etag),
        "meta:containerId": "tenant",
    }


def descriptors_page(descriptors: Sequence[Any]) -> dict[str, Any]:
    """Return the form with `results`, with all descriptors on one page."""
    return {"results": list(descriptors), "_page": {"count": len(descriptors), "next": None}, "_links": {}}


def namespace(
    document: Mapping[str, Any], *, key: str, custom: bool, created_ms: int, updated_ms: int
) -> dict[str, Any]:
    return {
        "id": key,
        "code": document["code"],
        "name": document.get("name", document["code"]),
        "description": document.get("description") or "",
        "idType": document.get("idType", "CROSS_DEVICE"),
        "status": "ACTIVE",
        "custom": custom,
        "createTime": created_ms,
        "updateTime": updated_ms,
    }
