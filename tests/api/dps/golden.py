"""Golden documents: requests in `spec/wire/dps`, each with the answer it gets, ids and times masked.

`cd tests && python -m api.dps.golden` writes the answers anew; read the difference before you keep it.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from api.dps.library import fill
from support.golden import mask, rewrite
from support.server import server

FOLDER = Path(__file__).parents[3] / "spec" / "wire" / "dps"

_HEADERS = ("content-type", "location", "etag")
_MASKED_MEMBERS = {"ode:createDate": "<epoch ms>", "reason": "<reason>"}
_MASKS = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "<instance id>"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>"),
    (r"202[5-9]-\d\d-\d\dT\d\d(:|%3A)\d\d(:|%3A)\d\d[.\d]*Z", "<date>"),
    (r"\b(dps:[a-z-]+:)[0-9a-f]{15,16}\b", r"\1<hex>"),
)


def cases() -> list[Path]:
    return sorted(FOLDER.glob("*.json"))


def run(client: TestClient, case: dict[str, Any]) -> dict[str, Any]:
    """Send a case's request to the library of `library.py`; the answer as a golden document says it."""
    request = case["request"]
    answer = client.request(
        request["method"],
        request["path"],
        headers={"x-request-id": "golden", **request.get("headers", {})},
        content=json.dumps(request["body"]) if "body" in request else None,
    )
    headers = {name: answer.headers[name] for name in _HEADERS if name in answer.headers}
    body = {"body": masked(answer.json())} if answer.content else {}
    return {"status": answer.status_code, "headers": masked(headers), **body}


def masked(value: Any) -> Any:
    return mask(value, _MASKED_MEMBERS, _MASKS)


def write() -> None:
    for path in cases():
        with server() as client:
            fill(client)
            rewrite(path, partial(run, client))


if __name__ == "__main__":
    write()
