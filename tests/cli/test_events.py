"""`proffer events`: what is on record is exported once, listed, and forgotten in time."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
from starlette.testclient import TestClient

from cli.commands import Proffer
from proffer.app import create_app
from proffer.config import Settings
from proffer.model.events import edge_proposition_id
from proffer.model.ids import EntityKind
from proffer.pql import MEANING_VERSION
from proffer.testing import builders as b
from support.decisions import a_library, always, ask, proposition
from support.server import ODE

GOLD, FALLBACK = b.id_of(EntityKind.OFFER, "gold"), b.id_of(EntityKind.FALLBACK, "fallback")
WEB, DECISION = b.id_of(EntityKind.PLACEMENT, "web"), b.id_of(EntityKind.DECISION, "decision")


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'proffer.db'}"


def on(database: str) -> TestClient:
    app = create_app(Settings(dev=True, database=database))
    return TestClient(app, base_url="http://127.0.0.1:8700")


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def gold(**more: Any) -> dict[str, Any]:
    made = always(b.an_offer("gold", tags=["vip"], cap=2, rule="adults"))
    return made | {"xdm:characteristics": {"colour": "gold"}} | more


def some_decisions(client: TestClient) -> list[str]:
    """Two for gold, one for nothing but the fallback."""
    a_library(client, gold(), b.a_rule("adults", "person.age >= 18"))
    ann = {
        "xdm:identityMap": {"Email": [{"xdm:id": "ann@x"}]},
        "xdm:attributes": {"person": {"age": 40}},
        "xdm:decisionRequestId": "request-1",
    }
    scope = {"xdm:activityId": DECISION, "xdm:placementId": WEB}
    made = []
    for _ in range(2):
        body = {
            "xdm:propositionRequests": [scope],
            "xdm:profiles": [ann],
        }
        made.append(client.post(f"{ODE}/decisions", json=body).json()["xdm:propositionId"])
    return [*made, proposition(ask(client, email="bob@x"))]


def test_decisions_are_exported_as_documented(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """With names, tags and characteristics of the versions they were made with, in both forms."""
    with on(database) as client:
        first, _, last = some_decisions(client)
        found = client.get(f"/api/revisions/{GOLD}/1").json()
        instance = client.get(
            f"/data/core/xcore/{ODE.rpartition('/')[2]}/instances",
            params={
                "schema": "https://ns.adobe.com/experience/offer-management/personalized-offer",
                "id": found["id"],
            },
        ).json()["_embedded"]["results"][0]["instanceId"]
        patch = [{"op": "replace", "path": "/_instance/xdm:name", "value": "renamed"}]
        changed = client.patch(f"/data/core/xcore/{ODE.rpartition('/')[2]}/instances/{instance}", json=patch)
        assert changed.status_code == 200, changed.text
    out, table = tmp_path / "out.jsonl", tmp_path / "out.parquet"

    ran = proffer("events", "export", "--out", out, "--database", database)
    assert (ran.code, ran.err, ran.out) == (0, "", f"{out}: 3 events\n")
    assert proffer("events", "export", "--out", table, "--database", database).code == 0

    one, _, none = rows(out)
    said = one["_experience"]["decisioning"]
    (detail,) = said["propositionDetails"]
    assert (one["_id"], said["propositionID"], none["_id"]) == (first, first, last)
    assert one["identityMap"] == {"Email": [{"id": "ann@x", "primary": True}]}
    assert said["decisionRequestID"] == "request-1"
    assert detail["activity"]["name"] == "decision"
    assert detail["activity"]["fallback"] == FALLBACK
    assert detail["placement"] | {"channelID": None} == {
        "id": WEB,
        "_repo": {"etag": "1"},
        "name": "web",
        "channelID": None,
    }
    assert detail["selections"] == [
        {
            "id": GOLD,
            "_repo": {"etag": "1"},
            "name": "gold",
            "tags": [b.id_of(EntityKind.TAG, "vip")],
            "characteristics": {"colour": "gold"},
        }
    ]
    assert (detail["rank"], "selectionStrategy" in detail) == (1, False)
    assert "fallback" not in detail
    (newer,) = said["propositions"]
    assert newer["id"] == edge_proposition_id(first, 0)
    assert newer["items"] == [{"id": GOLD}]
    assert newer["scopeDetails"]["activity"] == {"id": DECISION, "_repo": {"etag": "1"}, "name": "decision"}
    assert newer["scopeDetails"]["rank"] == 1
    assert newer["scopeDetails"]["experience"] == {"id": said["experienceID"]}
    assert json.loads(one["_proffer"]["attributes"]) == {"person": {"age": 40}}
    assert one["_proffer"]["meaning"] == MEANING_VERSION
    (own,) = one["_proffer"]["propositions"]
    assert (own["id"], own["criteria"], own["ranks"], "formulas" in own) == (newer["id"], [0], [1], False)
    assert "criteria" not in none["_proffer"]["propositions"][0]
    for row in rows(out):
        for scope in row["_proffer"]["propositions"]:
            assert ("dropped" in scope) is row["_id"].endswith("0")
    (empty,) = none["_experience"]["decisioning"]["propositionDetails"]
    assert (empty["fallback"]["id"], "selections" in empty) == (FALLBACK, False)
    same = [row["_experience"]["decisioning"]["experienceID"] for row in rows(out)]
    assert (same[0] == same[1], same[0] == same[2]) == (True, False)
    assert [row["_id"] for row in pyarrow.parquet.read_table(table).to_pylist()] == [row["_id"] for row in rows(out)]


def test_feedback_is_exported_as_documented(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """With what it is about, which joins with the decisions."""
    with on(database) as client:
        first, *_ = some_decisions(client)
        events = [
            {"id": "e1", "type": "display", "propositionId": first, "at": "2026-02-03T10:12:00Z"},
            {
                "id": "e2",
                "type": "shop.bought",
                "propositionId": "nobody's",
                "data": {"_t": {"n": 1}},
            },
        ]
        assert client.post("/api/feedback", json={"events": events}).status_code == 200
    out = tmp_path / "out.jsonl"
    ran = proffer("events", "export", "--kind", "feedback", "--out", out, "--database", database)
    assert (ran.code, ran.out) == (0, f"{out}: 2 events\n")

    seen, bought = rows(out)
    assert (seen["_id"], seen["timestamp"]) == ("e1", "2026-02-03T10:12:00.000000Z")
    assert seen["eventType"] == "decisioning.propositionDisplay"
    assert seen["_experience"]["decisioning"] == {
        "propositions": [{"id": first}],
        "propositionEventType": {"display": 1},
    }
    assert seen["_proffer"]["delivered"] == [
        {"propositionID": first, "activity": DECISION, "placement": WEB, "item": GOLD}
    ]
    assert (bought["_proffer"]["kind"], bought["eventType"]) == ("custom", "shop.bought")
    assert bought["_proffer"]["missed"] == [{"propositionID": "nobody's", "why": "unknown-proposition"}]
    assert json.loads(bought["_proffer"]["event"])["_t"] == {"n": 1}

    listed = proffer("events", "unattributed", "--database", database)
    assert (listed.code, listed.out.splitlines()[-1]) == (0, "1 event")
    assert "unknown-proposition nobody's" in listed.out
    (line,) = proffer("events", "unattributed", "--json", "--database", database).out.splitlines()
    assert json.loads(line)["id"] == "e2"


def test_a_state_makes_exports_incremental(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """Each run writes what is new; the moment of `--since` leaves out what is older."""
    state, first, second = tmp_path / "state", tmp_path / "1.jsonl", tmp_path / "2.jsonl"

    def export(out: Path, *more: object) -> Any:
        return proffer("events", "export", "--out", out, "--database", database, *more)

    with on(database) as client:
        made = some_decisions(client)
        export(first, "--state", state)
        assert export(second, "--state", state).out == "no new events; no file was written\n"
        later = proposition(ask(client))
    assert export(second, "--state", state).code == 0
    assert [row["_id"] for row in rows(first)] == made
    assert [row["_id"] for row in rows(second)] == [later]
    again = export(second, "--state", state)
    assert (again.code, "already exists" in again.err) == (1, True)
    wrong = export(tmp_path / "3.jsonl", "--state", state, "--kind", "feedback")
    assert (wrong.code, "belongs to another export" in wrong.err) == (1, True)
    assert export(tmp_path / "4.jsonl", "--since", "2090-01-01T00:00:00Z").out.endswith("0 events\n")


def test_what_is_asked_wrongly_is_told(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """Before anything is opened."""
    for arguments, word in (
        (["--out", tmp_path / "a.csv"], ".parquet or .jsonl"),
        (["--out", tmp_path / "a.jsonl", "--kind", "x"], "`decisions` or `feedback`"),
        (["--out", tmp_path / "a.jsonl", "--since", "yesterday"], "2026-01-01T00:00:00Z"),
    ):
        ran = proffer("events", "export", *arguments, "--database", database)
        assert (ran.code, word in ran.err) == (1, True), ran.err


def test_old_events_are_forgotten(proffer: Proffer, database: str, tmp_path: Path) -> None:
    """By room here; the newest stays, exports go on behind it, and counters keep what was counted."""
    state, out = tmp_path / "state", tmp_path / "1.jsonl"
    with on(database) as client:
        made = some_decisions(client)
        proffer("events", "export", "--out", out, "--state", state, "--database", database)
        ran = proffer("events", "prune", "--bytes", 1, "--database", database)
        assert ran.out == "deleted: 2 decisions, 0 feedback events\n"
        later = proposition(ask(client))
        reported = client.post(
            "/api/feedback",
            json={"events": [{"id": "e1", "type": "display", "propositionId": made[0]}]},
        ).json()
    proffer("events", "export", "--out", tmp_path / "2.jsonl", "--state", state, "--database", database)

    assert [row["_id"] for row in rows(tmp_path / "2.jsonl")] == [later]
    assert reported["received"][0]["missed"][0]["why"] == "forgotten-proposition"
    assert proffer("events", "prune", "--days", 1, "--database", database).out == (
        "deleted: 0 decisions, 0 feedback events\n"
    )
