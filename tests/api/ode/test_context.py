"""Context data: both spellings of a rule read it, and it can be held to a schema."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from proffer.app import DEV_CONTAINER, DEV_ORGANISATION, Services
from proffer.auth.principal import Permission, Principal
from proffer.config import Settings
from proffer.store.ports import Store
from support.server import ODE, create, in_memory, server
from test_main_job import small_library

TYPE = "_xdm.context.additionalParameters;version=1"
FIELDS = {
    "weather": "text: hot|cold",
    "celsius": "number",
    "day": "date",
    "at": "date-time",
    "places": [{"name": "text"}],
    "scores": {"*": "integer"},
    "indoors": "boolean",
}
SOUND = {
    "xdm:weather": "hot",
    "celsius": 30.5,
    "day": "2025-06-01",
    "at": "2025-06-01T12:00:00Z",
    "places": [{"name": "Ulm"}],
    "scores": {"a": 1},
    "indoors": False,
}


async def with_schema(_: Settings) -> Store:
    """A store whose dev container has a schema for the context."""
    store = await in_memory(_)
    services = Services(store)
    await services.tokens.container(DEV_ORGANISATION, "prod", new_id=DEV_CONTAINER)
    await services.registry.catch_up()
    everything = frozenset({Permission.ADMIN})
    by = Principal(organisation=DEV_ORGANISATION, sandbox="prod", permissions=everything, user="u", client="c")
    await services.schemas.load(services.registry.authorize(by, DEV_CONTAINER), f"@{TYPE}", FIELDS)
    return store


def ask(client: TestClient, scope: tuple[str, str], data: dict[str, Any], **more: Any) -> Any:
    profile = {
        "xdm:identityMap": {"Email": [{"xdm:id": "a@b.c"}]},
        "xdm:attributes": {"person": {"age": 12}},
        "xdm:contextData": [{"@type": TYPE, "xdm:data": data}],
    }
    body = {
        "xdm:propositionRequests": [{"xdm:activityId": scope[0], "xdm:placementId": scope[1]}],
        "xdm:profiles": [profile],
        **more,
    }
    return client.post(f"{ODE}/decisions", json=body)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("weather", "mild", "enum"),
        ("weather", 5, "type"),
        ("celsius", "hot", "type"),
        ("celsius", True, "type"),
        ("day", "2025-02-30", "format"),
        ("at", "2025-06-01T12:00:00", "format"),
        ("places", {}, "type"),
        ("places", [{"name": 1}], "type"),
        ("scores", {"a": 1.5}, "type"),
        ("indoors", 1, "type"),
        ("humidity", 5, "unknown-field"),
    ],
)
def test_data_that_its_schema_does_not_allow_is_refused(name: str, value: Any, code: str) -> None:
    """Only where the request asks for it, with the path of what is wrong."""
    with server(opening=with_schema) as client:
        scope = small_library(client)
        data = {**SOUND, name: value}
        refused = ask(client, scope, data, **{"xdm:validateContextData": True})
        unasked = ask(client, scope, data)

    (violation,) = refused.json()["report"]["violations"]
    assert refused.status_code == 422
    assert violation["code"] == code
    assert violation["path"].startswith(f"$.xdm:profiles[0].xdm:contextData[0].xdm:data.{name}")
    assert unasked.status_code == 200


def test_sound_data_and_data_of_a_type_without_a_schema_pass() -> None:
    """What nobody declared is free-form."""
    with server(opening=with_schema) as client:
        scope = small_library(client)
        sound = ask(client, scope, SOUND, **{"xdm:validateContextData": True})
    with server() as client:
        free = ask(client, small_library(client), {"x": 1}, **{"xdm:validateContextData": True})

    assert (sound.status_code, free.status_code) == (200, 200)


@pytest.mark.parametrize("text", [f'@{{{TYPE}}}.weather = "hot"', 'xEvent.weather = "hot"'])
def test_one_rule_works_on_hub_and_edge(text: str) -> None:
    """A rule reads the context of the request in either spelling."""
    with server() as client:
        scope = small_library(client)
        rule = create(
            client,
            "eligibility-rule",
            {
                "xdm:name": "Hot",
                "xdm:condition": {
                    "xdm:type": "PQL",
                    "xdm:format": "pql/text",
                    "xdm:value": text,
                },
            },
        )
        decision = hot_decision(client, scope[1], rule["@id"])
        hot = ask(client, (decision, scope[1]), {"xdm:weather": "hot"}).json()
        cold = ask(client, (decision, scope[1]), {"weather": "cold"}).json()

    assert "xdm:options" in hot["xdm:propositions"][0]
    assert "xdm:fallback" in cold["xdm:propositions"][0]


def hot_decision(client: TestClient, placement: str, rule: str) -> str:
    """A live decision whose one offer is for those for whom the rule holds."""
    html = "https://ns.adobe.com/experience/offer-management/content-component-html"
    shown = [
        {
            "xdm:placement": placement,
            "xdm:components": [{"@type": html, "dc:format": "text/html", "xdm:content": "x"}],
        }
    ]
    offer = create(
        client,
        "personalized-offer",
        {
            "xdm:name": "Ice",
            "xdm:status": "approved",
            "xdm:rank": {"xdm:priority": 1},
            "xdm:representations": shown,
            "xdm:selectionConstraint": {
                "xdm:startDate": "2020-01-01T00:00:00Z",
                "xdm:endDate": "2099-01-01T00:00:00Z",
                "xdm:eligibilityRule": rule,
            },
        },
    )
    fallback = create(
        client,
        "fallback-offer",
        {"xdm:name": "Water", "xdm:status": "approved", "xdm:representations": shown},
    )
    listed = create(
        client,
        "offer-filter",
        {"xdm:name": "Drinks", "xdm:filterType": "offers", "xdm:ids": [offer["@id"]]},
    )
    decision = create(
        client,
        "offer-activity",
        {
            "xdm:name": "Bar",
            "xdm:status": "live",
            "xdm:fallback": fallback["@id"],
            "xdm:criteria": [
                {
                    "xdm:placements": [placement],
                    "xdm:optionSelection": {"xdm:filter": listed["@id"]},
                }
            ],
        },
    )
    return str(decision["@id"])


def test_a_type_without_a_schema_is_reported_in_a_header_and_the_trace() -> None:
    with server() as client:
        scope = small_library(client)
        answer = ask(client, scope, {"weather": "hot"}, **{"xdm:validateContextData": True})
        assert answer.status_code == 200
        assert f"data of the type `{TYPE}` is not validated" in answer.headers["warning"]
        silent = ask(client, scope, {"weather": "hot"})
        assert "warning" not in silent.headers
        assert set(silent.json()) == set(answer.json())
        body = answer.request.content
        explained = client.post(f"{ODE}/decisions?explain=true", content=body)
        (text,) = explained.json()["trace"][0]["warnings"]
        assert text.startswith("$.xdm:profiles[0].xdm:contextData[0]: data of the type")
