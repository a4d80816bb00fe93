"""What the product is for, end to end: an offer library, and a decision that always answers."""

from typing import Any

from starlette.testclient import TestClient

from support.server import ODE, XCORE, create, server

HTML = "https://ns.adobe.com/experience/offer-management/content-component-html"


def representation(placement: str, content: str) -> dict[str, Any]:
    component = {"@type": HTML, "dc:format": "text/html", "xdm:content": content}
    return {"xdm:placement": placement, "xdm:components": [component]}


def small_library(client: TestClient) -> tuple[str, str]:
    """A placement, two offers (one with a rule), a collection, a fallback and a live decision."""
    placement = create(
        client,
        "offer-placement",
        {"xdm:name": "Hero", "xdm:channel": "web", "xdm:componentType": HTML},
    )["@id"]
    tag = create(client, "tag", {"xdm:name": "all"})["@id"]
    rule = create(
        client,
        "eligibility-rule",
        {
            "xdm:name": "Adults",
            "xdm:condition": {
                "xdm:type": "PQL",
                "xdm:format": "pql/text",
                "xdm:value": "person.age >= 18",
            },
        },
    )["@id"]
    create(
        client,
        "personalized-offer",
        {
            "xdm:name": "For adults",
            "xdm:status": "approved",
            "xdm:representations": [representation(placement, "<p>adults</p>")],
            "xdm:rank": {"xdm:priority": 10},
            "xdm:tags": [tag],
            "xdm:selectionConstraint": {
                "xdm:startDate": "2020-01-01T00:00:00Z",
                "xdm:endDate": "2099-01-01T00:00:00Z",
                "xdm:eligibilityRule": rule,
            },
        },
    )
    collection = create(
        client,
        "offer-filter",
        {"xdm:name": "All", "xdm:filterType": "anyTags", "xdm:ids": [tag]},
    )["@id"]
    fallback = create(
        client,
        "fallback-offer",
        {
            "xdm:name": "House",
            "xdm:status": "approved",
            "xdm:representations": [representation(placement, "<p>house</p>")],
        },
    )["@id"]
    decision = create(
        client,
        "offer-activity",
        {
            "xdm:name": "Home",
            "xdm:status": "live",
            "xdm:fallback": fallback,
            "xdm:criteria": [
                {
                    "xdm:placements": [placement],
                    "xdm:optionSelection": {"xdm:filter": collection},
                }
            ],
        },
    )["@id"]
    return decision, placement


def decide(client: TestClient, scope: tuple[str, str], attributes: dict[str, Any]) -> Any:
    body = {
        "xdm:propositionRequests": [{"xdm:activityId": scope[0], "xdm:placementId": scope[1]}],
        "xdm:profiles": [{"xdm:identityMap": {"Email": [{"xdm:id": "a@b.c"}]}, "xdm:attributes": attributes}],
        "xdm:responseFormat": {
            "xdm:includeContent": True,
            "xdm:includeMetadata": {"xdm:option": ["name"]},
        },
    }
    answer = client.post(f"{ODE}/decisions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_who_qualifies_gets_the_offer() -> None:
    """A customer for whom the rule holds gets the personalized offer and no fallback."""
    with server() as client:
        answer = decide(client, small_library(client), {"person": {"age": 30}})

    proposition = answer["xdm:propositions"][0]
    assert "xdm:fallback" not in proposition
    assert [option["xdm:name"] for option in proposition["xdm:options"]] == ["For adults"]
    assert proposition["xdm:options"][0]["xdm:content"] == "<p>adults</p>"


def test_who_does_not_qualify_gets_the_fallback() -> None:
    """A customer for whom no rule holds gets the fallback offer and no options."""
    with server() as client:
        answer = decide(client, small_library(client), {"person": {"age": 12}})

    proposition = answer["xdm:propositions"][0]
    assert "xdm:options" not in proposition
    assert proposition["xdm:fallback"]["xdm:name"] == "House"


def test_a_change_is_in_force_when_its_receipt_arrives() -> None:
    """A decision asked for after an offer's patch was acknowledged already knows it (R42)."""
    with server() as client:
        scope = small_library(client)
        offers = client.get(
            f"{XCORE}/instances",
            params={"schema": "https://ns.adobe.com/experience/offer-management/personalized-offer"},
        ).json()
        instance = offers["_embedded"]["results"][0]["instanceId"]
        patch = [{"op": "replace", "path": "/_instance/xdm:status", "value": "draft"}]
        assert client.patch(f"{XCORE}/instances/{instance}", json=patch).status_code == 200
        answer = decide(client, scope, {"person": {"age": 30}})

    assert "xdm:fallback" in answer["xdm:propositions"][0]
