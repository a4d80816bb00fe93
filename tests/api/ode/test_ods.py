"""Decisions under the current path: the sandbox, and what placements settle (spec 1.1, 4.1, 4.2, 4.5)."""

from typing import Any

import pytest

from api.dps.library import (
    DECISION,
    DPS,
    FALLBACK,
    ODS,
    OFFER,
    ORDINARY,
    PLACEMENT,
    at,
    content,
    decide,
    fill,
)
from support.server import ODE, server

FULL = dict.fromkeys(
    (
        "decisionName",
        "offerName",
        "offerAttributes",
        "offerPriority",
        "placementName",
        "channelType",
        "contentType",
    ),
    True,
)


def only(answer: Any) -> Any:
    (proposition,) = answer["xdm:propositions"]
    return proposition


def test_ids_of_both_spellings_are_understood() -> None:
    """And the answer gives each as it was stored."""
    with server() as client:
        fill(client)
        scope = {"xdm:activityId": DECISION.replace("dps:", "xcore:")}
        proposition = only(decide(client, scope=scope))

    assert proposition["xdm:activity"]["xdm:id"] == DECISION
    assert proposition["xdm:placement"]["xdm:id"] == PLACEMENT
    assert [one["xdm:id"] for one in proposition["xdm:options"]] == [OFFER]


def test_a_placement_that_says_nothing() -> None:
    """One offer, no content, ids and etags."""
    with server() as client:
        fill(client)
        (option,) = only(decide(client))["xdm:options"]

    assert option == {"xdm:id": OFFER, "repo:etag": "1"}


def test_a_placement_settles_what_the_request_leaves_open() -> None:
    """How many, content, and each of the seven switches of metadata."""
    with server() as client:
        fill(client, {"itemCount": 2, "returnContent": True, "returnMetaData": FULL})
        proposition = only(decide(client))

    assert [one["xdm:id"] for one in proposition["xdm:options"]] == [OFFER, ORDINARY]
    first = proposition["xdm:options"][0]
    assert first["xdm:content"] == "<p>500</p>"
    assert first["xdm:name"] == "Fibre 500 upgrade"
    assert first["xdm:characteristics"] == {"tier": "gold"}
    assert first["xdm:priority"] == 20
    assert proposition["xdm:activity"]["xdm:name"] == "Home page NBO"
    placement = proposition["xdm:placement"]
    assert placement["xdm:name"] == "Home hero"
    assert placement["xdm:channel"].endswith("/web")
    assert placement["xdm:componentType"].endswith("html")


def test_the_request_wins_where_it_speaks() -> None:
    """Each of count, content and metadata by itself."""
    settings = {"itemCount": 2, "returnContent": True, "returnMetaData": FULL}
    with server() as client:
        fill(client, settings)
        few = only(decide(client, scope={"xdm:itemCount": 1}))
        bare = only(decide(client, {"xdm:responseFormat": {"xdm:includeContent": False}}))
        named = only(
            decide(
                client,
                {"xdm:responseFormat": {"xdm:includeMetadata": {"xdm:option": ["priority"]}}},
            )
        )

    assert len(few["xdm:options"]) == 1
    assert "xdm:content" not in bare["xdm:options"][0]
    assert "xdm:name" in bare["xdm:options"][0]
    option = named["xdm:options"][0]
    assert ("xdm:name" in option, "xdm:priority" in option, "xdm:content" in option) == (
        False,
        True,
        True,
    )


def test_the_older_path_does_not_ask_placements() -> None:
    """There the request alone says what it wants (R6)."""
    with server() as client:
        fill(client, {"itemCount": 2, "returnContent": True, "returnMetaData": FULL})
        (option,) = only(decide(client, where=f"{ODE}/decisions"))["xdm:options"]

    assert option == {"xdm:id": OFFER, "repo:etag": "1"}


@pytest.mark.parametrize(
    ("first", "second", "asked", "repeated"),
    [
        (True, True, None, True),
        (True, False, None, False),
        (False, False, None, False),
        (True, True, False, False),
        (False, False, True, True),
    ],
)
def test_all_placements_must_allow_duplicates(first: bool, second: bool, asked: bool | None, repeated: bool) -> None:
    """Unless the request says; one that forbids them forbids them for all (spec 4.5)."""
    other = "dps:offer-placement:a2"
    with server() as client:
        fill(client, {"allowDuplicatePlacements": first})
        document = {"id": other, "name": "Second", "channel": "x", "componentType": "html"}
        client.post(f"{DPS}/placements", json={**document, "allowDuplicatePlacements": second}).raise_for_status()
        for one in (OFFER, ORDINARY, FALLBACK):
            value = content(other, "<p>too</p>")
            patch = [{"op": "add", "path": "/representations/-", "value": value}]
            client.patch(at(one), json=patch).raise_for_status()
        patch = [{"op": "add", "path": "/criteria/0/placements/-", "value": other}]
        client.patch(at(DECISION), json=patch).raise_for_status()
        scopes = [{"xdm:activityId": DECISION, "xdm:placementId": one} for one in (PLACEMENT, other)]
        members: dict[str, Any] = {"xdm:propositionRequests": scopes}
        if asked is not None:
            members["xdm:allowDuplicatePropositions"] = {"xdm:acrossPlacements": asked}
        answer = decide(client, members)

    shown = [one["xdm:options"][0]["xdm:id"] for one in answer["xdm:propositions"]]
    assert (shown == [OFFER, OFFER]) == repeated


def test_context_can_be_validated_here_too() -> None:
    """The switch is understood at both places; data of a type without a schema is free."""
    who = {
        "xdm:identityMap": {},
        "xdm:contextData": [{"@type": "t", "xdm:data": {"a": 1}}],
        "xdm:validateContextData": True,
    }
    with server() as client:
        fill(client)
        answer = decide(client, {"xdm:profiles": [who], "xdm:validateContextData": True})

    assert len(answer["xdm:propositions"]) == 1


def test_too_many_in_all() -> None:
    """What placements ask for counts towards the hundred offers of an answer."""
    with server() as client:
        fill(client, {"itemCount": 30})
        scope = {"xdm:activityId": DECISION, "xdm:placementId": PLACEMENT}
        answer = client.post(
            ODS,
            json={
                "xdm:propositionRequests": [scope] * 4,
                "xdm:profiles": [{"xdm:identityMap": {}}],
            },
        )

    assert answer.status_code == 422
    assert answer.json()["report"]["violations"][0]["code"] == "limit"


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [
        ({}, "application/json", 422),
        ({"xdm:offerActivities": [], "xdm:identityMap": {}}, "application/json", 422),
        ({}, 'application/vnd.adobe.xdm+json; schema="https://example.org/other"', 415),
    ],
)
def test_requests_that_cannot_be(body: Any, media: str, status: int) -> None:
    """One generation of requests is served here, and its mistakes are listed."""
    with server() as client:
        answer = client.post(ODS, json=body, headers={"Content-Type": media})

    assert answer.status_code == status


def test_an_unknown_scope_is_not_found() -> None:
    """As on the older path: 404 naming every one (R8)."""
    with server() as client:
        fill(client)
        scope = {"xdm:activityId": DECISION, "xdm:placementId": "dps:offer-placement:99"}
        answer = client.post(
            ODS,
            json={"xdm:propositionRequests": [scope], "xdm:profiles": [{"xdm:identityMap": {}}]},
        )

    assert answer.status_code == 404
    assert answer.json()["code"] == "ODE-0001-404"
