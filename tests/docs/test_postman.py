"""The Postman collection matches the OpenAPI description, and its requests work."""

import json
from collections.abc import Iterator
from typing import Any

from postman_collection import PAGE, text
from proffer.api.openapi.document import OPERATIONS
from support.server import server

WRITTEN = json.loads(PAGE.read_text(encoding="utf-8"))


def requests() -> Iterator[tuple[str, Any]]:
    for group in WRITTEN["item"]:
        for one in group["item"]:
            yield one["name"], one["request"]


def test_it_is_up_to_date() -> None:
    """The collection is current; `python tools/postman_collection.py` rewrites it."""
    assert PAGE.read_text(encoding="utf-8") == text()


def test_every_operation_is_in_it() -> None:
    """The collection has one request for each operation."""
    assert len(list(requests())) == len(OPERATIONS)


def test_its_requests_are_understood() -> None:
    """With variables filled in, every request is well-formed and its path exists.

    A 404 is accepted only for objects that do not exist yet.
    """
    with server() as client:
        for name, request in requests():
            url = request["url"]
            known = {f":{one['key']}": one["value"] for one in url.get("variable", ())}
            path = "/" + "/".join(known.get(part, part) for part in url["path"])
            answer = client.request(
                request["method"],
                path,
                params=[(o["key"], o["value"]) for o in url.get("query", ()) if not o.get("disabled")],
                headers={o["key"]: o["value"] for o in request["header"] if not o.get("disabled")},
                content=request.get("body", {}).get("raw"),
            )
            assert answer.status_code in {200, 201, 202, 204, 207, 304, 404, 409, 422}, (
                name,
                answer.text,
            )
            assert answer.status_code != 404 or answer.json()["code"] != "no-such-path"
