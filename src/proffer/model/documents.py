"""Shapes and validation of documents by kind (R38, spec 1 and 13.3).

Checks a document by itself; references are checked by `model/integrity.py`. Undocumented members are
never an error (R24).
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from proffer.errors import Violation
from proffer.model.capping import RepeatUnit
from proffer.model.ids import EntityKind, canonical
from proffer.model.lifecycle import DecisionStatus, OfferStatus
from proffer.model.rule import OLDER_VALUE
from proffer.validation import (
    AnyShape,
    BooleanShape,
    DateTimeShape,
    IntegerShape,
    ListShape,
    MapShape,
    Member,
    ObjectShape,
    OneOfShape,
    ReferenceShape,
    Shape,
    TextShape,
    parse_timestamp_us,
    places_of,
    validate,
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
MAX_REPEAT: Mapping[str, int] = {RepeatUnit.DAY: 730, RepeatUnit.WEEK: 104, RepeatUnit.MONTH: 24}
MAX_CHARACTERISTICS = 30
MAX_ITEMS = 30

_NAME = Member(TextShape(min=1), required=True)
_TEXT = Member(TextShape())
_DESCRIPTION = Member(TextShape(), aliases=["description"])
_LABELS = Member(ListShape(TextShape(min=1)))
_MEDIA_TYPE = TextShape(pattern=r"\w+/[-.\w]+(?:\+[-.\w]+)?\s*(?:;.*)?", help="A media type, such as `text/html`.")

_COMPONENT = ObjectShape(
    {
        "@type": Member(TextShape(min=1), required=True),
        "dc:format": Member(_MEDIA_TYPE, required=True),
        "dc:language": Member(ListShape(TextShape(min=1))),
        "xdm:content": _TEXT,
        "xdm:copyline": _TEXT,
        "xdm:deliveryURL": _TEXT,
        "xdm:linkURL": _TEXT,
        "default": _TEXT,
    }
)
_REPRESENTATIONS = ListShape(
    ObjectShape(
        {
            "xdm:channel": _TEXT,
            "xdm:placement": Member(ReferenceShape(kinds=[EntityKind.PLACEMENT]), required=True),
            "xdm:components": Member(ListShape(_COMPONENT), required=True),
        }
    )
)
_CONSTRAINT_MEMBERS = {
    "xdm:profileConstraintType": Member(
        TextShape(one_of=["none", "eligibilityRule", "anySegments", "allSegments", "rules"])
    ),
    "xdm:eligibilityRule": Member(ReferenceShape(kinds=[EntityKind.RULE])),
    "xdm:rules": Member(ListShape(ReferenceShape(kinds=[EntityKind.RULE]))),
    "xdm:segmentIdentities": Member(
        ListShape(
            ObjectShape(
                {
                    "xid": Member(TextShape(min=1), required=True),
                    "namespace": Member(ObjectShape({"code": Member(TextShape(min=1))})),
                }
            )
        )
    ),
}
_RANK_ORDER = ObjectShape(
    {
        "xdm:orderEvaluationType": Member(TextShape(one_of=["static", "scoringFunction", "rankingStrategy"])),
        "xdm:function": Member(ReferenceShape(kinds=[EntityKind.FORMULA])),
        "xdm:rankingStrategy": _TEXT,
    }
)
_TAGS = ListShape(ReferenceShape(kinds=[EntityKind.TAG]), 0, MAX_TAGS)
_CAP = ObjectShape(
    {
        "xdm:enabled": Member(BooleanShape()),
        "xdm:limit": Member(IntegerShape(min=1), aliases=["xdm:count"]),
        "xdm:scope": Member(TextShape(one_of=["global", "profile"]), required=True),
        "xdm:entity": Member(TextShape(one_of=["offer", "placement"]), required=True),
        "xdm:placement": Member(ReferenceShape(kinds=[EntityKind.PLACEMENT])),
        "xdm:placements": Member(ListShape(ReferenceShape(kinds=[EntityKind.PLACEMENT]))),
        "xdm:index": Member(IntegerShape(min=0, max=2**31 - 1)),
        "xdm:events": Member(ListShape(TextShape(one_of=["decisioning", "custom", "click", "impression"]), 1)),
        "xdm:customQuery": Member(TextShape(min=1)),
        "xdm:dynamicCappingThresholdEnabled": Member(BooleanShape()),
        "xdm:dynamicCappingThresholdQuery": Member(TextShape(min=1)),
        "xdm:startDate": Member(DateTimeShape()),
        "xdm:endDate": Member(DateTimeShape()),
        "xdm:repeat": Member(
            ObjectShape(
                {
                    "xdm:enabled": Member(BooleanShape()),
                    "xdm:unit": Member(TextShape(one_of=list(RepeatUnit))),
                    "xdm:unitCount": Member(IntegerShape(min=1)),
                }
            )
        ),
    }
)
_OFFER_COMMON = {
    "xdm:name": _NAME,
    "xdm:description": _DESCRIPTION,
    "xdm:labels": _LABELS,
    "xdm:status": Member(TextShape(one_of=list(OfferStatus)), required=True),
    "xdm:representations": Member(_REPRESENTATIONS, required=True),
    "xdm:tags": Member(_TAGS),
    "xdm:characteristics": Member(MapShape(TextShape(), MAX_CHARACTERISTICS)),
    "xdm:customMetadata": Member(MapShape(TextShape())),
}


def _pql_shape(max_bytes: int) -> ObjectShape:
    """Return the shape of a PQL expression: text or tree, prefixed or plain names."""
    return ObjectShape(
        {
            "xdm:type": Member(TextShape(one_of=["PQL"]), required=True, aliases=["type"]),
            "xdm:format": Member(TextShape(one_of=["pql/text", "pql/json"]), required=True, aliases=["format"]),
            "xdm:value": Member(
                OneOfShape([TextShape(min=1, max_bytes=max_bytes), ObjectShape({})]),
                required=True,
                aliases=["value"],
            ),
        }
    )


_CRITERION = ObjectShape(
    {
        "xdm:placements": Member(ListShape(ReferenceShape(kinds=[EntityKind.PLACEMENT]), 1), required=True),
        "xdm:rank": Member(
            ObjectShape({"xdm:priority": Member(IntegerShape(min=0)), "xdm:order": Member(_RANK_ORDER)}),
            aliases=["xdm:ranking"],
        ),
        "xdm:profileConstraint": Member(ObjectShape(_CONSTRAINT_MEMBERS), aliases=["xdm:profileConstraints"]),
        "xdm:optionSelection": Member(
            ObjectShape(
                {
                    "xdm:filter": Member(ReferenceShape(kinds=[EntityKind.COLLECTION])),
                    "xdm:options": Member(ListShape(ReferenceShape(kinds=[EntityKind.OFFER]))),
                },
                at_least_one_of=[["xdm:filter", "xdm:options"]],
            ),
            required=True,
        ),
    }
)

_EXPRESSION = ObjectShape(
    {
        "type": Member(TextShape(one_of=["PQL", "LIST"])),
        "format": Member(TextShape(one_of=["pql/text", "pql/json"])),
        "value": Member(OneOfShape([TextShape(min=1, max_bytes=MAX_RULE_BYTES), MapShape(AnyShape())])),
    }
)
_ENABLED = Member(ObjectShape({"enabled": Member(BooleanShape(), required=True)}))
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
        "xdm:channel": Member(TextShape(min=1), required=True),
        "xdm:componentType": Member(TextShape(min=1), required=True),
        "xdm:contentTypes": Member(ListShape(_MEDIA_TYPE)),
        "xdm:description": _DESCRIPTION,
        "xdm:itemCount": Member(IntegerShape(min=1, max=MAX_ITEMS)),
        "xdm:allowDuplicatePlacements": Member(BooleanShape()),
        "xdm:returnContent": Member(BooleanShape()),
        "xdm:returnMetaData": Member(MapShape(BooleanShape())),
    },
    EntityKind.TAG: {"xdm:name": _NAME, "xdm:description": _DESCRIPTION},
    EntityKind.RULE: {
        "xdm:name": _NAME,
        "xdm:description": _DESCRIPTION,
        "xdm:condition": Member(_pql_shape(MAX_RULE_BYTES), aliases=["condition"]),
        OLDER_VALUE: Member(OneOfShape([TextShape(min=1, max_bytes=MAX_RULE_BYTES), ObjectShape({})])),
        "xdm:valueAsText": Member(TextShape()),
        "xdm:modelUsage": Member(ListShape(AnyShape())),
        "xdm:definedOn": Member(MapShape(AnyShape()), aliases=["definedOn"]),
    },
    EntityKind.FORMULA: {
        "xdm:name": _NAME,
        "xdm:description": _DESCRIPTION,
        "xdm:expression": Member(_pql_shape(MAX_FORMULA_BYTES), required=True, aliases=["expression"]),
        "xdm:definedOn": Member(MapShape(AnyShape()), aliases=["definedOn"]),
    },
    EntityKind.COLLECTION: {
        "xdm:name": _NAME,
        "xdm:filterType": Member(TextShape(one_of=["offers", "anyTags", "allTags"]), required=True),
        "xdm:ids": Member(
            ListShape(ReferenceShape(kinds=[EntityKind.TAG, EntityKind.OFFER])),
            required=True,
            aliases=["ids"],
        ),
        "xdm:description": _DESCRIPTION,
        "xdm:labels": _LABELS,
    },
    EntityKind.OFFER: {
        **_OFFER_COMMON,
        "xdm:rank": Member(
            ObjectShape(
                {
                    "xdm:priority": Member(IntegerShape(min=0), required=True),
                    "xdm:order": Member(_RANK_ORDER),
                }
            ),
            required=True,
        ),
        "xdm:selectionConstraint": Member(
            ObjectShape(
                {
                    "xdm:startDate": Member(DateTimeShape(), required=True),
                    "xdm:endDate": Member(DateTimeShape(), required=True),
                    **_CONSTRAINT_MEMBERS,
                }
            )
        ),
        "xdm:cappingConstraint": Member(
            ObjectShape(
                {
                    "xdm:globalCap": Member(IntegerShape(min=1)),
                    "xdm:profileCap": Member(IntegerShape(min=1)),
                }
            )
        ),
        "xdm:frequencyCappingConstraints": Member(ListShape(_CAP, 0, MAX_CAPS_PER_OFFER)),
    },
    EntityKind.FALLBACK: _OFFER_COMMON,
    EntityKind.SCHEMA: {
        "xdm:name": _NAME,
        "fields": Member(MapShape(AnyShape()), required=True),
    },
    EntityKind.DECISION: {
        "xdm:name": _NAME,
        "xdm:status": Member(TextShape(one_of=list(DecisionStatus)), required=True),
        "xdm:startDate": Member(DateTimeShape()),
        "xdm:endDate": Member(DateTimeShape()),
        "xdm:description": _DESCRIPTION,
        "xdm:labels": _LABELS,
        "xdm:fallback": Member(ReferenceShape(kinds=[EntityKind.FALLBACK]), required=True),
        "xdm:criteria": Member(ListShape(_CRITERION, 1)),
        "xdm:placement": Member(ReferenceShape(kinds=[EntityKind.PLACEMENT])),
        "xdm:filter": Member(ReferenceShape(kinds=[EntityKind.COLLECTION])),
    },
    EntityKind.AUDIENCE: {
        "name": _NAME,
        "description": _TEXT,
        "expression": Member(_EXPRESSION, required=True),
        "schema": Member(ObjectShape({"name": _TEXT, "id": _TEXT})),
        "mergePolicyId": _TEXT,
        "evaluationInfo": Member(ObjectShape(dict.fromkeys(("batch", "continuous", "synchronous"), _ENABLED))),
    },
    EntityKind.NAMESPACE: {
        "name": _NAME,
        "code": Member(
            TextShape(pattern=r"[A-Za-z0-9_.\-]{1,64}", help="Use letters, digits, `_`, `.` and `-`."),
            required=True,
        ),
        "description": _TEXT,
        "idType": Member(TextShape(one_of=list(ID_TYPES))),
    },
    EntityKind.MERGE_POLICY: {
        "name": _NAME,
        "schema": Member(ObjectShape({"name": _TEXT})),
        "attributeMerge": Member(
            ObjectShape(
                {
                    "type": Member(TextShape(one_of=["timestampOrdered", "dataSetPrecedence"]), required=True),
                    "order": Member(ListShape(TextShape(min=1), unique=True)),
                }
            ),
            required=True,
        ),
        "default": Member(BooleanShape()),
    },
    EntityKind.DESCRIPTOR: {
        "@type": Member(TextShape(one_of=["xdm:descriptorIdentity"]), required=True),
        "xdm:sourceSchema": Member(TextShape(min=1, max=1024), required=True),
        "xdm:sourceVersion": Member(IntegerShape(min=1)),
        "xdm:sourceProperty": Member(
            TextShape(
                pattern=r"(/[^/]{1,200}){1,20}",
                help="Write the path to the field with slashes, as in `/personalEmail/address`.",
            ),
            required=True,
        ),
        "xdm:namespace": Member(TextShape(min=1, max=64), required=True),
        "xdm:property": Member(TextShape(one_of=["xdm:code"])),
        "xdm:isPrimary": Member(BooleanShape()),
    },
    EntityKind.DATASTREAM: {
        "name": _NAME,
        "description": _TEXT,
        "enabled": Member(BooleanShape()),
        "offers": Member(BooleanShape()),
        "overrides": Member(BooleanShape()),
        "access": Member(TextShape(one_of=["mixed", "authenticated"])),
        "keepEvents": Member(BooleanShape()),
        "linkIdentities": Member(BooleanShape()),
        "explain": Member(BooleanShape()),
        "allowedOrigins": Member(
            ListShape(
                TextShape(
                    pattern=r"\*|null|https?://(?:\*\.)?[a-z0-9.-]{1,253}(?::\d{1,5})?",
                    help="Scheme and host in lower case, as in `https://www.shop.example` or `https://*.shop.example`.",
                ),
                0,
                100,
            )
        ),
        "firstPartyIdCookie": Member(
            TextShape(pattern=r"[A-Za-z0-9_.\-]{1,100}", help="Letters, digits, `_`, `.` and `-`.")
        ),
    },
}

SHAPES: Mapping[EntityKind, Shape] = {
    kind: ObjectShape({"@id": Member(ReferenceShape(kinds=[kind])), **members}) for kind, members in _MEMBERS.items()
}
"""Shape of each kind of document, for validation and for the OpenAPI document."""

_CONSTRAINTS = frozenset(
    {
        *("selectionConstraint", "profileConstraint", "profileConstraintType", "eligibilityRule", "segmentIdentities"),
        *("startDate", "endDate", "cappingConstraint", "globalCap", "profileCap", "frequencyCappingConstraints"),
        *("rank", "priority"),
    }
)


def _places(kind: EntityKind, label: str) -> dict[str, str]:
    places = places_of(SHAPES[kind], f"the {label} itself")
    return {name: place for name, place in places.items() if name in _CONSTRAINTS}


PLACES: Mapping[EntityKind, Mapping[str, str]] = {
    EntityKind.DECISION: _places(EntityKind.DECISION, "decision"),
    EntityKind.OFFER: {
        "profileConstraint": "`xdm:criteria` of a decision; an offer has its members in `xdm:selectionConstraint`",
        **_places(EntityKind.OFFER, "offer"),
    },
}
"""Where members that decide who gets an offer, when and how often belong, by their names without prefix.

A member in another place would have no effect: everybody would get the offer.
"""


def document_violations(kind: EntityKind, document: Any) -> list[Violation]:
    """Return all violations of a document of this kind. They are found in one pass (R39)."""
    violations = validate(SHAPES[kind], document)
    if isinstance(document, Mapping):
        violations += [
            *_check_size(kind, document),
            *_EXTRA_CHECKS.get(kind, _check_nothing)(document),
        ]
    return violations


def _check_size(kind: EntityKind, document: Mapping[str, Any]) -> Iterator[Violation]:
    """Check the size of a document; many bounded patches may add up (R27, R32)."""
    is_offer = kind in {EntityKind.OFFER, EntityKind.FALLBACK}
    max_bytes = MAX_OFFER_BYTES if is_offer else MAX_DOCUMENT_BYTES
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > max_bytes:
        word = "offer" if is_offer else "object"
        yield limit_violation("$", f"an {word} of {size:,} bytes", f"{max_bytes:,} bytes per {word}")


def _check_nothing(_: Mapping[str, Any]) -> Iterator[Violation]:
    return iter(())


def _check_rule(document: Mapping[str, Any]) -> Iterator[Violation]:
    if not {"xdm:condition", "condition", OLDER_VALUE} & document.keys():
        yield Violation(
            code="required",
            message="`xdm:condition` is missing",
            path="$.xdm:condition",
            help="add `xdm:condition`: the type, format and value of a PQL expression",
        )


def _check_fallback(document: Mapping[str, Any]) -> Iterator[Violation]:
    seen: dict[str, int] = {}
    for index, representation in enumerate(_as_list(document.get("xdm:representations"))):
        placement = _as_mapping(representation).get("xdm:placement")
        key = canonical(placement) if isinstance(placement, str) else None
        if key is not None and seen.setdefault(key, index) != index:
            yield Violation(
                code="duplicate-representation",
                message=f"representation {seen[key]} is also for placement `{placement}`",
                path=f"$.xdm:representations[{index}].xdm:placement",
                help="keep one representation per placement, with one component per language",
            )


def _check_offer(document: Mapping[str, Any]) -> Iterator[Violation]:
    yield from _check_fallback(document)
    selection = _as_mapping(document.get("xdm:selectionConstraint"))
    yield from _check_window(selection, "$.xdm:selectionConstraint")
    yield from _check_constraint(selection, "$.xdm:selectionConstraint")
    yield from _check_ranking(_as_mapping(document.get("xdm:rank")), "$.xdm:rank")
    for index, cap in enumerate(_as_list(document.get("xdm:frequencyCappingConstraints"))):
        yield from _check_cap(_as_mapping(cap), f"$.xdm:frequencyCappingConstraints[{index}]")


def _check_cap(cap: Mapping[str, Any], path: str) -> Iterator[Violation]:
    yield from _check_window(cap, path)
    query, threshold_enabled = "xdm:dynamicCappingThresholdQuery", cap.get("xdm:dynamicCappingThresholdEnabled", True)
    has_threshold = threshold_enabled is not False and query in cap
    if threshold_enabled is True and "xdm:dynamicCappingThresholdEnabled" in cap and query not in cap:
        yield Violation(
            code="required",
            message=f"`{query}` is missing",
            path=f"{path}.{query}",
            help="add the formula that gives the limit, or switch `xdm:dynamicCappingThresholdEnabled` off",
        )
    elif not has_threshold and not {"xdm:limit", "xdm:count"} & cap.keys():
        yield Violation(
            code="required",
            message="`xdm:limit` is missing",
            path=f"{path}.xdm:limit",
            help="Add `xdm:limit`: a whole number of at least 1.",
        )
    if has_threshold and cap.get("xdm:scope") == "profile":
        yield Violation(
            code="threshold-per-profile",
            message="a limit per profile cannot have a threshold from a formula",
            path=f"{path}.{query}",
            help="set `xdm:scope` to `global`, or give a fixed `xdm:limit`",
        )
    repeat = _as_mapping(cap.get("xdm:repeat"))
    unit, count = repeat.get("xdm:unit", "day"), repeat.get("xdm:unitCount", 1)
    max_count = MAX_REPEAT.get(unit) if isinstance(unit, str) else None
    if max_count is not None and isinstance(count, int) and count > max_count:
        yield limit_violation(
            f"{path}.xdm:repeat.xdm:unitCount",
            f"{count} {unit}s",
            f"{max_count} {unit}s (two years)",
        )


def count_cap_rules(document: Mapping[str, Any]) -> int:
    """Return the number of capping rules of an offer; one across placements counts for each (spec 9)."""
    placements = max(1, len(_as_list(document.get("xdm:representations"))))
    legacy = _as_mapping(document.get("xdm:cappingConstraint"))
    across_placements = sum(legacy.get(name) is not None for name in ("xdm:globalCap", "xdm:profileCap"))
    per_placement = 0
    for cap in _as_list(document.get("xdm:frequencyCappingConstraints")):
        if _as_mapping(cap).get("xdm:entity") == "offer":
            across_placements += 1
        else:
            per_placement += 1
    return across_placements * placements + per_placement


def _check_decision(document: Mapping[str, Any]) -> Iterator[Violation]:
    yield from _check_window(document, "$")
    criteria = _as_list(document.get("xdm:criteria"))
    if "xdm:criteria" not in document:
        for member in ("xdm:placement", "xdm:filter"):
            if member not in document:
                yield Violation(
                    code="required",
                    message="`xdm:criteria` is missing"
                    if member == "xdm:placement"
                    else "the older form, `xdm:placement` with `xdm:filter`, is missing too",
                    path="$.xdm:criteria" if member == "xdm:placement" else f"$.{member}",
                    help="add `xdm:criteria`: a list of placements with their collections",
                )
    placements: dict[str, None] = {}
    collections: dict[str, None] = {}
    for index, raw_criterion in enumerate(criteria):
        criterion = _as_mapping(raw_criterion)
        for name in ("xdm:profileConstraint", "xdm:profileConstraints"):
            constraint = _as_mapping(criterion.get(name))
            yield from _check_constraint(constraint, f"$.xdm:criteria[{index}].{name}")
        for name in ("xdm:rank", "xdm:ranking"):
            rank = _as_mapping(criterion.get(name))
            yield from _check_ranking(rank, f"$.xdm:criteria[{index}].{name}")
        placement_ids = _as_list(criterion.get("xdm:placements"))
        placements.update((key, None) for key in placement_ids if isinstance(key, str))
        collection = _as_mapping(criterion.get("xdm:optionSelection")).get("xdm:filter")
        if isinstance(collection, str):
            collections[collection] = None
    for count, maximum, word in (
        (len(placements), MAX_PLACEMENTS_PER_DECISION, "placements"),
        (len(collections), MAX_COLLECTIONS_PER_DECISION, "collections"),
    ):
        if count > maximum:
            yield limit_violation("$.xdm:criteria", f"{count} {word}", f"{maximum} {word} per decision")


def _check_audience(document: Mapping[str, Any]) -> Iterator[Violation]:
    expression = _as_mapping(document.get("expression"))
    if expression.get("type", "PQL") == "PQL" and "value" not in expression and expression:
        yield Violation(
            code="required",
            message="`value` is missing",
            path="$.expression.value",
            help="add the rule of the audience, in PQL",
        )


def _check_collection(document: Mapping[str, Any]) -> Iterator[Violation]:
    member = "xdm:ids" if "xdm:ids" in document else "ids"
    count = len(_as_list(document.get(member)))
    static = document.get("xdm:filterType") == "offers"
    maximum = MAX_OFFERS_PER_COLLECTION if static else MAX_TAGS
    if count > maximum:
        word = "offers" if static else "tags"
        yield limit_violation(f"$.{member}", f"{count} {word}", f"{maximum} {word} per collection")


def _check_window(document: Mapping[str, Any], path: str) -> Iterator[Violation]:
    try:
        start = parse_timestamp_us(document.get("xdm:startDate"))  # type: ignore[arg-type]
        end = parse_timestamp_us(document.get("xdm:endDate"))  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return  # missing, or already reported by the shape
    if end < start:
        yield Violation(
            code="range",
            message="the end is before the start",
            path=f"{path}.xdm:endDate",
            help="swap the dates, or move the end",
        )


def _check_constraint(constraint: Mapping[str, Any], path: str) -> Iterator[Violation]:
    member_by_type = {
        "eligibilityRule": "xdm:eligibilityRule",
        "rules": "xdm:rules",
        "anySegments": "xdm:segmentIdentities",
        "allSegments": "xdm:segmentIdentities",
    }
    declared = constraint.get("xdm:profileConstraintType")
    member = member_by_type.get(declared) if isinstance(declared, str) else None
    if member is not None and not constraint.get(member):
        yield Violation(
            code="required",
            message=f"`xdm:profileConstraintType` is `{declared}`, so `{member}` is needed",
            path=f"{path}.{member}",
            help=f"add `{member}`, or set the type to `none`",
        )


def _check_ranking(rank: Mapping[str, Any], path: str) -> Iterator[Violation]:
    order = _as_mapping(rank.get("xdm:order"))
    member_by_type = {"scoringFunction": "xdm:function", "rankingStrategy": "xdm:rankingStrategy"}
    declared = order.get("xdm:orderEvaluationType")
    member = member_by_type.get(declared) if isinstance(declared, str) else None
    if member is not None and not order.get(member):
        yield Violation(
            code="required",
            message=f"`xdm:orderEvaluationType` is `{declared}`, so `{member}` is needed",
            path=f"{path}.xdm:order.{member}",
            help=f"add `{member}`, or set the type to `static`",
        )


def limit_violation(path: str, actual: str, allowed: str) -> Violation:
    """Return the violation of a documented limit (R32)."""
    return Violation(
        code="limit",
        message=f"{actual} is more than the limit of {allowed}",
        path=path,
        help=f"stay within {allowed}",
    )


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _as_list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


_EXTRA_CHECKS: Mapping[EntityKind, Callable[[Mapping[str, Any]], Iterator[Violation]]] = {
    EntityKind.RULE: _check_rule,
    EntityKind.COLLECTION: _check_collection,
    EntityKind.OFFER: _check_offer,
    EntityKind.FALLBACK: _check_fallback,
    EntityKind.DECISION: _check_decision,
    EntityKind.AUDIENCE: _check_audience,
}
