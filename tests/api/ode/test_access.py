"""Who may ask for decisions (R28)."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.ode.library import HERO, HOME, asked
from proffer.auth.principal import Permission
from proffer.config import Settings
from proffer.service.runtime.clock import wall_clock
from proffer.service.runtime.tokens import TokenService
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from support.server import server


@contextmanager
def guarded(*permissions: Permission) -> Iterator[tuple[TestClient, str, dict[str, str]]]:
    """A server that wants tokens; the base address of one's own container, and the headers of a token."""
    store = MemoryStore()
    access = TokenService(store, wall_clock)
    text, _, container = asyncio.run(
        access.create(
            organisation="A@AdobeOrg",
            sandbox="prod",
            permissions=frozenset(permissions),
            label="test",
        )
    )
    asyncio.run(access.container("B@AdobeOrg", "prod", new_id="b" * 8 + "-0" * 4))

    async def opening(_: Settings) -> Store:
        return store

    with server(dev=False, opening=opening) as client:
        yield client, f"/data/core/ode/{container.id}", {"Authorization": f"Bearer {text}"}


CALLS: list[tuple[str, str, Any]] = [
    ("POST", "/decisions", asked((HOME, HERO))),
    ("GET", f"/offers?activityId={HOME}", None),
    ("GET", "/diagnostics", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
def test_no_token_no_answer(method: str, path: str, body: Any) -> None:
    """401 without a token or with a wrong one, saying how to send one."""
    with guarded(Permission.DECISIONS_EXECUTE) as (client, base, _):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eA=="}):
            answer = client.request(method, base + path, json=body, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
def test_a_permission_is_needed(method: str, path: str, body: Any) -> None:
    """403 names the permission that is missing, and nothing of what is in the container."""
    with guarded(Permission.LIBRARY_READ) as (client, base, headers):
        answer = client.request(method, base + path, json=body, headers=headers)

    assert answer.status_code == 403
    assert answer.json()["report"]["permission"] == "decisions:execute"


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
def test_other_containers_are_not_there(method: str, path: str, body: Any) -> None:
    """One of another organisation and one that nobody has are refused in the same words."""
    with guarded(Permission.DECISIONS_EXECUTE) as (client, base, headers):
        said = []
        for container in ("b" * 8 + "-0" * 4, "nobody"):
            other = f"{base.rpartition('/')[0]}/{container}{path}"
            answer = client.request(method, other, json=body, headers=headers)
            assert answer.status_code == 404
            assert answer.json()["code"] == "container-not-found"
            said.append(answer.json()["detail"].replace(container, "…"))

    assert said[0] == said[1]


def test_another_organisation_in_the_header() -> None:
    """403 where the header names another organisation than the token's."""
    with guarded(Permission.DECISIONS_EXECUTE) as (client, base, headers):
        answer = client.get(f"{base}/diagnostics", headers={**headers, "x-gw-ims-org-id": "B@AdobeOrg"})

    assert answer.status_code == 403
    assert answer.json()["code"] == "organisation-mismatch"


def test_the_right_token_is_enough() -> None:
    """With the permission, and no other header, the container answers."""
    with guarded(Permission.DECISIONS_EXECUTE) as (client, base, headers):
        answer = client.get(f"{base}/diagnostics", headers=headers)

    assert answer.json() == {"xdm:operations": {}}
