"""The whole app in this process over any store, for tests."""

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
    """Run the app; by default in dev mode and with an in-memory store."""
    app = create_app(Settings(dev=dev), store_opener=opening, clock=clock)
    with TestClient(app, base_url="http://127.0.0.1:8700", raise_server_exceptions=False) as client:
        yield client


def create(client: TestClient, kind: str, document: dict[str, Any]) -> dict[str, Any]:
    """Create an instance as in the public documentation; assert success, return the receipt."""
    media = f'application/schema-instance+json; version=1;  schema="{NAMESPACE}{kind}"'
    answer = client.post(f"{XCORE}/instances", json=document, headers={"Content-Type": media})
    assert answer.status_code == 201, answer.text
    receipt: dict[str, Any] = answer.json()
    return receipt


def sample_library() -> Path:
    """Return the path of the sample library."""
    import proffer.sample

    return Path(proffer.sample.__path__[0]) / "library.yaml"
