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


def namespace(
    document: Mapping[str, Any], *, key: str, custom: bool, created_ms: int, updated_ms: int
) -> dict[str, Any]:
    return {
        "id": key,
        "code": document["code"],
        "name": document.get("name", document["code"]),
        "description": document.get("description", ""),
        "idType": document.get("idType", "CROSS_DEVICE"),
        "status": "ACTIVE",
        "custom": custom,
        "createTime": created_ms,
        "updateTime": updated_ms,
    }
