"""Ranking by formula, over the API: every documented formula, and what happens when one gives no number."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from support.server import ODE, XCORE, create, server

CASES = json.loads((Path(__file__).parents[2] / "spec/formulas/documented.json").read_text("utf-8"))
TEXT = "https://ns.adobe.com/experience/offer-management/content-component-text"
CONTEXT = "_xdm.context.additionalParameters;version=1"
PLACEMENT = "xcore:offer-placement:1"


def representations() -> list[dict[str, Any]]:
    component = {"@type": TEXT, "dc:format": "text/plain", "xdm:content": "x"}
    return [{"xdm:placement": PLACEMENT, "xdm:components": [component]}]


def library(client: TestClient, case: dict[str, Any]) -> None:
    """The case's offers, in the order of their ids, ranked by its formula in one live decision."""
    create(
        client,
        "offer-placement",
        {"@id": PLACEMENT, "xdm:name": "Hero", "xdm:channel": "web", "xdm:componentType": TEXT},
    )
    ids = []
    for number, offer in enumerate(case["offers"], 1):
        tenant = {name: value for name, value in offer.items() if name.startswith("_")}
        receipt = create(
            client,
            "personalized-offer",
            {
                "@id": f"xcore:personalized-offer:{number}",
                "xdm:name": offer["name"],
                "xdm:status": "approved",
                "xdm:rank": {"xdm:priority": offer["priority"]},
                "xdm:characteristics": offer.get("characteristics", {}),
                "xdm:representations": representations(),
                "xdm:selectionConstraint": {
                    "xdm:startDate": "2020-01-01T00:00:00Z",
                    "xdm:endDate": offer.get("end", "2099-01-01T00:00:00Z"),
                },
                **tenant,
            },
        )
        ids.append(receipt["@id"])
    formula = create(
        client,
        "ranking-function",
        {
            "xdm:name": case["id"],
            "xdm:expression": {
                "xdm:type": "PQL",
                "xdm:format": "pql/text",
                "xdm:value": case["formula"],
            },
            "xdm:definedOn": case.get("definedOn", {}),
        },
    )
    collection = create(client, "offer-filter", {"xdm:name": "All", "xdm:filterType": "offers", "xdm:ids": ids})
    fallback = create(
        client,
        "fallback-offer",
        {"xdm:name": "House", "xdm:status": "approved", "xdm:representations": representations()},
    )
    order = {"xdm:orderEvaluationType": "scoringFunction", "xdm:function": formula["@id"]}
    create(
        client,
        "offer-activity",
        {
            "@id": "xcore:offer-activity:1",
            "xdm:name": "Home",
            "xdm:status": "live",
            "xdm:fallback": fallback["@id"],
            "xdm:criteria": [
                {
                    "xdm:placements": [PLACEMENT],
                    "xdm:rank": {"xdm:priority": 0, "xdm:order": order},
                    "xdm:optionSelection": {"xdm:filter": collection["@id"]},
                }
            ],
        },
    )


def ask(client: TestClient, case: dict[str, Any]) -> Any:
    scope = {"xdm:activityId": "xcore:offer-activity:1", "xdm:placementId": PLACEMENT}
    profile = {
        "xdm:identityMap": {"Email": [{"xdm:id": "a@b.c"}]},
        "xdm:attributes": case["profile"],
        "xdm:contextData": [{"@type": CONTEXT, "xdm:data": case.get("context", {})}],
    }
    answer = client.post(
        f"{ODE}/decisions",
        json={
            "xdm:propositionRequests": [{**scope, "xdm:itemCount": 30}],
            "xdm:profiles": [profile],
            "xdm:responseFormat": {"xdm:includeMetadata": {"xdm:option": ["name"]}},
        },
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def clock_of(case: dict[str, Any]) -> Any:
    moment = datetime.fromisoformat(case.get("now", "2025-01-01T00:00:00+00:00"))
    return lambda: int(moment.timestamp() * 1_000_000)


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_offers_stand_in_the_order_of_their_scores(case: dict[str, Any]) -> None:
    """Each case's offers come in the expected order, with the expected scores in the answer (R17, R20)."""
    with server(clock=clock_of(case)) as client:
        library(client, case)
        options = ask(client, case)["xdm:propositions"][0]["xdm:options"]

    assert case["expect"] == [[option["xdm:name"], option["xdm:score"]] for option in options]


@pytest.mark.parametrize("case", [c for c in CASES if "faults" in c], ids=[c["id"] for c in CASES if "faults" in c])
def test_a_formula_without_a_number_is_counted(case: dict[str, Any]) -> None:
    """What a formula could not score is reported by diagnostics, with its number (R18)."""
    with server(clock=clock_of(case)) as client:
        library(client, case)
        ask(client, case)
        report = client.get(f"{ODE}/diagnostics").json()

    update = report["xdm:operations"]["xdm:decisioningPackageUpdate"]
    (cause,) = update["xdm:errors"][0]["xdm:causes"]
    times = "once" if case["faults"] == 1 else f"{case['faults']} times"
    assert f"`{case['id']}` returned no number {times}" in cause["xdm:description"]


def test_a_formula_in_use_stays() -> None:
    """A formula that a decision ranks by cannot be deleted, and one that is not there cannot be named."""
    schema = "https://ns.adobe.com/experience/offer-management/ranking-function"
    with server() as client:
        library(client, CASES[0])
        found = client.get(f"{XCORE}/instances", params={"schema": schema}).json()
        instance = found["_embedded"]["results"][0]["instanceId"]
        refused = client.delete(f"{XCORE}/instances/{instance}")

    assert refused.status_code == 409
    assert "decision `Home`" in refused.json()["detail"]
