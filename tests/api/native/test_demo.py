"""`/demo`: the page of dev mode, what it is told, and what it is made of."""

import json
import re
from typing import Any

from starlette.testclient import TestClient

from api.ode.library import HOME, fill
from support.server import server


def told(client: TestClient) -> Any:
    answer = client.get("/demo")
    assert answer.status_code == 200
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    found = re.search(r'<script id="config" type="application/json">(.*?)</script>', answer.text)
    assert found is not None
    return json.loads(found[1])


def test_the_page_shows_whatever_library_there_is() -> None:
    """The first live decisions and placements; an empty library has none."""
    with server() as client:
        assert told(client)["places"] == []
        fill(client)
        config = told(client)

    assert [one["decision"] for one in config["places"]] == ["Home", "Home", "Shop"]
    assert config["datastream"] == "dev"
    assert config["customers"] == []
    assert HOME not in str(config["places"])  # scopes are enough


def test_its_files_are_served_and_no_others() -> None:
    """Script and style; what npm fetched if it is there; nothing beside them."""
    with server() as client:
        for name, kind in (("demo.js", "text/javascript"), ("demo.css", "text/css")):
            answer = client.get(f"/demo/{name}")
            assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, kind)
        for name in ("__init__.py", "demo.html", "..%2Fapp.py", "vendor", "alloy.js"):
            assert client.get(f"/demo/{name}").status_code == 404
        assert client.get("/demo/alloy.min.js").status_code in {200, 404}


def test_names_cannot_end_the_script() -> None:
    """What a decision is called is only a text."""
    with server() as client:
        fill(client)
        found = client.get("/api/datastreams/dev/snippets").json()["snippets"]
        (home,) = {one["decision"]["id"] for one in found if one["decision"]["id"] == HOME}
        path = f"/data/core/dps/offer-decisions/{home}"
        patch = [{"op": "replace", "path": "/name", "value": "</script><b>x"}]
        assert client.patch(path, json=patch).status_code == 200
        assert told(client)["places"]


def test_there_is_none_outside_of_dev_mode() -> None:
    with server(dev=False) as client:
        assert client.get("/demo").status_code == 404
