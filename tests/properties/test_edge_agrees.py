"""The law of one engine behind two doors: the edge gives the offers that the decisioning API gives."""

import asyncio
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from api.edge.requests import encode_mobile_scope
from proffer.app import DEV_CONTAINER, DEV_ORGANISATION, Services
from proffer.config import Settings
from proffer.model.customer import ProfileRecord
from proffer.model.events import new_decision_id
from proffer.model.identity import IdentityKey
from proffer.model.ids import EntityKind
from proffer.model.profile import without_prefixes
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from proffer.testing.builders import NOON, id_of, instances
from proffer.testing.strategies import (
    LANGUAGES,
    SEEDS,
    Dice,
    a_random_library,
    some_profile,
)
from proffer.wire.scope import encode_scope
from support.server import server

CONTEXT = "_xdm.context.additionalParameters;version=1"
ANN = IdentityKey("CRMID", "ann")


def at_noon() -> int:
    return NOON


def scopes_of(documents: list[dict[str, Any]], dice: Dice) -> list[tuple[str, str, int | None]]:
    """Some scopes of the library, each once; with a number, without one, and now and then of nobody."""
    pairs = {
        (one["@id"], placement)
        for one in documents
        for criterion in one.get("xdm:criteria", ())
        for placement in criterion["xdm:placements"]
    }
    nobody = (id_of(EntityKind.DECISION, "d9"), id_of(EntityKind.PLACEMENT, "web"))
    chosen = dice.sample([*sorted(pairs), nobody], 5)[:5] or [nobody]
    return [(decision, placement, dice.usually(None, 1, 2, 3, 5)) for decision, placement in chosen]


async def filled(documents: list[dict[str, Any]], profile: dict[str, Any]) -> MemoryStore:
    """A store with this library and one customer."""
    store = MemoryStore()
    services = Services(store, at_noon)
    await services.tokens.container(DEV_ORGANISATION, "prod", new_id=DEV_CONTAINER)
    kept = [replace(one, container=DEV_CONTAINER) for one in instances(documents)]
    if kept:
        await store.commit(DEV_CONTAINER, 0, kept)
    attributes = {name: one for name, one in profile.items() if one is not None}
    record = ProfileRecord(
        identities=(ANN,),
        dataset="crm",
        stamped_us=NOON,
        attributes=without_prefixes(attributes),
    )
    await store.apply_changes(DEV_CONTAINER, [record], now_us=NOON)
    return store


@settings(max_examples=60)
@given(seed=SEEDS, odd=st.integers(0, 5), asked=SEEDS)
def test_the_edge_gives_what_the_hub_gives(seed: int, odd: int, asked: int) -> None:
    """A random library, customer and moment; scopes in either spelling, with and without a number; the same seed."""
    documents = a_random_library(seed, odd, 12, 3)
    dice = Dice(asked, odd)
    wanted = scopes_of(documents, dice)
    event: dict[str, Any] = dice.choose([{}, {"eventType": "click"}, {"eventType": "click"}, {"eventType": 3}])
    store = asyncio.run(filled(documents, some_profile(dice)))
    spoken = dice.sample(LANGUAGES)[:2]
    hub: dict[str, Any] = {
        "xdm:propositionRequests": [
            {
                "xdm:activityId": decision,
                "xdm:placementId": placement,
                **({} if number is None else {"xdm:itemCount": number}),
            }
            for decision, placement, number in wanted
        ],
        "xdm:profiles": [
            {
                "xdm:identityMap": {ANN.namespace: [{"xdm:id": ANN.id}]},
                "xdm:contextData": [{"@type": CONTEXT, "xdm:data": event}],
            }
        ],
        "xdm:responseFormat": {"xdm:includeContent": True},
        "xdm:dryRun": True,
    }
    texts = [
        encode_scope(decision, placement) if number is None else encode_mobile_scope(decision, placement, number)
        for decision, placement, number in wanted
    ]
    edge: dict[str, Any] = {
        "events": [
            {
                "xdm": {**event, "identityMap": {ANN.namespace: [{"id": ANN.id, "primary": True}]}},
                "data": {"__adobe": {"ajo": {"dryRun": True}}},
                "query": {"personalization": {"decisionScopes": texts}},
            }
        ]
    }

    async def opening(_: Settings) -> Store:
        return store

    language = {"Accept-Language": ", ".join(spoken) or "*"}
    fixed = new_decision_id(NOON)
    with (
        patch("proffer.service.decisions.decide.new_decision_id", lambda _: fixed),
        server(opening=opening, clock=at_noon) as client,
    ):
        path = "/data/core/ods/decisions?partial=true"
        by_hub = client.post(path, json=hub, headers=language)
        by_edge = client.post("/ee/v1/interact?configId=dev", json=edge, headers=language)

    assert by_hub.status_code in {200, 207}, by_hub.text
    assert by_edge.status_code in {200, 207}, by_edge.text
    hub_gave = [
        (
            encoded(one["xdm:activity"]["xdm:id"], one["xdm:placement"]["xdm:id"]),
            [
                (option["xdm:id"], option.get("xdm:content"))
                for option in one.get("xdm:options") or [one["xdm:fallback"]]
            ],
        )
        for one in by_hub.json()["xdm:propositions"]
    ]
    (handle,) = [one for one in by_edge.json()["handle"] if one["type"] == "personalization:decisions"]
    edge_gave = [
        (
            encoded(one["activity"]["id"], one["placement"]["id"]),
            [(item["id"], item["data"].get("content")) for item in one["items"]],
        )
        for one in handle["payload"]
    ]
    assert edge_gave == hub_gave
    missing = len(by_hub.json().get("errors", []))
    assert len(by_edge.json().get("errors", [])) == missing


def encoded(decision: str, placement: str) -> str:
    return encode_scope(decision, placement)
