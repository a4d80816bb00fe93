"""Golden documents: requests in `spec/wire/edge`, each with the answer it gets, ids and times masked.

A request with `after` is sent when that other case has been, and `<proposition>` in it is the id of the
first proposition of its answer. `cd tests && python -m api.edge.golden` writes the answers anew; read
the difference before you keep it.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from api.ode.library import fill
from support.golden import load, mask, rewrite
from support.server import server

FOLDER = Path(__file__).parents[3] / "spec" / "wire" / "edge"

_MASKED_MEMBERS = {"eventToken": "<token>"}
_MASKS = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "<proposition>"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}(?=\.\d)", "<decision>"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>"),
    (r"(?<!\d)\d{38}(?!\d)", "<ecid>"),
    (r"CiYx?[A-Za-z0-9_-]{60,}", "<identity>"),
)
_HEADERS = (
    "content-type",
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "set-cookie",
)


def cases() -> list[Path]:
    return sorted(FOLDER.glob("*.json"))


def send(client: TestClient, request: dict[str, Any]) -> Any:
    """The answer to a case's request, sent as its client sends it."""
    client.cookies.clear()
    content = request.get("text")
    if content is None and "body" in request:
        content = json.dumps(request["body"])
    return client.request(
        request["method"],
        request["path"],
        headers={"x-request-id": "golden", **request.get("headers", {})},
        content=content,
    )


def run(client: TestClient, case: dict[str, Any]) -> dict[str, Any]:
    """Send a case's request; the answer as a golden document says it."""
    request = case["request"]
    if "after" in case:
        first = send(client, load(FOLDER / f"{case['after']}.json")["request"])
        text = first.text.strip("\0\n")
        handles = json.loads(text)["handle"]
        (payload,) = (one["payload"] for one in handles if one["type"] == "personalization:decisions")
        request = json.loads(json.dumps(request).replace("<proposition>", payload[0]["id"]))
    answer = send(client, request)
    said: dict[str, Any] = {"status": answer.status_code}
    said["headers"] = {name: masked(answer.headers[name]) for name in _HEADERS if name in answer.headers}
    text = answer.text
    if text.startswith("\0"):
        said["framed"] = True
        text = text.strip("\0\n")
    if text:
        said["body"] = masked(json.loads(text))
    return said


def masked(value: Any) -> Any:
    return mask(value, _MASKED_MEMBERS, _MASKS)


def write() -> None:
    with server() as client:
        fill(client)
        for path in cases():
            rewrite(path, partial(run, client))


if __name__ == "__main__":
    write()
