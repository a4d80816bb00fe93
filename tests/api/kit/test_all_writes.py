"""Requests to the library while the database is away (R50)."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from starlette.testclient import TestClient

from proffer.config import Settings
from proffer.store.errors import StoreUnavailable
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from proffer.wire.scope import encode_scope
from support.server import ODE, XCORE, create, server

REQUEST = {
    "xdm:propositionRequests": [{"xdm:activityId": "xcore:offer-activity:1", "xdm:placementId": "x"}],
    "xdm:profiles": [{"xdm:identityMap": {}}],
}
"""A request for a scope that nobody knows."""


class SilentStore(MemoryStore):
    """A store whose revisions cannot be read while it is `away`."""

    away = False
    reads = 0

    async def revisions(self) -> Mapping[str, int]:
        self.reads += 1
        if self.away:
            raise StoreUnavailable("it is away")
        return await super().revisions()


@contextmanager
def _server(store: SilentStore) -> Iterator[TestClient]:
    async def opening(_: Settings) -> Store:
        return store

    with server(opening=opening) as client:
        yield client


def test_a_read_is_answered_from_memory_with_a_warning() -> None:
    store = SilentStore()
    with _server(store) as client:
        receipt = create(client, "tag", {"xdm:name": "t"})
        paths = [f"{XCORE}/instances/{receipt['instanceId']}", f"/data/core/dps/tags/{receipt['@id']}"]
        for path in paths:
            assert "warning" not in client.get(path).headers
        store.away = True
        for path in paths:
            answer = client.get(path)
            assert answer.status_code == 200
            assert answer.headers["warning"].startswith("111 proffer ")


def test_a_refusal_that_the_database_could_lift_is_a_503() -> None:
    store = SilentStore()
    with _server(store) as client:
        store.away = True
        answers = [
            client.get(f"{XCORE}/instances/00000000-0000-4000-8000-000000000000"),
            client.get("/data/core/dps/tags/xcore:tag:1"),
            client.get("/data/core/xcore/00000000-0000-4000-8000-000000000000/instances"),
            client.post(f"{ODE}/decisions", json=REQUEST),
            client.get(f"{ODE}/offers?activityId=xcore:offer-activity:1"),
            client.post("/ee/v1/interact?configId=unknown", json={"events": [{"xdm": {}}]}),
        ]
        assert [answer.status_code for answer in answers] == [503] * len(answers)
        assert all(answer.headers.get("retry-after") for answer in answers)


def test_a_partial_decision_is_answered_without_the_database() -> None:
    """The scopes that are known here have their answers; the others may be in the database."""
    store = SilentStore()
    with _server(store) as client:
        store.away = True
        paths = (f"{ODE}/decisions?partial=true", "/data/core/ods/decisions?partial=true")
        answers = [client.post(path, json=REQUEST) for path in paths]
        assert [answer.status_code for answer in answers] == [207, 207]
        errors = [error for answer in answers for error in answer.json()["errors"]]
        assert [(error["status"], error["code"]) for error in errors] == [(503, "store-unavailable")] * 2

        store.away = False
        (error,) = client.post(f"{ODE}/decisions?partial=true", json=REQUEST).json()["errors"]
        assert error["status"] == 404


@pytest.mark.parametrize(
    "scope",
    [
        encode_scope("xcore:offer-activity:1", "xcore:offer-placement:1"),
        b64encode(b'{"xdm:name": "Summer"}').decode(),
    ],
    ids=["by ids", "by name"],
)
def test_the_edge_calls_no_scope_unknown_that_the_database_may_have(scope: str) -> None:
    store = SilentStore()
    event = {"xdm": {}, "query": {"personalization": {"decisionScopes": [scope]}}}
    with _server(store) as client:
        statuses = []
        for away in (True, False):
            store.away = away
            answer = client.post("/ee/v1/interact?configId=dev", json={"events": [event]})
            assert answer.status_code == 207
            statuses += [(error["status"], error["scope"]) for error in answer.json()["errors"]]
        assert statuses == [(503, scope), (404, scope)]


def test_what_is_malformed_stays_so_without_the_database() -> None:
    store = SilentStore()
    with _server(store) as client:
        store.away = True
        assert client.get("/data/core/dps/offers?offer-type=other").status_code == 400
