"""Requests that show the permissions of an access token, one for each."""

from collections.abc import Callable, Mapping

from starlette.testclient import TestClient

from support.server import NAMESPACE, ODE, XCORE
from upgrade.scenario import FOR_ALL, request


def _get(path: str) -> Callable[[TestClient, str], int]:
    return lambda client, token: client.get(path, headers=_bearer(token)).status_code


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _writes(client: TestClient, token: str) -> int:
    """Send a tag without a name, which is never stored.

    With permission to write, it is refused as invalid.
    """
    media = f'application/schema-instance+json; schema="{NAMESPACE}tag"'
    headers = {"Content-Type": media, **_bearer(token)}
    return client.post(f"{XCORE}/instances", json={}, headers=headers).status_code


def _decides(client: TestClient, token: str) -> int:
    document = request((FOR_ALL, "home"), who="ann@example.org", **{"xdm:dryRun": True})
    return client.post(f"{ODE}/decisions", json=document, headers=_bearer(token)).status_code


PROBES: Mapping[str, Callable[[TestClient, str], int]] = {
    "library:read": _get("/api/library?at=2090-01-01T00:00:00Z"),
    "library:write": _writes,
    "decisions:execute": _decides,
    "profiles:read": _get("/api/feedback/unattributed"),
}
"""By permission: a function that returns the status with which a request that needs it is answered."""
