"""Test data builders: documents in the stored spelling, instances, typed objects, snapshots, inputs.

    a_library(an_offer("gold", priority=5, rule="adults"), a_rule("adults", "person.age >= 18"))

Objects are referred to by name; `id_of` returns the id of a name, always the same. `a_library` adds what a
decision needs and is not given: the placement `web`, the fallback offer `fallback`, and the decision
`decision` over all offers.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, TypeAlias

from proffer.engine.compile.compiler import build_snapshot
from proffer.engine.index.pool import DEFAULT_TUNING, IndexTuning
from proffer.engine.inputs import Inputs
from proffer.engine.snapshot import Snapshot
from proffer.model.capping import CapKey, CapUsage
from proffer.model.ids import EntityKind, canonical, kind_of
from proffer.model.instance import Actor, Instance
from proffer.model.parse import Entity, parse_entity
from proffer.model.placement import COMPONENT_TYPES
from proffer.model.profile import Profile
from proffer.model.request import DecisionRequest, ScopeRequest

Document: TypeAlias = dict[str, Any]

NOON = 1_767_268_800_000_000
"""2026-01-01T12:00:00Z: the default time."""

SECOND = 1_000_000
SOMEBODY = Actor(user="somebody@AdobeID", client="a-test")
CHANNELS = "https://ns.adobe.com/xdm/channel-types/"


def id_of(kind: EntityKind, name: str) -> str:
    """Return the `@id` for a kind and name; an id is returned unchanged."""
    if kind_of(name) is not None:
        return name
    return f"xcore:{kind}:{int.from_bytes(blake2b(name.encode(), digest_size=7).digest()):x}"


def moment(moment_us: int) -> str:
    """Return a time as documents write it, to the microsecond."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment_us)).isoformat()


# Documents. `more` are additional members, or replacements of default ones.


def a_placement(name: str = "web", kind: str = "html", channel: str = "web", **more: Any) -> Document:
    """A placement for content of one kind: `html`, `text`, `json` or `imagelink`."""
    return {
        "@id": id_of(EntityKind.PLACEMENT, name),
        "xdm:name": name,
        "xdm:channel": CHANNELS + channel,
        "xdm:componentType": COMPONENT_TYPES + kind,
        **more,
    }


def an_audience(key: str, name: str) -> Document:
    """An uploaded list; its id, by which profiles have memberships, is `audience_id(key)`."""
    return {"@id": id_of(EntityKind.AUDIENCE, key), "name": name, "expression": {"type": "LIST"}}


def audience_id(key: str) -> str:
    return _instance_id(id_of(EntityKind.AUDIENCE, key))


def _instance_id(entity_id: str) -> str:
    return f"instance of {canonical(entity_id)}"


def a_tag(name: str) -> Document:
    return {"@id": id_of(EntityKind.TAG, name), "xdm:name": name}


def a_rule(name: str, text: str = "person.age >= 18", **more: Any) -> Document:
    return {
        "@id": id_of(EntityKind.RULE, name),
        "xdm:name": name,
        "condition": {"type": "PQL", "format": "pql/text", "value": text},
        **more,
    }


def a_formula(name: str, text: str = "offer.rank.priority", **more: Any) -> Document:
    return {
        "@id": id_of(EntityKind.FORMULA, name),
        "xdm:name": name,
        "xdm:expression": {"xdm:type": "PQL", "xdm:format": "pql/text", "xdm:value": text},
        **more,
    }


def by_formula(name: str) -> Document:
    """Return the ranking order of a formula."""
    return {
        "xdm:orderEvaluationType": "scoringFunction",
        "xdm:function": id_of(EntityKind.FORMULA, name),
    }


def a_collection(
    name: str,
    offers: Sequence[str] | None = None,
    *,
    any_tags: Sequence[str] | None = None,
    all_tags: Sequence[str] | None = None,
) -> Document:
    """Return a collection of offers, or of any or all tags."""
    kind, members, filter_type = EntityKind.TAG, any_tags, "anyTags"
    if offers is not None:
        kind, members, filter_type = EntityKind.OFFER, offers, "offers"
    elif all_tags is not None:
        members, filter_type = all_tags, "allTags"
    return {
        "@id": id_of(EntityKind.COLLECTION, name),
        "xdm:name": name,
        "xdm:filterType": filter_type,
        "xdm:ids": [id_of(kind, member) for member in members or ()],
    }


def a_component(kind: str = "html", content: str = "content", *languages: str) -> Document:
    document: Document = {
        "@type": COMPONENT_TYPES + kind,
        "dc:format": "application/json" if kind == "json" else "text/plain",
        "xdm:content": content,
    }
    return document | ({"dc:language": list(languages)} if languages else {})


def representations(content: Mapping[str, Sequence[Document]] | Iterable[str], name: str = "content") -> list[Document]:
    """Return one representation per placement, by default with one HTML component."""
    components_by_placement = (
        content if isinstance(content, Mapping) else {placement: [a_component("html", name)] for placement in content}
    )
    return [
        {
            "xdm:placement": id_of(EntityKind.PLACEMENT, placement),
            "xdm:components": list(components),
        }
        for placement, components in components_by_placement.items()
    ]


def a_constraint(
    *,
    rule: str | None = None,
    rules: Sequence[str] | None = None,
    any_audience: Sequence[str] | None = None,
    all_audiences: Sequence[str] | None = None,
) -> Document:
    """Return a constraint. Audiences are in the namespace `ups` unless written `namespace/id`."""
    if rule is not None:
        rule_id = id_of(EntityKind.RULE, rule)
        return {"xdm:profileConstraintType": "eligibilityRule", "xdm:eligibilityRule": rule_id}
    if rules is not None:
        rule_ids = [id_of(EntityKind.RULE, name) for name in rules]
        return {"xdm:profileConstraintType": "rules", "xdm:rules": rule_ids}
    if any_audience is None and all_audiences is None:
        return {"xdm:profileConstraintType": "none"}
    return {
        "xdm:profileConstraintType": "allSegments" if any_audience is None else "anySegments",
        "xdm:segmentIdentities": [
            {"namespace": {"code": namespace or "ups"}, "xid": audience}
            for namespace, _, audience in (name.rpartition("/") for name in any_audience or all_audiences or ())
        ],
    }


def an_offer(
    name: str,
    *,
    priority: int = 0,
    content: Mapping[str, Sequence[Document]] | Iterable[str] = ("web",),
    status: str = "approved",
    window: tuple[int, int] = (NOON - 86_400 * SECOND, NOON + 86_400 * SECOND),
    tags: Sequence[str] = (),
    rule: str | None = None,
    constraint: Mapping[str, Any] | None = None,
    cap: int | None = None,
    profile_cap: int | None = None,
    caps: Sequence[Mapping[str, Any]] = (),
    **more: Any,
) -> Document:
    """Return an offer; by default approved, valid from a day before to a day after noon, for `web`."""
    document: Document = {
        "@id": id_of(EntityKind.OFFER, name),
        "xdm:name": name,
        "xdm:status": status,
        "xdm:representations": representations(content, name),
        "xdm:rank": {"xdm:priority": priority},
        "xdm:tags": [id_of(EntityKind.TAG, tag) for tag in tags],
        "xdm:selectionConstraint": {
            "xdm:startDate": moment(window[0]),
            "xdm:endDate": moment(window[1]),
            **(a_constraint(rule=rule) if constraint is None else constraint),
        },
    }
    if cap is not None or profile_cap is not None:
        caps_by_member = {"xdm:globalCap": cap, "xdm:profileCap": profile_cap}
        document["xdm:cappingConstraint"] = {
            member: limit for member, limit in caps_by_member.items() if limit is not None
        }
    if caps:
        document["xdm:frequencyCappingConstraints"] = [dict(cap_document) for cap_document in caps]
    return document | more


def a_cap(limit: int, *, scope: str = "global", entity: str = "offer", **more: Any) -> Document:
    return {"xdm:limit": limit, "xdm:scope": scope, "xdm:entity": entity, **more}


def a_fallback(
    name: str = "fallback",
    content: Mapping[str, Sequence[Document]] | Iterable[str] = ("web",),
    status: str = "approved",
    **more: Any,
) -> Document:
    return {
        "@id": id_of(EntityKind.FALLBACK, name),
        "xdm:name": name,
        "xdm:status": status,
        "xdm:representations": representations(content, name),
        **more,
    }


def a_criterion(
    collection: str | None = None,
    *,
    options: Sequence[str] = (),
    placements: Sequence[str] = ("web",),
    priority: int = 0,
    constraint: Mapping[str, Any] | None = None,
    formula: str | None = None,
) -> Document:
    """Return a criterion over a collection or a direct list of offers."""
    selection: Document = (
        {"xdm:filter": id_of(EntityKind.COLLECTION, collection)}
        if collection
        else {
            "xdm:optionSelectionType": "directList",
            "xdm:options": [id_of(EntityKind.OFFER, option) for option in options],
        }
    )
    document: Document = {
        "xdm:placements": [id_of(EntityKind.PLACEMENT, placement) for placement in placements],
        "xdm:rank": {"xdm:priority": priority},
        "xdm:optionSelection": selection,
    }
    if formula is not None:
        document["xdm:rank"]["xdm:order"] = by_formula(formula)
    return document if constraint is None else document | {"xdm:profileConstraint": dict(constraint)}


def a_decision(
    name: str = "decision",
    *criteria: Mapping[str, Any],
    fallback: str = "fallback",
    status: str = "live",
    **more: Any,
) -> Document:
    return {
        "@id": id_of(EntityKind.DECISION, name),
        "xdm:name": name,
        "xdm:status": status,
        "xdm:fallback": id_of(EntityKind.FALLBACK, fallback),
        "xdm:criteria": [dict(criterion) for criterion in criteria],
        **more,
    }


def a_library(*documents: Mapping[str, Any]) -> list[Document]:
    """Return these documents, completed for a decision (see the module docstring)."""
    library = [dict(document) for document in documents]
    kinds = {kind_of(document["@id"]) for document in library}
    if EntityKind.PLACEMENT not in kinds:
        library.append(a_placement())
    placements = [document["@id"] for document in library if kind_of(document["@id"]) is EntityKind.PLACEMENT]
    if EntityKind.FALLBACK not in kinds:
        library.append(a_fallback(content=placements))
    if EntityKind.DECISION not in kinds:
        offers = [document["@id"] for document in library if kind_of(document["@id"]) is EntityKind.OFFER]
        library.append(a_collection("everything", offers))
        library.append(a_decision("decision", a_criterion("everything", placements=placements)))
    tags = {tag for document in library for tag in document.get("xdm:tags", ())}
    missing = sorted(tags - {document["@id"] for document in library})
    return library + [{"@id": tag, "xdm:name": tag} for tag in missing]


# Objects made from documents.


def an_instance(document: Mapping[str, Any], *, revision: int = 1, etag: int = 1, deleted: bool = False) -> Instance:
    """Return the document as a stored instance; its instance id is derived from its `@id`."""
    kind = kind_of(document["@id"])
    assert kind is not None, document["@id"]
    return Instance(
        container="c1",
        instance_id=_instance_id(document["@id"]),
        kind=kind,
        id=document["@id"],
        etag=etag,
        revision=revision,
        created_us=NOON,
        modified_us=NOON,
        created_by=SOMEBODY,
        modified_by=SOMEBODY,
        document=document,
        deleted=deleted,
    )


def instances(documents: Iterable[Mapping[str, Any]]) -> list[Instance]:
    return [an_instance(document, revision=number) for number, document in enumerate(documents, 1)]


def an_entity(document: Mapping[str, Any]) -> Entity:
    return parse_entity(an_instance(document))


def entities(documents: Iterable[Mapping[str, Any]]) -> dict[str, Entity]:
    """Return the typed objects by canonical id."""
    return {instance.key: parse_entity(instance) for instance in instances(documents)}


ALWAYS_INDEXED = IndexTuning(
    max_whole_rules=0,
    min_composite_offers=1,
    min_array_offers=1,
    max_scalar_offers=0,
    min_cached_offers=0,
)
"""Makes snapshots of few offers use the code paths of large ones."""


def a_snapshot(documents: Iterable[Mapping[str, Any]], tuning: IndexTuning = DEFAULT_TUNING) -> Snapshot:
    return build_snapshot("c1", entities(documents).items(), 1, tuning)


# Requests.


def a_scope(decision: str = "decision", placement: str = "web", item_count: int = 1) -> ScopeRequest:
    return ScopeRequest(id_of(EntityKind.DECISION, decision), id_of(EntityKind.PLACEMENT, placement), item_count)


def some_inputs(
    *scopes: ScopeRequest,
    profile: Mapping[str, Any] | None = None,
    used: Mapping[CapKey, int] | None = None,
    now_us: int = NOON,
    seed: str = "seed",
    **request: Any,
) -> Inputs:
    """Return inputs for these scopes, by default that of `a_library`."""
    return Inputs(
        request=DecisionRequest(scopes=scopes or (a_scope(),), **request),
        profile=Profile(attributes=profile or {}, is_known=profile is not None),
        usage=CapUsage(used or {}),
        now_us=now_us,
        seed=seed,
    )
