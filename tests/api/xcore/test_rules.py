"""What must hold between the objects of a library, whichever write would break it."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.xcore.library import (
    CARD,
    FALLBACK,
    HERO,
    HTML,
    KINDS,
    TEXT,
    codes,
    documents,
    library,
    patch,
    post,
    representation,
    set_to,
    stored,
)
from support.server import XCORE, create, server

REFERRERS = {
    "offer-placement": ["Skis", "House", "Home page"],
    "tag": ["Skis", "Winter things"],
    "eligibility-rule": ["Skis"],
    "offer-filter": ["Home page"],
    "fallback-offer": ["Home page"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_referred_to_stays(kind: str) -> None:
    """Deleting it is 409 and lists who refers to it; once nobody does, it goes (R9)."""
    with library() as (client, ids):
        answer = client.delete(f"{XCORE}/instances/{ids[kind]}")
        if kind not in REFERRERS:
            assert answer.status_code == 202
            return
        assert (answer.status_code, answer.json()["code"]) == (409, "still-referenced")
        referrers = answer.json()["report"]["referrers"]
        assert [one["xdm:name"] for one in referrers] == REFERRERS[kind]
        for one in referrers:
            assert stored(client, one["instanceId"])["@id"] == one["@id"]
        for other in reversed(KINDS):
            assert client.delete(f"{XCORE}/instances/{ids[other]}").status_code == 202
            if other == kind:
                break


REFERENCES = [
    ("personalized-offer", "xdm:representations/0/xdm:placement", "offer-placement"),
    ("personalized-offer", "xdm:tags/0", "tag"),
    ("personalized-offer", "xdm:selectionConstraint/xdm:eligibilityRule", "eligibility-rule"),
    ("fallback-offer", "xdm:representations/0/xdm:placement", "offer-placement"),
    ("offer-filter", "xdm:ids/0", "tag"),
    ("offer-activity", "xdm:fallback", "fallback-offer"),
    ("offer-activity", "xdm:criteria/0/xdm:placements/0", "offer-placement"),
    ("offer-activity", "xdm:criteria/0/xdm:optionSelection/xdm:filter", "offer-filter"),
]


@pytest.mark.parametrize(("kind", "pointer", "target"), REFERENCES)
def test_what_is_referred_to_exists(kind: str, pointer: str, target: str) -> None:
    """A reference to nothing, to another kind, or to what is no id is refused at its place."""
    path = "$._instance" + "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in pointer.split("/"))
    with library() as (client, ids):
        for given, code in (
            (f"xcore:{target}:dead", "unknown-reference"),
            ("xcore:sandwich:1", "kind"),
            ("nobody", "format"),
            (7, "type"),
        ):
            answer = patch(
                client,
                ids[kind],
                {"op": "replace", "path": f"/_instance/{pointer}", "value": given},
            )
            assert answer.status_code == 422
            assert codes(answer) == [(code, path)]


def test_a_reference_in_the_newer_spelling_is_the_same() -> None:
    """`dps:` names the object that `xcore:` names, on writes and for deletes."""
    with library() as (client, ids):
        tag = {"xdm:name": "n", "xdm:filterType": "allTags", "xdm:ids": ["dps:tag:c1"]}
        made = post(client, "offer-filter", tag)
        assert made.status_code == 201
        for kind in ("offer-activity", "offer-filter", "personalized-offer"):
            assert client.delete(f"{XCORE}/instances/{ids[kind]}").status_code == 202
        answer = client.delete(f"{XCORE}/instances/{ids['tag']}")

    assert [one["xdm:name"] for one in answer.json()["report"]["referrers"]] == ["n"]


# The fallback guarantee (R11).

Break = Callable[[TestClient, dict[str, str]], Any]


def with_card(client: TestClient) -> None:
    card = {**documents()["offer-placement"], "@id": CARD, "xdm:name": "Card"}
    create(client, "offer-placement", card)


def unapprove(client: TestClient, ids: dict[str, str]) -> Any:
    return patch(client, ids["fallback-offer"], set_to("xdm:status", "draft"))


def archive(client: TestClient, ids: dict[str, str]) -> Any:
    document = {**documents()["fallback-offer"], "xdm:status": "archived"}
    return client.put(f"{XCORE}/instances/{ids['fallback-offer']}", json=document)


def no_representation(client: TestClient, ids: dict[str, str]) -> Any:
    return patch(client, ids["fallback-offer"], {"op": "remove", "path": "/_instance/xdm:representations/0"})


def no_components(client: TestClient, ids: dict[str, str]) -> Any:
    at = "xdm:representations/0/xdm:components"
    return patch(client, ids["fallback-offer"], set_to(at, []))


def other_component(client: TestClient, ids: dict[str, str]) -> Any:
    at = "xdm:representations/0/xdm:components/0/@type"
    return patch(client, ids["fallback-offer"], set_to(at, TEXT))


def other_placement_type(client: TestClient, ids: dict[str, str]) -> Any:
    return patch(client, ids["offer-placement"], set_to("xdm:componentType", TEXT))


def one_placement_more(client: TestClient, ids: dict[str, str]) -> Any:
    with_card(client)
    return patch(client, ids["offer-activity"], set_to("xdm:criteria/0/xdm:placements/-", CARD))


def other_fallback(client: TestClient, ids: dict[str, str]) -> Any:
    bare = {
        **documents()["fallback-offer"],
        "xdm:representations": [],
        "@id": "xcore:fallback-offer:2",
    }
    create(client, "fallback-offer", bare)
    return patch(client, ids["offer-activity"], set_to("xdm:fallback", bare["@id"]))


def going_live(client: TestClient, ids: dict[str, str]) -> Any:
    assert patch(client, ids["offer-activity"], set_to("xdm:status", "draft")).status_code == 200
    assert unapprove(client, ids).status_code == 200
    return patch(client, ids["offer-activity"], set_to("xdm:status", "live"))


def born_live(client: TestClient, ids: dict[str, str]) -> Any:
    with_card(client)
    decision = documents()["offer-activity"]
    del decision["@id"]
    decision["xdm:criteria"][0]["xdm:placements"] = [CARD]
    return post(client, "offer-activity", decision)


def born_live_in_the_older_form(client: TestClient, ids: dict[str, str]) -> Any:
    with_card(client)
    decision = {
        "xdm:name": "Older",
        "xdm:status": "live",
        "xdm:fallback": FALLBACK,
        "xdm:placement": CARD,
        "xdm:filter": "xcore:offer-filter:d1",
    }
    return post(client, "offer-activity", decision)


BREAKS: list[tuple[Break, str]] = [
    (unapprove, "$._instance.xdm:status"),
    (archive, "$.xdm:status"),
    (no_representation, "$._instance.xdm:representations"),
    (no_components, "$._instance.xdm:representations"),
    (other_component, "$._instance.xdm:representations"),
    (other_placement_type, "$._instance.xdm:componentType"),
    (one_placement_more, "$._instance.xdm:fallback"),
    (other_fallback, "$._instance.xdm:fallback"),
    (going_live, "$._instance.xdm:fallback"),
    (born_live, "$.xdm:fallback"),
    (born_live_in_the_older_form, "$.xdm:fallback"),
]


@pytest.mark.parametrize(("attempt", "path"), BREAKS, ids=[one.__name__ for one, _ in BREAKS])
def test_no_write_takes_the_answer_from_a_live_decision(attempt: Break, path: str) -> None:
    """Whoever would leave a live decision without an approved fallback for a placement is refused (R11)."""
    with library() as (client, ids):
        answer = attempt(client, ids)

        assert answer.status_code == 422, answer.text
        assert codes(answer) == [("fallback-guarantee", path)]
        assert "House" in answer.json()["report"]["violations"][0]["message"]


@pytest.mark.parametrize("attempt", [unapprove, archive, no_representation, other_component, other_placement_type])
def test_a_decision_that_is_not_live_may_be_incomplete(attempt: Break) -> None:
    """The same writes are fine while no live decision depends on them (R10, R11)."""
    with library() as (client, ids):
        for status in ("archived", "complete", "draft"):
            answer = patch(client, ids["offer-activity"], set_to("xdm:status", status))
            assert answer.status_code == 200
        assert attempt(client, ids).status_code == 200


def test_any_status_of_the_kind_may_follow_any() -> None:
    """Transitions are not enforced, words are (R10)."""
    with library() as (client, ids):
        for kind, statuses in (
            ("offer-activity", ["archived", "live", "complete", "draft", "live"]),
            ("personalized-offer", ["archived", "draft", "pending", "rejected", "approved"]),
        ):
            for status in statuses:
                assert patch(client, ids[kind], set_to("xdm:status", status)).status_code == 200
            refused = patch(client, ids[kind], set_to("xdm:status", "sold"))
            assert codes(refused) == [("enum", "$._instance.xdm:status")]


def test_tag_names_are_unique_and_other_names_are_not() -> None:
    """A second tag of a name is 409 and names the holder, on create, replace and patch (R12)."""
    with library() as (client, _):
        other = create(client, "tag", {"xdm:name": "summer"})["instanceId"]
        url = f"{XCORE}/instances/{other}"
        for answer in (
            post(client, "tag", {"xdm:name": "winter"}),
            client.put(url, json={"xdm:name": "winter"}),
            patch(client, other, set_to("xdm:name", "winter")),
        ):
            assert (answer.status_code, answer.json()["code"]) == (409, "name-taken")
            assert answer.json()["report"] == {"holder": "xcore:tag:c1"}
        assert post(client, "tag", {"xdm:name": "Winter"}).status_code == 201
        assert patch(client, other, set_to("xdm:name", "summer")).status_code == 200
        for kind in KINDS:
            if kind != "tag":
                twin = {**documents()[kind]}
                del twin["@id"]
                assert post(client, kind, twin).status_code == 201


def test_a_freed_tag_name_may_be_used() -> None:
    """After a rename or a deletion the name is anybody's."""
    with server() as client:
        first = create(client, "tag", {"xdm:name": "a"})["instanceId"]
        patch(client, first, set_to("xdm:name", "b"))
        second = create(client, "tag", {"xdm:name": "a"})["instanceId"]
        client.delete(f"{XCORE}/instances/{second}")
        create(client, "tag", {"xdm:name": "a"})


@pytest.mark.parametrize("kind", ["personalized-offer", "fallback-offer"])
def test_an_offer_has_one_representation_for_a_placement(kind: str) -> None:
    """A second one is refused, on create and on patch (R29)."""
    twice = [representation(HERO), representation(HERO)]
    with library() as (client, ids):
        document = {**documents()[kind], "xdm:representations": twice}
        del document["@id"]
        created = post(client, kind, document)
        patched = patch(client, ids[kind], set_to("xdm:representations/-", representation(HERO)))

    for answer, root in ((created, "$"), (patched, "$._instance")):
        place = f"{root}.xdm:representations[1].xdm:placement"
        assert (answer.status_code, codes(answer)) == (422, [("duplicate-representation", place)])


def needed(kind: str) -> list[str]:
    return {
        "offer-placement": ["xdm:name", "xdm:channel", "xdm:componentType"],
        "tag": ["xdm:name"],
        "eligibility-rule": ["xdm:name", "xdm:condition"],
        "offer-filter": ["xdm:name", "xdm:filterType", "xdm:ids"],
        "personalized-offer": ["xdm:name", "xdm:status", "xdm:representations", "xdm:rank"],
        "fallback-offer": ["xdm:name", "xdm:status", "xdm:representations"],
        "offer-activity": ["xdm:name", "xdm:status", "xdm:fallback"],
    }[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_kind_needs_is_asked_for(kind: str) -> None:
    """Exactly these members are required, and all that are missing are listed at once (R38, R39)."""
    with server() as client:
        answer = post(client, kind, {})
    missing = [("required", f"$.{member}") for member in needed(kind)]
    if kind == "offer-activity":
        missing += [("required", "$.xdm:criteria"), ("required", "$.xdm:filter")]
    assert (answer.status_code, codes(answer)) == (422, missing)

    with library() as (client, ids):
        for member in needed(kind):
            answer = patch(client, ids[kind], {"op": "remove", "path": f"/_instance/{member}"})
            assert codes(answer) == [("required", f"$._instance.{member}")]


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    (
        "eligibility-rule",
        {
            "name": "x",
            "xdm:name": "x",
            "description": "d",
            "condition": {"type": "PQL", "format": "pql/text", "value": "true"},
        },
    ),
    ("offer-filter", {"xdm:name": "x", "xdm:filterType": "anyTags", "ids": ["xcore:tag:c1"]}),
    (
        "personalized-offer",
        {
            "xdm:name": "x",
            "xdm:status": "draft",
            "xdm:representations": [],
            "xdm:rank": {"xdm:priority": 0},
        },
    ),
    (
        "personalized-offer",
        {
            "xdm:name": "x",
            "xdm:status": "draft",
            "xdm:representations": [],
            "xdm:rank": {"xdm:priority": 0},
            "xdm:customMetadata": {"a": "b"},
            "xdm:characteristics": {},
        },
    ),
    (
        "offer-activity",
        {
            "xdm:name": "x",
            "xdm:status": "live",
            "xdm:fallback": FALLBACK,
            "xdm:placement": HERO,
            "xdm:filter": "xcore:offer-filter:d1",
        },
    ),
    (
        "offer-activity",
        {
            "xdm:name": "x",
            "xdm:status": "draft",
            "xdm:fallback": FALLBACK,
            "xdm:criteria": [
                {
                    "xdm:placements": [HERO],
                    "xdm:optionSelection": {"xdm:options": ["xcore:personalized-offer:e1"]},
                }
            ],
        },
    ),
    (
        "offer-placement",
        {"xdm:name": "x", "xdm:channel": "anything", "xdm:componentType": f"{HTML}-of-ours"},
    ),
]


@pytest.mark.parametrize(("kind", "document"), ACCEPTED)
def test_older_and_shorter_forms_are_taken(kind: str, document: dict[str, Any]) -> None:
    """Both spellings of conditions and ids, both forms of decisions, dates left out (R14, R16)."""
    with library() as (client, _):
        answer = post(client, kind, document)

        assert answer.status_code == 201, answer.text
        kept = stored(client, answer.json()["instanceId"])
    assert {name: kept[name] for name in document} == document
