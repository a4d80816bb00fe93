"""Golden documents: requests in `spec/wire/ode`, each with the answer it gets, ids and times masked.

`python tests/api/ode/golden.py` writes the answers anew; read the difference before you keep it.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

FOLDER = Path(__file__).parents[3] / "spec" / "wire" / "ode"

_MASKED_MEMBERS = {"ode:createDate": "<epoch ms>", "reason": "<reason>"}
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
        "body": masked(answer.json()),
    }


def masked(value: Any) -> Any:
    """The same document without what differs from run to run."""
    if isinstance(value, dict):
        return {name: _MASKED_MEMBERS.get(name) or masked(member) for name, member in value.items()}
    if isinstance(value, list):
        return [masked(member) for member in value]
    if isinstance(value, str):
        for pattern, mask in _MASKS:
            value = re.sub(pattern, mask, value)
    return value


def write() -> None:
    from api.ode.library import fill
    from support.server import server

    with server() as client:
        fill(client)
        for path in cases():
            case = json.loads(path.read_text(encoding="utf-8"))
            case["answer"] = run(client, case)
            path.write_text(json.dumps(case, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    write()
