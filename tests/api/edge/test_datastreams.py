"""Datastreams: made by administrators, found by their id over all sandboxes, in force at once."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.edge.requests import HERO_SCOPE, body, handles, interact, offers
from api.ode.library import FOR_ALL, HERO, HOME, fill
from proffer.app import Services
from proffer.auth.principal import Permission
from proffer.config import Settings
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from support.server import server


def create(client: TestClient, **settings: Any) -> dict[str, Any]:
    answer = client.post("/api/datastreams", json={"name": "A shop", **settings})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"].endswith(f"/api/datastreams/{answer.json()['id']}")
    made: dict[str, Any] = answer.json()
    return made


def ask(client: TestClient, key: str, **headers: str) -> Any:
    return interact(client, body(HERO_SCOPE), f"/ee/v1/interact?configId={key}", **headers)


def test_a_new_one_works_at_once(client: TestClient) -> None:
    """Under an id of ours or one that a site has already."""
    made = create(client)

    assert offers(ask(client, made["id"])) == [[FOR_ALL]]
    own = create(client, id="6f2b1a53-0d8e-4c0f-9b52-8a3f2f4a7c11:stage")
    assert offers(ask(client, own["id"].upper())) == [[FOR_ALL]]
    again = client.post("/api/datastreams", json={"name": "Again", "id": own["id"]})
    assert (again.status_code, again.json()["code"]) == (409, "id-taken")
    listed = client.get("/api/datastreams").json()["datastreams"]
    assert [one["id"] for one in listed] == ["dev", made["id"], own["id"]]


def test_it_can_be_changed_and_removed(client: TestClient) -> None:
    """In force for the next request."""
    made = create(client, offers=False)
    path = f"/api/datastreams/{made['id']}"

    assert handles(ask(client, made["id"]), "personalization:decisions")[0]["payload"] == []
    changed = client.put(path, json={"name": "Changed"}, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert client.get(path).json() == changed.json()
    assert offers(ask(client, made["id"])) == [[FOR_ALL]]
    stale = client.put(path, json={"name": "Stale"}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    client.put(path, json={"name": "Off", "enabled": False})
    answer = ask(client, made["id"])
    assert (answer.status_code, answer.json()["code"]) == (422, "EXEG-0004-422")
    assert client.delete(path).status_code == 204
    assert ask(client, made["id"]).json()["code"] == "EXEG-0003-400"
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"name": ""},
        {"name": "a", "id": "With Spaces"},
        {"name": "a", "id": 5},
        {"name": "a", "enabled": "yes"},
        {"name": "a", "access": "nobody"},
        {"name": "a", "allowedOrigins": ["www.shop.test"]},
        {"name": "a", "allowedOrigins": ["https://www.shop.test/path"]},
        {"name": "a", "firstPartyIdCookie": "a b"},
    ],
)
def test_wrong_settings_are_refused(client: TestClient, wrong: dict[str, Any]) -> None:
    assert client.post("/api/datastreams", json=wrong).status_code == 422


@pytest.mark.parametrize(
    ("origin", "admitted"),
    [
        ("https://www.shop.test", True),
        ("https://a.b.shop.example", True),
        ("https://shop.example", False),
        ("https://badshop.example", False),
        ("https://www.shop.test:8443", False),
        ("http://www.shop.test", False),
        ("https://www.shop.test.evil.test", False),
        ("null", False),
        ("https://[", False),
        ("", False),
    ],
)
def test_only_listed_origins_may_call(client: TestClient, origin: str, admitted: bool) -> None:
    """Others are told so; who names no origin is no page."""
    listed = ["https://www.shop.test", "https://*.shop.example"]
    made = create(client, allowedOrigins=listed)

    answer = ask(client, made["id"], Origin=origin)
    assert (answer.status_code == 200) is admitted
    if not admitted:
        assert (answer.status_code, answer.json()["code"]) == (403, "origin-not-allowed")
    plain = client.post(f"/ee/v1/interact?configId={made['id']}", json=body())
    assert plain.status_code == 200


def test_the_one_of_dev_mode_is_built_in() -> None:
    """It has no settings; one that is made under its id takes its place."""
    with server() as client:
        fill(client)
        assert client.get("/api/datastreams/dev").json()["builtIn"] is True
        for answer in (
            client.put("/api/datastreams/dev", json={"name": "Mine"}),
            client.delete("/api/datastreams/dev"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (409, "datastream-built-in")
        create(client, id="dev", enabled=False)
        assert ask(client, "dev").json()["code"] == "EXEG-0004-422"


def test_what_is_not_an_object_is_refused(client: TestClient) -> None:
    assert client.post("/api/datastreams", content=b"[]").status_code == 422


def test_snippets_are_ready_to_paste(client: TestClient) -> None:
    """For each decision and placement; names cannot break out of where they stand."""
    answer = client.get("/api/datastreams/dev/snippets", params={"decision": HOME, "domain": "e.test"})
    found = {one["placement"]["id"]: one for one in answer.json()["snippets"]}
    hero = found[HERO]

    assert hero["scope"] == HERO_SCOPE
    assert json.dumps(HERO_SCOPE) in hero["web"]
    assert '"e.test"' in hero["web"]
    assert "thirdPartyCookiesEnabled: false" in hero["web"]
    assert f'DecisionScope("{HOME}", "{HERO}")' in hero["android"]
    assert f'DecisionScope(activityId: "{HOME}", placementId: "{HERO}")' in hero["ios"]
    everything = client.get("/api/datastreams/dev/snippets").json()["snippets"]
    assert len(everything) > len(found)
    path = "/api/datastreams/dev/snippets?decision=xcore:offer-activity:99"
    assert client.get(path).status_code == 404
    assert client.get("/api/datastreams/nobody/snippets").json()["code"] == "datastream-not-found"


# With tokens.


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[TestClient, dict[str, str]]]:
    """A server with two organisations, and a token of each."""
    store = MemoryStore()
    tokens: dict[str, str] = {}

    async def prepare() -> None:
        services = Services(store)
        for name in ("ada", "bob"):
            tokens[name], _, _ = await services.tokens.create(
                organisation=f"{name}@AdobeOrg",
                sandbox="prod",
                permissions=frozenset({Permission.ADMIN}),
                label=name,
            )

    async def opening(_: Settings) -> Store:
        return store

    asyncio.run(prepare())
    with server(dev=False, opening=opening) as client:
        yield client, tokens


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_an_id_is_one_organisations_alone(guarded: tuple[TestClient, dict[str, str]]) -> None:
    """It cannot be taken over, read or removed by another, and says whose cookies are kept."""
    client, tokens = guarded
    settings = {"name": "Hers", "id": "hers"}
    made = client.post("/api/datastreams", json=settings, headers=bearer(tokens["ada"]))
    assert made.status_code == 201

    taken = client.post("/api/datastreams", json=settings, headers=bearer(tokens["bob"]))
    assert taken.status_code == 409
    for method in ("GET", "DELETE"):
        answer = client.request(method, "/api/datastreams/hers", headers=bearer(tokens["bob"]))
        assert answer.status_code == 404
    answer = interact(client, body(), "/ee/v1/interact?configId=hers")
    entry = handles(answer, "state:store")[0]["payload"][0]
    assert entry["key"] == "kndctr_ada_AdobeOrg_identity"
    assert interact(client, body(), "/ee/v1/interact?configId=dev").status_code == 400


def test_a_token_can_be_wanted(guarded: tuple[TestClient, dict[str, str]]) -> None:
    """None, a bad one, and one of another organisation are refused in the documented words."""
    client, tokens = guarded
    settings = {"name": "Closed", "id": "closed", "access": "authenticated"}
    client.post("/api/datastreams", json=settings, headers=bearer(tokens["ada"]))
    path = "/v2/interact?datastreamId=closed"
    event: dict[str, Any] = {"event": {"xdm": {}}}

    for headers in ({}, bearer("garbage")):
        answer = interact(client, event, path, **headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "EXEG-0500-401")
    theirs = interact(client, event, path, **bearer(tokens["bob"]))
    assert (theirs.status_code, theirs.json()["code"]) == (403, "organisation-mismatch")
    assert interact(client, event, path, **bearer(tokens["ada"])).status_code == 200
