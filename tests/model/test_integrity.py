"""What must hold between objects: references, the fallback guarantee, names, ids, deletions."""

from dataclasses import replace
from typing import Any

import pytest

from proffer.errors import Conflict
from proffer.model.catalog import Catalog, CatalogOverlay
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.model.integrity import check_unique, check_unreferenced, version_violations
from proffer.model.references import find_references
from proffer.testing.builders import (
    Document,
    a_cap,
    a_collection,
    a_component,
    a_constraint,
    a_criterion,
    a_decision,
    a_fallback,
    a_library,
    a_placement,
    a_rule,
    a_tag,
    an_instance,
    an_offer,
    id_of,
    instances,
)

LIBRARY = a_library(
    a_tag("red"),
    a_rule("adult"),
    a_placement("app"),
    a_placement("web"),
    an_offer("gold", tags=["red"], rule="adult"),
)


def a_draft(*documents: Document) -> CatalogOverlay:
    catalog = Catalog.of("c1", 0, instances(LIBRARY))
    draft = CatalogOverlay(catalog)
    for document in documents:
        draft.add(an_instance(document))
    return draft


def found(document: Document, draft: CatalogOverlay | None = None) -> list[tuple[str, str | None]]:
    return [(one.code, one.path) for one in version_violations(draft or a_draft(), an_instance(document))]


EVERYWHERE = an_offer(
    "x",
    content=["p1", "p2"],
    tags=["t1"],
    constraint=a_constraint(rules=["r1", "r2"]) | {"xdm:eligibilityRule": id_of(EntityKind.RULE, "r3")},
    caps=[a_cap(1), a_cap(1, **{"xdm:placement": id_of(EntityKind.PLACEMENT, "p3")})],
)
DECISION = a_decision(
    "x",
    a_criterion("c1", placements=["p1", "p2"], constraint=a_constraint(rule="r1")),
    a_criterion(options=["o1"], placements=["p1"]) | {"xdm:profileConstraints": a_constraint(rules=["r2"])},
    fallback="f1",
)
OLDER = {
    "@id": "xcore:offer-activity:1",
    "xdm:fallback": "dps:fallback-offer:1",
    "xdm:placement": "dps:offer-placement:1",
    "xdm:filter": "dps:offer-filter:1",
}


def paths(document: Document) -> list[str]:
    return [one.path for one in find_references(an_instance(document).kind, document)]


def test_every_place_that_can_hold_a_reference_is_known() -> None:
    """In document order, with its path."""
    at = "$.xdm:criteria"

    assert paths(EVERYWHERE) == [
        "$.xdm:representations[0].xdm:placement",
        "$.xdm:representations[1].xdm:placement",
        "$.xdm:tags[0]",
        "$.xdm:selectionConstraint.xdm:eligibilityRule",
        "$.xdm:selectionConstraint.xdm:rules[0]",
        "$.xdm:selectionConstraint.xdm:rules[1]",
        "$.xdm:frequencyCappingConstraints[1].xdm:placement",
    ]
    assert [
        "$.xdm:fallback",
        f"{at}[0].xdm:placements[0]",
        f"{at}[0].xdm:placements[1]",
        f"{at}[0].xdm:optionSelection.xdm:filter",
        f"{at}[0].xdm:profileConstraint.xdm:eligibilityRule",
        f"{at}[1].xdm:placements[0]",
        f"{at}[1].xdm:optionSelection.xdm:options[0]",
        f"{at}[1].xdm:profileConstraints.xdm:rules[0]",
    ] == paths(DECISION)
    assert paths(OLDER) == ["$.xdm:fallback", "$.xdm:placement", "$.xdm:filter"]
    assert paths(a_collection("c", ["o1"])) == ["$.xdm:ids[0]"]
    assert paths({"@id": "xcore:offer-filter:1", "ids": ["xcore:tag:1"]}) == ["$.ids[0]"]


@pytest.mark.parametrize("kind", EntityKind)
@pytest.mark.parametrize("odd", [None, 5, "text", [], [None], [[]], {}])
def test_documents_of_any_shape_can_be_searched_for_references(kind: EntityKind, odd: Any) -> None:
    """What is not where it should be is no reference."""
    members = (
        "representations",
        "tags",
        "selectionConstraint",
        "criteria",
        "fallback",
        "filterType",
    )
    document = {f"xdm:{member}": odd for member in (*members, "ids", "frequencyCappingConstraints")}
    texts = [one.id for one in find_references(kind, document)]

    assert texts in ([], ["text"])


@pytest.mark.parametrize("document", [EVERYWHERE, DECISION], ids=["offer", "decision"])
def test_everything_referred_to_has_to_be_there(document: Document) -> None:
    """Each missing object is found, at its path."""
    assert [("unknown-reference", path) for path in paths(document)] == found(document)


def test_an_object_of_another_kind_is_not_what_is_referred_to() -> None:
    """Where the id is of the right kind and the object is not, the library says what it is."""
    offer = id_of(EntityKind.OFFER, "gold")
    catalog = Catalog("c1")
    catalog.apply(replace(an_instance(a_tag("red")), kind=EntityKind.RULE))
    findings = version_violations(CatalogOverlay(catalog), an_instance(a_collection("c", any_tags=["red"])))

    assert [one.code for one in findings] == ["wrong-kind"]
    assert found(a_decision("x", a_criterion("everything")) | {"xdm:fallback": offer}) == [("kind", "$.xdm:fallback")]


def test_a_reference_finds_its_object_in_either_spelling() -> None:
    """`dps:` and `xcore:` name one object."""
    other = id_of(EntityKind.TAG, "red").replace("xcore", "dps")

    assert found(an_offer("x") | {"xdm:tags": [other]}) == []


def test_what_is_created_in_the_same_draft_may_be_referred_to() -> None:
    """And what is deleted in it may not."""
    gone = CatalogOverlay(Catalog.of("c1", 0, instances(LIBRARY)))
    gone.add(an_instance(a_tag("red"), deleted=True))

    assert found(an_offer("x", tags=["blue"]), a_draft(a_tag("blue"))) == []
    assert found(an_offer("x", tags=["red"]), gone) == [("unknown-reference", "$.xdm:tags[0]")]


# The fallback guarantee (R11)


WEB_ONLY = a_fallback("partial", ["web"])


@pytest.mark.parametrize(
    ("fallback", "path"),
    [
        (WEB_ONLY, "$.xdm:fallback"),
        (a_fallback("partial", ["web", "app"], status="draft"), "$.xdm:fallback"),
        (a_fallback("partial", {"web": [a_component("html")], "app": []}), "$.xdm:fallback"),
        (
            a_fallback("partial", {"web": [a_component("html")], "app": [a_component("json")]}),
            "$.xdm:fallback",
        ),
    ],
    ids=["placement missing", "not approved", "no content", "other content"],
)
def test_a_live_decision_needs_a_fallback_for_every_placement(fallback: Document, path: str) -> None:
    """A write of the decision is refused; while it is not live it may be written."""
    criterion = a_criterion("everything", placements=["web", "app"])
    decision = a_decision("x", criterion, fallback="partial")
    draft = a_draft(fallback)

    assert [("fallback-guarantee", path)] == found(decision, draft)
    assert found(decision | {"xdm:status": "draft"}, draft) == []


@pytest.mark.parametrize(
    ("fallback", "path"),
    [
        (a_fallback(content=["web"]), "$.xdm:representations"),
        (a_fallback(content=["web", "app"], status="archived"), "$.xdm:status"),
        (
            a_fallback(content={"web": [a_component("html")], "app": [a_component("text")]}),
            "$.xdm:representations",
        ),
    ],
    ids=["placement dropped", "no longer approved", "other content"],
)
def test_a_fallback_in_service_keeps_what_it_promises(fallback: Document, path: str) -> None:
    """A write of the fallback is refused while a live decision relies on it."""
    decision = next(one for one in LIBRARY if "offer-activity" in one["@id"])

    assert [("fallback-guarantee", path)] == found(fallback)
    assert found(fallback, a_draft(decision | {"xdm:status": "complete"})) == []


def test_a_placement_in_service_keeps_its_kind_of_content() -> None:
    """A write of the placement is refused while a live decision fills it with a fallback of the old kind."""
    assert found(a_placement("web", "json")) == [("fallback-guarantee", "$.xdm:componentType")]
    assert found(a_placement("web", "html-template", **{"xdm:name": "renamed"})) == []


def test_the_guarantee_counts_what_the_draft_says() -> None:
    """Fallback and placement may change together, the fallback first with both kinds of content."""
    both = {place: [a_component("html"), a_component("json")] for place in ("web", "app")}

    assert found(a_placement("web", "json"), a_draft(a_fallback(content=both))) == []


# Names, ids and deletions


def test_a_tag_name_belongs_to_one_tag() -> None:
    """R12: the refusal names the holder. The tag itself may be written again, and others may take a freed name."""
    holder = id_of(EntityKind.TAG, "red")
    another = an_instance(a_tag("another") | {"xdm:name": "red"})

    with pytest.raises(Conflict, match="already in use by tag") as refused:
        check_unique(a_draft(), another)
    assert {"report": {"holder": holder}} == refused.value.extra
    check_unique(a_draft(), an_instance(a_tag("red")))
    check_unique(a_draft(a_tag("red") | {"xdm:name": "crimson"}), another)


def test_a_name_given_in_the_same_draft_is_taken() -> None:
    """Writes that share a commit see one another."""
    with pytest.raises(Conflict, match="already in use by tag"):
        check_unique(
            a_draft(a_tag("one") | {"xdm:name": "blue"}),
            an_instance(a_tag("two") | {"xdm:name": "blue"}),
        )


@pytest.mark.parametrize("spelling", ["xcore", "dps"])
def test_an_id_is_used_once(spelling: str) -> None:
    """R13: in either spelling, also that of an object deleted before."""
    offer = an_offer("gold")
    taken = replace(an_instance(offer | {"@id": offer["@id"].replace("xcore", spelling)}), instance_id="new")
    gone = a_draft()
    gone.add(an_instance(offer, deleted=True))

    for draft in (a_draft(), gone):
        with pytest.raises(Conflict, match="already in use"):
            check_unique(draft, taken)


def referrers(instance: Instance, draft: CatalogOverlay) -> list[str]:
    try:
        check_unreferenced(draft, instance)
    except Conflict as refused:
        return [one["xdm:name"] for one in refused.extra["report"]["referrers"]]
    return []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("red", ["gold"]),
        ("adult", ["gold"]),
        ("gold", ["everything"]),
        ("everything", ["decision"]),
        ("fallback", ["decision"]),
        ("app", ["fallback", "decision"]),
        ("decision", []),
    ],
)
def test_what_is_referred_to_cannot_be_deleted(name: str, expected: list[str]) -> None:
    """R9: the refusal lists who refers to it."""
    draft = a_draft()
    instance = next(one for one in draft.catalog if one.name == name)

    assert expected == referrers(instance, draft)


def test_who_no_longer_refers_is_no_referrer() -> None:
    """The draft counts, not the catalogue beneath it."""
    draft = a_draft(an_offer("gold", rule="adult"))
    tag = draft.by_id(id_of(EntityKind.TAG, "red"))
    assert tag is not None

    assert referrers(tag, draft) == []


def test_many_referrers_are_named_in_part_and_listed_in_full() -> None:
    """The sentence stays readable."""
    draft = a_draft(*(an_offer(f"o{number}", tags=["red"]) for number in range(5)))
    tag = draft.by_id(id_of(EntityKind.TAG, "red"))
    assert tag is not None

    with pytest.raises(Conflict, match="and 3 more"):
        check_unreferenced(draft, tag)
    assert len(referrers(tag, draft)) == 6
