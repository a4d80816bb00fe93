"""`proffer decide`: one decision and why, without a trace of it; or one on record, made again."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from starlette.testclient import TestClient

from cli.commands import Proffer
from proffer.app import DEV_CONTAINER, create_app
from proffer.config import Settings
from proffer.model.events import new_decision_id
from proffer.model.ids import EntityKind
from proffer.pql import MEANING_VERSION
from proffer.store.common import proposition_index as edge_ids
from proffer.store.sqlite.store import SqliteStore
from proffer.testing import builders as b
from proffer.wire.scope import encode_scope
from support.decisions import a_library, always, ask, offer_ids, proposition
from support.server import XCORE

GOLD, SILVER = b.id_of(EntityKind.OFFER, "gold"), b.id_of(EntityKind.OFFER, "silver")


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'proffer.db'}"


def on(database: str) -> TestClient:
    app = create_app(Settings(dev=True, database=database))
    return TestClient(app, base_url="http://127.0.0.1:8700")


def two_offers(client: TestClient, **more: Any) -> None:
    """Gold for adults, at most once, before silver for everybody."""
    gold = always(b.an_offer("gold", priority=2, rule="adults", cap=1, **more))
    silver = always(b.an_offer("silver", priority=1))
    a_library(client, gold, silver, b.a_rule("adults", "person.age >= 18"))


def instance(client: TestClient, kind: str, entity_id: str) -> str:
    asked = {"schema": f"https://ns.adobe.com/experience/offer-management/{kind}", "id": entity_id}
    found = client.get(f"{XCORE}/instances", params=asked).json()["_embedded"]["results"]
    return str(found[0]["instanceId"])


def test_a_decision_says_why(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """From flags and files; nothing is counted, however often it is asked."""
    with on(database) as client:
        two_offers(client)
    profile, context = tmp_path / "ann.yaml", tmp_path / "context.json"
    profile.write_text("person: {age: 40}\n")
    context.write_text('{"any": {"weather": "rain"}}')
    scope = ["--decision", "decision", "--placement", "web", "--database", database]

    for _ in range(2):
        ran = proffer("decide", *scope, "--profile", profile, "--context", context)
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.splitlines()[0] == "decision in web: `gold`"
        assert [line.split()[:3] for line in ran.out.splitlines()[1:3]] == [
            ["rank", "1", "gold"],
            ["rank", "2", "silver"],
        ]
        assert ran.out.splitlines()[-1] == "nothing was counted"
    stranger = proffer("decide", *scope, "--count", 2)
    assert stranger.out.splitlines()[0] == "decision in web: `silver`"
    assert "eligibility" in stranger.out
    assert "`person.age >= 18` fails: it is missing" in stranger.out


def test_kept_customers_are_known(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """By identity."""
    with on(database) as client:
        two_offers(client)
    rows = tmp_path / "people.jsonl"
    rows.write_text(json.dumps({"identityMap": {"Email": [{"id": "ann@x"}]}, "person": {"age": 40}}))
    proffer("profiles", "import", rows, "--database", database)
    scope = ["--decision", "decision", "--placement", "web", "--database", database]

    assert "`gold`" in proffer("decide", *scope, "--identity", "Email:ann@x").out
    assert "`gold`" not in proffer("decide", *scope, "--identity", "Email:bob@x").out


def test_what_cannot_be_decided_is_told(proffer: Proffer, database: str) -> None:
    """What is not there, what is not said, and scopes without an answer."""
    with on(database) as client:
        two_offers(client)
        a_draft = b.a_decision("draft", b.a_criterion("everything"), status="draft")
        client.post(
            f"{XCORE}/instances",
            json=a_draft,
            headers={
                "Content-Type": "application/schema-instance+json; "
                'schema="https://ns.adobe.com/experience/offer-management/offer-activity"'
            },
        ).raise_for_status()
    where = ["--database", database]

    for arguments, word in (
        (["--decision", "decision"], "a decision and a placement"),
        (["--decision", "nope", "--placement", "web"], "there is no decision `nope`"),
        (["--replay", "nope"], "no stored decision"),
        (["--replay", "nope", "--decision", "decision"], "remove the other options"),
    ):
        ran = proffer("decide", *arguments, *where)
        assert (ran.code, word in ran.err) == (1, True), ran.err
    ran = proffer("decide", "--decision", "draft", "--placement", "web", *where)
    assert (ran.code, "no answer" in ran.out) == (1, True)


def test_a_replay_gives_what_is_on_record(proffer: Proffer, database: str) -> None:
    """To the last bit, after the offer was renamed, deleted or spent; and says what would be different today."""
    with on(database) as client:
        a_library(
            client,
            always(b.an_offer("gold", priority=2, cap=1)),
            always(b.an_offer("silver", priority=1)),
        )
        first, second = ask(client), ask(client)
        assert [offer_ids(one) for one in (first, second)] == [[GOLD], [SILVER]]
        same = proffer("decide", "--replay", proposition(second), "--database", database)
        spent = proffer("decide", "--replay", proposition(first), "--database", database)
        offer = instance(client, "personalized-offer", SILVER)
        patch = [{"op": "replace", "path": "/_instance/xdm:rank/xdm:priority", "value": 3}]
        client.patch(f"{XCORE}/instances/{offer}", json=patch).raise_for_status()
        after = proffer("decide", "--replay", proposition(first), "--database", database)
        shown = client.get(f"/api/propositions/{proposition(first)}").json()
        again = client.get(f"/api/propositions/{proposition(first)}/replay").json()
        nothing = client.get("/api/propositions/nope/replay")

    assert shown["_id"] == proposition(first)
    (detail,) = shown["_experience"]["decisioning"]["propositionDetails"]
    assert detail["selections"][0]["name"] == "gold"
    assert (again["reproduced"], again["asItWas"]) == (True, [])
    assert again["libraryToday"][0]["reasons"] == ["`gold` now has rank 2"]
    assert (nothing.status_code, nothing.json()["code"]) == (404, "proposition-not-found")
    assert (same.code, same.err) == (0, "")
    assert "replayed with the recorded inputs: the same, to the last bit" in same.out
    assert "  decision in web: `silver`" in same.out
    assert "    capping  gold    cap `globalCap` is reached" in same.out
    (scope,) = again["explanation"]
    assert [(one["name"], one["stage"]) for one in scope["candidates"]] == [
        ("gold", "ranked"),
        ("silver", "ranked"),
    ]
    assert "with today's library: the same" in same.out
    assert spent.code == 0
    assert "with today's library: the same" in spent.out
    assert "(no stored customer data): 1 of 1 scopes differ" in spent.out
    assert "`gold` was excluded at capping: cap `globalCap` is reached" in spent.out
    assert after.code == 0
    assert "replayed with the recorded inputs: the same, to the last bit" in after.out
    assert "with today's library: 1 of 1 scopes differ" in after.out
    assert "`gold` now has rank 2" in after.out


def test_a_replay_of_another_meaning_says_so_first(proffer: Proffer, database: str) -> None:
    """The sentence and what changed precede the result, so a different result is not taken for a wrong record."""
    with on(database) as client:
        gold, silver = (always(b.an_offer(name, priority=priority)) for name, priority in (("gold", 1), ("silver", 2)))
        a_library(client, gold, silver)
        made = proposition(ask(client))

    async def store_as_decided_by_another(meaning: int, offer: str) -> str:
        store = await SqliteStore.open(Path(database.removeprefix("sqlite:///")))
        event = await store.decision_event(DEV_CONTAINER, made)
        assert event is not None
        assert event.answers[0] is not None
        (selection,) = event.answers[0].selections
        event = replace(
            event,
            id=new_decision_id(event.decided_us),
            meaning=meaning,
            answers=(replace(event.answers[0], selections=(replace(selection, offer=offer),)),),
        )
        await store.record(DEV_CONTAINER, event)
        await store.close()
        return event.id

    for meaning, offer, age, code in (
        (1, GOLD, "an earlier", 1),
        (3, GOLD, "a later", 1),
        (1, SILVER, "an earlier", 0),
    ):
        stored = asyncio.run(store_as_decided_by_another(meaning, offer))

        ran = proffer("decide", "--replay", stored, "--database", database)

        assert ran.code == code, ran.out
        lines = ran.out.splitlines()
        assert lines[0].startswith(f"This decision was made by {age} version of Proffer, with version {meaning} ")
        assert any("Date-times are instants" in line for line in lines) is (meaning == 1)
        assert ("NOT the same (rules and formulas had version" in ran.out) is (code == 1)

        with on(database) as client:
            answer = client.get(f"/api/propositions/{stored}/replay").json()
        assert next(iter(answer)) == "meaning"
        assert answer["meaning"] == {
            "recorded": meaning,
            "used": MEANING_VERSION,
            "note": lines[0],
            "changes": [line.removeprefix("- ") for line in lines if line.startswith("- ")],
        }
    assert not proffer("decide", "--replay", made, "--database", database).out.startswith("This decision was made")


def test_an_erased_customer_is_not_replayed(proffer: Proffer, database: str) -> None:
    """What the decision read is gone."""
    with on(database) as client:
        two_offers(client)
        made = proposition(ask(client, email="ann@x"))
    erased = proffer("profiles", "erase", "--identity", "Email:ann@x", "--database", database)
    assert (erased.code, "anonymised: 1 decision and" in erased.out) == (0, True), erased.out + erased.err
    ran = proffer("decide", "--replay", made, "--database", database)
    assert (ran.code, "erased" in ran.err) == (1, True)


def test_a_replay_finds_old_ids_of_the_edge(proffer: Proffer, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was decided since: what is more than a request may look through is looked through all the same."""
    decision, placement = (
        b.id_of(kind, name) for kind, name in ((EntityKind.DECISION, "decision"), (EntityKind.PLACEMENT, "web"))
    )
    asked = {"query": {"personalization": {"decisionScopes": [encode_scope(decision, placement)]}}}
    with on(database) as client:
        two_offers(client)
        answer = client.post("/ee/v1/interact?configId=dev", json={"events": [asked]}).json()
        for _ in range(3):
            ask(client)
    (made,) = (
        one["id"]
        for handle in answer["handle"]
        if handle["type"] == "personalization:decisions"
        for one in handle["payload"]
    )
    monkeypatch.setattr(edge_ids, "MOST_AT_ONCE", 0)
    found = proffer("decide", "--replay", made, "--database", database)
    assert (found.code, found.err) == (0, "")
    assert "`silver`" in found.out
