"""POST /collection/{inletId}: what clients of the platform send is taken in; what is wrong is told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from proffer.app import DEV_CONTAINER, DEV_ORGANISATION, DEV_SANDBOX, Services
from proffer.cli.database import open_container
from proffer.config import Settings
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from proffer.store.sqlite.store import SqliteStore
from support.customers import SCHEMA, identities, ingest, message, person
from support.server import server


@pytest.fixture
def client() -> Iterator[TestClient]:
    with server() as client:
        yield client


ANN = identities(Email="ann@x")


def test_a_record_of_the_public_page_is_taken_in(client: TestClient) -> None:
    """The tutorial's message, placeholders and all, is answered as the page prints it."""
    sent = message(
        {"identityMap": ANN, "xdm:person": {"xdm:name": {"xdm:firstName": "Jane"}}},
        dataset="{DATASET_ID}",
        imsOrgId="{IMS_ORG}",
    )
    answer = client.post(f"/collection/{DEV_CONTAINER}?synchronousValidation=true", json=sent)

    assert answer.status_code == 200
    assert answer.json().keys() == {
        "inletId",
        "xactionId",
        "receivedTimeMs",
        "synchronousValidation",
    }
    assert answer.json()["synchronousValidation"] == {"status": "pass"}
    assert "syncValidation" not in client.post("/collection/dev", json=sent).json()
    assert client.post("/collection/dev?syncValidation=true", json=sent).json()["syncValidation"] == {"status": "pass"}
    assert person(client, "ann@x")["entity"]["person"] == {"name": {"firstName": "Jane"}}


def test_attributes_merge_and_null_removes(client: TestClient) -> None:
    """A partial update leaves the rest; an explicit null takes away."""
    ingest(client, {"identityMap": ANN, "person": {"gender": "female", "birthDate": "1980-01-01"}})
    ingest(client, {"identityMap": ANN, "person": {"gender": None}, "tags": ["a"]})

    found = person(client, "ann@x")["entity"]
    assert (found["person"], found["tags"]) == ({"birthDate": "1980-01-01"}, ["a"])


def test_the_same_record_again_changes_nothing(client: TestClient) -> None:
    """A repeat of a record id with its content does not undo what came after; new content does count."""
    first = {"_id": "r1", "identityMap": ANN, "city": "Ulm"}
    ingest(client, first)
    ingest(client, {"_id": "r2", "identityMap": ANN, "city": "Rome"})
    ingest(client, first)
    assert person(client, "ann@x")["entity"]["city"] == "Rome"
    ingest(client, {"_id": "r1", "identityMap": ANN, "city": "Bonn"})
    assert person(client, "ann@x")["entity"]["city"] == "Bonn"


def test_an_event_is_known_by_its_timestamp_or_its_schema(client: TestClient) -> None:
    """Events are kept beside the attributes, once for an id."""
    event = {"_id": "e1", "timestamp": "2026-01-01T00:00:00Z", "identityMap": ANN}
    ingest(client, {**event, "eventType": "web.view"})
    ingest(client, {**event, "eventType": "web.view"})
    named = {"xdmSchema": {"name": "_xdm.context.experienceevent"}}
    typed = {"header": named, "body": {"xdmMeta": named, "xdmEntity": {**event, "_id": "e2"}}}
    assert client.post("/collection/dev", json=typed).status_code == 200

    asked = {
        "schema.name": "_xdm.context.experienceevent",
        "relatedSchema.name": "_xdm.context.profile",
        "relatedEntityId": "ann@x",
        "relatedEntityIdNS": "email",
    }
    page = client.get("/data/core/ups/access/entities", params=asked).json()
    assert [one["entityId"] for one in page["children"]] == ["e1", "e2"]
    assert "eventType" not in person(client, "ann@x")["entity"]


def test_a_batch_says_for_each_message_what_became_of_it(client: TestClient) -> None:
    """207: the good ones are durable, each bad one has a status, a message and its mistakes."""
    sent = [
        message({"identityMap": ANN, "city": "Ulm"}),
        {"header": message({})["header"]},
        message({"city": "Rome"}),
        message({"identityMap": {"nope": [{"id": "1"}]}}),
        message({"identityMap": identities(ECID="1"), "person": "Ann"}),
        message({"identityMap": identities(ECID="2")}),
    ]
    answer = client.post("/collection/batch/dev", json={"messages": sent})

    assert answer.status_code == 207
    said = answer.json()["responses"]
    assert ["xactionId" in one for one in said] == [True, False, False, False, False, True]
    assert [one["violations"][0]["path"] for one in said[1:5]] == [
        "$.messages[1].body",
        "$.messages[2].body.xdmEntity.identityMap",
        "$.messages[3].body.xdmEntity.identityMap.nope",
        "$.messages[4].body.xdmEntity.person",
    ]
    assert all(one["statusCode"] == 400 and one["message"] for one in said[1:5])
    assert person(client, "ann@x")["entity"]["city"] == "Ulm"
    assert person(client, "2", "ECID") is not None
    assert person(client, "1", "ECID") is None


def wrong(**changes: Any) -> dict[str, Any]:
    return message({"identityMap": ANN, **changes})


OTHER = {"schemaRef": {"id": "https://ns.adobe.com/acme/schemas/2"}}
PROFILE = {"xdmSchema": {"name": "_xdm.context.profile"}}
WRONG: dict[str, tuple[Any, str]] = {
    "no header": ({"body": message({})["body"]}, "$.header"),
    "no schema": ({**wrong(), "header": {"datasetId": "x"}}, "$.header"),
    "two schemas": ({**wrong(), "header": OTHER}, "$.body.xdmMeta.schemaRef.id"),
    "an event as a record": (
        {
            "header": PROFILE,
            "body": {"xdmMeta": PROFILE, "xdmEntity": {"identityMap": ANN, "timestamp": "x"}},
        },
        "$.body.xdmEntity.timestamp",
    ),
    "an event without an id": (
        wrong(timestamp="2026-01-01T00:00:00Z"),
        "$.body.xdmEntity._id",
    ),
    "an event at no time": (wrong(timestamp="yesterday", _id="e"), "$.body.xdmEntity.timestamp"),
    "a wrong type": (wrong(homeAddress={"city": 7}), "$.body.xdmEntity.homeAddress.city"),
    "an empty id": (message({"identityMap": {"Email": [{"id": " "}]}}), "Email[0].id"),
    "no identity": (message({"city": "Ulm"}), "$.body.xdmEntity.identityMap"),
    "not a map": (message({"identityMap": ["x"]}), "$.body.xdmEntity.identityMap"),
    "many identities": (
        message({"identityMap": {"ECID": [{"id": str(n)} for n in range(10_000)]}}),
        "$.body.xdmEntity.identityMap",
    ),
    "linked to many": (
        message({"identityMap": {"ECID": [{"id": str(n)} for n in range(51)]}}),
        "$.body.xdmEntity.identityMap",
    ),
    "a large event": (
        wrong(timestamp="2026-01-01T00:00:00Z", _id="e", text="x" * 70_000),
        "$.body.xdmEntity",
    ),
    "not an object": ([], "$"),
}


@pytest.mark.parametrize(("sent", "path"), WRONG.values(), ids=WRONG)
def test_a_wrong_message_is_refused_and_nothing_is_kept(client: TestClient, sent: Any, path: str) -> None:
    """400 with the place of the mistake and the words of the original; nobody is created."""
    answer = client.post("/collection/dev?syncValidation=true", json=sent)

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    violations = answer.json()["report"]["violations"]
    assert any(one["path"].endswith(path) for one in violations), violations
    assert "inletId: [dev]" in answer.json()["report"]["message"]
    assert person(client, "ann@x") is None


@pytest.mark.parametrize("query", ["", "?syncValidation=true"])
def test_a_record_with_wrong_types_is_refused_whole(client: TestClient, query: str) -> None:
    """Every wrong member is told with its place; what is not declared stays as it is."""
    right = {"person": {"birthDate": "1990-12-31"}, "loyalty": {"points": 900}, "_acme": {"size": "7"}, "optOut": "yes"}
    accepted = client.post(f"/collection/dev{query}", json=message({"identityMap": ANN, **right}))
    answer = client.post(
        f"/collection/dev{query}",
        json=wrong(
            person={"birthDate": "1990-13-45", "birthYear": "1990", "gender": "x"},
            testProfile="yes",
            **{"xdm:loyalty": {"xdm:points": "abc", "tier": "gold"}},
        ),
    )

    assert accepted.status_code == 200
    assert answer.status_code == 400
    assert [(one["path"], one["message"]) for one in answer.json()["report"]["violations"]] == [
        ("$.body.xdmEntity.person.birthDate", "`1990-13-45` is not a date: there is no such day"),
        ("$.body.xdmEntity.person.birthYear", "`1990` is not an integer"),
        ("$.body.xdmEntity.testProfile", "`yes` is not a boolean"),
        ("$.body.xdmEntity.loyalty.points", "`abc` is not a number"),
    ]
    found = person(client, "ann@x")["entity"]
    assert {name: found[name] for name in right} == right


def test_a_loaded_schema_says_what_a_record_may_contain() -> None:
    """Instead of the core, for profiles and events; until it is removed."""
    store = MemoryStore()
    services = Services(store)

    async def opening(_: Settings) -> Store:
        await services.tokens.container(DEV_ORGANISATION, "prod", new_id=DEV_CONTAINER)
        await services.registry.catch_up()
        await load("profile", {"person": {"birthDate": "text"}, "_acme": {"since": "date", "scores": ["integer"]}})
        await load("xEvent", {"_acme": {"cart": {"total": "number"}}})
        return store

    async def load(root: str, fields: dict[str, Any]) -> None:
        access = await open_container(services, DEV_ORGANISATION, DEV_SANDBOX)
        await services.schemas.load(access, root, fields)

    def paths(entity: dict[str, Any]) -> list[str]:
        answer = client.post("/collection/dev", json=message({"identityMap": ANN, **entity}))
        assert answer.status_code in {200, 400}
        found = answer.json()["report"]["violations"] if answer.status_code == 400 else []
        return [one["path"].removeprefix("$.body.xdmEntity.") for one in found]

    event = {"_id": "e", "timestamp": "2026-01-01T00:00:00Z"}
    with server(opening=opening) as client:
        assert paths({"person": {"birthDate": "31.12.1990"}, "loyalty": {"points": "900"}}) == []
        assert paths({"_acme": {"since": "31.12.1990", "scores": [1, "2"]}}) == ["_acme.since", "_acme.scores[1]"]
        assert paths({**event, "_acme": {"since": "x", "cart": {"total": "12,50"}}}) == ["_acme.cart.total"]
        assert (
            paths({**event, "_acme": {"cart": {"total": 12.5}}, "web": {"webPageDetails": {"isHomePage": "x"}}}) == []
        )


def test_bodies_that_are_no_message_are_refused(client: TestClient) -> None:
    """Not JSON is 400, too large is 413, an inlet nobody has is 404."""
    assert client.post("/collection/dev", content=b"{").status_code == 400
    assert client.post("/collection/dev", content=b" " * 1_100_000).status_code == 413
    assert client.post("/collection/nobody", json=message({})).status_code == 404
    bodies: list[Any] = [{}, {"messages": []}, {"messages": {}}, []]
    for body in bodies:
        assert client.post("/collection/batch/dev", json=body).status_code == 400


def test_identities_that_stand_together_are_one_person(client: TestClient) -> None:
    """Two people become one when a record names identities of both, in a circle too."""
    ingest(client, {"identityMap": identities(Email="ann@x"), "a": 1})
    ingest(client, {"identityMap": identities(ECID="1"), "b": 2})
    ingest(client, {"identityMap": identities(CRMID="7"), "c": 3})
    for pair in (
        identities(Email="ann@x", ECID="1"),
        identities(ECID="1", CRMID="7"),
        identities(CRMID="7", Email="ann@x"),
    ):
        ingest(client, {"identityMap": pair})

    for key, namespace in (("ann@x", "Email"), ("1", "ECID"), ("7", "CRMID")):
        found = person(client, key, namespace)
        assert {name: found["entity"][name] for name in "abc"} == {"a": 1, "b": 2, "c": 3}
        assert len(found["identityGraph"]) == 3


def test_what_was_answered_is_on_the_disk(tmp_path: Path) -> None:
    """After a restart everything is there."""

    async def on_disk(_: Settings) -> Store:
        return await SqliteStore.open(tmp_path / "a.db")

    with server(opening=on_disk) as client:
        ingest(client, {"identityMap": ANN, "city": "Ulm"})
    with server(opening=on_disk) as client:
        assert person(client, "ann@x")["entity"]["city"] == "Ulm"
        assert person(client, "ann@x")["sources"] == ["crm"]


def test_ingestion_needs_its_permission() -> None:
    """Without a token 401, also for what would be refused anyway."""
    with server(dev=False) as client:
        assert client.post("/collection/dev", json=message({})).status_code == 401
        assert client.post(f"/collection/batch/{SCHEMA}", json={}).status_code in {401, 404}
