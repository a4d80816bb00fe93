"""Documents of the Offer Library API: renamings of each kind, envelopes, receipts and pages.

The renamings are the whole difference from the stored documents (spec 1.0, 3; R40): `xdm:name` is
`name`, `anyTags` is `any-tags`, a component's type is `html` and not a URL.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from proffer.wire.renaming import Each, Entries, Name, Names, Node, Words

_CONTENT_TYPE = "https://ns.adobe.com/experience/offer-management/content-component-"


def _xdm(**inside: Node) -> dict[str, Name]:
    """Return members that only lose their prefix, each with the renaming of its value."""
    return {name: Name(f"xdm:{name}", of=node) for name, node in inside.items()}


def _plain(*names: str) -> dict[str, Name]:
    return {name: Name(f"xdm:{name}") for name in names}


_COMPONENT_TYPE = Words(
    {_CONTENT_TYPE + short: short for short in ("html", "text", "json", "imagelink")}
)
_CONSTRAINT_TYPE = Words(
    {},  # returned as stored, as the newer API pages do
    {
        "eligibility-rule": "eligibilityRule",
        "any-segments": "anySegments",
        "all-segments": "allSegments",
    },
)
_FILTER_TYPE = Words({"anyTags": "any-tags", "allTags": "all-tags"})
_ORDER_TYPE = Words(
    {"scoringFunction": "scoring-function", "rankingStrategy": "ranking-strategy"},
)

_COMPONENT = Names(
    {
        "type": Name("@type", of=_COMPONENT_TYPE),
        "format": Name("dc:format"),
        "language": Name("dc:language"),
        "content": Name("xdm:content", ("xdm:copyline",)),
        **_plain("deliveryURL", "linkURL"),
        **{name: Name(f"repo:{name}") for name in ("id", "name", "resolveURL", "repositoryID")},
    }
)
_REPRESENTATION = Names({**_plain("channel", "placement"), **_xdm(components=Each(_COMPONENT))})
_CONSTRAINT = {
    **_plain("eligibilityRule", "rules", "segmentIdentities"),
    **_xdm(profileConstraintType=_CONSTRAINT_TYPE),
}
_RANK = Names(
    {
        **_plain("priority"),
        **_xdm(
            order=Names(
                {**_plain("function", "rankingStrategy"), **_xdm(orderEvaluationType=_ORDER_TYPE)}
            )
        ),
    }
)
_CAP = Names(
    {
        **_plain(
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
        **_xdm(repeat=Names(_plain("enabled", "unit", "unitCount"))),
    }
)
_CRITERION = Names(
    {
        **_plain("placements"),
        "rank": Name("xdm:rank", ("xdm:ranking",), _RANK),
        "profileConstraint": Name(
            "xdm:profileConstraint", ("xdm:profileConstraints",), Names(_CONSTRAINT)
        ),
        **_xdm(optionSelection=Names(_plain("filter", "options", "optionSelectionType"))),
    }
)
_PQL = Names({name: Name(name, (f"xdm:{name}",)) for name in ("type", "format", "value")})
_DEFINED_ON = Name(
    "xdm:definedOn",
    ("definedOn",),
    Entries(
        Names(
            {
                "schema": Name(
                    "xdm:schema",
                    ("schema",),
                    Names({"ref": Name("$ref"), "version": Name("version")}),
                ),
                "referencePaths": Name("xdm:referencePaths", ("referencePaths",)),
            }
        )
    ),
)

_ENVELOPE = {
    "created": Name("repo:createdDate"),
    "modified": Name("repo:lastModifiedDate"),
    "etag": Name("repo:etag"),
    "schemas": Name("repo:schemas"),
    "createdBy": Name("repo:createdBy"),
    "lastModifiedBy": Name("repo:lastModifiedBy"),
}
ENVELOPE = frozenset(_ENVELOPE)
"""Members that the server sets on an entity; ignored in client documents."""

_COMMON = {
    **_ENVELOPE,
    "id": Name("@id"),
    "name": Name("xdm:name"),
    "description": Name("xdm:description", ("description",)),
    "labels": Name("xdm:labels"),
}
_OFFER = {
    **_COMMON,
    **_plain("status", "tags"),
    **_xdm(
        representations=Each(_REPRESENTATION),
        rank=_RANK,
        selectionConstraint=Names({**_plain("startDate", "endDate"), **_CONSTRAINT}),
        frequencyCappingConstraints=Each(_CAP),
        cappingConstraint=Names(_plain("globalCap", "profileCap")),
    ),
    "characteristics": Name("xdm:characteristics", ("xdm:customMetadata",)),
}

TABLES: Mapping[str, Names] = {
    "offer-placement": Names(
        {
            **_COMMON,
            **_plain(
                "channel",
                "contentTypes",
                "itemCount",
                "allowDuplicatePlacements",
                "returnContent",
                "returnMetaData",
            ),
            **_xdm(componentType=_COMPONENT_TYPE),
        }
    ),
    "tag": Names(_COMMON),
    "eligibility-rule": Names(
        {
            **_COMMON,
            "description": Name("description", ("xdm:description",)),
            "condition": Name("condition", ("xdm:condition",), _PQL),
            "definedOn": _DEFINED_ON,
        }
    ),
    "offer-filter": Names(
        {**_COMMON, **_xdm(filterType=_FILTER_TYPE), "ids": Name("xdm:ids", ("ids",))}
    ),
    "personalized-offer": Names(_OFFER),
    "fallback-offer": Names(_OFFER),
    "ranking-function": Names(
        {
            **_COMMON,
            "description": Name("description", ("xdm:description",)),
            "expression": Name("expression", ("xdm:expression",), _PQL),
            "definedOn": _DEFINED_ON,
        }
    ),
    "offer-activity": Names(
        {
            **_COMMON,
            **_plain("status", "startDate", "endDate", "fallback", "placement", "filter"),
            **_xdm(criteria=Each(_CRITERION)),
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


def schema(kind: str) -> str:
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
        "schemas": [schema(kind)],
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


def page(
    results: Sequence[Mapping[str, Any]], total: int, links: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return a page of entities. Links that are None are omitted."""
    return {
        "results": results,
        "count": len(results),
        "total": total,
        "_links": {
            name: {"href": href, "type": "application/json"}
            for name, href in links.items()
            if href is not None
        },
    }
