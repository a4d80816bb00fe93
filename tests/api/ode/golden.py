"""Golden documents: requests in `spec/wire/ode`, each with the answer it gets, ids and times masked.

`cd tests && python -m api.ode.golden` writes the answers anew; read the difference before you keep it.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from api.ode.library import fill
from support.golden import mask, rewrite
from support.server import server

FOLDER = Path(__file__).parents[3] / "spec" / "wire" / "ode"

_MASKED_MEMBERS = {"ode:createDate": "<epoch ms>"}
_MASKS = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "<instance id>"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*(?:Z|[+-]\d\d:\d\d)", "<date>"),
)


def cases() -> list[Path]:
    return sorted(FOLDER.glob("*.json"))


def run(client: TestClient, case: dict[str, Any]) -> dict[str, Any]:
    """Send a case's request; the answer as a golden document says it."""
    request = case["request"]
    answer = client.request(
        request["method"],
        request["path"],
        headers={"x-request-id": "golden", **request.get("headers", {})},
        content=json.dumps(request["body"]) if "body" in request else None,
    )
    return {
        "status": answer.status_code,
        "content-type": answer.headers["content-type"],
        "body": mask(answer.json(), _MASKED_MEMBERS, _MASKS),
    }


def write() -> None:
    with server() as client:
        fill(client)
        for path in cases():
            rewrite(path, partial(run, client))


if __name__ == "__main__":
    write()
