"""A schema declares which of its fields are identities, and records of it need no identity map."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from support.customers import SCHEMA, identities, ingest, message, person
from support.server import server

DESCRIPTORS = "/data/foundation/schemaregistry/tenant/descriptors"


@pytest.fixture
def client() -> Iterator[TestClient]:
    with server() as client:
        yield client


def descriptor(path: str, namespace: str, **members: Any) -> dict[str, Any]:
    return {
        "@type": "xdm:descriptorIdentity",
        "xdm:sourceSchema": SCHEMA,
        "xdm:sourceVersion": 1,
        "xdm:sourceProperty": path,
        "xdm:namespace": namespace,
        "xdm:property": "xdm:code",
        **members,
    }


def declare(client: TestClient, path: str, namespace: str, **members: Any) -> str:
    answer = client.post(DESCRIPTORS, json=descriptor(path, namespace, **members))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["@id"])


def refused(client: TestClient, entity: dict[str, Any]) -> list[dict[str, Any]]:
    answer = client.post("/collection/dev", json=message(entity))
    assert answer.status_code == 400, answer.text
    violations: list[dict[str, Any]] = answer.json()["report"]["violations"]
    return violations


def test_declared_fields_name_the_person(client: TestClient) -> None:
    """Each field that is filled is an identity, a list of them several; the field stays an attribute."""
    entity = {"personalEmail": {"address": "ada@example.org"}, "devices": [{"id": 7}, {"id": "8"}]}
    (told,) = refused(client, entity)
    assert (told["code"], "declare an identity field" in told["help"]) == ("no-identity", True)
    declare(client, "/xdm:personalEmail/xdm:address", "email", **{"xdm:isPrimary": True})
    declare(client, "/devices/id", "ECID")

    ingest(client, entity)

    found = person(client, "8", "ECID")["entity"]
    assert found["personalEmail"] == {"address": "ada@example.org"}
    assert found["identityMap"] == identities(Email="ada@example.org") | {"ECID": [{"id": "7"}, {"id": "8"}]}
    (told,) = refused(client, {"personalEmail": {"address": ""}, "devices": []})
    assert "`personalEmail.address` or `devices.id`" in told["help"]
    (told,) = refused(client, {"personalEmail": {"address": "a@x"}, "devices": [{"id": 1.5}]})
    assert told["path"] == "$.body.xdmEntity.devices.id"


def test_the_declared_primary_identity_is_whose_word_it_is(client: TestClient) -> None:
    """Two records that share it are one source, whatever else they name; without it the map's own counts."""
    declare(client, "/crm/number", "CRMID", **{"xdm:isPrimary": True})
    mail = {"Email": [{"id": "ada@example.org", "primary": True}]}
    ingest(client, {"crm": {"number": "1"}, "identityMap": mail, "city": "Ulm"})
    ingest(client, {"crm": {"number": "1"}, "city": None, "zip": "89073"})
    found = person(client, "ada@example.org")["entity"]
    assert (found["zip"], "city" in found) == ("89073", False)
    ingest(client, {"identityMap": mail, "city": "Bonn"})
    assert person(client, "1", "CRMID")["entity"]["city"] == "Bonn"


def test_events_and_other_schemas(client: TestClient) -> None:
    """Events of the schema are found by the field too; records of another schema are not."""
    declare(client, "/who", "CRMID")
    event = {"_id": "e1", "timestamp": "2024-03-21T09:00:00Z", "who": "1"}
    ingest(client, event)
    assert person(client, "1", "CRMID") is not None
    other = message({"who": "2"})
    for part in (other["header"], other["body"]["xdmMeta"]):
        part["schemaRef"] = {**part["schemaRef"], "id": "https://ns.adobe.com/acme/schemas/2"}
    assert client.post("/collection/dev", json=other).status_code == 400


def test_descriptors_are_listed_replaced_and_deleted(client: TestClient) -> None:
    """In the documented frame: whole, by id, or by address; what is deleted counts no longer."""
    key = declare(client, "/who", "CRMID")
    whole = client.get(f"{DESCRIPTORS}/{key}").json()
    assert whole["meta:containerId"] == "tenant"
    assert (whole["xdm:isPrimary"], whole["version"]) == (False, "1")
    assert client.get(DESCRIPTORS).json() == [whole]
    for media, said in (("id", key), ("link", f"/tenant/descriptors/{key}")):
        accept = {"Accept": f"application/vnd.adobe.xdm-{media}+json"}
        assert client.get(DESCRIPTORS, headers=accept).json() == {"xdm:descriptorIdentity": [said]}

    replaced = client.put(f"{DESCRIPTORS}/{key}", json={**whole, "xdm:sourceProperty": "/whom"})
    assert (replaced.status_code, replaced.json()["version"]) == (200, "2")
    refused(client, {"who": "1"})
    ingest(client, {"whom": "1"})
    assert client.delete(f"{DESCRIPTORS}/{key}").status_code == 204
    assert client.get(f"{DESCRIPTORS}/{key}").status_code == 404
    refused(client, {"whom": "1"})


def test_wrong_descriptors_are_told(client: TestClient) -> None:
    """No such namespace, no path, another kind of descriptor, a second primary identity."""
    primary = {"xdm:isPrimary": True}
    key = declare(client, "/a", "CRMID", **primary)
    for wrong in (
        descriptor("/a", "nope"),
        descriptor("a.b", "CRMID"),
        descriptor("/a", "CRMID", **{"@type": "xdm:descriptorOneToOne"}),
    ):
        answer = client.post(DESCRIPTORS, json=wrong)
        assert (answer.status_code, len(answer.json()["report"]["violations"])) == (422, 1)
    again = client.post(DESCRIPTORS, json=descriptor("/b", "Email", **primary))
    assert (again.status_code, again.json()["code"]) == (409, "primary-taken")
    itself = client.put(f"{DESCRIPTORS}/{key}", json=descriptor("/b", "Email", **primary))
    assert itself.status_code == 200
