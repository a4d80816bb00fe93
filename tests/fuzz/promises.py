"""What every answer promises, whatever the request was."""

import json
from collections.abc import Mapping
from typing import Any


def check_promises(status: int, headers: Mapping[str, Any], body: bytes, method: str = "GET") -> None:
    """No 5xx, and every refusal is a problem document that says what is wrong."""
    assert status < 500, (status, body[:1000])
    if status < 400 or method == "HEAD":
        return
    media = headers.get("content-type") or ""
    assert "application/problem+json" in str(media), (status, dict(headers), body[:500])
    document = json.loads(body)
    assert document["status"] == status
    assert isinstance(document["detail"], str)
    assert document["detail"].strip()
    assert document["type"]
    assert document["title"]
    assert document["code"]
    for violation in document.get("report", {}).get("violations", []):
        assert violation["message"]
