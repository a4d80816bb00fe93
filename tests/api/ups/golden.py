"""Golden documents of customer data: requests in `spec/wire/ingest` and `spec/wire/ups`, each with its answer.

`cd tests && python -m api.ups.golden` writes the answers anew; read the difference before you keep it.
"""

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from support.customers import identities, ingest
from support.golden import mask, rewrite
from support.server import server

WIRE = Path(__file__).parents[3] / "spec" / "wire"
AUDIENCE = "4afe34ae-8c98-4513-8a1d-67ccaa54bc05"
SEGMENTS = "/data/core/ups/segment/definitions"

POLICIES = "/data/core/ups/config/mergePolicies"
NAMESPACES = "/data/core/idnamespace/identities"
DESCRIPTORS = "/data/foundation/schemaregistry/tenant/descriptors"
PREVIEWS = "/data/core/ups/preview"

_MASKED_MEMBERS = {
    "xactionId": "<transaction>",
    "batchId": "<transaction>",
    "receivedTimeMs": "<epoch ms>",
    "createTime": "<epoch ms>",
    "updateTime": "<epoch ms>",
    "creationTime": "<epoch ms>",
    "updateEpoch": "<epoch s>",
    "lastModifiedAt": "<time>",
}
_MASKS = ((r"(?!4afe34ae)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>"),)


def cases() -> list[Path]:
    return sorted(path for folder in ("ingest", "ups") for path in (WIRE / folder).glob("*.json"))


def fill(client: TestClient) -> dict[str, str]:
    """Create what the requests read, and return the ids that the requests name in angle brackets.

    A list audience with five members, two customers with attributes and an event, three merge policies, a namespace, a
    descriptor, and a preview of the customers who live in Ulm.
    """
    create(client, SEGMENTS, {"id": AUDIENCE, "name": "Loyal", "expression": {"type": "LIST"}})
    members = "email\n" + "".join(f"p{number}@example.org\n" for number in range(5))
    uploaded = client.put(f"{SEGMENTS}/{AUDIENCE}/members", params={"namespace": "Email"}, content=members)
    assert uploaded.status_code == 200, uploaded.text
    ulm = {"homeAddress": {"city": "Ulm"}}
    ingest(client, {"identityMap": identities(Email="ada@example.org", CRMID="42"), **ulm})
    ingest(client, {"identityMap": identities(Email="bea@example.org"), **ulm})
    event = {"_id": "e1", "timestamp": "2026-01-01T09:00:00Z", "identityMap": identities(Email="ada@example.org")}
    ingest(client, event)
    ids: dict[str, str] = {}
    for name, merge in (("CRM first", "crm"), ("web first", "web"), ("app first", "app")):
        policy = {"name": name, "attributeMerge": {"type": "dataSetPrecedence", "order": [merge]}}
        ids.setdefault("<policy>", create(client, POLICIES, policy)["id"])
    ids["<namespace>"] = create(client, NAMESPACES, {"code": "loyaltyId", "name": "Loyalty"})["id"]
    descriptor = {
        "@type": "xdm:descriptorIdentity",
        "xdm:sourceSchema": "https://ns.adobe.com/acme/schemas/crm",
        "xdm:sourceProperty": "/crm/number",
        "xdm:namespace": "CRMID",
    }
    ids["<descriptor>"] = create(client, DESCRIPTORS, descriptor)["@id"]
    ids["<preview>"] = create(client, PREVIEWS, {"predicateExpression": 'homeAddress.city = "Ulm"'})["previewId"]
    until = time.monotonic() + 10
    while client.get(f"{PREVIEWS}/{ids['<preview>']}").json()["state"] == "RUNNING" and time.monotonic() < until:
        pass
    return ids


def create(client: TestClient, path: str, document: dict[str, Any]) -> Any:
    answer = client.post(path, json=document)
    assert answer.status_code in {200, 201}, answer.text
    return answer.json()


def run(client: TestClient, case: dict[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    """Send a case's request, with a JSON `body`, a `text` or neither; the answer as a golden document says it."""
    written = json.dumps(case["request"])
    for name, value in ids.items():
        written = written.replace(name, value)
    request = json.loads(written)
    answer = client.request(
        request["method"],
        request["path"],
        headers={"x-request-id": "golden", **request.get("headers", {})},
        content=json.dumps(request["body"]) if "body" in request else request.get("text"),
    )
    said: dict[str, Any] = {"status": answer.status_code}
    if answer.content:
        said["headers"] = {"content-type": answer.headers["content-type"]}
        said["body"] = mask(answer.json(), _MASKED_MEMBERS, _MASKS)
    return said


def write() -> None:
    for path in cases():
        with server() as client:
            ids = fill(client)
            rewrite(path, partial(run, client, ids=ids))


if __name__ == "__main__":
    write()
