"""A server in this process, for tests: the whole app over a store of the test's choice."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from proffer.app import DEV_CONTAINER, create_app
from proffer.config import Settings
from proffer.service.runtime.clock import Clock, wall_clock
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store

XCORE = f"/data/core/xcore/{DEV_CONTAINER}"
ODE = f"/data/core/ode/{DEV_CONTAINER}"
NAMESPACE = "https://ns.adobe.com/experience/offer-management/"


async def in_memory(_: Settings) -> Store:
    return MemoryStore()


@contextmanager
def server(
    *,
    dev: bool = True,
    opening: Callable[[Settings], Awaitable[Store]] = in_memory,
    clock: Clock = wall_clock,
) -> Iterator[TestClient]:
    """A started server; in dev mode unless told otherwise, its store in memory unless told otherwise."""
    app = create_app(Settings(dev=dev), opening=opening, clock=clock)
    with TestClient(app, base_url="http://127.0.0.1:8700", raise_server_exceptions=False) as client:
        yield client


def create(client: TestClient, kind: str, document: dict[str, Any]) -> dict[str, Any]:
    """Create one instance as the public pages do, expect success, give the receipt."""
    media = f'application/schema-instance+json; version=1;  schema="{NAMESPACE}{kind}"'
    answer = client.post(f"{XCORE}/instances", json=document, headers={"Content-Type": media})
    assert answer.status_code == 201, answer.text
    receipt: dict[str, Any] = answer.json()
    return receipt


def sample_library() -> Path:
    """The sample library's file."""
    import proffer.sample

    return Path(proffer.sample.__path__[0]) / "library.yaml"
