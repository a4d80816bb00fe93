"""Whom a decision over the edge is about, and which identities belong together from then on."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.edge.requests import ECID, HERO_SCOPE, body, encode_mobile_scope, interact, offers
from api.ode.library import FOR_ADULTS, FOR_ALL, HERO, HOME, fill, instance_of
from support.customers import ingest, person
from support.server import server

TWO = encode_mobile_scope(HOME, HERO, 2)


@pytest.fixture
def client() -> Iterator[TestClient]:
    """A grown-up with CRM id 42, a child with 7."""
    with server() as client:
        fill(client)
        for key, age in (("42", 30), ("7", 8)):
            ingest(client, {"identityMap": {"CRMID": [{"id": key}]}, "person": {"age": age}})
        yield client


def ask(client: TestClient, path: str = "/ee/v1/interact?configId=dev", **ids: Any) -> bool:
    """Whether the offer for adults is among the two best; identities are ids or entries."""
    listed = {namespace: [one if isinstance(one, dict) else {"id": one}] for namespace, one in ids.items()}
    answer = interact(client, body(TWO, xdm={"identityMap": listed}), path)
    (found,) = offers(answer)
    assert FOR_ALL in found
    return FOR_ADULTS in found


def test_the_primary_identity_selects_the_customer(client: TestClient) -> None:
    """Else the one of a person that has not logged out, else the browser."""
    assert ask(client, CRMID={"id": "42", "primary": True})
    assert not ask(client, CRMID={"id": "7", "primary": True})
    assert ask(client, CRMID="42")
    assert not ask(client, ECID=ECID)
    assert not ask(client, CRMID={"id": "42", "authenticatedState": "loggedOut"}, ECID="1" * 38)
    assert ask(client, Email={"id": "x@y.z"}, CRMID={"id": "42", "primary": True})
    assert ask(client, gaid="38400000-8cf0", crmid="42")


def test_a_browser_belongs_to_who_signed_in(client: TestClient) -> None:
    """From then on it is known by what is known of them, and looked up so."""
    assert not ask(client, ECID=ECID)
    ask(client, ECID=ECID, CRMID={"id": "42", "primary": True})

    assert ask(client, ECID=ECID)
    assert person(client, ECID, "ECID")["entity"]["person"]["age"] == 30


def test_two_people_at_one_browser_stay_two(client: TestClient) -> None:
    """The second who signs in gets their own offers, and the browser stays with the first."""
    ask(client, ECID=ECID, CRMID={"id": "42", "primary": True})

    assert not ask(client, ECID=ECID, CRMID={"id": "7", "primary": True})
    assert ask(client, CRMID="42")
    assert not ask(client, CRMID="7")
    assert person(client, "7", "CRMID")["entity"]["person"]["age"] == 8
    assert person(client, ECID, "ECID")["entity"]["person"]["age"] == 30


def test_one_event_cannot_make_one_of_two_people(client: TestClient) -> None:
    """Whoever names both."""
    both = {"identityMap": {"CRMID": [{"id": "42"}, {"id": "7"}], "ECID": [{"id": ECID}]}}
    interact(client, body(HERO_SCOPE, xdm=both))

    assert not ask(client, CRMID="7")
    assert ask(client, CRMID="42")
    assert person(client, ECID, "ECID") is None


def test_several_namespaces_of_one_person_are_linked(client: TestClient) -> None:
    ask(client, CRMID={"id": "42", "primary": True}, Email="ada@example.org")

    assert ask(client, Email={"id": "ada@example.org", "primary": True})


def test_unknown_namespaces_name_nobody(client: TestClient) -> None:
    """They are passed over; whoever is named beside them is found."""
    assert ask(client, nobodys="1", CRMID={"id": "42", "primary": True})
    assert not ask(client, nobodys={"id": "1", "primary": True})


def test_linking_can_be_switched_off(client: TestClient) -> None:
    settings = {"name": "Apart", "linkIdentities": False}
    made = client.post("/api/datastreams", json=settings).json()
    path = f"/ee/v1/interact?configId={made['id']}"

    assert ask(client, path, ECID=ECID, CRMID={"id": "42", "primary": True})
    assert not ask(client, path, ECID=ECID)


def test_a_first_party_id_knows_its_person(client: TestClient) -> None:
    """The cookie of the site stands for the browser from one visit to the next."""
    xdm = {"identityMap": {"CRMID": [{"id": "42", "primary": True}]}}
    interact(client, body(HERO_SCOPE, xdm=xdm), cookie="FPID=abc")
    (found,) = offers(interact(client, body(TWO), cookie="FPID=abc"))

    assert FOR_ADULTS in found


def test_too_many_identities_are_refused(client: TestClient) -> None:
    listed = [{"id": str(number)} for number in range(1_001)]
    answer = interact(client, body(xdm={"identityMap": {"Email": listed}}))

    assert (answer.status_code, answer.json()["code"]) == (422, "EXEG-0104-422")


def test_only_who_a_request_is_about_is_counted(client: TestClient) -> None:
    """Where identities are not linked, and for those that logged out, nobody joins the one that is counted."""
    made = client.post("/api/datastreams", json={"name": "Apart", "linkIdentities": False}).json()
    apart = f"/ee/v1/interact?configId={made['id']}"
    cap = {"xdm:limit": 1, "xdm:scope": "profile", "xdm:entity": "offer"}
    answer = client.patch(
        instance_of(client, "personalized-offer", FOR_ALL),
        json=[{"op": "add", "path": "/_instance/xdm:frequencyCappingConstraints", "value": [cap]}],
        headers={"Content-Type": "application/vnd.adobe.platform.xcore.patch.hal+json"},
    )
    assert answer.status_code == 200, answer.text

    def is_given(path: str = "/ee/v1/interact?configId=dev", **ids: Any) -> bool:
        xdm = {"identityMap": {code: [one] for code, one in ids.items()}}
        (found,) = offers(interact(client, body(TWO, xdm=xdm), path))
        return FOR_ALL in found

    signed_in = {"id": "9", "primary": True}
    assert is_given(apart, CRMID=signed_in, Email={"id": "m@x"})
    assert [is_given(apart, Email={"id": "m@x"}), is_given(apart, CRMID=signed_in)] == [True, False]
    assert is_given(CRMID={"id": "10", "primary": True}, Phone={"id": "1", "authenticatedState": "loggedOut"})
    assert [is_given(Phone={"id": "1"}), is_given(CRMID={"id": "10"})] == [True, False]
    assert is_given(CRMID={"id": "11", "primary": True}, Phone={"id": "2"})
    assert not is_given(Phone={"id": "2"})
