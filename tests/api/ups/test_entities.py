"""/data/core/ups/access/entities: people are found by any identity, shown in part, and erased."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from support.customers import identities, ingest, person
from support.server import server

PATH = "/data/core/ups/access/entities"
PROFILE = {"schema.name": "_xdm.context.profile"}


@pytest.fixture
def client() -> Iterator[TestClient]:
    with server() as client:
        ingest(
            client,
            {
                "identityMap": identities(Email="ann@x", ECID="1"),
                "person": {"name": {"firstName": "Ann"}, "gender": "female"},
                "workEmail": {"address": "ann@x"},
            },
        )
        yield client


def test_an_entity_has_the_documented_members(client: TestClient) -> None:
    """Keyed by XID, which finds it again without a namespace."""
    answer = client.get(PATH, params={**PROFILE, "entityId": "ann@x", "entityIdNS": "email"})
    ((key, found),) = answer.json().items()

    assert found.keys() == {
        "entityId",
        "mergePolicy",
        "sources",
        "identityGraph",
        "entity",
        "lastModifiedAt",
    }
    assert found["entityId"] == key
    assert found["entity"]["identityMap"] == {"ECID": [{"id": "1"}], "Email": [{"id": "ann@x"}]}
    by_xid = client.get(PATH, params={**PROFILE, "entityId": key})
    assert by_xid.json() == answer.json()


def test_fields_select_dotted_paths(client: TestClient) -> None:
    """Only these, nested as they are; `identities` lists them all; what is not there is left out."""
    found = person(client, "1", "ECID", fields="identities,person.name,workEmail,nope.x")["entity"]

    assert found == {
        "identities": [
            {"id": "1", "namespace": {"code": "ECID"}},
            {"id": "ann@x", "namespace": {"code": "Email"}},
        ],
        "person": {"name": {"firstName": "Ann"}},
        "workEmail": {"address": "ann@x"},
    }


def test_several_people_are_looked_up_at_once(client: TestClient) -> None:
    """Who is not known is an empty entity, as documented."""
    asked = {
        "schema": {"name": "_xdm.context.profile"},
        "fields": ["person.gender"],
        "identities": [
            {"entityId": "ann@x", "entityIdNS": {"code": "Email"}},
            {"entityId": "bob@x", "entityIdNS": {"code": "Email"}},
        ],
    }
    answer = client.post(PATH, json=asked)

    assert answer.status_code == 200
    ann, bob = answer.json().values()
    assert ann["entity"] == {"person": {"gender": "female"}}
    assert (bob["entity"], bob["lastModifiedAt"]) == ({}, "1970-01-01T00:00:00Z")


def test_events_come_in_pages(client: TestClient) -> None:
    """By limit and start, within times, newest first when asked."""
    for hour in range(5):
        event = {"_id": f"e{hour}", "timestamp": f"2026-01-01T0{hour}:00:00Z", "web": {"n": hour}}
        ingest(client, {**event, "identityMap": identities(ECID="1")})
    asked: dict[str, Any] = {
        "schema.name": "_xdm.context.experienceevent",
        "relatedEntityId": "ann@x",
        "relatedEntityIdNS": "Email",
        "fields": "web",
    }

    def page(**more: Any) -> Any:
        return client.get(PATH, params=asked | more).json()

    def ids(found: Any) -> list[str]:
        return [one["entityId"] for one in found["children"]]

    first = page(limit=2)
    assert ids(first) == ["e0", "e1"]
    assert first["_page"] == {"orderby": "timestamp", "start": "e0", "count": 2, "next": "e2"}
    assert first["children"][1]["entity"] == {"web": {"n": 1}}
    following = client.get("/data/core/ups/access" + first["_links"]["next"]["href"]).json()
    assert ids(following) == ["e2", "e3"]
    assert ids(page(orderby="-timestamp", limit=1)) == ["e4"]
    assert ids(page(startTime=1767229200000, endTime=1767232800000)) == ["e1"]
    body = {
        "schema": {"name": "_xdm.context.experienceevent"},
        "identities": [{"relatedEntityId": "1", "relatedEntityIdNS": {"code": "ECID"}}],
        "limit": 1,
    }
    (of_ann,) = client.post(PATH, json=body).json().values()
    assert ids(of_ann) == ["e0"]


def test_an_erased_person_is_gone(client: TestClient) -> None:
    """By any identity, with a word about what there was; a second time there is nobody."""
    event = {"_id": "e", "timestamp": "2026-01-01T00:00:00Z"}
    ingest(client, {**event, "identityMap": identities(ECID="1")})
    asked = {**PROFILE, "entityId": "1", "entityIdNS": "ECID"}
    answer = client.delete(PATH, params=asked)

    assert answer.status_code == 202
    removed = answer.json()["removed"]
    assert (removed["attributes"], removed["events"], len(removed["identities"])) == (2, 1, 2)
    assert client.delete(PATH, params=asked).status_code == 404
    assert person(client, "ann@x") is None


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"entityId": "x", "entityIdNS": "Email"}, 400),
        ({**PROFILE}, 422),
        ({**PROFILE, "entityId": "x"}, 422),
        ({**PROFILE, "entityId": "x", "entityIdNS": "nope"}, 422),
        ({**PROFILE, "entityId": "x", "entityIdNS": "Email"}, 404),
        ({"schema.name": "_xdm.context.account", "entityId": "x", "entityIdNS": "Email"}, 400),
        (
            {
                "schema.name": "_xdm.context.experienceevent",
                "relatedEntityId": "1",
                "relatedEntityIdNS": "ECID",
                "limit": "many",
            },
            400,
        ),
    ],
)
def test_a_wrong_question_is_told(client: TestClient, query: Any, status: int) -> None:
    """Each with a problem document."""
    answer = client.get(PATH, params=query)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
