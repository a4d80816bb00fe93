"""Golden documents: requests in `spec/wire/xcore`, each with the answer it gets, ids and times masked.

`{tag}` in a path stands for the instance id of the tag, and so on for every kind. `cd tests && python -m
api.xcore.golden` writes the answers anew; read the difference before you keep it.
"""

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from httpx2 import Response
from starlette.testclient import TestClient

from api.xcore.library import library
from support.golden import rewrite

FOLDER = Path(__file__).parents[3] / "spec" / "wire" / "xcore"

_HEADERS = ("content-type", "location", "content-base", "etag", "allow", "warning")
_MASKED_MEMBERS = {"repo:createdDate", "repo:lastModifiedDate", "requestTime"}
_MASKS = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "<instance id>"),
    (r"\b\d{13}%2C", "<epoch ms>%2C"),
    (r"\b(xcore:[a-z-]+:)[0-9a-f]{16}\b", r"\1<hex>"),
)


def cases() -> list[Path]:
    return sorted(FOLDER.glob("*.json"))


def run(client: TestClient, instances: Mapping[str, str], case: dict[str, Any]) -> dict[str, Any]:
    """Send a case's requests to a library as `library.py` makes it; the last answer, as a golden document says it."""
    answer = None
    for request in (*case.get("before", ()), case["request"]):
        answer = send(client, instances, request)
    assert answer is not None
    headers = {name: answer.headers[name] for name in _HEADERS if name in answer.headers}
    document = {"body": masked(answer.json())} if answer.content else {}
    return {"status": answer.status_code, "headers": masked(headers), **document}


def send(client: TestClient, instances: Mapping[str, str], request: dict[str, Any]) -> Response:
    path = re.sub(r"\{([a-z-]+)\}", lambda match: instances[match[1]], request["path"])
    body = request.get("body")
    return client.request(
        request["method"],
        path,
        headers={"x-request-id": "golden", **request.get("headers", {})},
        content=body if isinstance(body, str) else json.dumps(body) if "body" in request else None,
    )


def masked(value: Any, name: str = "") -> Any:
    """The same document without what differs from run to run."""
    if name in _MASKED_MEMBERS:
        moment = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", value)
        return "<date>" if moment else value
    if isinstance(value, dict):
        return {key: masked(member, key) for key, member in value.items()}
    if isinstance(value, list):
        return [masked(member) for member in value]
    if isinstance(value, str):
        for pattern, mask in _MASKS:
            value = re.sub(pattern, mask, value)
    return value


def write() -> None:
    for path in cases():
        with library() as (client, instances):
            rewrite(path, partial(run, client, instances))


if __name__ == "__main__":
    write()
