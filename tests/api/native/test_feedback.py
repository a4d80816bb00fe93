"""/api/feedback: what became of propositions is attributed, counted, and never lost."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from proffer.app import create_app
from proffer.config import Settings
from proffer.model.ids import EntityKind
from proffer.store.ports import Store
from proffer.store.sqlite.store import SqliteStore
from proffer.testing import builders as b
from support.customers import identities, message
from support.decisions import a_library, always, ask, offer_ids, proposition
from support.server import server

GOLD, SILVER = b.id_of(EntityKind.OFFER, "gold"), b.id_of(EntityKind.OFFER, "silver")
FALLBACK = b.id_of(EntityKind.FALLBACK, "fallback")
WEB = b.id_of(EntityKind.PLACEMENT, "web")
DECISION = b.id_of(EntityKind.DECISION, "decision")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    async def opening(_: Settings) -> Store:
        return await SqliteStore.open(tmp_path / "proffer.db")

    with server(opening=opening) as client:
        yield client


def capped(limit: int, *events: str, **more: Any) -> dict[str, Any]:
    """A limit on these events."""
    return b.a_cap(limit) | {"xdm:events": list(events)} | more


def offers(client: TestClient, *caps: dict[str, Any]) -> None:
    """Gold, with these limits, before silver."""
    gold = always(b.an_offer("gold", priority=2, caps=caps))
    a_library(client, gold, always(b.an_offer("silver", priority=1)))


def report(client: TestClient, *events: dict[str, Any]) -> list[Any]:
    answer = client.post("/api/feedback", json={"events": list(events)})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["received"])


def an_event(key: str, decided: dict[str, Any], kind: str = "display", **more: Any) -> Any:
    return {"id": key, "type": kind, "propositionId": proposition(decided), **more}


def unattributed(client: TestClient, **query: Any) -> Any:
    answer = client.get("/api/feedback/unattributed", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_impression_counts_for_the_next_decision(client: TestClient) -> None:
    """Decisions alone do not move a limit on impressions; the event does, at once; clicks do not."""
    offers(client, capped(2, "impression"))
    decided = [ask(client) for _ in range(4)]
    assert [offer_ids(one) for one in decided] == [[GOLD]] * 4

    (received,) = report(client, an_event("e1", decided[0]))
    assert received == {
        "id": "e1",
        "kind": "display",
        "again": False,
        "waiting": False,
        "delivered": [
            {
                "propositionId": proposition(decided[0]),
                "decision": DECISION,
                "placement": WEB,
                "item": GOLD,
            }
        ],
        "missed": [],
    }
    report(client, an_event("c1", decided[0], "interact"), an_event("x1", decided[0], "dismiss"))
    assert offer_ids(ask(client)) == [GOLD]
    report(client, an_event("e2", decided[1]))
    assert offer_ids(ask(client)) == [SILVER]


def test_the_same_event_counts_once(client: TestClient) -> None:
    """Whatever way it comes the second time."""
    offers(client, capped(2, "click"))
    decided = ask(client)
    event = an_event("c1", decided, "interact")

    assert [one["again"] for one in report(client, event, event)] == [False, True]
    assert [one["again"] for one in report(client, event)] == [True]
    xdm = {
        "_id": "c1",
        "timestamp": "2026-01-01T00:00:00Z",
        "eventType": "decisioning.propositionInteract",
        "identityMap": identities(Email="ann@x"),
        "_experience": {"decisioning": {"propositions": [{"id": proposition(decided)}]}},
    }
    assert client.post("/collection/dev", json=message(xdm)).status_code == 200
    assert offer_ids(ask(client)) == [GOLD]


def test_streamed_events_are_feedback_too(client: TestClient) -> None:
    """Through `/collection`, in both spellings, with and without an identity; they are kept as events as well."""
    offers(client, capped(3, "impression"))
    decided = ask(client)
    plain = {
        "_id": "e1",
        "timestamp": "2026-01-01T00:00:00Z",
        "eventType": "decisioning.propositionDisplay",
        "identityMap": identities(Email="ann@x"),
        "_experience": {"decisioning": {"propositions": [{"id": proposition(decided)}]}},
    }
    addressed = {
        "@id": "e2",
        "xdm:timestamp": "2026-01-01T00:00:00Z",
        "xdm:eventType": "decisioning.propositionDisplay",
        "xdm:identityMap": identities(Email="ann@x"),
        "https://ns.adobe.com/experience/decisioning/propositions": [
            {"xdm:id": proposition(decided), "xdm:items": [{"xdm:id": GOLD}]}
        ],
    }
    nobody = {**plain, "_id": "e3", "identityMap": {}}
    answers = [client.post("/collection/dev", json=message(one)) for one in (plain, addressed)]
    assert [one.status_code for one in answers] == [200, 200], [one.text for one in answers]
    assert offer_ids(ask(client)) == [GOLD]
    batch = client.post("/collection/batch/dev", json={"messages": [message(nobody)]})
    assert "statusCode" not in batch.json()["responses"][0], batch.text

    assert offer_ids(ask(client)) == [SILVER]
    asked = {
        "schema.name": "_xdm.context.experienceevent",
        "relatedEntityId": "ann@x",
        "relatedEntityIdNS": "Email",
    }
    page = client.get("/data/core/ups/access/entities", params=asked).json()
    assert [one["entityId"] for one in page["children"]] == ["e1", "e2"]


def test_an_event_that_is_no_feedback_needs_an_identity(client: TestClient) -> None:
    """As before: nobody would know whose it is. What is wrong with feedback is told with its place."""
    event = {"_id": "e1", "timestamp": "2026-01-01T00:00:00Z", "eventType": "web.view"}
    refused = client.post("/collection/dev", json=message(event))
    assert (refused.status_code, "no identity" in refused.text) == (400, True)

    event["identityMap"] = identities(Email="ann@x")  # type: ignore[assignment]
    event["_experience"] = {"decisioning": {"propositions": [{"scope": 1}]}}  # type: ignore[assignment]
    refused = client.post("/collection/dev", json=message(event))
    (violation,) = refused.json()["report"]["violations"][:1]
    assert refused.status_code == 400
    assert violation["path"] == "$.body.xdmEntity._experience.decisioning.propositions[0].scope"


def test_custom_events_count_by_their_query(client: TestClient) -> None:
    """The query sees the event as it is streamed in; without one every custom event counts."""
    query = 'body.xdmEntity._tenant.things[statusCd="1"]'
    offers(client, capped(2, "custom", **{"xdm:customQuery": query}))
    decided = ask(client)
    done = {"_tenant": {"things": [{"statusCd": "2"}, {"statusCd": "1"}]}}

    report(client, an_event("e1", decided, "shop.redeemed", data=done))
    report(client, an_event("e2", decided, "shop.redeemed", data={"_tenant": {"things": []}}))
    assert offer_ids(ask(client)) == [GOLD]
    report(client, an_event("e3", decided, "shop.redeemed", data=done))
    assert offer_ids(ask(client)) == [SILVER]


def test_custom_events_are_compared_by_the_types_of_an_event(client: TestClient) -> None:
    """XDM declares the total of an order a number, so a text that is one counts as it."""
    query = "body.xdmEntity.commerce.order.priceTotal > body.xdmEntity.commerce.order.taxAmount"
    offers(client, capped(1, "custom", **{"xdm:customQuery": query}))
    decided = ask(client)
    small, large = ({"commerce": {"order": {"priceTotal": total, "taxAmount": "9"}}} for total in ("8", "10"))

    report(client, an_event("e1", decided, "shop.redeemed", data=small))
    assert offer_ids(ask(client)) == [GOLD]
    report(client, an_event("e2", decided, "shop.redeemed", data=large))
    assert offer_ids(ask(client)) == [SILVER]


def test_what_is_on_no_record_is_kept_and_listed(client: TestClient) -> None:
    """A foreign proposition, one older than the record, an item or a scope that was not in it."""
    offers(client, capped(1, "impression"))
    decided = ask(client)
    old = "00000000-0001-7000-8000-000000000000"
    received = report(
        client,
        {"id": "e1", "type": "display", "propositionId": "somebody else's"},
        {"id": "e2", "type": "display", "propositionId": old},
        an_event("e3", decided, items=[SILVER]),
        an_event("e4", decided, scope="xcore:offer-activity:999/xcore:offer-placement:999"),
        an_event("e5", decided, scope=f"{DECISION}/{WEB}", items=[GOLD.replace("xcore", "dps")]),
    )

    assert [[one["why"] for one in each["missed"]] for each in received] == [
        ["unknown-proposition"],
        ["forgotten-proposition"],
        ["other-item"],
        ["other-scope"],
        [],
    ]
    listed = unattributed(client)
    assert [one["id"] for one in listed["events"]] == ["e1", "e2", "e3", "e4"]
    assert listed["next"] is None
    assert listed["events"][0]["event"]["_id"] == "e1"
    first = unattributed(client, limit=3)
    rest = unattributed(client, limit=3, after=first["next"])
    assert [one["id"] for one in rest["events"]] == ["e4"]
    assert offer_ids(ask(client)) == [SILVER]


def test_a_fallback_may_be_reported(client: TestClient) -> None:
    """It is attributed, and counts for nothing."""
    a_library(client, always(b.an_offer("gold", cap=1)))
    ask(client)
    decided = ask(client)
    assert offer_ids(decided) == [FALLBACK]

    (received,) = report(client, an_event("e1", decided))
    assert [one["item"] for one in received["delivered"]] == [FALLBACK]


def test_all_scopes_count_where_none_is_named(client: TestClient) -> None:
    """Each offer of each scope once; with a scope, or an item, only what they name."""
    gold = always(b.an_offer("gold", content=["web", "app"], caps=[capped(9, "impression")]))
    a_library(client, b.a_placement("web"), b.a_placement("app"), gold)
    both: dict[str, Any] = {"xdm:allowDuplicatePropositions": {"xdm:acrossPlacements": True}}
    decided = ask(client, ("decision", "web"), ("decision", "app"), **both)
    app = b.id_of(EntityKind.PLACEMENT, "app")

    received = report(
        client,
        an_event("e1", decided),
        an_event("e2", decided, scope=f"{DECISION}/{app}"),
        an_event("e3", decided, items=[GOLD, GOLD]),
    )
    assert [[one["placement"] for one in each["delivered"]] for each in received] == [
        [WEB, app],
        [app],
        [WEB],
    ]


def test_mistakes_are_all_told(client: TestClient) -> None:
    """With places; nothing of the request is taken in."""
    offers(client)
    refused = client.post(
        "/api/feedback",
        json={"events": [{"type": "display"}, {"id": "", "type": 1, "propositionId": "p", "at": "x"}]},
    )
    assert refused.status_code == 422
    assert [one["path"] for one in refused.json()["report"]["violations"]] == [
        "$.events[0].id",
        "$.events[0].propositionId",
        "$.events[1].id",
        "$.events[1].type",
        "$.events[1].at",
    ]
    large = {"id": "e", "type": "display", "propositionId": "p", "data": {"x": "y" * 65_536}}
    refused = client.post("/api/feedback", json={"events": [large]})
    assert refused.json()["report"]["violations"][0]["path"] == "$.events[0].data"
    assert client.post("/api/feedback", json={"events": []}).status_code == 422
    assert client.post("/api/feedback", json=[]).status_code == 422
    assert client.get("/api/feedback/unattributed?after=x").status_code == 400
    assert unattributed(client)["events"] == []


def test_feedback_survives_a_restart(tmp_path: Path) -> None:
    """Counted is counted."""

    async def opening(_: Settings) -> Store:
        return await SqliteStore.open(tmp_path / "proffer.db")

    for _ in range(2):
        with TestClient(
            create_app(Settings(dev=True), store_opener=opening), base_url="http://127.0.0.1:8700"
        ) as client:
            if not client.get("/api/changes").json()["changes"]:
                offers(client, capped(1, "impression"))
                report(client, an_event("e1", ask(client)))
            assert offer_ids(ask(client)) == [SILVER]


def test_an_event_with_a_mistake_does_not_refuse_the_others(client: TestClient) -> None:
    offers(client, capped(1, "impression"))
    decided = ask(client)
    bad: list[Any] = [{"id": "e2", "type": "display"}, 5, an_event("e3", decided, items="x"), an_event("e4", decided)]
    bad[-1]["data"] = {"x": "y" * 300_000}
    answer = client.post("/api/feedback", json={"events": [*bad, an_event("e1", decided)]})

    assert answer.status_code == 207, answer.text
    assert [received["id"] for received in answer.json()["received"]] == ["e1"]
    refused = answer.json()["refused"]
    assert [(each["index"], each["id"]) for each in refused] == [(0, "e2"), (1, None), (2, "e3"), (3, "e4")]
    assert refused[0]["violations"][0]["path"] == "$.events[0].propositionId"
    assert offer_ids(ask(client)) == [SILVER]
    answer = client.post("/api/feedback", json={"events": bad})
    assert answer.status_code == 422
    assert len(answer.json()["report"]["violations"]) == 4


def test_a_misspelt_type_or_the_word_of_caps_is_a_custom_event_with_a_warning(client: TestClient) -> None:
    offers(client)
    decided = ask(client)
    types = ["dispaly", "signed-up", "click", "impression"]
    events = [an_event(f"e{index}", decided, type_) for index, type_ in enumerate(types)]
    answer = client.post("/api/feedback", json={"events": events})
    assert [received["kind"] for received in answer.json()["received"]] == ["custom"] * 4
    assert answer.headers["warning"].split(", ") == [
        '199 proffer "$.events[0].type: `dispaly` counts as a custom event; did you mean `display`?"',
        '199 proffer "$.events[2].type: `click` counts as a custom event; did you mean `interact`?"',
        '199 proffer "$.events[3].type: `impression` counts as a custom event; did you mean `display`?"',
    ]


@pytest.mark.parametrize(
    "event",
    [
        {
            "https://ns.adobe.com/experience/decisioning/propositions": [
                {"xdm:items": [{"xdm:id": "xcore:personalized-offer:1"}]}
            ]
        },
        {"_experience": {"decisioning": {"propositions": [{"items": [{"id": "xcore:personalized-offer:1"}]}]}}},
    ],
)
def test_feedback_without_a_proposition_id_is_kept_as_unattributed(client: TestClient, event: dict[str, Any]) -> None:
    offers(client)
    entity = {"_id": "e1", "timestamp": "2025-05-05T10:00:00Z", "eventType": "decisioning.propositionDisplay", **event}
    answer = client.post("/collection/dev?syncValidation=true", json=message(entity))
    assert answer.status_code == 200, answer.text
    (kept,) = unattributed(client)["events"]
    assert kept["missed"] == [{"propositionId": "", "item": None, "why": "unknown-proposition"}]
