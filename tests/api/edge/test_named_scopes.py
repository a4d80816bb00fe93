"""Named scopes (`{"xdm:name": …}`): one live decision with one placement, or an error that says why not."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.edge.requests import HERO_SCOPE, body, interact, offers, propositions
from api.ode.library import CARD, FOR_ALL, HERO, HOME, decision, fill
from support.server import create, server

ALONE = "xcore:offer-activity:71"
TWINS = ("xcore:offer-activity:72", "xcore:offer-activity:73")


def named(name: Any, **members: Any) -> str:
    return base64.b64encode(json.dumps({"xdm:name": name, **members}).encode()).decode()


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with server() as client:
        fill(client)
        create(client, *decision(ALONE, "Alone", [HERO]))
        yield client


def _reasons(answer: Any) -> list[str]:
    return [entry["report"]["errors"][0] for entry in answer.json().get("errors", [])]


def test_the_name_of_a_live_decision_with_one_placement_is_its_scope(client: TestClient) -> None:
    answer = interact(client, body(named("Alone"), HERO_SCOPE, named("Alone", **{"xdm:itemCount": 2})))
    assert answer.status_code == 200
    assert [proposition["scope"] for proposition in propositions(answer)] == [
        named("Alone"),
        HERO_SCOPE,
        named("Alone", **{"xdm:itemCount": 2}),
    ]
    assert offers(answer)[0] == [FOR_ALL]


def test_a_decision_with_several_placements_is_an_error_that_lists_them(client: TestClient) -> None:
    answer = interact(client, body(named("Home"), HERO_SCOPE))
    assert (answer.status_code, len(propositions(answer))) == (207, 1)
    (reason,) = _reasons(answer)
    assert f"`{HOME}/{HERO}`" in reason
    assert f"`{HOME}/{CARD}`" in reason
    assert answer.json()["errors"][0]["scope"] == named("Home")


@pytest.mark.parametrize("name", ["nothing", "", "Paused", "Over", "alone", "x" * 500])
def test_a_name_without_a_live_decision_is_an_error_and_never_an_empty_answer(client: TestClient, name: str) -> None:
    answer = interact(client, body(named(name)))
    assert (answer.status_code, propositions(answer)) == (207, [])
    assert _reasons(answer)[0].startswith("no live decision has the name `")


def test_a_named_scope_with_a_bad_item_count_is_an_error(client: TestClient) -> None:
    answer = interact(client, body(named("Alone", **{"xdm:itemCount": 0})))
    assert answer.status_code == 207
    assert "itemCount" in _reasons(answer)[0]


@pytest.mark.parametrize("name", [1, None, ["Alone"], {}])
def test_a_name_that_is_no_text_is_the_scope_of_another_product(client: TestClient, name: Any) -> None:
    answer = interact(client, body(named(name), HERO_SCOPE))
    assert (answer.status_code, len(propositions(answer))) == (200, 1)


def test_a_renamed_decision_is_found_by_its_new_name_alone() -> None:
    with server() as client:
        fill(client)
        receipt = create(client, *decision(ALONE, "Before", [HERO]))
        assert interact(client, body(named("Before"))).status_code == 200
        path = f"/data/core/dps/offer-decisions/{receipt['@id']}"
        operation = {"op": "replace", "path": "/name", "value": "After"}
        assert client.patch(path, json=[operation]).status_code == 200
        assert interact(client, body(named("Before"))).status_code == 207
        assert offers(interact(client, body(named("After")))) == [[FOR_ALL]]
