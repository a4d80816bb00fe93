"""Decisions know the customer: by any identity, merged, with what the request says laid over."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.ode.library import (
    FOR_ADULTS,
    HERO,
    HOME,
    asked,
    decide,
    fill,
    html,
    offer,
    offered,
    shown,
)
from support.customers import identities, ingest, person
from support.server import create, server

ADA = "ada@example.org"


@pytest.fixture
def client() -> Iterator[TestClient]:
    with server() as client:
        fill(client)
        yield client


def answer(client: TestClient, status: int = 200, **profile: Any) -> Any:
    top = profile.pop("top", {})
    body = asked((HOME, HERO, 9), profile={f"xdm:{k}": v for k, v in profile.items()}, **top)
    return decide(client, body, status=status)


def is_adult(client: TestClient, **profile: Any) -> bool:
    """Whether the offer for adults is among the options."""
    return FOR_ADULTS in offered(answer(client, **profile)["xdm:propositions"][0])


def test_a_known_customer_needs_no_attributes(client: TestClient) -> None:
    """What was taken in before decides; in any letter case of the namespace, and by any identity."""
    assert not is_adult(client)
    ingest(client, {"identityMap": identities(Email=ADA, ECID="1"), "person": {"age": 30}})

    assert is_adult(client)
    assert is_adult(client, identityMap={"email": [{"xdm:id": ADA}]})
    assert is_adult(client, identityMap={"ECID": [{"xdm:id": "9"}, {"xdm:id": "1"}]})
    assert not is_adult(client, identityMap={"CRMID": [{"xdm:id": ADA}]})


def test_an_unknown_customer_is_no_error(client: TestClient) -> None:
    """The factors say so; identities of namespaces nobody has name nobody."""
    for named in ({"Email": [{"xdm:id": "x"}]}, {"nope": [{"xdm:id": ADA}]}, {}):
        assert answer(client, identityMap=named)["xdm:factors"]["xdm:profileResponse"] == "HTTP 404"
    ingest(client, {"identityMap": identities(Email=ADA)})
    assert "xdm:profileResponse" not in answer(client)["xdm:factors"]


def test_the_request_is_laid_over_the_profile(client: TestClient) -> None:
    """For what-if questions: other attributes, or none by null; nothing of it is kept."""
    ingest(client, {"identityMap": identities(Email=ADA), "person": {"age": 30}})

    assert not is_adult(client, attributes={"person": {"age": 3}})
    assert not is_adult(client, attributes={"person": {"xdm:age": None}})
    assert is_adult(client, attributes={"city": "Ulm"})
    assert is_adult(client)


def test_several_customers_are_merged_for_the_decision(client: TestClient) -> None:
    """The newest word wins, and they stay two afterwards."""
    ingest(client, {"identityMap": identities(Email=ADA), "person": {"age": 30}})
    ingest(client, {"identityMap": identities(ECID="1"), "person": {"age": 3}})
    both = {"Email": [{"xdm:id": ADA}], "ECID": [{"xdm:id": "1"}]}

    assert not is_adult(client, identityMap=both)
    assert is_adult(client)
    ingest(client, {"identityMap": identities(Email=ADA), "person": {"age": 31}})
    assert is_adult(client, identityMap=both)


def test_the_preferred_language_is_that_of_the_profile(client: TestClient) -> None:
    """As if the request had said so."""
    ingest(client, {"identityMap": identities(Email=ADA), "preferredLanguage": "de"})

    (proposition,) = answer(client, top={"responseFormat": {"xdm:includeContent": True}})["xdm:propositions"]
    assert proposition["xdm:options"][0]["xdm:content"] == "<p>alle</p>"


def test_documented_members_that_change_nothing_are_taken(client: TestClient) -> None:
    """A merge policy nobody knows is the default one; the others are accepted."""
    ingest(client, {"identityMap": identities(Email=ADA), "person": {"age": 30}})
    top = {"mergePolicy": {"xdm:id": "5f3ed32f"}, "enrichedAudience": True}

    assert is_adult(client, top=top, profileModel="_xdm.context.profile")


def test_an_unknown_merge_policy_is_told(client: TestClient) -> None:
    """The default one is taken and `xdm:factors` says so, whether the customer is known or not."""
    unknown = {"mergePolicy": {"xdm:id": "5f3ed32f"}}
    known = {"mergePolicy": {"xdm:id": "timestampOrdered"}}
    for _ in range(2):
        told = answer(client, top=unknown)["xdm:factors"]
        assert told["xdm:mergePolicyResponse"] == "HTTP 404"
        assert "xdm:mergePolicyResponse" not in answer(client, top=known)["xdm:factors"]
        ingest(client, {"identityMap": identities(Email=ADA)})
    assert person(client, ADA, mergePolicyId="5f3ed32f")["mergePolicy"] == {"id": "default"}


def test_ten_thousand_identities_are_told(client: TestClient) -> None:
    """422 with the limit and the place; a thousand are looked up."""
    many = [{"xdm:id": str(number)} for number in range(10_000)]

    refused = answer(client, status=422, identityMap={"ECID": many})
    (violation,) = refused["report"]["violations"]
    assert violation["code"] == "limit"
    assert violation["path"] == "$.xdm:profiles[0].xdm:identityMap"
    assert answer(client, identityMap={"ECID": many[:1000]})


def test_audiences_decide_as_they_stand(client: TestClient) -> None:
    """An offer for an audience goes to whoever is in it now, and not to who has left."""
    audience = client.post(
        "/data/core/ups/segment/definitions",
        json={"name": "Ulm", "expression": {"type": "PQL", "value": 'city = "Ulm"'}},
    ).json()["id"]
    kind, document = offer("xcore:personalized-offer:a0", "Ulm", 99, shown(hero=[html("<p>u</p>")]))
    document["xdm:selectionConstraint"] |= {
        "xdm:profileConstraintType": "anySegments",
        "xdm:segmentIdentities": [{"xid": audience, "namespace": {"code": "ups"}}],
    }
    create(client, kind, document)
    seen = []
    for city in ("Rome", "Ulm", "Ulm", "Bonn"):
        ingest(client, {"identityMap": identities(Email=ADA), "city": city})
        seen.append(document["@id"] in offered(answer(client)["xdm:propositions"][0]))

    assert seen == [False, True, True, False]
