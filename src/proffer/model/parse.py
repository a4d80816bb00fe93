"""Parse stored documents to the typed model. Lossy by design: the document stays the truth.

Expects documents that passed `model/documents.py`. Accepts both forms that real clients use:
`xdm:condition` and `condition`, `xdm:ids` and `ids`, criteria and the older placement + filter,
`xdm:profileConstraint` and `xdm:profileConstraints`, `xdm:rank` and `xdm:ranking`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from proffer.model.capping import (
    CapEntity,
    CapEvent,
    CapLimit,
    CapScope,
    OfferCaps,
    Repeat,
    RepeatUnit,
)
from proffer.model.collection import Collection, FilterType
from proffer.model.constraint import NO_CONSTRAINT, AudienceRef, Constraint, ConstraintType, NamedAudience
from proffer.model.content import Component, Representation
from proffer.model.decision import Criterion, Decision
from proffer.model.field_schema import FieldSchema
from proffer.model.ids import EntityKind, canonical
from proffer.model.instance import Instance
from proffer.model.languages import likely_tag
from proffer.model.lifecycle import DecisionStatus, OfferStatus
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.placement import Placement
from proffer.model.profile import without_prefixes
from proffer.model.ranking import BY_PRIORITY, RankingFormula, RankingMethod, RankingType
from proffer.model.rule import OLDER_VALUE, EligibilityRule
from proffer.model.tag import Tag
from proffer.model.window import ALWAYS, TimeWindow
from proffer.validation import parse_timestamp_us

Entity = (
    Placement
    | Tag
    | EligibilityRule
    | RankingFormula
    | Collection
    | PersonalizedOffer
    | FallbackOffer
    | Decision
    | FieldSchema
    | NamedAudience
)
Document = Mapping[str, Any]
CAPS_MEMBER = "xdm:frequencyCappingConstraints"


def parse_entity(instance: Instance) -> Entity:
    """Return the typed model of one instance."""
    return _READERS[instance.kind](instance)


def first_present(document: Document, *names: str) -> Any:
    """Return the first of these members that is present, else None."""
    for name in names:
        if name in document:
            return document[name]
    return None


def _placement(instance: Instance) -> Placement:
    document = instance.document
    return Placement(
        id=instance.key,
        name=instance.name,
        etag=instance.etag,
        channel=document.get("xdm:channel"),
        component_type=document["xdm:componentType"],
        original_id=instance.id,
        item_count=document.get("xdm:itemCount", 1),
        allow_duplicates=document.get("xdm:allowDuplicatePlacements", False),
        return_content=document.get("xdm:returnContent"),
        metadata=document.get("xdm:returnMetaData"),
    )


def _tag(instance: Instance) -> Tag:
    return Tag(id=instance.key, name=instance.name)


def _rule(instance: Instance) -> EligibilityRule:
    return EligibilityRule(
        id=instance.key,
        name=instance.name,
        etag=instance.etag,
        instance_id=instance.instance_id,
        condition=expression_of(condition_of(instance.document)),
        roots=roots_of(instance.document),
    )


def condition_of(document: Document) -> Any:
    """Return the condition of a rule. The older form has its tree in `xdm:value` of the rule itself."""
    condition = first_present(document, "xdm:condition", "condition")
    if condition is None and OLDER_VALUE in document:
        return {"xdm:format": "pql/json", OLDER_VALUE: document[OLDER_VALUE]}
    return condition


def _formula(instance: Instance) -> RankingFormula:
    return RankingFormula(
        id=instance.key,
        name=instance.name,
        etag=instance.etag,
        instance_id=instance.instance_id,
        expression=expression_of(first_present(instance.document, "xdm:expression", "expression")),
        roots=roots_of(instance.document),
    )


def roots_of(document: Document) -> frozenset[str]:
    """Return the `definedOn` roots of a rule or formula besides the profile."""
    defined_on = first_present(document, "xdm:definedOn", "definedOn") or {}
    return frozenset(root for root in defined_on if root)


def _schema(instance: Instance) -> FieldSchema:
    return FieldSchema(id=instance.key, name=instance.name, fields=instance.document["fields"])


def expression_of(condition: Document) -> str | Mapping[str, Any]:
    """Return the PQL of a condition or expression: text or tree. A tree may be a JSON string (PQL 3)."""
    value = first_present(condition, "xdm:value", "value")
    if first_present(condition, "xdm:format", "format") == "pql/json" and isinstance(value, str):
        try:
            tree = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return tree if isinstance(tree, Mapping) else value
    return value if isinstance(value, str | Mapping) else str(value)


def _collection(instance: Instance) -> Collection:
    return Collection(
        id=instance.key,
        name=instance.name,
        filter_type=FilterType(instance.document["xdm:filterType"]),
        ids=tuple(canonical(member) for member in first_present(instance.document, "xdm:ids", "ids")),
    )


def _fallback(instance: Instance) -> FallbackOffer:
    return FallbackOffer(
        id=instance.key,
        original_id=instance.id,
        name=instance.name,
        etag=instance.etag,
        instance_id=instance.instance_id,
        status=OfferStatus(instance.document["xdm:status"]),
        representations=_representations(instance.document),
        characteristics=_characteristics(instance.document),
    )


def _offer(instance: Instance) -> PersonalizedOffer:
    document = instance.document
    selection = document.get("xdm:selectionConstraint") or {}
    return PersonalizedOffer(
        id=instance.key,
        original_id=instance.id,
        name=instance.name,
        etag=instance.etag,
        instance_id=instance.instance_id,
        status=OfferStatus(document["xdm:status"]),
        representations=_representations(document),
        characteristics=_characteristics(document),
        priority=document["xdm:rank"].get("xdm:priority", 0),
        window=_window(selection),
        constraint=_constraint(selection),
        tags=frozenset(canonical(tag) for tag in document.get("xdm:tags") or ()),
        ranking=_ranking(document["xdm:rank"].get("xdm:order") or {}),
        attributes=_formula_attributes(instance),
        caps=tuple(limit for limit in limits_of(document) if limit.enabled),
    )


def _formula_attributes(instance: Instance) -> dict[str, Any]:
    """Return the offer attributes for formulas (spec 8.2). They include those of tenants (`_acme`)."""
    document = instance.document
    selection = document.get("xdm:selectionConstraint") or {}
    attributes = {
        "_id": instance.id,
        "name": instance.name,
        "rank": {"priority": document["xdm:rank"].get("xdm:priority", 0)},
        "selectionConstraint": {
            "startDate": selection.get("xdm:startDate"),
            "endDate": selection.get("xdm:endDate"),
        },
        "characteristics": _characteristics(document),
        "tags": [canonical(tag) for tag in document.get("xdm:tags") or ()],
    }
    for name, value in document.items():
        if name.startswith("_"):
            attributes[name] = without_prefixes(value)
    return attributes


def _decision(instance: Instance) -> Decision:
    document = instance.document
    return Decision(
        id=instance.key,
        original_id=instance.id,
        name=instance.name,
        etag=instance.etag,
        instance_id=instance.instance_id,
        status=DecisionStatus(document["xdm:status"]),
        fallback=canonical(document["xdm:fallback"]),
        criteria=tuple(_criterion(criterion) for criterion in criteria_of(document)),
        window=_window(document),
    )


def criteria_of(document: Document) -> list[Document]:
    if "xdm:criteria" in document:
        return list(document["xdm:criteria"])
    return [
        {
            "xdm:placements": [document["xdm:placement"]],
            "xdm:optionSelection": {"xdm:filter": document["xdm:filter"]},
        }
    ]


def _criterion(criterion: Document) -> Criterion:
    selection = criterion["xdm:optionSelection"]
    rank = first_present(criterion, "xdm:rank", "xdm:ranking") or {}
    constraint = first_present(criterion, "xdm:profileConstraint", "xdm:profileConstraints")
    is_direct_list = selection.get("xdm:optionSelectionType") == "directList"
    collection = None if is_direct_list else selection.get("xdm:filter")
    return Criterion(
        placements=tuple(canonical(placement) for placement in criterion["xdm:placements"]),
        collection=canonical(collection) if collection else None,
        options=tuple(canonical(option) for option in selection.get("xdm:options") or ()),
        constraint=_constraint(constraint or {}),
        priority=rank.get("xdm:priority", 0),
        ranking=_ranking(rank.get("xdm:order") or {}),
    )


def _ranking(order: Document) -> RankingMethod:
    method = RankingType(order.get("xdm:orderEvaluationType", RankingType.PRIORITY))
    if method is RankingType.PRIORITY:
        return BY_PRIORITY
    member = "xdm:function" if method is RankingType.FORMULA else "xdm:rankingStrategy"
    reference = order.get(member)
    return RankingMethod(type=method, reference=canonical(reference) if reference else None)


def _representations(document: Document) -> dict[str, Representation]:
    by_placement: dict[str, Representation] = {}
    for representation in document["xdm:representations"]:
        placement = canonical(representation["xdm:placement"])
        components = tuple(_component(component) for component in representation.get("xdm:components") or ())
        if len(components) > 1:
            for tag in (tag for component in components for tag in component.language):
                likely_tag(tag)  # not first in a decision
        by_placement.setdefault(placement, Representation(placement=placement, components=components))
    return by_placement


def _component(component: Document) -> Component:
    return Component(
        type=component["@type"],
        format=component["dc:format"],
        language=tuple(component.get("dc:language") or ()),
        content=first_present(component, "xdm:content", "xdm:copyline"),
        delivery_url=component.get("xdm:deliveryURL"),
        link_url=component.get("xdm:linkURL"),
        default=component.get("default"),
    )


def _characteristics(document: Document) -> dict[str, str]:
    return dict(first_present(document, "xdm:characteristics", "xdm:customMetadata") or {})


def _window(document: Document) -> TimeWindow:
    start, end = document.get("xdm:startDate"), document.get("xdm:endDate")
    return TimeWindow(
        parse_timestamp_us(start) if start else None,
        parse_timestamp_us(end) if end else None,
    )


def _constraint(document: Document) -> Constraint:
    rule = document.get("xdm:eligibilityRule")
    declared = document.get("xdm:profileConstraintType")
    # R14: the older form has a rule and no type.
    kind = ConstraintType(declared) if declared else None
    if kind is None:
        kind = ConstraintType.RULE if rule else ConstraintType.NONE
    if kind is ConstraintType.NONE:
        return NO_CONSTRAINT
    if kind in {ConstraintType.RULE, ConstraintType.RULES}:
        rule_ids = document.get("xdm:rules") if kind is ConstraintType.RULES else [rule]
        return Constraint(type=kind, rules=tuple(canonical(rule_id) for rule_id in rule_ids or () if rule_id))
    audiences = tuple(
        AudienceRef((identity.get("namespace") or {}).get("code", "ups"), identity["xid"])
        for identity in document.get("xdm:segmentIdentities") or ()
    )
    return Constraint(type=kind, audiences=audiences)


def named_audience(instance: Instance) -> NamedAudience:
    """Return an audience as rules name it."""
    return NamedAudience(
        id=instance.instance_id, name=instance.document.get("name", ""), created_us=instance.created_us
    )


def limits_of(document: Document) -> list[CapLimit]:
    """Return the limits of an offer's document, those that are not enabled included."""
    legacy = document.get("xdm:cappingConstraint") or {}
    caps = [
        CapLimit(name=name, limit=legacy[f"xdm:{name}"], scope=scope)
        for name, scope in (("globalCap", CapScope.GLOBAL), ("profileCap", CapScope.PROFILE))
        if legacy.get(f"xdm:{name}") is not None
    ]
    cap_documents = document.get(CAPS_MEMBER) or ()
    return caps + [read_limit(cap, name) for name, cap in zip(cap_names(cap_documents), cap_documents, strict=True)]


def read_limit(cap: Document, name: str) -> CapLimit:
    """Return the limit of one entry of `xdm:frequencyCappingConstraints`."""
    placement_ids = [cap.get("xdm:placement"), *(cap.get("xdm:placements") or ())]
    return CapLimit(
        name=name,
        limit=first_present(cap, "xdm:limit", "xdm:count") or 0,
        scope=CapScope(cap["xdm:scope"]),
        entity=CapEntity(cap["xdm:entity"]),
        placements=frozenset(canonical(placement_id) for placement_id in placement_ids if placement_id),
        events=frozenset(cap.get("xdm:events") or (CapEvent.DECISIONING.value,)),
        custom_rule=cap.get("xdm:customQuery"),
        repeat=_repeat(cap.get("xdm:repeat") or {}),
        enabled=cap.get("xdm:enabled", True),
        window=_limit_window(cap),
        threshold=threshold_of(cap),
    )


def threshold_of(cap: Document) -> str | None:
    """Return the query that gives a limit's maximum; None if it has none, or it is switched off."""
    return cap.get("xdm:dynamicCappingThresholdQuery") if cap.get("xdm:dynamicCappingThresholdEnabled", True) else None


def _limit_window(cap: Document) -> TimeWindow:
    """Return the dates of a limit; earlier versions stored them unchecked, and nobody read them."""
    try:
        return _window(cap)
    except (TypeError, ValueError):
        return ALWAYS


def _repeat(document: Document) -> Repeat | None:
    if not document.get("xdm:enabled", False):
        return None
    return Repeat(RepeatUnit(document.get("xdm:unit", RepeatUnit.DAY)), document.get("xdm:unitCount", 1))


def offer_caps(instance: Instance) -> OfferCaps:
    """Return the limits of an offer version; none if it is deleted."""
    if instance.deleted:
        return OfferCaps(offer=instance.key, moment_us=instance.modified_us)
    document = instance.document
    window = _window(document.get("xdm:selectionConstraint") or {})
    return OfferCaps(
        offer=instance.key,
        limits=tuple(limits_of(document)),
        approved=document["xdm:status"] == OfferStatus.APPROVED,
        start_us=window.start_us,
        end_us=window.end_us,
        moment_us=instance.modified_us,
    )


def cap_names(caps: Sequence[Document]) -> Iterator[str]:
    """Yield a unique name for each cap; equal names would share a counter.

    The name is the cap's index, else its position in the list, else the next unused number.
    """
    used_indexes = {cap.get("xdm:index") for cap in caps}
    assigned: set[int] = set()
    for position, cap in enumerate(caps, 1):
        index = cap.get("xdm:index") or 0
        if index == 0 or index in assigned:
            index = next(number for number in count(position) if number not in used_indexes)
            used_indexes.add(index)
        assigned.add(index)
        yield str(index)


_READERS: Mapping[EntityKind, Callable[[Instance], Entity]] = {
    EntityKind.PLACEMENT: _placement,
    EntityKind.TAG: _tag,
    EntityKind.RULE: _rule,
    EntityKind.FORMULA: _formula,
    EntityKind.COLLECTION: _collection,
    EntityKind.OFFER: _offer,
    EntityKind.FALLBACK: _fallback,
    EntityKind.DECISION: _decision,
    EntityKind.SCHEMA: _schema,
    EntityKind.AUDIENCE: named_audience,
}
