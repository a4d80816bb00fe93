"""GET /diagnostics: nothing yet, healthy, or what is broken; and that what is not broken is served (R33)."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from starlette.testclient import TestClient

from api.ode.library import (
    ADULTS,
    FOR_ADULTS,
    FOR_ALL,
    HERO,
    HOME,
    OVER,
    SHOP,
    asked,
    decide,
    fill,
    offered,
)
from proffer.app import DEV_CONTAINER
from proffer.config import Settings
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from support.server import ODE, server


def diagnosed(client: TestClient) -> Any:
    answer = client.get(f"{ODE}/diagnostics")
    assert answer.status_code == 200, answer.text
    return answer.json()["xdm:operations"]


@contextmanager
def broken(pql: str) -> Iterator[TestClient]:
    """A server whose rule `Adults` says something that no write would have let in: it came by the store."""
    store = MemoryStore()

    async def opening(_: Settings) -> Store:
        return store

    async def sabotage() -> None:
        revision, live = await store.live(DEV_CONTAINER)
        rule = next(one for one in live if one.id == ADULTS)
        condition = {**rule.document["xdm:condition"], "xdm:value": pql}
        version = replace(
            rule,
            etag=rule.etag + 1,
            revision=revision + 1,
            document={**rule.document, "xdm:condition": condition},
        )
        await store.commit(DEV_CONTAINER, revision, [version])

    with server(opening=opening) as client:
        fill(client)
        asyncio.run(sabotage())
        until = time.monotonic() + 10
        while not faults(client) and time.monotonic() < until:
            time.sleep(0.02)
        yield client


def faults(client: TestClient) -> Any:
    return diagnosed(client)["xdm:decisioningPackageUpdate"]["xdm:errors"]


def test_nothing_was_ever_written() -> None:
    """A new container has no operations at all."""
    with server() as client:
        assert diagnosed(client) == {}


def test_healthy_once_something_was_written() -> None:
    """A date, and no errors."""
    with server() as client:
        fill(client)
        update = diagnosed(client)["xdm:decisioningPackageUpdate"]

    assert update["xdm:errors"] == []
    assert update["xdm:date"].endswith("Z")


def test_a_broken_rule_is_at_the_end_of_a_tree() -> None:
    """From the live decisions that reach it, over the rule, down to what is wrong with its text."""
    with broken("person.age >=") as client:
        (root,) = faults(client)
        found = {one["xdm:details"]["@id"]: one for one in root["xdm:causes"]}
        (rule,) = found[HOME]["xdm:causes"]
        details = rule["xdm:details"]
        followed = client.get(details["href"]).json()

    assert found.keys() == {HOME, SHOP, OVER}
    assert details["@id"] == ADULTS
    assert details["etag"] == "2"
    assert followed["_instance"]["@id"] == ADULTS
    assert followed["instanceId"] == details["instanceId"]
    (validating,) = rule["xdm:causes"]
    assert validating["xdm:causes"][0]["xdm:description"]


def test_a_broken_rule_breaks_nothing_else() -> None:
    """It counts as false; every other offer is proposed as before, and the trace says why that one is not."""
    with broken("nonsense(((") as client:
        body = asked((HOME, HERO, 9), profile={"xdm:attributes": {"person": {"age": 30}}})
        answer = decide(client, body, "?explain=true")
        reasons = {one["id"]: one for one in answer["trace"][0]["candidates"]}

    assert offered(answer["xdm:propositions"][0]) == [FOR_ALL]
    assert reasons[FOR_ADULTS]["stage"] == "eligibility"
    assert "does not compile" in reasons[FOR_ADULTS]["reason"]
