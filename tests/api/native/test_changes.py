"""The change log: who changed what, earlier revisions, and the library of a moment."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from api.dps.library import DECISION, DPS, OFFER, PLACEMENT, TAG, at, documents, fill
from proffer.model.difference import difference
from proffer.wire import patch
from support.server import server

START = 1_738_577_472_000_000


@pytest.fixture
def moment() -> list[int]:
    return [START]


@pytest.fixture
def client(moment: list[int]) -> Iterator[TestClient]:
    with server(clock=lambda: moment[0]) as client:
        fill(client)
        moment[0] += 1_000_000
        change = [{"op": "replace", "path": "/name", "value": "copper"}]
        headers = {"x-api-key": "studio"}
        client.patch(at(TAG), json=change, headers=headers).raise_for_status()
        yield client


def changes(client: TestClient, query: str = "") -> Any:
    answer = client.get(f"/api/changes{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_change_says_who_when_and_what(client: TestClient) -> None:
    """User, client, moment, and the JSON difference; newest first."""
    newest, *older = changes(client)["changes"]

    assert newest == {
        "id": TAG,
        "kind": "tag",
        "name": "copper",
        "etag": 2,
        "revision": 10,
        "at": "2025-02-03T10:11:13.000000Z",
        "user": "dev@AdobeID",
        "client": "studio",
        "what": "changed",
        "difference": [{"op": "replace", "path": "/xdm:name", "value": "copper"}],
    }
    assert [one["what"] for one in older] == ["created"] * 9
    assert [one["revision"] for one in older] == list(range(9, 0, -1))


def test_pages_of_changes(client: TestClient) -> None:
    """Each comes once, following `next`."""
    first = changes(client, "?limit=4")
    second = changes(client, f"?limit=4&before={first['next']}")
    third = changes(client, f"?limit=4&before={second['next']}")

    found = [one["revision"] for page in (first, second, third) for one in page["changes"]]
    assert found == list(range(10, 0, -1))
    assert third["next"] is None


def test_changes_of_one_object(client: TestClient) -> None:
    """By either spelling of its id, and when it is deleted too."""
    client.delete(at(DECISION)).raise_for_status()

    assert [one["etag"] for one in changes(client, f"?id={TAG}")["changes"]] == [2, 1]
    spelled = DECISION.replace("dps:", "xcore:")
    found = changes(client, f"?id={spelled}")["changes"]
    assert [one["what"] for one in found] == ["deleted", "created"]
    assert client.get("/api/changes?id=dps:tag:77").status_code == 404


def test_an_earlier_revision_is_read_and_restored(client: TestClient) -> None:
    """Restoring is a change like any other: a new etag, and the whole document of then."""
    then = client.get(f"/api/revisions/{TAG}/1").json()
    assert then["document"]["xdm:name"] == "fibre"
    restored = client.post(f"/api/revisions/{TAG}/1/restore")

    assert restored.status_code == 200
    assert restored.headers["etag"] == '"3"'
    assert client.get(at(TAG)).json()["name"] == "fibre"
    assert client.get(f"/api/revisions/{TAG}/9").status_code == 404
    assert client.get(f"/api/revisions/{TAG}/x").status_code == 400


def test_restoring_is_checked(client: TestClient) -> None:
    """What must hold of a library holds afterwards: a reference that is gone, and an object that is."""
    patch_ = [{"op": "replace", "path": "/tags", "value": []}]
    client.patch(at(OFFER), json=patch_).raise_for_status()
    client.delete(at(DECISION)).raise_for_status()

    assert client.post(f"/api/revisions/{DECISION}/1/restore").status_code == 404
    assert client.post(f"/api/revisions/{OFFER}/1/restore").status_code == 200


def test_the_library_of_a_moment(client: TestClient, moment: list[int]) -> None:
    """Before the change, after it, and before anything was there; it can be loaded as it is."""
    moment[0] += 1_000_000
    client.delete(at(DECISION)).raise_for_status()

    def library(at_: str) -> Any:
        answer = client.get("/api/library", params={"at": at_})
        assert answer.status_code == 200, answer.text
        return answer.json()

    empty, first, second, now = (library(f"2025-02-03T10:11:{second:02d}Z") for second in (11, 12, 13, 14))
    assert sum(map(len, empty["library"].values())) == 0
    assert (first["revision"], second["revision"], now["revision"]) == (9, 10, 11)
    assert first["library"]["tags"][0]["xdm:name"] == "fibre"
    assert second["library"]["tags"][0]["xdm:name"] == "copper"
    assert len(second["library"]["decisions"]) == 1
    assert now["library"]["decisions"] == []
    assert len(first["library"]["offers"]) == len(documents()) - 7
    assert client.get("/api/library").status_code == 400
    assert client.get("/api/library?at=yesterday").status_code == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["a", "~/"]),
    lambda inside: (
        st.lists(inside, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "~", "/", ""]), inside, max_size=3)
    ),
    max_leaves=8,
)


@given(before=JSON, after=JSON)
def test_the_difference_makes_one_of_the_other(before: Any, after: Any) -> None:
    """Applied to the version before it gives the version after; of two that are the same it is empty."""
    wrapped, wanted = {"x": before}, {"x": after}
    made = difference(wrapped, wanted)

    assert patch.json_equal(patch.apply_patch(wrapped, made), wanted)
    assert (made == []) == patch.json_equal(wrapped, wanted)


def test_one_element_is_one_operation() -> None:
    """Put into the middle of a list, or taken out of it."""
    assert difference([1, 2, 4], [1, 2, 3, 4]) == [{"op": "add", "path": "/2", "value": 3}]
    assert difference([1, 2, 3, 4], [1, 2, 4]) == [{"op": "remove", "path": "/2"}]


def test_placements_have_a_log_too(client: TestClient) -> None:
    """Every kind has."""
    assert changes(client, f"?id={PLACEMENT}")["changes"][0]["what"] == "created"
    assert client.get(f"{DPS}/placements/{PLACEMENT}").status_code == 200
