"""Customers for tests: messages as the platform's clients send them."""

from typing import Any

from starlette.testclient import TestClient

SCHEMA = "https://ns.adobe.com/acme/schemas/1"


def identities(**by_namespace: str) -> dict[str, Any]:
    return {code: [{"id": key}] for code, key in by_namespace.items()}


def message(entity: dict[str, Any], dataset: str = "crm", **header: Any) -> dict[str, Any]:
    schema = {"schemaRef": {"id": SCHEMA, "contentType": "application/vnd.adobe.xed-full+json"}}
    return {
        "header": {**schema, "datasetId": dataset, **header},
        "body": {"xdmMeta": schema, "xdmEntity": entity},
    }


def ingest(client: TestClient, entity: dict[str, Any], dataset: str = "crm", **header: Any) -> None:
    """Ingest one entity and assert success."""
    answer = client.post("/collection/dev", json=message(entity, dataset, **header))
    assert answer.status_code == 200, answer.text


def person(client: TestClient, key: str, namespace: str = "Email", **query: str) -> Any:
    """Return the entity that a lookup finds; None without one."""
    parameters = {"schema.name": "_xdm.context.profile", "entityId": key, "entityIdNS": namespace}
    answer = client.get("/data/core/ups/access/entities", params={**parameters, **query})
    if answer.status_code == 404:
        return None
    assert answer.status_code == 200, answer.text
    (entity,) = answer.json().values()
    return entity
