"""The current code uses, replays, exports and moves data of earlier versions."""

import asyncio
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from starlette.testclient import TestClient

from cli.commands import Proffer
from proffer.app import open_store
from proffer.config import Settings
from proffer.pql import MEANING_VERSION, changes_of_meaning
from proffer.store.common.event_codec import decode_pack
from proffer.store.sqlite.migrate import newest_version
from support.postgres import drop_database, new_database
from support.workers import until
from upgrade.installations import Installation, StoredVersion, execute, for_versions, versions_with
from upgrade.library import FALLBACK, NEWCOMERS, NO_JSON, offer_id
from upgrade.probes import PROBES
from upgrade.scenario import (
    ANN_BY_PHONE,
    ASKED_US,
    DATASTREAM,
    GUEST,
    HOUR_US,
    LIMITS,
    PERSONS,
    RESERVED,
    RULES,
    answer_to,
    covers,
    customers,
    decide,
    edge_decision,
    option_ids,
    report,
    request,
    serving,
    settle,
)

_LATER_US = ASKED_US + 3 * HOUR_US
_DAY_US = 24 * HOUR_US
_NEXT_MONTH_US = ASKED_US + 28 * _DAY_US


def assert_same_answers(client: TestClient, facts: dict[str, Any]) -> None:
    """Assert that every stored question is answered as before.

    The options are equal, and the trace gives every candidate the same stage and rank; except for an offer
    whose JSON content is not JSON.
    """
    for name, stored in facts["answers"].items():
        answer = answer_to(client, stored["request"])
        assert covers(answer["options"], [_without_no_json(scope) for scope in stored["options"]]), name
        assert covers(answer["trace"], [_with_excluded_no_json(scope) for scope in stored["trace"]]), name


def _without_no_json(options: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [option for option in options if option["xdm:id"] != NO_JSON]


def _with_excluded_no_json(candidates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the candidates as they are when the offer that was ranked is excluded for its content."""
    excluded_rank = next((each["rank"] for each in candidates if each["id"] == NO_JSON), None)
    if excluded_rank is None:
        return candidates
    return [
        {**each, "stage": "content", "rank": None}
        if each["id"] == NO_JSON
        else {**each, "rank": each["rank"] - (each["rank"] > excluded_rank) if each["rank"] is not None else None}
        for each in candidates
    ]


def assert_reproduced(
    client: TestClient, version: StoredVersion, proposition: str, delivered: Sequence[str] = ()
) -> Any:
    """Assert that the replay reproduces the decision exactly; return the replay.

    If rules had another meaning, it names the changes first. A decision that delivered content that is not JSON is not
    reproduced.
    """
    answer = client.get(f"/api/propositions/{proposition}/replay")
    assert answer.status_code == 200, answer.text
    replay = answer.json()
    assert ("meaning" in replay) == (version.meaning != MEANING_VERSION)
    if "meaning" in replay:
        assert next(iter(replay)) == "meaning"
        assert replay["meaning"]["recorded"] == version.meaning
        assert f"version {version.meaning} of the meaning" in replay["meaning"]["note"]
        assert replay["meaning"]["changes"] == list(changes_of_meaning(version.meaning, MEANING_VERSION)) != []
    assert replay["reproduced"] == (NO_JSON not in delivered), replay
    if replay["reproduced"]:
        assert replay["asItWas"] == [], replay
    return replay


def assert_all_reproduced(client: TestClient, version: StoredVersion, decisions: dict[str, Any]) -> None:
    for proposition, decision in decisions.items():
        assert_reproduced(client, version, proposition, [one for scope in decision["options"] for one in scope])


def delivered_items(received: dict[str, Any]) -> list[str]:
    assert received["missed"] == [], received
    return [one["item"] for one in received["delivered"]]


def test_decisions_are_as_they_were(installation: Installation) -> None:
    """Decisions with each kind of rule, content and limit are unchanged.

    They cover rules over texts and times, audiences, formulas, invalid JSON content, limits and fallbacks.
    """
    with serving(installation.database, installation.spool) as client:
        assert_same_answers(client, installation.facts)


def test_limits_that_were_reached_stay_reached(installation: Installation) -> None:
    """Limits named by their list position continue to count.

    They apply in total, per customer, per placement and per month.
    """
    ann, ben = (request((LIMITS, "home"), who=who) for who in ("ann@example.org", "ben@example.org"))
    with serving(installation.database, installation.spool) as client:
        assert option_ids(decide(client, ann)) == [[FALLBACK]]
        assert option_ids(decide(client, ben)) == [[offer_id("12"), offer_id("13")]]
        assert option_ids(decide(client, ben)) == [[FALLBACK]]
    with serving(installation.database, installation.spool, _NEXT_MONTH_US) as client:
        assert option_ids(decide(client, ann)) == [[offer_id("13")]], "a new month has begun"
        assert option_ids(decide(client, ann)) == [[FALLBACK]]


def test_limits_that_were_reached_stay_reached_when_they_move(installation: Installation) -> None:
    """A limit that was stored without an index keeps its count when others are put before it or removed."""
    ann = request((LIMITS, "home"), who="ann@example.org")
    path = "/frequencyCappingConstraints"
    new_limit = {"limit": 70, "scope": "global", "entity": "offer"}
    with serving(installation.database, installation.spool) as client:
        for key, operation in (
            ("12", {"op": "add", "path": f"{path}/0", "value": new_limit}),
            ("12", {"op": "remove", "path": f"{path}/0"}),
            ("13", {"op": "add", "path": f"{path}/0", "value": new_limit}),
        ):
            offer_path = f"/data/core/dps/offers/{offer_id(key)}?offer-type=personalized"
            client.patch(offer_path, json=[operation]).raise_for_status()
            assert option_ids(decide(client, ann)) == [[FALLBACK]], operation


def test_counts_go_on_when_the_end_of_their_offer_moves(installation: Installation) -> None:
    """Once per customer is once, also after an end that was moved before it came."""
    ann = request((LIMITS, "home"), who="ann@example.org")
    path = f"/data/core/dps/offers/{offer_id('12')}?offer-type=personalized"
    with serving(installation.database, installation.spool) as client:
        for end in ("2026-02-03T00:00:00Z", "2026-03-20T00:00:00Z"):
            move = {"op": "replace", "path": "/selectionConstraint/endDate", "value": end}
            client.patch(path, json=[move]).raise_for_status()
    with serving(installation.database, installation.spool, _NEXT_MONTH_US) as client:
        assert offer_id("12") not in option_ids(decide(client, ann))[0]


def test_a_stored_end_inside_a_period_is_the_end_of_the_period(installation: Installation) -> None:
    """Earlier versions ended the count of a month with its offer, and deleted it after that."""
    ann = request((LIMITS, "home"), who="ann@example.org")
    execute(installation, f"UPDATE cap_counters SET expires_us = {ASKED_US} WHERE window_us <> 0")  # noqa: S608 - a number
    with serving(installation.database, installation.spool, _LATER_US) as client:
        assert option_ids(decide(client, ann)) == [[FALLBACK]]


def test_decisions_on_record_are_reproduced(installation: Installation) -> None:
    """Recorded decisions of the decisioning API and the edge are reproduced.

    An offer that was changed later is read in its earlier state.
    """
    stored = installation.facts["decisions"]
    with serving(installation.database, installation.spool, _LATER_US) as client:
        for proposition, decision in stored.items():
            delivered = [one for scope in decision["options"] for one in scope]
            replay = assert_reproduced(client, installation.version, proposition, delivered)
            if NO_JSON in delivered:
                continue
            ranked = [
                [one["id"] for one in scope["candidates"] if one["stage"] == "ranked"]
                for scope in replay["explanation"]
            ]
            given = [[one for one in scope if one != FALLBACK] for scope in decision["options"]]
            assert [found[: len(scope)] for found, scope in zip(ranked, given, strict=True)] == given
            assert all(one["reason"] for scope in replay["explanation"] for one in scope["candidates"])
        for one in installation.facts["edge"]:
            assert_reproduced(client, installation.version, one["id"], one["items"])
        first = client.get(f"/api/propositions/{next(iter(stored))}").json()
        details = first["_experience"]["decisioning"]["propositionDetails"]
        names = {one["id"]: one["name"] for one in details[0]["selections"]}
        assert names[offer_id("5")] == "Thanks for buying"


def test_reservations_stand_as_they_did(installation: Installation) -> None:
    """Confirmed, released, expired and held reservations keep their states.

    The held one can be confirmed and then counts.
    """
    keys = installation.facts["reservations"]
    asked = request((RESERVED, "home"), who="new@example.org")
    with serving(installation.database, installation.spool) as client:
        assert {name: settle(client, key) for name, key in keys.items()} == {name: name for name in keys}
        assert settle(client, keys["held"], "confirm") == "confirmed"
        assert option_ids(decide(client, asked)) == [[offer_id("16")]]
        assert option_ids(decide(client, asked)) == [[FALLBACK]], "two of three were confirmed"


def test_feedback_is_attributed_to_propositions_on_record(installation: Installation) -> None:
    """The delivered items of each proposition are known.

    An event sent before counts once; one without a proposition is listed as unattributed.
    """
    facts = installation.facts
    with serving(installation.database, installation.spool, _LATER_US) as client:
        for number, (proposition, decision) in enumerate(facts["decisions"].items()):
            event = {"id": f"new-{number}", "type": "interact", "propositionId": proposition}
            (received,) = report(client, event)
            assert delivered_items(received) == [one for scope in decision["options"] for one in scope]
        for number, one in enumerate(facts["edge"]):
            event = {"id": f"edge-{number}", "type": "interact", "propositionId": one["id"]}
            (received,) = report(client, event)
            assert delivered_items(received) == one["items"]
        (again,) = report(
            client,
            {"id": "seen-1", "type": "display", "propositionId": next(iter(facts["decisions"]))},
        )
        assert again["again"]
        lost = client.get("/api/feedback/unattributed").json()["events"]
        assert [one["id"] for one in lost] == ["lost-1"]


@for_versions(versions_with("itemFeedback"))
def test_feedback_by_the_token_of_an_item_is_counted_once(installation: Installation) -> None:
    """The token still names its one item, and the stored event is known again."""
    event = installation.facts["itemFeedback"]
    with serving(installation.database, installation.spool, _LATER_US) as client:
        (again,) = report(client, event)
        assert again["again"]
        (received,) = report(client, {**event, "id": "item-seen-2"})
        assert delivered_items(received) == [offer_id("34")]


@for_versions(versions_with("itemFeedback"))
def test_a_limit_ends_on_its_own_date(installation: Installation) -> None:
    """The limits beside it stay reached, also for an identity that joined a customer or another identity."""
    with serving(installation.database, installation.spool, _NEXT_MONTH_US + 2 * _DAY_US) as client:
        for who in ("eve@example.org", ANN_BY_PHONE, {"Phone": GUEST["Phone"]}):
            assert option_ids(decide(client, request((PERSONS, "home"), who=who))) == [[offer_id("32")]]


@for_versions(versions_with("audiencesEvaluated"))
def test_the_last_evaluation_of_audiences_is_known(proffer: Proffer, installation: Installation) -> None:
    """Members by the time of that evaluation have left when the audiences are evaluated now."""
    database = ("--database", installation.database)
    for action, evaluated, members in (("list", True, 1), ("evaluate", False, 0)):
        assert proffer("audiences", action, *database).code == 0
        audience = json.loads(proffer("audiences", "show", NEWCOMERS, "--json", *database).out)
        assert (audience["evaluated"] == installation.facts["audiencesEvaluated"]) == evaluated
        assert audience["members"] == members


@for_versions(versions_with("dropped"))
def test_the_numbers_of_dropped_candidates_are_read(installation: Installation) -> None:
    async def read() -> dict[str, list[list[int]]]:
        store = await open_store(Settings(database=installation.database))
        events = [await store.decision_event(installation.facts["container"], key) for key in dropped]
        await store.close()
        return {event.id: [list(one.dropped) for one in event.answers if one] for event in events if event}

    dropped = installation.facts["dropped"]
    assert dropped
    assert asyncio.run(read()) == dropped


def test_customers_and_the_edge_are_known(installation: Installation) -> None:
    """Attributes, linked identities, audiences and events of customers are kept.

    The datastream answers under its id.
    """
    with serving(installation.database, installation.spool) as client:
        assert covers(customers(client), installation.facts["customers"])
        (datastream,) = (one for one in client.get("/api/datastreams").json()["datastreams"] if one["id"] == DATASTREAM)
        assert datastream["name"] == "The shop"
        (proposition,) = edge_decision(client, "c-3", (RULES, "home"))
        assert [one["id"] for one in proposition["items"]] == [offer_id("6")]


def test_tokens_open_what_they_opened(installation: Installation) -> None:
    """Each token has its permissions in its organisation.

    Expired and revoked tokens have none.
    """
    with serving(installation.database, installation.spool, dev=False) as client:
        for token in installation.facts["tokens"]:
            statuses = {name: PROBES[name](client, token["token"]) for name in token["statuses"]}
            assert statuses == token["statuses"], token["label"]


def test_spooled_events_are_put_on_record(installation: Installation) -> None:
    """Decisions and feedback spooled by an earlier version are recorded once."""
    shutil.copytree(installation.version.folder / "spool", installation.spool)
    stored = installation.version.read("spool")
    with serving(installation.database, installation.spool, _LATER_US) as client:
        until(lambda: not list(installation.spool.iterdir()))
        for proposition in stored["decisions"]:
            assert_reproduced(client, installation.version, proposition)
        event = stored["feedback"]
        (received,) = report(client, {"type": "display", **event})
        assert received["again"]
        (scope,) = stored["decisions"][event["propositionId"]]
        assert delivered_items(received) == scope


def test_the_library_and_the_events_are_exported(proffer: Proffer, installation: Installation, tmp_path: Path) -> None:
    """The exports contain the same library and every stored event."""
    stored = installation.version.folder
    files = {name: tmp_path / name for name in ("library.yaml", "decisions.jsonl", "feedback.jsonl")}
    database = ("--database", installation.database)
    assert proffer("library", "export", files["library.yaml"], *database).code == 0
    for kind in ("decisions", "feedback"):
        out = files[f"{kind}.jsonl"]
        assert proffer("events", "export", "--kind", kind, "--out", out, *database).code == 0
    yaml = YAML(typ="safe")
    assert covers(yaml.load(files["library.yaml"]), yaml.load(stored / "library.yaml"))

    rows = {name: lines(path) for name, path in files.items() if path.suffix == ".jsonl"}
    assert len(rows["feedback.jsonl"]) == len(lines(stored / "feedback.jsonl"))
    assert {one["_id"] for one in rows["decisions.jsonl"]} >= set(installation.facts["decisions"])
    if installation.kind == "sqlite":
        earlier = {name: lines(stored / name) for name in rows}
        earlier["decisions.jsonl"] = [with_published_names(row) for row in earlier["decisions.jsonl"]]
        assert covers(rows, earlier)


def with_published_names(value: Any) -> Any:
    """Return an exported row of a decision with the published names of etags and ranks; 0.1.0 had others."""
    if isinstance(value, list):
        return [with_published_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    row = {name: member if name == "_repo" else with_published_names(member) for name, member in value.items()}
    if "etag" in row:
        row["_repo"] = {"etag": row.pop("etag")}
    first, *others = row.get("selections") or [row.get("fallback") or {}]
    row |= {name: first.pop(name) for name in ("rank", "selectionStrategy") if name in first}
    for option in others:
        option.pop("rank", None)
        option.pop("selectionStrategy", None)
    return row


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_an_installation_is_moved_there_and_back(proffer: Proffer, installation: Installation, tmp_path: Path) -> None:
    """Moved to the other database and back, an installation decides as before.

    Its recorded decisions are reproduced.
    """
    there, back = asyncio.run(new_database()), f"sqlite:///{tmp_path / 'back.db'}"
    try:
        migrated = proffer("migrate", "--database", installation.database)
        assert migrated.code == 0
        assert migrated.out.count(".sql") == newest_version() - installation.version.schema
        for source, target in ((installation.database, there), (there, back)):
            moved = proffer("move", "--from", source, "--to", target)
            assert moved.code == 0, moved.err
    finally:
        asyncio.run(drop_database(there))
    with serving(back, installation.spool) as client:
        assert_same_answers(client, installation.facts)
        assert_all_reproduced(client, installation.version, installation.facts["decisions"])


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_backup_is_restored(proffer: Proffer, version: StoredVersion, tmp_path: Path, kind: str) -> None:
    """Restored into either database, a backup decides as before.

    Its recorded decisions are reproduced.
    """
    facts = version.read("sqlite")
    url = asyncio.run(new_database()) if kind == "postgres" else f"sqlite:///{tmp_path / 'restored.db'}"
    restored = proffer("restore", version.folder / "proffer.backup", "--database", url)
    assert restored.code == 0, restored.err
    with serving(url, tmp_path / "spool") as client:
        assert_same_answers(client, facts)
        assert_all_reproduced(client, version, facts["decisions"])
    if kind == "postgres":
        asyncio.run(drop_database(url))


def test_a_pack_of_decisions_is_read(version: StoredVersion) -> None:
    """A pack contains the events that were recorded together."""
    events = decode_pack((version.folder / "decisions.pack").read_bytes())
    assert events
    stored = version.read("sqlite")["decisions"]
    for event in events:
        given = [
            [one.offer for one in answer.selections] or [FALLBACK] for answer in event.answers if answer is not None
        ]
        assert given == stored[event.id]["options"]
