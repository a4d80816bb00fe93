"""JSON content that is not JSON: refused when written; what was stored before is reported and not delivered."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.ode.library import (
    CARD,
    FOR_ALL,
    HOME,
    HOUSE,
    asked,
    decide,
    fill,
    instance_of,
    json_data,
    offer,
    offered,
    shown,
)
from proffer.app import DEV_CONTAINER
from proffer.config import Settings
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from support.server import NAMESPACE, ODE, XCORE, server

NEW = "xcore:personalized-offer:55"
PLACE = "$.xdm:representations[0].xdm:components[0].xdm:content"
BROKEN = '{"a":1,}'


def _post(client: TestClient, component: Mapping[str, Any]) -> Any:
    kind, document = offer(NEW, "New", 99, shown(card=[dict(component)]))
    media = f'application/schema-instance+json; schema="{NAMESPACE}{kind}"'
    return client.post(f"{XCORE}/instances", json=document, headers={"Content-Type": media})


@contextmanager
def stored_with(entity_id: str, content: str) -> Iterator[TestClient]:
    """A server in whose store the JSON content of one offer was replaced without a check."""
    store = MemoryStore()

    async def opening(_: Settings) -> Store:
        return store

    async def sabotage() -> None:
        revision, live = await store.live(DEV_CONTAINER)
        instance = next(each for each in live if each.id == entity_id)
        document = {**instance.document, "xdm:representations": shown(card=[json_data(content)])}
        if entity_id == HOUSE:  # a fallback has content for every placement
            representations = [
                {**each, "xdm:components": [json_data(content)]} if each["xdm:placement"] == CARD else each
                for each in instance.document["xdm:representations"]
            ]
            document = {**instance.document, "xdm:representations": representations}
        version = replace(instance, etag=instance.etag + 1, revision=revision + 1, document=document)
        await store.commit(DEV_CONTAINER, revision, [version])

    with server(opening=opening) as client:
        fill(client)
        asyncio.run(sabotage())
        # The next request to the library sees the commit.
        client.get(f"{XCORE}/instances?schema={NAMESPACE}tag")
        yield client


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [
        (BROKEN, 1, 8),
        ("not json at all", 1, 1),
        ("{'a':1}", 1, 2),
        ('{"a":NaN}', 1, 6),
        ('{"NaN":\n -Infinity}', 2, 2),
        ("", 1, 1),
        ('\ufeff{"a":1}', 1, 1),
        ("[1 2]", 1, 4),
    ],
)
def test_a_write_is_refused_with_line_and_column(content: str, line: int, column: int) -> None:
    with server() as client:
        fill(client)
        answer = _post(client, json_data(content))
        assert answer.status_code == 422
        (violation,) = answer.json()["report"]["violations"]
        assert (violation["code"], violation["path"]) == ("json-content", PLACE)
        assert (violation["line"], violation["column"]) == (line, column)


@pytest.mark.parametrize(
    "component",
    [
        json_data('{"a": [1, null, true, "x"]}'),
        json_data("1"),
        json_data(f"[{'1' * 5_000}]"),
        json_data('{"name": "{{profile.name}}"}'),
        {**json_data(""), "xdm:deliveryURL": "https://files.example/data.json"},
        {**json_data("not json"), "@type": f"{NAMESPACE}content-component-text", "dc:format": "text/plain"},
    ],
)
def test_other_content_is_accepted(component: Mapping[str, Any]) -> None:
    with server() as client:
        fill(client)
        assert _post(client, component).status_code == 201


def test_rendered_content_that_is_not_json_gives_way_to_the_next_offer() -> None:
    with server() as client:
        fill(client)
        assert _post(client, json_data('{"age": {{{profile.person.age}}} }')).status_code == 201
        aged = asked((HOME, CARD), profile={"xdm:attributes": {"person": {"age": 5}}})
        assert offered(decide(client, aged)["xdm:propositions"][0]) == [NEW]
        assert offered(decide(client, asked((HOME, CARD)))["xdm:propositions"][0]) == [FOR_ALL]


def test_stored_content_that_is_not_json_is_not_delivered_but_reported() -> None:
    with stored_with(FOR_ALL, BROKEN) as client:
        (proposition,) = decide(client, asked((HOME, CARD)))["xdm:propositions"]
        assert "xdm:fallback" in proposition
        text = client.get(f"{ODE}/diagnostics").text
        assert "the content is not JSON" in text
        explained = decide(client, asked((HOME, CARD)), "?explain=true")["trace"][0]["candidates"]
        (candidate,) = [each for each in explained if FOR_ALL in str(each)]
        assert "it is not JSON" in str(candidate)


def test_an_offer_stored_with_it_can_be_renamed_and_stopped() -> None:
    with stored_with(FOR_ALL, BROKEN) as client:
        path = instance_of(client, "personalized-offer", FOR_ALL)
        operations = [
            {"op": "replace", "path": "/_instance/xdm:name", "value": "Renamed"},
            {"op": "replace", "path": "/_instance/xdm:status", "value": "archived"},
        ]
        for operation in operations:
            answer = client.patch(path, json=[operation])
            assert answer.status_code == 200, answer.text
        changed = {
            "op": "replace",
            "path": "/_instance/xdm:representations/0/xdm:components/0/xdm:content",
            "value": '{"b":1,}',
        }
        assert client.patch(path, json=[changed]).status_code == 422


def test_a_fallbacks_own_content_is_delivered_as_it_stands() -> None:
    with stored_with(HOUSE, BROKEN) as client:
        path = instance_of(client, "personalized-offer", FOR_ALL)
        operation = {"op": "replace", "path": "/_instance/xdm:status", "value": "archived"}
        assert client.patch(path, json=[operation]).status_code == 200
        body = asked((HOME, CARD), responseFormat={"xdm:includeContent": True})
        (proposition,) = decide(client, body)["xdm:propositions"]
        assert proposition["xdm:fallback"]["xdm:content"] == BROKEN
        assert "the content is not JSON" in client.get(f"{ODE}/diagnostics").text
