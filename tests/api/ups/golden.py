"""Golden documents of customer data: requests in `spec/wire/ingest` and `spec/wire/ups`, each with its answer.

`cd tests && python -m api.ups.golden` writes the answers anew; read the difference before you keep it.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from support.golden import mask, rewrite
from support.server import server

WIRE = Path(__file__).parents[3] / "spec" / "wire"
AUDIENCE = "4afe34ae-8c98-4513-8a1d-67ccaa54bc05"
SEGMENTS = "/data/core/ups/segment/definitions"

_MASKED_MEMBERS = {"xactionId": "<transaction>", "batchId": "<transaction>", "receivedTimeMs": "<epoch ms>"}


def cases() -> list[Path]:
    return sorted(path for folder in ("ingest", "ups") for path in (WIRE / folder).glob("*.json"))


def fill(client: TestClient) -> None:
    """Create the list audience of the requests, with five members."""
    created = client.post(SEGMENTS, json={"id": AUDIENCE, "name": "Loyal", "expression": {"type": "LIST"}})
    assert created.status_code == 200, created.text
    members = "email\n" + "".join(f"p{number}@example.org\n" for number in range(5))
    uploaded = client.put(f"{SEGMENTS}/{AUDIENCE}/members", params={"namespace": "Email"}, content=members)
    assert uploaded.status_code == 200, uploaded.text


def run(client: TestClient, case: dict[str, Any]) -> dict[str, Any]:
    """Send a case's request, with a JSON `body` or a `text`; the answer as a golden document says it."""
    request = case["request"]
    answer = client.request(
        request["method"],
        request["path"],
        headers={"x-request-id": "golden", **request.get("headers", {})},
        content=json.dumps(request["body"]) if "body" in request else request["text"],
    )
    return {
        "status": answer.status_code,
        "headers": {"content-type": answer.headers["content-type"]},
        "body": mask(answer.json(), _MASKED_MEMBERS, ()),
    }


def write() -> None:
    for path in cases():
        with server() as client:
            fill(client)
            rewrite(path, partial(run, client))


if __name__ == "__main__":
    write()
