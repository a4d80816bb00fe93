"""Documents of the Offer Library API: renamings of each kind, envelopes, receipts and pages.

The renamings are the whole difference from the stored documents (spec 1.0, 3; R40): `xdm:name` is
`name`, `anyTags` is `any-tags`, a component's type is `html` and not a URL.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from proffer.wire.renaming import (
    ListRenaming,
    MapRenaming,
    MemberRenaming,
    ObjectRenaming,
    Renaming,
    ValueRenaming,
)

_CONTENT_TYPE = "https://ns.adobe.com/experience/offer-management/content-component-"


def _prefixed_members(**inside: Renaming) -> dict[str, MemberRenaming]:
    """Return members that only lose their prefix, with their values' renamings."""
    return {name: MemberRenaming(f"xdm:{name}", of=node) for name, node in inside.items()}


def _prefixed_names(*names: str) -> dict[str, MemberRenaming]:
    return {name: MemberRenaming(f"xdm:{name}") for name in names}


_COMPONENT_TYPE = ValueRenaming({_CONTENT_TYPE + short: short for short in ("html", "text", "json", "imagelink")})
_CONSTRAINT_TYPE = ValueRenaming(
    {},  # returned as stored, as the newer API pages do
    {
        "eligibility-rule": "eligibilityRule",
        "any-segments": "anySegments",
        "all-segments": "allSegments",
    },
)
_FILTER_TYPE = ValueRenaming({"anyTags": "any-tags", "allTags": "all-tags"})
_ORDER_TYPE = ValueRenaming(
    {"scoringFunction": "scoring-function", "rankingStrategy": "ranking-strategy"},
)

_COMPONENT = ObjectRenaming(
    {
        "type": MemberRenaming("@type", of=_COMPONENT_TYPE),
        "format": MemberRenaming("dc:format"),
        "language": MemberRenaming("dc:language"),
        "content": MemberRenaming("xdm:content", ("xdm:copyline",)),
        **_prefixed_names("deliveryURL", "linkURL"),
        **{name: MemberRenaming(f"repo:{name}") for name in ("id", "name", "resolveURL", "repositoryID")},
    }
)
_REPRESENTATION = ObjectRenaming(
    {
        **_prefixed_names("channel", "placement"),
        **_prefixed_members(components=ListRenaming(_COMPONENT)),
    }
)
_CONSTRAINT = {
    **_prefixed_names("eligibilityRule", "rules", "segmentIdentities"),
    **_prefixed_members(profileConstraintType=_CONSTRAINT_TYPE),
}
_RANK = ObjectRenaming(
    {
        **_prefixed_names("priority"),
        **_prefixed_members(
            order=ObjectRenaming(
                {
                    **_prefixed_names("function", "rankingStrategy"),
                    **_prefixed_members(orderEvaluationType=_ORDER_TYPE),
                }
            )
        ),
    }
)
_CAP = ObjectRenaming(
    {
        **_prefixed_names(
            "enabled",
            "limit",
            "scope",
            "entity",
            "placement",
            "placements",
            "events",
            "customQuery",
            "index",
            "startDate",
            "endDate",
            "duration",
            "dynamicCappingThresholdEnabled",
            "dynamicCappingThresholdQuery",
        ),
        **_prefixed_members(repeat=ObjectRenaming(_prefixed_names("enabled", "unit", "unitCount"))),
    }
)
_CRITERION = ObjectRenaming(
    {
        **_prefixed_names("placements"),
        "rank": MemberRenaming("xdm:rank", ("xdm:ranking",), _RANK),
        "profileConstraint": MemberRenaming(
            "xdm:profileConstraint", ("xdm:profileConstraints",), ObjectRenaming(_CONSTRAINT)
        ),
        **_prefixed_members(
            optionSelection=ObjectRenaming(_prefixed_names("filter", "options", "optionSelectionType"))
        ),
    }
)
_PQL = ObjectRenaming({name: MemberRenaming(name, (f"xdm:{name}",)) for name in ("type", "format", "value")})
_DEFINED_ON = MemberRenaming(
    "xdm:definedOn",
    ("definedOn",),
    MapRenaming(
        ObjectRenaming(
            {
                "schema": MemberRenaming(
                    "xdm:schema",
                    ("schema",),
                    ObjectRenaming({"ref": MemberRenaming("$ref"), "version": MemberRenaming("version")}),
                ),
                "referencePaths": MemberRenaming("xdm:referencePaths", ("referencePaths",)),
            }
        )
    ),
)

_ENVELOPE = {
    "created": MemberRenaming("repo:createdDate"),
    "modified": MemberRenaming("repo:lastModifiedDate"),
    "etag": MemberRenaming("repo:etag"),
    "schemas": MemberRenaming("repo:schemas"),
    "createdBy": MemberRenaming("repo:createdBy"),
    "lastModifiedBy": MemberRenaming("repo:lastModifiedBy"),
}
ENVELOPE_MEMBERS = frozenset(_ENVELOPE)
"""Members that the server sets on an entity; ignored in client documents."""

_COMMON = {
    **_ENVELOPE,
    "id": MemberRenaming("@id"),
    "name": MemberRenaming("xdm:name"),
    "description": MemberRenaming("xdm:description", ("description",)),
    "labels": MemberRenaming("xdm:labels"),
}
_OFFER = {
    **_COMMON,
    **_prefixed_names("status", "tags"),
    **_prefixed_members(
        representations=ListRenaming(_REPRESENTATION),
        rank=_RANK,
        selectionConstraint=ObjectRenaming({**_prefixed_names("startDate", "endDate"), **_CONSTRAINT}),
        frequencyCappingConstraints=ListRenaming(_CAP),
        cappingConstraint=ObjectRenaming(_prefixed_names("globalCap", "profileCap")),
    ),
    "characteristics": MemberRenaming("xdm:characteristics", ("xdm:customMetadata",)),
}

RENAMING_BY_KIND: Mapping[str, ObjectRenaming] = {
    "offer-placement": ObjectRenaming(
        {
            **_COMMON,
            **_prefixed_names(
                "channel",
                "contentTypes",
                "itemCount",
                "allowDuplicatePlacements",
                "returnContent",
                "returnMetaData",
            ),
            **_prefixed_members(componentType=_COMPONENT_TYPE),
        }
    ),
    "tag": ObjectRenaming(_COMMON),
    "eligibility-rule": ObjectRenaming(
        {
            **_COMMON,
            "description": MemberRenaming("description", ("xdm:description",)),
            "condition": MemberRenaming("condition", ("xdm:condition",), _PQL),
            "definedOn": _DEFINED_ON,
        }
    ),
    "offer-filter": ObjectRenaming(
        {
            **_COMMON,
            **_prefixed_members(filterType=_FILTER_TYPE),
            "ids": MemberRenaming("xdm:ids", ("ids",)),
        }
    ),
    "personalized-offer": ObjectRenaming(_OFFER),
    "fallback-offer": ObjectRenaming(_OFFER),
    "ranking-function": ObjectRenaming(
        {
            **_COMMON,
            "description": MemberRenaming("description", ("xdm:description",)),
            "expression": MemberRenaming("expression", ("xdm:expression",), _PQL),
            "definedOn": _DEFINED_ON,
        }
    ),
    "offer-activity": ObjectRenaming(
        {
            **_COMMON,
            **_prefixed_names("status", "startDate", "endDate", "fallback", "placement", "filter"),
            **_prefixed_members(criteria=ListRenaming(_CRITERION)),
        }
    ),
}
"""Renaming of each kind's documents."""

COLLECTIONS: Mapping[str, str] = {
    "placements": "offer-placement",
    "tags": "tag",
    "offer-rules": "eligibility-rule",
    "offer-collections": "offer-filter",
    "offer-decisions": "offer-activity",
    "ranking-formulas": "ranking-function",
}
"""Kind of each path. `offers` has two kinds, distinguished by `offer-type`."""

OFFER_TYPES: Mapping[str, str] = {
    "personalized": "personalized-offer",
    "fallback": "fallback-offer",
}

_SCHEMA = "https://ns.adobe.com/experience/offer-management/"
VERSIONS: Mapping[str, str] = {
    "offer-placement": "0.5",
    "tag": "0.1",
    "eligibility-rule": "0.3",
    "offer-filter": "0.4",
    "personalized-offer": "0.15",
    "fallback-offer": "0.8",
    "ranking-function": "0.3",
    "offer-activity": "0.8",
}
"""Schema version of each kind in this API."""


def schema_name(kind: str) -> str:
    return f"{_SCHEMA}{kind};version={VERSIONS[kind]}"


def entity(
    kind: str,
    document: Mapping[str, Any],
    *,
    created: str,
    modified: str,
    etag: int,
    created_by: str,
    modified_by: str,
) -> dict[str, Any]:
    """Return an entity: envelope members and its own. `document` uses this API's names."""
    return {
        "created": created,
        "modified": modified,
        "etag": etag,
        "schemas": [schema_name(kind)],
        "createdBy": created_by,
        "lastModifiedBy": modified_by,
        "id": document["id"],
        **document,
    }


def receipt(
    *,
    etag: int,
    entity_id: str,
    sandbox_id: str,
    created: str,
    modified: str,
    created_by: str,
    modified_by: str,
    created_by_client: str,
    modified_by_client: str,
) -> dict[str, Any]:
    """Return the response of a write. Its names differ from those of an entity, as documented."""
    return {
        "etag": etag,
        "id": entity_id,
        "sandboxId": sandbox_id,
        "createdBy": created_by,
        "lastModifiedBy": modified_by,
        "createdDate": created,
        "lastModifiedDate": modified,
        "createdByClientId": created_by_client,
        "lastModifiedByClientId": modified_by_client,
    }


def page(results: Sequence[Mapping[str, Any]], total: int, links: Mapping[str, str | None]) -> dict[str, Any]:
    """Return a page of entities. Links that are None are omitted."""
    return {
        "results": results,
        "count": len(results),
        "total": total,
        "_links": {
            name: {"href": href, "type": "application/json"} for name, href in links.items() if href is not None
        },
    }
