"""Library documents in older and in full forms decide as those in the usual form."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from api.ode.library import EVER, FOR_ADULTS, HERO, HOME, asked, decide, fill, instance_of, offered
from proffer.service.rules.check import expressions
from support.server import create, server

XCORE_CASES = Path(__file__).parents[3] / "spec" / "wire" / "xcore"


@pytest.fixture
def client() -> Iterator[TestClient]:
    with server() as client:
        fill(client)
        yield client


def document(case: str) -> dict[str, object]:
    """Return the document that a golden case creates."""
    (request,) = json.loads((XCORE_CASES / f"{case}.json").read_text(encoding="utf-8"))["before"]
    body: dict[str, object] = request["body"]
    return body


def options(client: TestClient, age: int) -> list[str]:
    profile = {"xdm:identityMap": {"Email": [{"xdm:id": "a@x"}]}, "xdm:attributes": {"person": {"age": age}}}
    (proposition,) = decide(client, asked((HOME, HERO, 9), profile=profile))["xdm:propositions"]
    return offered(proposition)


def test_a_rule_in_the_older_form_is_evaluated(client: TestClient) -> None:
    """Its tree decides who gets the offer, and `rules check` reads it."""
    rule = document("create-older-rule")
    create(client, "eligibility-rule", rule)
    constraint = {**EVER, "xdm:profileConstraintType": "eligibilityRule", "xdm:eligibilityRule": rule["@id"]}
    operations = [{"op": "replace", "path": "/_instance/xdm:selectionConstraint", "value": constraint}]
    patched = client.patch(
        instance_of(client, "personalized-offer", FOR_ADULTS),
        json=operations,
        headers={"Content-Type": "application/vnd.adobe.platform.xcore.patch.hal+json"},
    )
    assert patched.status_code == 200, patched.text

    assert FOR_ADULTS in options(client, 18)
    assert FOR_ADULTS not in options(client, 17)
    ((name, kind, expression, roots),) = expressions({"rules": [rule]}, "library.yaml")
    assert (name, kind, expression, roots) == ("library.yaml: Adults", "rule", rule["xdm:value"], frozenset())


def test_an_offer_with_full_names_is_delivered(client: TestClient) -> None:
    """Its status, content, dates and collection are read, the type of its content too."""
    offer = document("create-full-names") | {"https://ns.adobe.com/experience/decisioning/tags": ["xcore:tag:c1"]}
    create(client, "personalized-offer", offer)

    assert offer["@id"] in options(client, 3)
