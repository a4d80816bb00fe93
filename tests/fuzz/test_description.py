"""Requests made from the published description, valid ones and others: none of them is answered with a 5xx."""

import asyncio
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from starlette.testclient import TestClient

from api.ode.library import FOR_ALL, HOME, fill
from fuzz.promises import check_promises
from proffer.app import DEV_CONTAINER, create_app
from proffer.config import Settings
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store


def bounded(examples: int) -> settings:
    return settings(
        max_examples=examples,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def app(*, dev: bool, store: Store) -> Any:
    async def opening(_: Settings) -> Store:
        return store

    return create_app(Settings(dev=dev), store_opener=opening)


def filled() -> tuple[MemoryStore, str, str]:
    """A store with a library in it, and the instance ids of an offer and a decision."""
    store = MemoryStore()
    with TestClient(app(dev=True, store=store)) as client:
        fill(client)
    _, live = asyncio.run(store.live(DEV_CONTAINER))
    by_id = {one.id: one.instance_id for one in live}
    return store, by_id[FOR_ALL], by_id[HOME]


STORE, OFFER, DECISION = filled()
OPEN = schemathesis.openapi.from_asgi("/openapi.json", app(dev=True, store=STORE))
GUARDED = schemathesis.openapi.from_asgi("/openapi.json", app(dev=False, store=STORE))
for schema in (OPEN, GUARDED):  # systematic cases are many and slow to make; random ones do as well
    schema.config.phases.coverage.enabled = False


def send(case: Case[Any]) -> int:
    response = case.call()
    case.validate_response(response, checks=[not_a_server_error])
    check_promises(response.status_code, response.headers, response.content or b"", case.method)
    return int(response.status_code)


@OPEN.parametrize()
@bounded(25)
def test_anybody_in_dev_mode(case: Case[Any]) -> None:
    """Whatever the description allows, mostly where it reaches the library: a container and objects that exist."""
    inside = case.path_parameters
    if len(str(inside.get("container"))) % 4:
        inside["container"] = DEV_CONTAINER
    if "instance" in inside:
        inside["instance"] = OFFER if len(str(inside["instance"])) % 2 else DECISION
    send(case)


@GUARDED.parametrize()
@bounded(5)
def test_strangers_without_a_token(case: Case[Any]) -> None:
    """A server that wants tokens refuses all but what is public."""
    status = send(case)

    public = case.operation.label in {f"GET /{name}" for name in ("healthz", "readyz", "openapi.json", "docs")}
    assert public or status >= 400
