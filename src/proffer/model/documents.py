"""Shapes and validation of the documents of each kind (R38, spec 1 and 13.3).

Checks a document by itself; references are checked by `model/integrity.py`. Undocumented members are
never an error (R24).
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from proffer.errors import Finding
from proffer.model.ids import EntityKind, canonical
from proffer.model.lifecycle import DecisionStatus, OfferStatus
from proffer.validation import (
    Anything,
    Boolean,
    DateTime,
    Integer,
    ListOf,
    MapOf,
    Member,
    Object,
    OneOf,
    Reference,
    Shape,
    Text,
    parse_moment,
    walk,
)

MAX_OFFER_BYTES = 300 * 1024
MAX_DOCUMENT_BYTES = 1024 * 1024
WARN_OFFER_BYTES = 1024
MAX_PLACEMENTS_PER_DECISION = 30
MAX_COLLECTIONS_PER_DECISION = 30
MAX_OFFERS_PER_COLLECTION = 500
MAX_TAGS = 20
MAX_RULE_BYTES = 15 * 1024
MAX_FORMULA_BYTES = 8 * 1024
MAX_CAPS_PER_OFFER = 10
MAX_CAP_RULES = 20_000
MAX_REPEAT: Mapping[str, int] = {"day": 730, "week": 104, "month": 24}
MAX_CHARACTERISTICS = 30
MAX_ITEMS = 30

_NAME = Member(Text(min=1), required=True)
_TEXT = Member(Text())
_DESCRIPTION = Member(Text(), aliases=["description"])
_LABELS = Member(ListOf(Text(min=1)))
_MEDIA_TYPE = Text(
    pattern=r"\w+/[-.\w]+(?:\+[-.\w]+)?\s*(?:;.*)?", help="A media type, such as `text/html`."
)

_COMPONENT = Object(
    {
        "@type": Member(Text(min=1), required=True),
        "dc:format": Member(_MEDIA_TYPE, required=True),
        "dc:language": Member(ListOf(Text(min=1))),
        "xdm:content": _TEXT,
        "xdm:copyline": _TEXT,
        "xdm:deliveryURL": _TEXT,
        "xdm:linkURL": _TEXT,
        "default": _TEXT,
    }
)
_REPRESENTATIONS = ListOf(
    Object(
        {
            "xdm:channel": _TEXT,
            "xdm:placement": Member(Reference(kinds=[EntityKind.PLACEMENT]), required=True),
            "xdm:components": Member(ListOf(_COMPONENT), required=True),
        }
    )
)
_CONSTRAINT_MEMBERS = {
    "xdm:profileConstraintType": Member(
        Text(one_of=["none", "eligibilityRule", "anySegments", "allSegments", "rules"])
    ),
    "xdm:eligibilityRule": Member(Reference(kinds=[EntityKind.RULE])),
    "xdm:rules": Member(ListOf(Reference(kinds=[EntityKind.RULE]))),
    "xdm:segmentIdentities": Member(
        ListOf(
            Object(
                {
                    "xid": Member(Text(min=1), required=True),
                    "namespace": Member(Object({"code": Member(Text(min=1))})),
                }
            )
        )
    ),
}
_RANK_ORDER = Object(
    {
        "xdm:orderEvaluationType": Member(
            Text(one_of=["static", "scoringFunction", "rankingStrategy"])
        ),
        "xdm:function": Member(Reference(kinds=[EntityKind.FORMULA])),
        "xdm:rankingStrategy": _TEXT,
    }
)
_TAGS = ListOf(Reference(kinds=[EntityKind.TAG]), 0, MAX_TAGS)
_CAP = Object(
    {
        "xdm:enabled": Member(Boolean()),
        "xdm:limit": Member(Integer(min=1), required=True, aliases=["xdm:count"]),
        "xdm:scope": Member(Text(one_of=["global", "profile"]), required=True),
        "xdm:entity": Member(Text(one_of=["offer", "placement"]), required=True),
        "xdm:placement": Member(Reference(kinds=[EntityKind.PLACEMENT])),
        "xdm:placements": Member(ListOf(Reference(kinds=[EntityKind.PLACEMENT]))),
        "xdm:index": Member(Integer(min=0, max=2**31 - 1)),
        "xdm:events": Member(
            ListOf(Text(one_of=["decisioning", "custom", "click", "impression"]), 1)
        ),
        "xdm:customQuery": Member(Text(min=1)),
        "xdm:repeat": Member(
            Object(
                {
                    "xdm:enabled": Member(Boolean()),
                    "xdm:unit": Member(Text(one_of=["day", "week", "month"])),
                    "xdm:unitCount": Member(Integer(min=1)),
                }
            )
        ),
    }
)
_OFFER_COMMON = {
    "xdm:name": _NAME,
    "xdm:description": _DESCRIPTION,
    "xdm:labels": _LABELS,
    "xdm:status": Member(Text(one_of=list(OfferStatus)), required=True),
    "xdm:representations": Member(_REPRESENTATIONS, required=True),
    "xdm:tags": Member(_TAGS),
    "xdm:characteristics": Member(MapOf(Text(), MAX_CHARACTERISTICS)),
    "xdm:customMetadata": Member(MapOf(Text())),
}


def _pql(most: int) -> Object:
    """Return the shape of a PQL expression: text or tree, prefixed or plain names."""
    return Object(
        {
            "xdm:type": Member(Text(one_of=["PQL"]), required=True, aliases=["type"]),
            "xdm:format": Member(
                Text(one_of=["pql/text", "pql/json"]), required=True, aliases=["format"]
            ),
            "xdm:value": Member(
                OneOf([Text(min=1, max_bytes=most), Object({})]),
                required=True,
                aliases=["value"],
            ),
        }
    )


_CRITERION = Object(
    {
        "xdm:placements": Member(ListOf(Reference(kinds=[EntityKind.PLACEMENT]), 1), required=True),
        "xdm:rank": Member(
            Object({"xdm:priority": Member(Integer(min=0)), "xdm:order": Member(_RANK_ORDER)}),
            aliases=["xdm:ranking"],
        ),
        "xdm:profileConstraint": Member(
            Object(_CONSTRAINT_MEMBERS), aliases=["xdm:profileConstraints"]
        ),
        "xdm:optionSelection": Member(
            Object(
                {
                    "xdm:filter": Member(Reference(kinds=[EntityKind.COLLECTION])),
                    "xdm:options": Member(ListOf(Reference(kinds=[EntityKind.OFFER]))),
                },
                at_least_one_of=[["xdm:filter", "xdm:options"]],
            ),
            required=True,
        ),
    }
)

_EXPRESSION = Object(
    {
        "type": Member(Text(one_of=["PQL", "LIST"])),
        "format": Member(Text(one_of=["pql/text", "pql/json"])),
        "value": Member(OneOf([Text(min=1, max_bytes=MAX_RULE_BYTES), MapOf(Anything())])),
    }
)
_ENABLED = Member(Object({"enabled": Member(Boolean(), required=True)}))
ID_TYPES = (
    "COOKIE",
    "CROSS_DEVICE",
    "DEVICE",
    "EMAIL",
    "MOBILE",
    "NON_PEOPLE",
    "PHONE",
    "B2B_ACCOUNT",
)
_MEMBERS: Mapping[EntityKind, Mapping[str, Member]] = {
    EntityKind.PLACEMENT: {
        "xdm:name": _NAME,
        "xdm:channel": Member(Text(min=1), required=True),
        "xdm:componentType": Member(Text(min=1), required=True),
        "xdm:contentTypes": Member(ListOf(_MEDIA_TYPE)),
        "xdm:description": _DESCRIPTION,
        "xdm:itemCount": Member(Integer(min=1, max=MAX_ITEMS)),
        "xdm:allowDuplicatePlacements": Member(Boolean()),
        "xdm:returnContent": Member(Boolean()),
        "xdm:returnMetaData": Member(MapOf(Boolean())),
    },
    EntityKind.TAG: {"xdm:name": _NAME, "xdm:description": _DESCRIPTION},
    EntityKind.RULE: {
        "xdm:name": _NAME,
        "xdm:description": _DESCRIPTION,
        "xdm:condition": Member(_pql(MAX_RULE_BYTES), required=True, aliases=["condition"]),
        "xdm:definedOn": Member(MapOf(Anything()), aliases=["definedOn"]),
    },
    EntityKind.FORMULA: {
        "xdm:name": _NAME,
        "xdm:description": _DESCRIPTION,
        "xdm:expression": Member(_pql(MAX_FORMULA_BYTES), required=True, aliases=["expression"]),
        "xdm:definedOn": Member(MapOf(Anything()), aliases=["definedOn"]),
    },
    EntityKind.COLLECTION: {
        "xdm:name": _NAME,
        "xdm:filterType": Member(Text(one_of=["offers", "anyTags", "allTags"]), required=True),
        "xdm:ids": Member(
            ListOf(Reference(kinds=[EntityKind.TAG, EntityKind.OFFER])),
            required=True,
            aliases=["ids"],
        ),
        "xdm:description": _DESCRIPTION,
        "xdm:labels": _LABELS,
    },
    EntityKind.OFFER: {
        **_OFFER_COMMON,
        "xdm:rank": Member(
            Object(
                {
                    "xdm:priority": Member(Integer(min=0), required=True),
                    "xdm:order": Member(_RANK_ORDER),
                }
            ),
            required=True,
        ),
        "xdm:selectionConstraint": Member(
            Object(
                {
                    "xdm:startDate": Member(DateTime(), required=True),
                    "xdm:endDate": Member(DateTime(), required=True),
                    **_CONSTRAINT_MEMBERS,
                }
            )
        ),
        "xdm:cappingConstraint": Member(
            Object(
                {"xdm:globalCap": Member(Integer(min=1)), "xdm:profileCap": Member(Integer(min=1))}
            )
        ),
        "xdm:frequencyCappingConstraints": Member(ListOf(_CAP, 0, MAX_CAPS_PER_OFFER)),
    },
    EntityKind.FALLBACK: _OFFER_COMMON,
    EntityKind.SCHEMA: {
        "xdm:name": _NAME,
        "fields": Member(MapOf(Anything()), required=True),
    },
    EntityKind.DECISION: {
        "xdm:name": _NAME,
        "xdm:status": Member(Text(one_of=list(DecisionStatus)), required=True),
        "xdm:startDate": Member(DateTime()),
        "xdm:endDate": Member(DateTime()),
        "xdm:description": _DESCRIPTION,
        "xdm:labels": _LABELS,
        "xdm:fallback": Member(Reference(kinds=[EntityKind.FALLBACK]), required=True),
        "xdm:criteria": Member(ListOf(_CRITERION, 1)),
        "xdm:placement": Member(Reference(kinds=[EntityKind.PLACEMENT])),
        "xdm:filter": Member(Reference(kinds=[EntityKind.COLLECTION])),
    },
    EntityKind.AUDIENCE: {
        "name": _NAME,
        "description": _TEXT,
        "expression": Member(_EXPRESSION, required=True),
        "schema": Member(Object({"name": _TEXT, "id": _TEXT})),
        "mergePolicyId": _TEXT,
        "evaluationInfo": Member(
            Object(dict.fromkeys(("batch", "continuous", "synchronous"), _ENABLED))
        ),
    },
    EntityKind.NAMESPACE: {
        "name": _NAME,
        "code": Member(
            Text(pattern=r"[A-Za-z0-9_.\-]{1,64}", help="Use letters, digits, `_`, `.` and `-`."),
            required=True,
        ),
        "description": _TEXT,
        "idType": Member(Text(one_of=list(ID_TYPES))),
    },
    EntityKind.MERGE_POLICY: {
        "name": _NAME,
        "schema": Member(Object({"name": _TEXT})),
        "attributeMerge": Member(
            Object(
                {
                    "type": Member(
                        Text(one_of=["timestampOrdered", "dataSetPrecedence"]), required=True
                    ),
                    "order": Member(ListOf(Text(min=1), unique=True)),
                }
            ),
            required=True,
        ),
        "default": Member(Boolean()),
    },
    EntityKind.DESCRIPTOR: {
        "@type": Member(Text(one_of=["xdm:descriptorIdentity"]), required=True),
        "xdm:sourceSchema": Member(Text(min=1, max=1024), required=True),
        "xdm:sourceVersion": Member(Integer(min=1)),
        "xdm:sourceProperty": Member(
            Text(
                pattern=r"(/[^/]{1,200}){1,20}",
                help="Write the path to the field with slashes, as in `/personalEmail/address`.",
            ),
            required=True,
        ),
        "xdm:namespace": Member(Text(min=1, max=64), required=True),
        "xdm:property": Member(Text(one_of=["xdm:code"])),
        "xdm:isPrimary": Member(Boolean()),
    },
    EntityKind.DATASTREAM: {
        "name": _NAME,
        "description": _TEXT,
        "enabled": Member(Boolean()),
        "offers": Member(Boolean()),
        "overrides": Member(Boolean()),
        "access": Member(Text(one_of=["mixed", "authenticated"])),
        "keepEvents": Member(Boolean()),
        "linkIdentities": Member(Boolean()),
        "explain": Member(Boolean()),
        "allowedOrigins": Member(
            ListOf(
                Text(
                    pattern=r"\*|null|https?://(?:\*\.)?[a-z0-9.-]{1,253}(?::\d{1,5})?",
                    help="Scheme and host in lower case, as in `https://www.shop.example` or "
                    "`https://*.shop.example`.",
                ),
                0,
                100,
            )
        ),
        "firstPartyIdCookie": Member(
            Text(pattern=r"[A-Za-z0-9_.\-]{1,100}", help="Letters, digits, `_`, `.` and `-`.")
        ),
    },
}

SHAPES: Mapping[EntityKind, Shape] = {
    kind: Object({"@id": Member(Reference(kinds=[kind])), **members})
    for kind, members in _MEMBERS.items()
}
"""Shape of each kind of document, for validation and for the OpenAPI document."""


def mistakes(kind: EntityKind, document: Any) -> list[Finding]:
    """Return all violations of a document of this kind, in one pass (R39)."""
    found = walk(SHAPES[kind], document)
    if isinstance(document, Mapping):
        found += [*_size(kind, document), *_EXTRA.get(kind, _nothing)(document)]
    return found


def _size(kind: EntityKind, document: Mapping[str, Any]) -> Iterator[Finding]:
    """Check the size of a document; many bounded patches may add up (R27, R32)."""
    offer = kind in {EntityKind.OFFER, EntityKind.FALLBACK}
    most = MAX_OFFER_BYTES if offer else MAX_DOCUMENT_BYTES
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > most:
        word = "offer" if offer else "object"
        yield limit("$", f"an {word} of {size:,} bytes", f"{most:,} bytes per {word}")


def _nothing(_: Mapping[str, Any]) -> Iterator[Finding]:
    return iter(())


def _fallback(document: Mapping[str, Any]) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for index, representation in enumerate(_list(document.get("xdm:representations"))):
        placement = _mapping(representation).get("xdm:placement")
        key = canonical(placement) if isinstance(placement, str) else None
        if key is not None and seen.setdefault(key, index) != index:
            yield Finding(
                code="duplicate-representation",
                message=f"representation {seen[key]} is for placement `{placement}` too",
                path=f"$.xdm:representations[{index}].xdm:placement",
                help="keep one representation per placement; give languages as its components",
            )


def _offer(document: Mapping[str, Any]) -> Iterator[Finding]:
    yield from _fallback(document)
    selection = _mapping(document.get("xdm:selectionConstraint"))
    yield from _window(selection, "$.xdm:selectionConstraint")
    yield from _constraint(selection, "$.xdm:selectionConstraint")
    yield from _ranking(_mapping(document.get("xdm:rank")), "$.xdm:rank")
    for index, cap in enumerate(_list(document.get("xdm:frequencyCappingConstraints"))):
        yield from _cap(_mapping(cap), f"$.xdm:frequencyCappingConstraints[{index}]")


def _cap(cap: Mapping[str, Any], path: str) -> Iterator[Finding]:
    repeat = _mapping(cap.get("xdm:repeat"))
    unit, count = repeat.get("xdm:unit", "day"), repeat.get("xdm:unitCount", 1)
    most = MAX_REPEAT.get(unit) if isinstance(unit, str) else None
    if most is not None and isinstance(count, int) and count > most:
        yield limit(
            f"{path}.xdm:repeat.xdm:unitCount", f"{count} {unit}s", f"{most} {unit}s (two years)"
        )


def cap_rules(document: Mapping[str, Any]) -> int:
    """Return the number of capping rules of an offer; one across placements counts for each (spec 9)."""
    placements = max(1, len(_list(document.get("xdm:representations"))))
    legacy = _mapping(document.get("xdm:cappingConstraint"))
    across = sum(legacy.get(name) is not None for name in ("xdm:globalCap", "xdm:profileCap"))
    apart = 0
    for cap in _list(document.get("xdm:frequencyCappingConstraints")):
        if _mapping(cap).get("xdm:entity") == "offer":
            across += 1
        else:
            apart += 1
    return across * placements + apart


def _decision(document: Mapping[str, Any]) -> Iterator[Finding]:
    yield from _window(document, "$")
    criteria = _list(document.get("xdm:criteria"))
    if "xdm:criteria" not in document:
        for member in ("xdm:placement", "xdm:filter"):
            if member not in document:
                yield Finding(
                    code="required",
                    message="`xdm:criteria` is missing"
                    if member == "xdm:placement"
                    else "nor is there the older form, `xdm:placement` with `xdm:filter`",
                    path="$.xdm:criteria" if member == "xdm:placement" else f"$.{member}",
                    help="add `xdm:criteria`: a list of placements with their collections",
                )
    placements: dict[str, None] = {}
    collections: dict[str, None] = {}
    for index, one in enumerate(criteria):
        criterion = _mapping(one)
        for name in ("xdm:profileConstraint", "xdm:profileConstraints"):
            constraint = _mapping(criterion.get(name))
            yield from _constraint(constraint, f"$.xdm:criteria[{index}].{name}")
        for name in ("xdm:rank", "xdm:ranking"):
            rank = _mapping(criterion.get(name))
            yield from _ranking(rank, f"$.xdm:criteria[{index}].{name}")
        listed = _list(criterion.get("xdm:placements"))
        placements.update((key, None) for key in listed if isinstance(key, str))
        collection = _mapping(criterion.get("xdm:optionSelection")).get("xdm:filter")
        if isinstance(collection, str):
            collections[collection] = None
    for used, most, word in (
        (len(placements), MAX_PLACEMENTS_PER_DECISION, "placements"),
        (len(collections), MAX_COLLECTIONS_PER_DECISION, "collections"),
    ):
        if used > most:
            yield limit("$.xdm:criteria", f"{used} {word}", f"{most} {word} per decision")


def _audience(document: Mapping[str, Any]) -> Iterator[Finding]:
    expression = _mapping(document.get("expression"))
    if expression.get("type", "PQL") == "PQL" and "value" not in expression and expression:
        yield Finding(
            code="required",
            message="`value` is missing",
            path="$.expression.value",
            help="give the rule of the audience, in PQL",
        )


def _collection(document: Mapping[str, Any]) -> Iterator[Finding]:
    member = "xdm:ids" if "xdm:ids" in document else "ids"
    count = len(_list(document.get(member)))
    static = document.get("xdm:filterType") == "offers"
    most = MAX_OFFERS_PER_COLLECTION if static else MAX_TAGS
    if count > most:
        word = "offers" if static else "tags"
        yield limit(f"$.{member}", f"{count} {word}", f"{most} {word} per collection")


def _window(document: Mapping[str, Any], path: str) -> Iterator[Finding]:
    try:
        start = parse_moment(document.get("xdm:startDate"))  # type: ignore[arg-type]
        end = parse_moment(document.get("xdm:endDate"))  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return  # missing, or already reported by the shape
    if end < start:
        yield Finding(
            code="range",
            message="the end is before the start",
            path=f"{path}.xdm:endDate",
            help="exchange the dates, or move the end",
        )


def _constraint(constraint: Mapping[str, Any], path: str) -> Iterator[Finding]:
    needed = {
        "eligibilityRule": "xdm:eligibilityRule",
        "rules": "xdm:rules",
        "anySegments": "xdm:segmentIdentities",
        "allSegments": "xdm:segmentIdentities",
    }
    declared = constraint.get("xdm:profileConstraintType")
    member = needed.get(declared) if isinstance(declared, str) else None
    if member is not None and not constraint.get(member):
        yield Finding(
            code="required",
            message=f"`xdm:profileConstraintType` is `{declared}`, so `{member}` is needed",
            path=f"{path}.{member}",
            help=f"add `{member}`, or set the type to `none`",
        )


def _ranking(rank: Mapping[str, Any], path: str) -> Iterator[Finding]:
    order = _mapping(rank.get("xdm:order"))
    needed = {"scoringFunction": "xdm:function", "rankingStrategy": "xdm:rankingStrategy"}
    declared = order.get("xdm:orderEvaluationType")
    member = needed.get(declared) if isinstance(declared, str) else None
    if member is not None and not order.get(member):
        yield Finding(
            code="required",
            message=f"`xdm:orderEvaluationType` is `{declared}`, so `{member}` is needed",
            path=f"{path}.xdm:order.{member}",
            help=f"add `{member}`, or set the type to `static`",
        )


def limit(path: str, found: str, allowed: str) -> Finding:
    """Return the violation of a documented limit (R32)."""
    return Finding(
        code="limit",
        message=f"{found} is more than the limit of {allowed}",
        path=path,
        help=f"stay within {allowed}",
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


_EXTRA: Mapping[EntityKind, Callable[[Mapping[str, Any]], Iterator[Finding]]] = {
    EntityKind.COLLECTION: _collection,
    EntityKind.OFFER: _offer,
    EntityKind.FALLBACK: _fallback,
    EntityKind.DECISION: _decision,
    EntityKind.AUDIENCE: _audience,
}
