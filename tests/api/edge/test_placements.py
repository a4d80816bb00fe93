"""What a request leaves open, its placements settle: number, repetition, content and what is told (edge 4)."""

from typing import Any

import pytest

from api.edge.requests import body, encode_mobile_scope, interact, propositions
from proffer.model.ids import EntityKind
from proffer.testing import builders as b
from proffer.wire.scope import encode_scope
from support.decisions import a_library, always
from support.server import ODE, server

DECISION = b.id_of(EntityKind.DECISION, "decision")
WEB, APP = b.id_of(EntityKind.PLACEMENT, "web"), b.id_of(EntityKind.PLACEMENT, "app")
SWITCHES = (
    "decisionName", "placementName", "channelType", "contentType",
    "offerName", "offerAttributes", "offerPriority",
)  # fmt: skip


def ask(*scopes: str, web: dict[str, Any], app: dict[str, Any] | None = None) -> Any:
    """The propositions of a library with two offers, whose placements say these things."""
    with server() as client:
        offers = [
            always(b.an_offer(name, priority=priority, content=("web", "app")))
            | {"xdm:characteristics": {"tier": name}}
            for name, priority in (("gold", 2), ("silver", 1))
        ]
        a_library(
            client,
            b.a_placement("web") | {f"xdm:{name}": value for name, value in web.items()},
            b.a_placement("app") | {f"xdm:{name}": value for name, value in (app or {}).items()},
            *offers,
        )
        return propositions(interact(client, body(*scopes)))


def names(answer: Any) -> list[list[str]]:
    return [[item["name"] for item in one["items"]] for one in answer]


def test_the_placement_says_how_many() -> None:
    """Unless the scope does."""
    (web,) = ask(encode_scope(DECISION, WEB), web={"itemCount": 2})
    assert len(web["items"]) == 2
    (web,) = ask(encode_mobile_scope(DECISION, WEB, 3), web={"itemCount": 1})
    assert len(web["items"]) == 2
    (web,) = ask(encode_scope(DECISION, WEB), web={})
    assert len(web["items"]) == 1


@pytest.mark.parametrize("allowed", [(True, True), (True, False), (False, False)])
def test_placements_say_whether_offers_may_be_repeated(allowed: tuple[bool, bool]) -> None:
    """All of them have to allow it."""
    web, app = ({"allowDuplicatePlacements": one} for one in allowed)
    answer = ask(encode_scope(DECISION, WEB), encode_scope(DECISION, APP), web=web, app=app)

    assert names(answer) == [["gold"], ["gold" if all(allowed) else "silver"]]


def test_content_comes_unless_the_placement_forbids_it() -> None:
    (web, app) = ask(
        encode_scope(DECISION, WEB),
        encode_scope(DECISION, APP),
        web={"returnContent": True},
        app={"returnContent": False},
    )

    assert web["items"][0]["data"]["content"]
    assert "content" not in app["items"][0]["data"]
    assert app["items"][0]["data"]["id"] == app["items"][0]["id"]


@pytest.mark.parametrize("switch", SWITCHES)
def test_placements_say_what_is_told(switch: str) -> None:
    """Only what is switched on; everything where nothing is said."""

    def told(answer: Any) -> set[str]:
        (one,) = answer
        (item,) = one["items"]
        there = {
            "decisionName": "name" in one["activity"],
            "placementName": "name" in one["placement"],
            "channelType": "channel" in one["placement"],
            "contentType": "componentType" in one["placement"],
            "offerName": "name" in item,
            "offerAttributes": "characteristics" in item["data"],
            "offerPriority": "priority" in item,
        }
        return {name for name, is_there in there.items() if is_there}

    scope = encode_scope(DECISION, WEB)
    assert told(ask(scope, web={"returnMetaData": {switch: True}})) == {switch}
    assert told(ask(scope, web={"returnMetaData": {}})) == set()
    assert told(ask(scope, web={})) == set(SWITCHES)


def test_the_trace_comes_where_the_datastream_lets_it() -> None:
    """For developers and for whom it is switched on: visitors learn of offers that are not for them."""
    with server() as client:
        a_library(client, always(b.an_offer("gold")), always(b.an_offer("silver", status="draft")))
        closed = client.post("/api/datastreams", json={"name": "A shop"}).json()["id"]
        document = body(encode_scope(DECISION, WEB))
        document["events"][0]["data"] = {"__proffer": {"explain": True}}
        (told,) = propositions(interact(client, document))
        (silent,) = propositions(interact(client, document, f"/ee/v1/interact?configId={closed}"))
        (unasked,) = propositions(interact(client, body(encode_scope(DECISION, WEB))))

    assert [(one["name"], one["stage"]) for one in told["trace"]] == [
        ("gold", "ranked"),
        ("silver", "status"),
    ]
    assert "trace" not in silent
    assert "trace" not in unasked


@pytest.mark.parametrize(
    ("accepted", "content"),
    [
        ("zh-TW", "traditional"),
        ("zh-HK, en;q=0.5", "traditional"),
        ("zh", "simplified"),
        ("zh-CN", "simplified"),
        ("ja", "English"),
    ],
)
def test_hub_and_edge_find_the_language_by_its_script(accepted: str, content: str) -> None:
    """A region implies a script; both interfaces answer alike (R30)."""
    variants = [("English", "en"), ("simplified", "zh-Hans"), ("traditional", "zh-Hant")]
    components = [b.a_component("html", text, language) for text, language in variants]
    header = {"Accept-Language": accepted}
    with server() as client:
        a_library(client, always(b.an_offer("offer", content={"web": components})))
        by_edge = interact(client, body(encode_scope(DECISION, WEB)), accept_language=accepted)
        scope = {"xdm:activityId": DECISION, "xdm:placementId": WEB}
        by_hub = client.post(
            f"{ODE}/decisions",
            json={
                "xdm:propositionRequests": [scope],
                "xdm:profiles": [{"xdm:identityMap": {"Email": [{"xdm:id": "ann@x"}]}}],
                "xdm:responseFormat": {"xdm:includeContent": True},
            },
            headers=header,
        )

    assert propositions(by_edge)[0]["items"][0]["data"]["content"] == content
    assert by_hub.json()["xdm:propositions"][0]["xdm:options"][0]["xdm:content"] == content
