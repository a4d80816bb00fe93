"""JSON Patch on instances: applied whole or not at all, over the envelope, to the instance only (R37)."""

from typing import Any

import pytest

from api.xcore.library import codes, library, patch, stored
from support.server import XCORE

AT = "/_instance/xdm:tags"
APPLIED: list[tuple[str, list[dict[str, Any]], Any]] = [
    ("add", [{"op": "add", "path": f"{AT}/-", "value": "xcore:tag:c1"}], ["xcore:tag:c1"] * 2),
    ("add at", [{"op": "add", "path": f"{AT}/0", "value": "xcore:tag:c1"}], ["xcore:tag:c1"] * 2),
    ("add over", [{"op": "add", "path": AT, "value": []}], []),
    ("remove", [{"op": "remove", "path": f"{AT}/0"}], []),
    ("remove all", [{"op": "remove", "path": AT}], None),
    ("replace", [{"op": "replace", "path": AT, "value": []}], []),
    (
        "move",
        [
            {"op": "move", "from": AT, "path": "/_instance/kept"},
            {"op": "add", "path": AT, "value": []},
        ],
        [],
    ),
    ("copy", [{"op": "copy", "from": f"{AT}/0", "path": f"{AT}/-"}], ["xcore:tag:c1"] * 2),
    ("test", [{"op": "test", "path": f"{AT}/0", "value": "xcore:tag:c1"}], ["xcore:tag:c1"]),
    (
        "create the list, then append",
        [
            {"op": "remove", "path": AT},
            {"op": "add", "path": AT, "value": []},
            {"op": "add", "path": f"{AT}/-", "value": "xcore:tag:c1"},
        ],
        ["xcore:tag:c1"],
    ),
    ("test the etag", [{"op": "test", "path": "/repo:etag", "value": 1}], ["xcore:tag:c1"]),
    ("links", [{"op": "add", "path": "/_links/mine", "value": {"href": "x"}}], ["xcore:tag:c1"]),
    ("links gone", [{"op": "remove", "path": "/_links"}], ["xcore:tag:c1"]),
    ("nothing", [], ["xcore:tag:c1"]),
]


@pytest.mark.parametrize(("operations", "tags"), [case[1:] for case in APPLIED], ids=[case[0] for case in APPLIED])
def test_operations_are_applied(operations: list[dict[str, Any]], tags: Any) -> None:
    """All six, on members and lists of the instance; `test` may look at the whole envelope."""
    with library() as (client, ids):
        answer = patch(client, ids["personalized-offer"], *operations)

        assert answer.status_code == 200, answer.text
        assert answer.json()["repo:etag"] == 2
        document = stored(client, ids["personalized-offer"])
        assert document.get("xdm:tags") == tags
        envelope = client.get(f"{XCORE}/instances/{ids['personalized-offer']}").json()
        assert list(envelope["_links"]) == ["self"]


REFUSED: list[tuple[str, Any, list[tuple[str, str]]]] = [
    (
        "append to a list that is missing",
        [{"op": "add", "path": "/_instance/xdm:new/-", "value": 1}],
        [("missing", "$[0].path")],
    ),
    (
        "remove what is missing",
        [{"op": "remove", "path": "/_instance/no"}],
        [("missing", "$[0].path")],
    ),
    (
        "replace what is missing",
        [{"op": "replace", "path": "/_instance/no", "value": 1}],
        [("missing", "$[0].path")],
    ),
    (
        "a test that fails",
        [
            {"op": "add", "path": "/_instance/xdm:name", "value": "changed"},
            {"op": "test", "path": "/_instance/xdm:name", "value": "Skis"},
        ],
        [("test", "$[1].path")],
    ),
    (
        "test of true against 1",
        [{"op": "test", "path": "/repo:etag", "value": True}],
        [("test", "$[0].path")],
    ),
    (
        "the envelope",
        [
            {"op": "replace", "path": "/repo:etag", "value": 7},
            {"op": "add", "path": "/mine", "value": 1},
            {"op": "remove", "path": "/instanceId"},
        ],
        [("immutable", "$.instanceId"), ("immutable", "$.repo:etag"), ("immutable", "$.mine")],
    ),
    ("the instance gone", [{"op": "remove", "path": "/_instance"}], [("type", "$._instance")]),
    (
        "the instance no object",
        [{"op": "add", "path": "/_instance", "value": []}],
        [("type", "$._instance")],
    ),
    ("no list", {"op": "add", "path": "/_instance/a", "value": 1}, [("type", "$")]),
    ("no such operation", [{"op": "append", "path": "/_instance/a"}], [("enum", "$[0].op")]),
    ("no value", [{"op": "add", "path": "/_instance/a"}], [("required", "$[0].value")]),
    ("no pointer", [{"op": "remove", "path": "_instance"}], [("format", "$[0].path")]),
    (
        "a result that is invalid",
        [
            {"op": "replace", "path": "/_instance/xdm:rank/xdm:priority", "value": -1},
            {"op": "remove", "path": "/_instance/xdm:status"},
        ],
        [("range", "$._instance.xdm:rank.xdm:priority"), ("required", "$._instance.xdm:status")],
    ),
    (
        "a reference to nothing",
        [{"op": "add", "path": f"{AT}/-", "value": "xcore:tag:dead"}],
        [("unknown-reference", "$._instance.xdm:tags[1]")],
    ),
]


@pytest.mark.parametrize(("operations", "found"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_cannot_be_applied_changes_nothing(operations: Any, found: Any) -> None:
    """422, each mistake with its path: in the patch for what is wrong with it, in the result for the rest."""
    with library() as (client, ids):
        url = f"{XCORE}/instances/{ids['personalized-offer']}"
        before = client.get(url).json()
        answer = client.patch(url, json=operations)

        assert answer.status_code == 422, answer.text
        assert codes(answer) == found
        assert client.get(url).json() == before
