"""The shorter way to a route leads where Starlette's leads."""

import re
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.testclient import TestClient

from proffer.api.kit.app import App, RouteTable
from support.server import server

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def starlettes(routes: list[Any], path: str, method: str) -> tuple[Any, dict[str, Any]] | None:
    """The first route that Starlette finds for this, and its parameters."""
    for route in routes:
        match, child = route.matches({"type": "http", "path": path, "method": method})
        if match is Match.FULL:
            return route.endpoint, child["path_params"]
    return None


def paths(routes: list[Any]) -> set[str]:
    """An address of each route, and some beside it."""
    found = set()
    for route in routes:
        if isinstance(route, Route):
            plain = re.sub(r"\{[^}]*\}", "some:thing", route.path)
            found |= {plain, plain + "/", plain.rstrip("/"), plain + "/more", plain.upper()}
            found.add(re.sub(r"/[^/]+$", "/elsewhere", plain))
            found.add(re.sub(r"\{[^}]*\}", "", route.path))
    return found | {"", "/", "//", "/data//core"}


def test_every_address_leads_where_starlette_leads() -> None:
    """Whatever the table finds for any address and method, Starlette finds too; and it finds most."""
    with server() as client:
        routes = list(client.app.routes)  # type: ignore[attr-defined]
    table = RouteTable(routes)
    found = 0
    for path in paths(routes):
        for method in METHODS:
            line = table.find(path, method)
            if line is not None:
                found += 1
                assert (line[0].endpoint, line[1]) == starlettes(routes, path, method)
    simple = [one for one in routes if isinstance(one, Route) and ":" not in one.path]
    assert found >= len(simple)


def app_of(*routes: Route) -> App:
    async def unexpected(_: Request, error: Exception) -> Response:
        return Response(f"sorry: {error}", 500)

    return App(routes=routes, error_handler=unexpected)


def saying(text: str) -> Any:
    async def endpoint(request: Request) -> Response:
        if request.url.query == "boom":
            raise RuntimeError(text)
        return Response(f"{text} {request.path_params}")

    return endpoint


def test_the_first_route_wins() -> None:
    """A pattern that comes first takes what a plain path that comes later would have taken, and the other way round."""
    client = TestClient(
        app_of(
            Route("/a/{x}", saying("pattern")),
            Route("/a/b", saying("late")),
            Route("/c/d", saying("plain")),
            Route("/c/{x}", saying("later pattern"), methods=["GET", "POST"]),
            Route("/e/{rest:path}", saying("rest")),
            Route("/e/f", saying("never")),
        )
    )
    for path, text in (
        ("/a/b", "pattern {'x': 'b'}"),
        ("/c/d", "plain {}"),
        ("/c/e", "later pattern {'x': 'e'}"),
        ("/e/f", "rest {'rest': 'f'}"),
    ):
        assert client.get(path).text == text
    assert client.post("/c/d").text == "later pattern {'x': 'd'}"  # the first that takes the method
    assert client.get("/nowhere").status_code == 404


def test_a_bug_is_answered() -> None:
    """By whoever answers for what nobody expected."""
    client = TestClient(app_of(Route("/a", saying("broken"))))
    answer = client.get("/a?boom")
    assert (answer.status_code, answer.text) == (500, "sorry: broken")


@pytest.mark.parametrize("path", ["/data/core/xcore/", "/data/core/xcore", "/healthz", "/x", "/"])
def test_methods_nobody_serves_are_told(path: str) -> None:
    """404 and 405 are problem documents, with and without the table's help."""
    with server() as client:
        for method in METHODS:
            answer = client.request(method, path)
            if answer.status_code >= 400 and method != "HEAD":
                assert answer.json()["code"] in {"no-such-path", "method-not-allowed"}
