"""Offers with personalized content, from the library to the answer (spec 7.5, R23)."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from api.dps.library import DECISION, FALLBACK, OFFER, PLACEMENT, at, decide, fill
from support.server import ODE, server

CONTENT = {"xdm:responseFormat": {"xdm:includeContent": True}}
BROKEN_FOR_ADA = "<p>" + "{{#each person.name}}" * 29 + "{{/each}}" * 29
TOO_LONG = '{%let x = concat("' + "y" * 5000 + '")%}' + "{{x}}" * 100


def put(client: TestClient, offer: str, **members: Any) -> Any:
    """Give the offer's one component these members."""
    operations = [
        {"op": "add", "path": f"/representations/0/components/0/{name}", "value": value}
        for name, value in members.items()
    ]
    return client.patch(at(offer), json=operations)


def shown(answer: Any) -> Any:
    (proposition,) = answer["xdm:propositions"]
    return (proposition.get("xdm:options") or [proposition["xdm:fallback"]])[0]


def test_content_speaks_to_the_customer() -> None:
    """Values are escaped for HTML; links are personalized too, and escaped as addresses are."""
    with server() as client:
        fill(client)
        answer = put(
            client,
            OFFER,
            content="<p>Hi {{profile.person.name.firstName}}, {{offer.characteristics.tier}}</p>",
            linkURL="https://example.org/?n={{person.name.firstName}}",
        )
        assert answer.status_code == 200, answer.text
        option = shown(decide(client, CONTENT))

    assert option["xdm:content"] == "<p>Hi Ada &lt;3, gold</p>"
    assert option["xdm:linkURL"] == "https://example.org/?n=Ada%20%3C3"


def test_content_knows_the_context() -> None:
    """The request's context, by the names of both products' pages."""
    with server() as client:
        fill(client)
        put(
            client,
            OFFER,
            content='{{context.weather}} {%#if profile.timeSeriesEvents.weather = "hot"%}ice{%/if%}',
        )
        who = {
            "xdm:identityMap": {},
            "xdm:attributes": {"person": {"age": 30}},
            "xdm:contextData": [{"@type": "t", "xdm:data": {"xdm:weather": "hot"}}],
        }
        option = shown(decide(client, {**CONTENT, "xdm:profiles": [who]}))

    assert option["xdm:content"] == "hot ice"


def test_a_fault_takes_the_next_best_offer() -> None:
    """What becomes too long is not shown; the trace says so, and the diagnostics count it (R23)."""
    with server() as client:
        fill(client)
        assert put(client, OFFER, content=TOO_LONG).status_code == 200
        answer = decide(client, CONTENT, where="/data/core/ods/decisions?explain=true")
        option = shown(answer)
        verdicts = {one["name"]: one for one in answer["trace"][0]["candidates"]}
        diagnosis = client.get(f"{ODE}/diagnostics").json()

    assert option["xdm:content"] == "<p>100</p>"
    assert verdicts["Fibre 500 upgrade"]["stage"] == "content"
    assert "longer than" in verdicts["Fibre 500 upgrade"]["reason"]
    assert verdicts["Fibre 100"]["rank"] == 1
    assert "could not be rendered once" in str(diagnosis)


def test_a_declared_default_stands_in() -> None:
    """The offer keeps its place, with the content its author gave for such a case."""
    with server() as client:
        fill(client)
        put(client, OFFER, content=TOO_LONG, default="<p>plain</p>")
        option = shown(decide(client, CONTENT))

    assert option["xdm:id"] == OFFER
    assert option["xdm:content"] == "<p>plain</p>"


def test_there_is_always_an_answer() -> None:
    """Where the fallback's own template is at fault, it is answered without content, or with its default."""
    nobody: dict[str, Any] = {"xdm:profiles": [{"xdm:identityMap": {}}]}
    with server() as client:
        fill(client)
        selection = {"options": [OFFER]}
        patch = [{"op": "replace", "path": "/criteria/0/optionSelection", "value": selection}]
        client.patch(at(DECISION), json=patch).raise_for_status()
        put(client, FALLBACK, content=TOO_LONG)
        bare = shown(decide(client, {**CONTENT, **nobody}))
        diagnosis = str(client.get(f"{ODE}/diagnostics").json())
        put(client, FALLBACK, default="<p>house</p>")
        full = shown(decide(client, {**CONTENT, **nobody}))

    assert bare["xdm:id"] == full["xdm:id"] == FALLBACK
    assert "or it was returned as it stands, or without content" in diagnosis
    assert "next best offer" not in diagnosis
    assert "xdm:content" not in bare
    assert full["xdm:content"] == "<p>house</p>"


@pytest.mark.parametrize("offer", [OFFER, FALLBACK])
def test_mistakes_are_told_on_saving(offer: str) -> None:
    """422 with the JSON path, the line and the column; nothing is stored."""
    with server() as client:
        fill(client)
        answer = put(client, offer, content="<p>\n  {%#if person.age > 3%}\n</p>")
        violation = answer.json()["report"]["violations"][0]
        etag = client.get(at(offer)).json()["etag"]

    assert answer.status_code == 422
    assert violation["code"] == "template"
    assert violation["path"] == "$.representations[0].components[0].content"
    assert (violation["line"], violation["column"]) == (2, 3)
    assert etag == 1


def test_text_without_marks_is_left_alone() -> None:
    """Braces by themselves are no marks, whatever the format."""
    plain = '{"a": {"b": [1]}} %} }}'
    with server() as client:
        fill(client)
        put(client, OFFER, content=plain)
        assert shown(decide(client, CONTENT))["xdm:content"] == plain


def test_the_placement_is_the_one_asked_for() -> None:
    """The scope is answered for the placement of the library."""
    with server() as client:
        fill(client)
        (proposition,) = decide(client)["xdm:propositions"]

    assert proposition["xdm:placement"]["xdm:id"] == PLACEMENT
