"""Documents of the repository API: schema names, envelopes, receipts and pages.

Plain values instead of types, so that unknown members of instances pass through unchanged.
"""

from collections.abc import Mapping, Sequence
from typing import Any

NAMESPACE = "https://ns.adobe.com/experience/offer-management/"
CONTAINER_SCHEMA = "https://ns.adobe.com/experience/xcore/container"
HOME = "https://ns.adobe.com/experience/xcore/hal/home"
RESULTS = "https://ns.adobe.com/experience/xcore/hal/results"

RECEIPT_TYPE = "application/vnd.adobe.platform.xcore.xdm.receipt+json"
HAL_TYPE = "application/vnd.adobe.platform.xcore.hal+json"
HOME_TYPE = "application/vnd.adobe.platform.xcore.home.hal+json"
PATCH_TYPE = "application/vnd.adobe.platform.xcore.patch.hal+json"
INSTANCE_TYPE = "application/schema-instance+json"

VERSIONS: Mapping[str, str] = {
    "offer-placement": "0.4",
    "tag": "0.1",
    "eligibility-rule": "0.3",
    "offer-filter": "0.3",
    "personalized-offer": "0.5",
    "fallback-offer": "0.5",
    "ranking-function": "0.3",
    "offer-activity": "0.5",
}
"""Schema version of instances of each kind. Requests may name any version, or none (spec 1.0)."""


def schema(kind: str) -> str:
    """Return the versioned schema name of instances of this kind."""
    return f"{NAMESPACE}{kind};version={VERSIONS[kind]}"


def kind_of_schema(uri: str) -> str | None:
    """Return the kind of a schema URI without version; None for an unknown schema."""
    kind = uri.removeprefix(NAMESPACE)
    return kind if kind != uri and kind in VERSIONS else None


def receipt(audit: Mapping[str, Any], instance_id: str, entity_id: str) -> dict[str, Any]:
    """Return the response of a write: exactly nine members."""
    return {"instanceId": instance_id, "@id": entity_id, **audit}


def audit(
    *,
    etag: int,
    created: str,
    modified: str,
    created_by: str,
    modified_by: str,
    created_by_client: str,
    modified_by_client: str,
) -> dict[str, Any]:
    """Return the seven `repo:` members of receipts and envelopes, in documented order."""
    return {
        "repo:etag": etag,
        "repo:createdDate": created,
        "repo:lastModifiedDate": modified,
        "repo:createdBy": created_by,
        "repo:lastModifiedBy": modified_by,
        "repo:createdByClientId": created_by_client,
        "repo:lastModifiedByClientId": modified_by_client,
    }


def envelope(
    audit: Mapping[str, Any],
    *,
    container: str,
    instance_id: str,
    kind: str,
    instance: Mapping[str, Any],
    sandbox: str,
    score: float | None = None,
) -> dict[str, Any]:
    """Return one instance in its HAL envelope. Hrefs are relative to the base of the API."""
    stamped = schema(kind)
    return {
        "instanceId": instance_id,
        "schemas": [stamped],
        "productContexts": ["acp"],
        **audit,
        **({"_score": score} if score is not None else {}),
        "_instance": instance,
        "_links": {
            "self": {
                "name": f"{stamped}#{instance_id}",
                "href": f"/{container}/instances/{instance_id}",
                "@type": stamped,
            }
        },
        "sandboxName": sandbox,
    }


def page(
    *,
    container: str,
    schema_ns: str,
    requested: str,
    results: Sequence[Mapping[str, Any]],
    total: int,
    href: str,
    next_href: str | None,
) -> dict[str, Any]:
    """Return a page of results. The `next` link is present only if more follow."""
    links: dict[str, Any] = {"self": {"href": href, "@type": RESULTS}}
    if next_href is not None:
        links["next"] = {"href": next_href, "@type": RESULTS}
    return {
        "containerId": container,
        "schemaNs": schema_ns,
        "requestTime": requested,
        "_embedded": {"results": results, "total": total, "count": len(results)},
        "_links": links,
    }


def container(audit: Mapping[str, Any], *, container_id: str, name: str, sandbox: str, parent: str) -> dict[str, Any]:
    """Return a container's HAL envelope, as embedded in the home resource."""
    return {
        "instanceId": container_id,
        "schemas": [f"{CONTAINER_SCHEMA};version=0.5"],
        "productContexts": ["acp"],
        **audit,
        "_instance": {
            "containerType": "decisioning",
            "repo:name": name,
            "dataCenter": "local",
            "parentName": sandbox,
            "parentId": parent,
        },
        "_links": {"self": {"href": f"/containers/{container_id}"}},
    }


def home(containers: Sequence[Mapping[str, Any]], href: str) -> dict[str, Any]:
    """Return the home resource: the containers that the caller may see."""
    return {
        "_embedded": {CONTAINER_SCHEMA: containers},
        "_links": {"self": {"href": href, "@type": HOME}},
    }
