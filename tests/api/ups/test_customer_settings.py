"""Merge policies and identity namespaces are made over the documented addresses, and count at once."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.ode.library import FOR_ADULTS, HERO, HOME, asked, decide, fill, offered
from support.customers import identities, ingest, message, person
from support.server import server

POLICIES = "/data/core/ups/config/mergePolicies"
NAMESPACES = "/data/core/idnamespace/identities"
ADA = identities(Email="ada@example.org")


@pytest.fixture
def client() -> Iterator[TestClient]:
    with server() as client:
        yield client


def policy(client: TestClient, *order: str, **members: Any) -> str:
    merge = {"type": "dataSetPrecedence", "order": list(order)}
    answer = client.post(POLICIES, json={"name": "p", "attributeMerge": merge, **members})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def test_a_decision_names_its_merge_policy(client: TestClient) -> None:
    """By timestamp the newest record wins, by dataset precedence the named one; a default policy needs no name."""
    fill(client)
    ingest(client, {"identityMap": ADA, "person": {"age": 30}}, dataset="crm")
    ingest(client, {"identityMap": ADA, "person": {"age": 3}}, dataset="web")
    crm_first = policy(client, "crm", "web")

    def is_adult(policy_id: str | None = None) -> bool:
        top = {"mergePolicy": {"xdm:id": policy_id}} if policy_id else {}
        answer = decide(client, asked((HOME, HERO, 9), **top))
        return FOR_ADULTS in offered(answer["xdm:propositions"][0])

    assert [is_adult(one) for one in (None, crm_first, "unknown")] == [False, True, False]
    assert person(client, "ada@example.org", mergePolicyId=crm_first)["entity"]["person"] == {"age": 30}
    ours = policy(client, "crm", default=True)
    assert [is_adult(one) for one in (None, "timestampOrdered")] == [True, False]
    assert client.delete(f"{POLICIES}/{ours}").status_code == 200
    assert not is_adult()


def test_policies_are_read_replaced_and_deleted(client: TestClient) -> None:
    """In the documented frame; a wrong one is told."""
    key = policy(client, "a")
    found = client.get(f"{POLICIES}/{key}").json()
    assert found["attributeMerge"] == {"type": "dataSetPrecedence", "order": ["a"]}
    replaced = client.put(f"{POLICIES}/{key}", json={**found, "attributeMerge": {"type": "timestampOrdered"}})
    assert replaced.json()["attributeMerge"] == {"type": "timestampOrdered"}
    listed = client.get(POLICIES).json()
    assert [one["id"] for one in listed["children"]] == [key]
    assert client.delete(f"{POLICIES}/{key}").status_code == 200
    assert client.get(f"{POLICIES}/{key}").status_code == 404
    wrong = {"name": "p", "attributeMerge": {"type": "none"}}
    assert client.post(POLICIES, json=wrong).status_code == 422


def test_a_namespace_of_ones_own_is_known_at_once(client: TestClient) -> None:
    """Before it is made its identities are refused; its code is taken in any letter case."""
    entity = {"identityMap": identities(loyaltyId="7"), "city": "Ulm"}
    assert client.post("/collection/dev", json=message(entity)).status_code == 400
    made = client.post(NAMESPACES, json={"code": "loyaltyId", "name": "Loyalty"})
    assert (made.status_code, made.json()["custom"]) == (200, True)

    ingest(client, entity)
    assert person(client, "7", "LOYALTYID")["entity"]["city"] == "Ulm"
    again = client.post(NAMESPACES, json={"code": "LoyaltyID", "name": "x"})
    assert again.status_code == 409
    assert client.post(NAMESPACES, json={"code": "a b", "name": "x"}).status_code == 422
    codes = [one["code"] for one in client.get(NAMESPACES).json()]
    assert {"Email", "ECID", "loyaltyId"} <= set(codes)
    assert client.get(f"{NAMESPACES}/email").json()["code"] == "Email"
    assert client.get(f"{NAMESPACES}/nope").status_code == 404
