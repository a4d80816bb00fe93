"""Whoever asks gets what is theirs, on every route there is: the app's own list of routes is walked (R28)."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from httpx2 import Response
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from proffer.app import Services, asgi
from proffer.auth.principal import Permission
from proffer.config import Settings
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from support.server import server

OPEN = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"}
"""Paths that anybody may ask for without a token."""

EDGE = re.compile(r"/(?:ee|ee-pre-prd|v2)/")
"""What sites and apps ask without a token: a datastream leads them to one sandbox and no other."""

NO_PERMISSION_NEEDED = {
    ("GET", "/data/core/xcore"),
    ("GET", "/data/core/xcore/"),
    ("GET", "/data/core/xcore/containers/{container}"),
}
"""What a valid token of whatever permissions may ask: which container it is for."""

ADA, BOB = "ada@AdobeOrg", "bob@AdobeOrg"
DECISION = {
    "xdm:propositionRequests": [
        {"xdm:activityId": "xcore:offer-activity:1", "xdm:placementId": "xcore:offer-placement:1"}
    ],
    "xdm:profiles": [{"xdm:identityMap": {"Email": [{"xdm:id": "a@example.org"}]}}],
}
NOBODYS = "11111111-2222-4333-8444-555555555555"


def routes() -> list[tuple[str, str]]:
    """Method and path of everything the server serves, but for what is open to anybody."""
    app: Starlette = asgi(Services(MemoryStore()), dev=False)
    found = []
    for route in app.routes:
        assert isinstance(route, Route), f"{route} is no plain route: say here who may reach it"
        if route.path not in OPEN and not EDGE.match(route.path):
            found += [(method, route.path) for method in sorted(route.methods or ())]
    return found


ROUTES = routes()
OF_CONTAINERS = [route for route in ROUTES if "{container}" in route[1]]


@dataclass(frozen=True)
class World:
    """A running server with two organisations: their containers, and tokens by what is odd about them."""

    client: TestClient
    containers: dict[str, str]
    tokens: dict[str, str]

    def ask(
        self,
        method: str,
        path: str,
        token: str | None,
        container: str | None = None,
        **headers: str,
    ) -> Response:
        """Call a route with harmless values for what its path leaves open."""
        path = path.replace("{container}", container or self.containers[ADA])
        path = re.sub(r"\{[^}]*\}", "nothing", path)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["authorization"] = f"Bearer {self.tokens.get(token, token)}"
        sent["content-type"] = "application/json"
        query = "?schema=https://ns.adobe.com/experience/offer-management/tag&activityId=xcore:offer-activity:1"
        body = DECISION if path.endswith("/decisions") else []
        return self.client.request(method, path + query, headers=sent, json=body)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    store = MemoryStore()
    containers: dict[str, str] = {}
    tokens: dict[str, str] = {}
    every = frozenset(Permission)

    async def prepare() -> None:
        services = Services(store)

        async def token(name: str, organisation: str, sandbox: str = "prod", **more: Any) -> str:
            permissions = more.pop("permissions", every)
            text, stored, container = await services.tokens.create(
                organisation=organisation,
                sandbox=sandbox,
                permissions=permissions,
                label=f"{name}@AdobeID",
                **more,
            )
            tokens[name] = text
            containers.setdefault(organisation if sandbox == "prod" else sandbox, container.id)
            return stored.id

        await token("ada", ADA)
        await token("bob", BOB)
        await token("ada in stage", ADA, "stage")
        await token("expired", ADA, expires_us=services.clock() - 1)
        await services.tokens.revoke(await token("revoked", ADA))
        await token("nothing", ADA, permissions=frozenset())
        for permission in Permission:
            rest = every - {permission, Permission.ADMIN}
            await token(f"no {permission}", ADA, permissions=rest)
            await token(f"only {permission}", ADA, permissions=frozenset({permission}))

    async def opening(_: Settings) -> Store:
        return store

    asyncio.run(prepare())
    with server(dev=False, opening=opening) as client:
        yield World(client, containers, tokens)


def assert_refused(answer: Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    if answer.request.method == "HEAD":
        return {}
    problem: dict[str, Any] = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    for secret in (ADA, BOB, "stage", "@AdobeID"):
        assert secret not in answer.text
    return problem


BAD_TOKENS = ["garbage", "expired", "revoked", "pfr_" + "x" * 43, "x" * 5_000, "a b c"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_a_valid_token_there_is_nothing(world: World, method: str, path: str) -> None:
    """None, another scheme, garbage, revoked, expired: 401 that says how to authenticate, as often as it is asked."""
    for _ in range(2):  # a documented client asks twice
        answer = world.ask(method, path, None)
        assert_refused(answer, 401, "token-missing")
        assert answer.headers["www-authenticate"] == 'Bearer realm="proffer"'
        for token in BAD_TOKENS:
            answer = world.ask(method, path, token)
            assert_refused(answer, 401, "token-invalid")
            assert answer.headers["www-authenticate"].startswith("Bearer")
    text = world.tokens["ada"]
    for value in (text, f"Basic {text}", f"Bearer{text}", "Bearer", "Bearer ", f"bearer  {text}x"):
        answer = world.ask(method, path, None, authorization=value)
        assert answer.status_code == 401
    assert world.ask(method, path, None, authorization=f"bearer {text}").status_code != 401


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_headers_that_name_others_are_403(world: World, method: str, path: str) -> None:
    """Another organisation's or sandbox's name beside the token; the token's own names are fine, and so are none."""
    answer = world.ask(method, path, "ada", x_gw_ims_org_id=BOB)
    assert_refused(answer, 403, "organisation-mismatch")
    answer = world.ask(method, path, "ada", x_gw_ims_org_id=ADA, x_sandbox_name="stage")
    assert_refused(answer, 403, "sandbox-mismatch")
    answer = world.ask(method, path, "ada", x_gw_ims_org_id=ADA, x_sandbox_name="prod")
    assert answer.status_code not in {401, 403}


@pytest.mark.parametrize(("method", "path"), OF_CONTAINERS)
def test_another_tenants_container_does_not_exist(world: World, method: str, path: str) -> None:
    """Of another organisation or sandbox: 404 in the very words for one that nobody has."""
    for token, theirs in (
        ("ada", world.containers[BOB]),
        ("bob", world.containers[ADA]),
        ("ada", world.containers["stage"]),
        ("ada in stage", world.containers[ADA]),
        ("ada", world.containers[BOB].upper()),
    ):
        refused = world.ask(method, path, token, theirs)
        missing = world.ask(method, path, token, NOBODYS)
        assert refused.status_code == missing.status_code
        if method == "HEAD":
            continue
        texts = [answer.text.replace(answer.headers["x-request-id"], "").lower() for answer in (refused, missing)]
        assert texts[0].replace(theirs.lower(), NOBODYS) == texts[1]
        assert_refused(refused, 404, "container-not-found")


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_missing_permission_is_403(world: World, method: str, path: str) -> None:
    """Every route needs one, and says which; it is enough alone, and `admin` is enough for everything."""
    if ("GET" if method == "HEAD" else method, path) in NO_PERMISSION_NEEDED:
        assert world.ask(method, path, "nothing").status_code == 200
        return
    refused = {
        permission for permission in Permission if world.ask(method, path, f"no {permission}").status_code == 403
    }
    allowed = {
        permission for permission in Permission if world.ask(method, path, f"only {permission}").status_code != 403
    }
    problem = assert_refused(world.ask(method, path, "nothing"), 403, "permission-missing")
    if method != "HEAD":
        needed = problem["report"]["permission"]
        assert f"`{needed}`" in problem["detail"]
        assert refused == ({needed} if needed != Permission.ADMIN else set(Permission))
        assert allowed == {needed, Permission.ADMIN}


def test_which_permission_each_route_needs(world: World) -> None:
    """Reading needs reading, writing writing, deciding deciding."""
    for method, path in ROUTES:
        answer = world.ask(method, path, "nothing")
        if answer.status_code != 403 or method == "HEAD":
            continue
        needed = answer.json()["report"]["permission"]
        if path.startswith("/data/core/xcore/"):
            assert needed == ("library:read" if method == "GET" else "library:write")
        elif path.endswith("/decisions"):
            assert needed == "decisions:execute"


def test_a_primary_identity_needs_read_and_write(world: World) -> None:
    """Only readers of the library learn whether a schema has a primary identity; others may declare further ones."""
    descriptors = "/data/foundation/schemaregistry/tenant/descriptors"

    def send(token: str, method: str, path: str, **members: Any) -> Response:
        document = {
            "@type": "xdm:descriptorIdentity",
            "xdm:sourceSchema": "https://ns.example.org/schemas/customer",
            "xdm:sourceVersion": 1,
            "xdm:sourceProperty": "/number",
            "xdm:namespace": "CRMID",
            "xdm:property": "xdm:code",
            **members,
        }
        headers = {"authorization": f"Bearer {world.tokens[token]}"}
        return world.client.request(method, descriptors + path, json=document, headers=headers)

    def assert_both_refused(key: str) -> None:
        for token in ("only library:write", "no library:read"):
            for method, path in (("POST", ""), ("PUT", f"/{key}")):
                answer = send(token, method, path, **primary)
                problem = assert_refused(answer, 403, "permission-missing")
                assert problem["report"]["permission"] == "library:read"
                assert problem["detail"] == "this token lacks the permission `library:read`"

    primary = {"xdm:isPrimary": True}
    created = send("only library:write", "POST", "")
    assert created.status_code == 201
    key = created.json()["@id"]
    assert_both_refused(key)
    assert send("ada", "PUT", f"/{key}", **primary).status_code == 200
    assert_both_refused(key)
    assert send("ada", "POST", "", **primary).json()["code"] == "primary-taken"
    assert send("only library:write", "PUT", f"/{key}").status_code == 200
    assert send("only library:write", "DELETE", f"/{key}").status_code == 204


def test_refusals_have_no_effect(world: World) -> None:
    """Whatever has been refused above, both libraries are as they were."""
    for organisation, token in ((ADA, "ada"), (BOB, "bob")):
        answer = world.ask("GET", "/data/core/xcore/{container}/instances", token, world.containers[organisation])
        assert answer.json()["_embedded"]["total"] == 0


def test_each_sees_its_own_containers_only(world: World) -> None:
    """The home resource lists what the token is for, and its link leads there."""
    for token, container in (
        ("ada", world.containers[ADA]),
        ("bob", world.containers[BOB]),
        ("ada in stage", world.containers["stage"]),
    ):
        home = world.ask("GET", "/data/core/xcore/", token).json()
        (listed,) = home["_embedded"]["https://ns.adobe.com/experience/xcore/container"]
        assert listed["instanceId"] == container
        assert world.ask("GET", "/data/core/xcore/containers/{container}", token, container).json() == listed


def test_two_organisations_do_not_meet(world: World) -> None:
    """The same `@id` in both libraries is two objects; neither can name, read or delete the other's."""
    media = {
        "content-type": 'application/schema-instance+json; schema="https://ns.adobe.com/experience/offer-management/tag"'
    }
    made = {}
    for organisation, token in ((ADA, "ada"), (BOB, "bob")):
        headers = {**media, "authorization": f"Bearer {world.tokens[token]}"}
        url = f"/data/core/xcore/{world.containers[organisation]}/instances"
        body = {"@id": "xcore:tag:1", "xdm:name": "mine"}
        answer = world.client.post(url, json=body, headers=headers)
        assert answer.status_code == 201
        assert answer.json()["repo:createdBy"] == f"{token}@AdobeID"
        made[organisation] = answer.json()["instanceId"]
    headers = {"authorization": f"Bearer {world.tokens['ada']}"}
    own = f"/data/core/xcore/{world.containers[ADA]}/instances"
    for method in ("GET", "DELETE"):
        answer = world.client.request(method, f"{own}/{made[BOB]}", headers=headers)
        assert answer.status_code == 404
    assert world.client.delete(f"{own}/{made[ADA]}", headers=headers).status_code == 202


def test_counting_customers_in_a_check_of_a_rule_needs_to_read_profiles(world: World) -> None:
    """The values of customers are shown to readers of profiles only."""
    body = {"value": "a != 1", "customers": True}
    headers = {"authorization": f"Bearer {world.tokens['only library:read']}"}
    answer = world.client.post("/api/rules/check", json=body, headers=headers)
    problem = assert_refused(answer, 403, "permission-missing")
    assert problem["report"]["permission"] == "profiles:read"
    allowed = world.client.post("/api/rules/check", json={**body, "customers": False}, headers=headers)
    assert allowed.status_code == 200
