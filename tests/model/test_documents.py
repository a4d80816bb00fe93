"""What documents must look like: required members, values, limits, and all mistakes in one pass."""

from typing import Any

import pytest

from proffer.errors import Violation
from proffer.model.documents import MAX_OFFER_BYTES, document_violations
from proffer.model.ids import SERVED_KINDS, EntityKind, kind_of
from proffer.testing.builders import (
    Document,
    a_cap,
    a_collection,
    a_component,
    a_constraint,
    a_criterion,
    a_decision,
    a_fallback,
    a_formula,
    a_placement,
    a_rule,
    a_tag,
    an_offer,
    id_of,
)

SOUND: dict[EntityKind, Document] = {
    EntityKind.PLACEMENT: a_placement(),
    EntityKind.TAG: a_tag("red"),
    EntityKind.RULE: a_rule("adult"),
    EntityKind.FORMULA: a_formula("boost"),
    EntityKind.SCHEMA: {
        "@id": id_of(EntityKind.SCHEMA, "profile"),
        "xdm:name": "profile",
        "fields": {"plan": "text"},
    },
    EntityKind.COLLECTION: a_collection("all", ["gold"]),
    EntityKind.OFFER: an_offer("gold", tags=["red"], rule="adult", cap=3, caps=[a_cap(1)]),
    EntityKind.FALLBACK: a_fallback(),
    EntityKind.DECISION: a_decision("decision", a_criterion("all")),
}
REQUIRED = {
    EntityKind.PLACEMENT: ["xdm:name", "xdm:channel", "xdm:componentType"],
    EntityKind.TAG: ["xdm:name"],
    EntityKind.RULE: ["xdm:name", "condition"],
    EntityKind.FORMULA: ["xdm:name", "xdm:expression"],
    EntityKind.SCHEMA: ["xdm:name", "fields"],
    EntityKind.COLLECTION: ["xdm:name", "xdm:filterType", "xdm:ids"],
    EntityKind.OFFER: ["xdm:name", "xdm:status", "xdm:representations", "xdm:rank"],
    EntityKind.FALLBACK: ["xdm:name", "xdm:status", "xdm:representations"],
    EntityKind.DECISION: ["xdm:name", "xdm:status", "xdm:fallback", "xdm:criteria"],
}


def found(document: Any, kind: EntityKind | None = None) -> list[tuple[str, str | None]]:
    kind = kind or kind_of(document["@id"])
    assert kind is not None
    return [(one.code, one.path) for one in document_violations(kind, document)]


def without(document: Document, member: str) -> Document:
    return {name: value for name, value in document.items() if name != member}


@pytest.mark.parametrize("kind", SERVED_KINDS)
def test_a_sound_document_has_no_mistakes(kind: EntityKind) -> None:
    """One of each kind."""
    assert document_violations(kind, SOUND[kind]) == []


@pytest.mark.parametrize(("kind", "member"), [(kind, member) for kind in SERVED_KINDS for member in REQUIRED[kind]])
def test_a_required_member_is_missed(kind: EntityKind, member: str) -> None:
    """Each of those that R38 lists, by its path; the `condition` of a rule by its newer name."""
    codes = [code for code, _ in found(without(SOUND[kind], member))]
    paths = [(path or "").removeprefix("$.xdm:").removeprefix("$.") for _, path in found(without(SOUND[kind], member))]

    assert codes[0] == "required"
    assert member.removeprefix("xdm:") == paths[0]


@pytest.mark.parametrize("kind", SERVED_KINDS)
@pytest.mark.parametrize("value", [None, [], "text", 1])
def test_what_is_no_object_is_no_document(kind: EntityKind, value: Any) -> None:
    """And says so, rather than failing."""
    assert found(value, kind) == [("type", "$")]


@pytest.mark.parametrize("kind", SERVED_KINDS)
def test_members_nobody_documents_are_no_mistake(kind: EntityKind) -> None:
    """R24: they are kept."""
    assert document_violations(kind, SOUND[kind] | {"_acme": {"xdm:name": None}, "x": [None]}) == []


@pytest.mark.parametrize("kind", SERVED_KINDS)
def test_an_id_of_another_kind_is_refused(kind: EntityKind) -> None:
    """R13: an id that a client brings is of the kind it is used for."""
    other = next(one for one in SERVED_KINDS if one is not kind)

    assert found(SOUND[kind] | {"@id": f"xcore:{other}:a"}, kind) == [("kind", "$.@id")]
    assert found(SOUND[kind] | {"@id": "mine"}, kind) == [("format", "$.@id")]


def with_member(kind: EntityKind, path: str, value: Any) -> Document:
    *way, last = path.split(".")
    document: Document = dict(SOUND[kind])
    at = document
    for step in way:
        at[step] = dict(at.get(step, {}))
        at = at[step]
    at[last] = value
    return document


@pytest.mark.parametrize(
    ("kind", "path", "value", "code"),
    [
        (EntityKind.OFFER, "xdm:rank.xdm:priority", -1, "range"),
        (EntityKind.OFFER, "xdm:rank.xdm:priority", 1.0, "type"),
        (EntityKind.OFFER, "xdm:rank.xdm:priority", True, "type"),
        (EntityKind.OFFER, "xdm:status", "live", "enum"),
        (
            EntityKind.OFFER,
            "xdm:selectionConstraint.xdm:startDate",
            "2025-01-01T00:00:00",
            "format",
        ),
        (EntityKind.OFFER, "xdm:selectionConstraint.xdm:endDate", "2025-02-30T00:00:00Z", "format"),
        (EntityKind.OFFER, "xdm:selectionConstraint.xdm:endDate", "1999-12-31T00:00:00Z", "range"),
        (EntityKind.OFFER, "xdm:selectionConstraint.xdm:profileConstraintType", "some", "enum"),
        (EntityKind.OFFER, "xdm:cappingConstraint.xdm:globalCap", 0, "range"),
        (EntityKind.OFFER, "xdm:name", "", "range"),
        (EntityKind.OFFER, "xdm:name", "a\0b", "nul"),
        (EntityKind.OFFER, "xdm:representations", {}, "type"),
        (EntityKind.FALLBACK, "xdm:status", "live", "enum"),
        (EntityKind.DECISION, "xdm:status", "approved", "enum"),
        (EntityKind.DECISION, "xdm:fallback", id_of(EntityKind.OFFER, "gold"), "kind"),
        (EntityKind.DECISION, "xdm:startDate", "tomorrow", "format"),
        (EntityKind.DECISION, "xdm:criteria", [], "range"),
        (EntityKind.COLLECTION, "xdm:filterType", "none", "enum"),
        (EntityKind.COLLECTION, "xdm:ids", "all", "type"),
        (EntityKind.PLACEMENT, "xdm:contentTypes", ["html"], "format"),
        (EntityKind.RULE, "condition.type", "SQL", "enum"),
        (EntityKind.RULE, "condition.value", "", "range"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(kind: EntityKind, path: str, value: Any, code: str) -> None:
    """One mistake for one wrong value."""
    [(found_code, found_path), *others] = found(with_member(kind, path, value))

    assert (code, []) == (found_code, others)
    assert (found_path or "").startswith(f"$.{path}")


def test_selection_constraints_have_both_dates() -> None:
    """R16: they are asked for where there is a selection constraint at all."""
    offer = an_offer("gold")
    constraint = a_constraint(any_audience=["vip"])

    assert found(without(offer, "xdm:selectionConstraint")) == []
    assert found(offer | {"xdm:selectionConstraint": constraint}) == [
        ("required", "$.xdm:selectionConstraint.xdm:startDate"),
        ("required", "$.xdm:selectionConstraint.xdm:endDate"),
    ]


@pytest.mark.parametrize(
    ("declared", "member"),
    [
        ("eligibilityRule", "xdm:eligibilityRule"),
        ("rules", "xdm:rules"),
        ("anySegments", "xdm:segmentIdentities"),
        ("allSegments", "xdm:segmentIdentities"),
    ],
)
def test_a_constraint_says_whom_it_means(declared: str, member: str) -> None:
    """On an offer, and on a criterion by either of its names."""
    constraint = {"xdm:profileConstraintType": declared}
    offer = with_member(EntityKind.OFFER, "xdm:cappingConstraint", {})
    offer["xdm:selectionConstraint"] = {
        "xdm:startDate": "2025-01-01T00:00:00Z",
        "xdm:endDate": "2026-01-01T00:00:00Z",
        **constraint,
    }
    assert [("required", f"$.xdm:selectionConstraint.{member}")] == found(offer)

    for name in ("xdm:profileConstraint", "xdm:profileConstraints"):
        decision = a_decision("decision", a_criterion("all") | {name: constraint})
        assert [("required", f"$.xdm:criteria[0].{name}.{member}")] == found(decision)


@pytest.mark.parametrize("make", [an_offer, a_fallback])
def test_an_offer_has_one_representation_for_a_placement(make: Any) -> None:
    """R29: the second is refused, and the message says which is the first."""
    document = make("gold", content=["web", "app"])
    document["xdm:representations"] *= 2
    findings = document_violations(kind_of(document["@id"]) or EntityKind.OFFER, document)

    assert [one.path for one in findings] == [
        "$.xdm:representations[2].xdm:placement",
        "$.xdm:representations[3].xdm:placement",
    ]
    assert findings[0].message.startswith("representation 0 is also for placement")


def test_a_decision_has_criteria_or_the_older_form() -> None:
    """Half of the older form is not enough."""
    older = without(a_decision("decision"), "xdm:criteria")
    placement = {"xdm:placement": id_of(EntityKind.PLACEMENT, "web")}
    collection = {"xdm:filter": id_of(EntityKind.COLLECTION, "all")}

    assert found(older | placement | collection) == []
    assert found(older | placement) == [("required", "$.xdm:filter")]
    assert found(older | collection) == [("required", "$.xdm:criteria")]


def test_a_criterion_has_placements_and_a_selection() -> None:
    """And a selection is a collection or a list."""
    decision = a_decision("decision", {}, {"xdm:placements": [], "xdm:optionSelection": {}})

    assert found(decision) == [
        ("required", "$.xdm:criteria[0].xdm:placements"),
        ("required", "$.xdm:criteria[0].xdm:optionSelection"),
        ("range", "$.xdm:criteria[1].xdm:placements"),
        ("required", "$.xdm:criteria[1].xdm:optionSelection"),
    ]


def many(count: int) -> list[str]:
    return [f"n{number}" for number in range(count)]


def repeating(unit: str, count: int) -> Document:
    repeat: Document = {"xdm:enabled": True, "xdm:unit": unit, "xdm:unitCount": count}
    return {**a_cap(1), "xdm:repeat": repeat}


LIMITS: list[tuple[str, Document, Document]] = [
    ("20 tags per offer", an_offer("gold", tags=many(20)), an_offer("gold", tags=many(21))),
    (
        "20 tags per collection",
        a_collection("c", any_tags=many(20)),
        a_collection("c", any_tags=many(21)),
    ),
    ("500 offers per collection", a_collection("c", many(500)), a_collection("c", many(501))),
    (
        "10 caps per offer",
        an_offer("gold", caps=[a_cap(1)] * 10),
        an_offer("gold", caps=[a_cap(1)] * 11),
    ),
    *(
        (
            f"{most} {unit}s (two years)",
            an_offer("gold", caps=[repeating(unit, most)]),
            an_offer("gold", caps=[repeating(unit, most + 1)]),
        )
        for unit, most in (("day", 730), ("week", 104), ("month", 24))
    ),
    (
        "30 attributes per offer",
        an_offer("gold") | {"xdm:characteristics": dict.fromkeys(many(30), "")},
        an_offer("gold") | {"xdm:characteristics": dict.fromkeys(many(31), "")},
    ),
    (
        "30 placements per decision",
        a_decision("d", a_criterion("c", placements=many(30))),
        a_decision("d", a_criterion("c", placements=many(20)), a_criterion("c", placements=many(31))),
    ),
    (
        "30 collections per decision",
        a_decision("d", *(a_criterion(name) for name in many(30))),
        a_decision("d", *(a_criterion(name) for name in many(31))),
    ),
    ("15 KB per rule", a_rule("r", "é" * 7680), a_rule("r", "é" * 7681)),
    (
        "300 KB per offer",
        a_fallback(content={"web": [a_component("html", "é" * (MAX_OFFER_BYTES // 2 - 400))]}),
        a_fallback(content={"web": [a_component("html", "é" * (MAX_OFFER_BYTES // 2))]}),
    ),
]


@pytest.mark.parametrize(("allowed", "refused"), [pytest.param(*rest, id=name) for name, *rest in LIMITS])
def test_a_documented_limit_is_kept(allowed: Document, refused: Document) -> None:
    """R32: what reaches it is allowed, one more is not."""
    assert found(allowed) == []
    assert len(found(refused)) == 1


def test_all_mistakes_are_found_in_one_pass() -> None:
    """R39: a document with seven mistakes has seven findings, each with a way to mend it."""
    document = {
        "@id": "xcore:personalized-offer:1",
        "xdm:name": "",
        "xdm:status": "live",
        "xdm:representations": [{"xdm:placement": "here", "xdm:components": [{}]}],
        "xdm:rank": {"xdm:priority": "high"},
        "xdm:selectionConstraint": {
            "xdm:startDate": "2026-01-01T00:00:00Z",
            "xdm:endDate": "2025-01-01T00:00:00Z",
        },
    }
    findings: list[Violation] = document_violations(EntityKind.OFFER, document)

    assert [(one.code, one.path) for one in findings] == [
        ("range", "$.xdm:name"),
        ("enum", "$.xdm:status"),
        ("format", "$.xdm:representations[0].xdm:placement"),
        ("required", "$.xdm:representations[0].xdm:components[0].@type"),
        ("required", "$.xdm:representations[0].xdm:components[0].dc:format"),
        ("type", "$.xdm:rank.xdm:priority"),
        ("range", "$.xdm:selectionConstraint.xdm:endDate"),
    ]
    assert all(one.help for one in findings)


def test_two_spellings_of_one_member_are_one_too_many() -> None:
    """Which of them counts would be a guess."""
    collection = a_collection("all", ["gold"])
    document = {**collection, "ids": collection["xdm:ids"]}

    assert found(document) == [("twice", "$.ids")]


def test_two_representations_of_one_placement_are_found_in_either_spelling() -> None:
    """`dps:` and `xcore:` name one placement (R29)."""
    offer = an_offer("gold")
    (representation,) = offer["xdm:representations"]
    again = {**representation, "xdm:placement": "dps" + representation["xdm:placement"][5:]}
    document = {**offer, "xdm:representations": [representation, again]}

    assert [code for code, _ in found(document)] == ["duplicate-representation"]


def test_a_document_cannot_grow_without_end() -> None:
    """What is no offer has the limit of one request, however many patches it grew by."""
    document = {**a_tag("red"), "xdm:note": "x" * 1024 * 1024}

    assert found(document) == [("limit", "$")]
