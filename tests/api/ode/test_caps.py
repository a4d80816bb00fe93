"""Caps over HTTP: an offer is given as often as its caps allow, whoever asks and however."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.ode.library import (
    CARD,
    FOR_ADULTS,
    FOR_ALL,
    HERO,
    HOME,
    HOUSE,
    asked,
    asked_09,
    decide,
    fill,
    html,
    instance_of,
    offer,
    offered,
    rule,
    shown,
)
from proffer.config import Settings
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from proffer.store.sqlite.store import SqliteStore
from support.customers import identities, ingest, person
from support.server import ODE, create, server

SECOND = 1_000_000
START = 1_767_268_800 * SECOND


class Hand:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_us = START

    def __call__(self) -> int:
        return self.now_us


@contextmanager
def capped(
    *caps: dict[str, Any], opening: Any = None, hand: Hand | None = None, **members: Any
) -> Iterator[TestClient]:
    """A server where one offer is for everybody, as often as these caps allow."""

    async def in_memory(_: Settings) -> Store:
        return MemoryStore()

    with server(opening=opening or in_memory, clock=hand or Hand()) as client:
        fill(client)
        patch(client, {"frequencyCappingConstraints": list(map(xdm, caps)), **members})
        yield client


def xdm(members: dict[str, Any]) -> dict[str, Any]:
    return {f"xdm:{name}": xdm(value) if isinstance(value, dict) else value for name, value in members.items()}


def patch(client: TestClient, members: dict[str, Any], status: int = 200) -> Any:
    operations = [{"op": "add", "path": f"/_instance/xdm:{name}", "value": value} for name, value in members.items()]
    answer = client.patch(
        instance_of(client, "personalized-offer", FOR_ALL),
        json=operations,
        headers={"Content-Type": "application/vnd.adobe.platform.xcore.patch.hal+json"},
    )
    assert answer.status_code == status, answer.text
    return answer.json()


def given(client: TestClient, who: str = "ann", query: str = "", **members: Any) -> bool:
    """Whether the offer, not the fallback, was given to this one in the hero placement."""
    identities = {"Email": [{"xdm:id": f"{who}@example.org"}]}
    request = asked((HOME, HERO), profile={"xdm:identityMap": identities}, **members)
    (proposition,) = decide(client, request, query)["xdm:propositions"]
    if offered(proposition):
        assert offered(proposition) == [FOR_ALL]
        return True
    assert proposition["xdm:fallback"]["xdm:id"] == HOUSE
    return False


def a_cap(limit: int, scope: str = "global", entity: str = "offer", **more: Any) -> dict[str, Any]:
    return {"limit": limit, "scope": scope, "entity": entity, **more}


def test_an_offer_is_given_as_often_as_all_its_caps_allow() -> None:
    """Per profile and in total, the older form beside the newer; then the fallback, for that one or for all."""
    with capped(a_cap(2, "profile"), cappingConstraint=xdm({"globalCap": 3})) as client:
        assert [given(client, who) for who in ("ann", "ann", "ann", "bob", "bob", "eve")] == [
            *[True, True, False],
            *[True, False, False],
        ]


def test_both_generations_and_both_doors_count() -> None:
    """A request 0.9 means every placement of the decision, and each counts."""
    with capped(a_cap(2, entity="offer")) as client:
        (hero, card) = decide(client, asked_09(HOME, allowDuplicatePropositions={"xdm:acrossPlacements": True}))[
            "xdm:propositions"
        ]
        assert hero["xdm:offers"] == card["xdm:offers"] == [FOR_ALL]
        assert not given(client)


def test_placements_are_counted_apart() -> None:
    """One in each placement: the hero is spent and the card is not."""
    with capped(a_cap(1, entity="placement")) as client:
        assert [given(client) for _ in range(2)] == [True, False]
        (card,) = decide(client, asked((HOME, CARD)))["xdm:propositions"]
        assert offered(card) == [FOR_ALL]


def test_a_dry_run_counts_nothing_and_an_explanation_changes_nothing() -> None:
    """However often it is asked; and the trace says which cap is spent, and how far."""
    with capped(a_cap(1, index=7)) as client:
        assert [given(client, dryRun=True) for _ in range(3)] == [True] * 3
        assert given(client, query="?explain=true")
        assert not given(client, dryRun=True)
        answer = decide(client, asked((HOME, HERO)), "?explain=true")
        (verdict,) = [one for one in answer["trace"][0]["candidates"] if one["id"] == FOR_ALL]
        assert (verdict["stage"], verdict["reason"]) == (
            "capping",
            "cap `7` is reached: 1 of 1 in total",
        )


def test_counting_begins_anew_at_midnight() -> None:
    """In UTC; nothing has to run for it."""
    hand = Hand()
    cap = a_cap(1, repeat={"enabled": True, "unit": "day", "unitCount": 1})
    with capped(cap, hand=hand) as client:
        assert [given(client) for _ in range(2)] == [True, False]
        hand.now_us += 12 * 3600 * SECOND - 1
        assert not given(client)
        hand.now_us += 1
        assert [given(client) for _ in range(2)] == [True, False]


def test_a_lowered_cap_holds_for_the_next_decision() -> None:
    """The receipt of the change means that it is in force; raising it gives the rest."""
    with capped(a_cap(5)) as client:
        assert [given(client) for _ in range(3)] == [True] * 3
        for limit, expected in ((3, False), (4, True), (4, False)):
            patch(client, {"frequencyCappingConstraints": [xdm(a_cap(limit))]})
            assert given(client) is expected


DPS_OFFER = f"/data/core/dps/offers/{FOR_ALL}?offer-type=personalized"
CAPS = "xdm:frequencyCappingConstraints"


def dps_patch(client: TestClient, *operations: dict[str, Any]) -> Any:
    return client.patch(DPS_OFFER, json=list(operations))


def test_a_limit_keeps_its_count_wherever_it_moves() -> None:
    """Another limit is put before it, it is moved, switched off and on, raised, and the one before it removed."""
    path = "/frequencyCappingConstraints"
    with capped(a_cap(1, "profile")) as client:
        assert [given(client) for _ in range(2)] == [True, False]
        for operation in (
            {"op": "add", "path": f"{path}/0", "value": a_cap(50, enabled=True)},
            {"op": "move", "from": f"{path}/1", "path": f"{path}/0"},
            {"op": "move", "from": f"{path}/1", "path": f"{path}/0"},
            {"op": "add", "path": f"{path}/1/enabled", "value": True},
            {"op": "remove", "path": f"{path}/0"},
            {"op": "replace", "path": f"{path}/0/index", "value": 9},
            {"op": "remove", "path": f"{path}/0/index"},
        ):
            assert dps_patch(client, operation).status_code == 200
            assert not given(client), operation
        off, on, more = ({"op": "add", "path": f"{path}/0/enabled", "value": value} for value in (False, True, True))
        dps_patch(client, off)
        assert given(client, who="bob")
        dps_patch(client, on)
        assert [given(client, who=who) for who in ("ann", "bob")] == [False, True]
        dps_patch(client, more, {"op": "replace", "path": f"{path}/0/limit", "value": 2})
        assert [given(client) for _ in range(2)] == [True, False]


def test_a_replaced_document_keeps_the_counts_of_its_limits() -> None:
    """A document without indexes, in another order; and the older form of a limit that counts the same."""
    with capped(a_cap(9), a_cap(1, "profile")) as client:
        assert [given(client) for _ in range(2)] == [True, False]
        path = instance_of(client, "personalized-offer", FOR_ALL)
        stored = client.get(path).json()["_instance"]
        assert [cap["xdm:index"] for cap in stored[CAPS]] == [1, 2]
        plain = [without_index(cap) for cap in stored[CAPS]]
        for sent in (
            {**stored, CAPS: plain[::-1]},
            {**stored, CAPS: plain[1:]},
            {**stored, CAPS: [], "xdm:cappingConstraint": {"xdm:profileCap": 1}},
        ):
            answer = client.put(path, json=sent)
            assert answer.status_code == 200, answer.text
            assert "begins at 0" not in answer.headers.get("Warning", "")
            assert not given(client)


def without_index(cap: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in cap.items() if name != "xdm:index"}


def test_a_document_without_indexes_is_the_stored_one() -> None:
    """It makes no new version; what else it changes does."""
    with capped(a_cap(9), a_cap(1, "profile")) as client:
        path = instance_of(client, "personalized-offer", FOR_ALL)
        before = client.get(path)
        stored = before.json()["_instance"]
        same = {**stored, CAPS: [without_index(cap) for cap in stored[CAPS]]}
        for answer in (
            client.put(path, json=same),
            dps_patch(client, {"op": "remove", "path": "/frequencyCappingConstraints/0/index"}),
        ):
            assert (answer.status_code, answer.headers["ETag"]) == (200, before.headers["ETag"])
        assert client.get(path).json() == before.json()
        renamed = client.put(path, json={**same, "xdm:name": "renamed"})
        assert renamed.headers["ETag"] != before.headers["ETag"]


def test_a_limit_that_counts_something_else_begins_at_0_with_a_warning() -> None:
    """The receipt names the limit; a limit that goes on, and a new offer, have no warning."""
    with capped(a_cap(1, "profile")) as client:
        assert [given(client) for _ in range(2)] == [True, False]
        path = "/frequencyCappingConstraints/0"
        raised = dps_patch(client, {"op": "replace", "path": f"{path}/limit", "value": 1})
        assert "begins at 0" not in raised.headers.get("Warning", "")
        answer = dps_patch(client, {"op": "add", "path": f"{path}/repeat", "value": {"enabled": True, "unit": "week"}})
        assert "limit `1`" in answer.headers["Warning"]
        assert "begins at 0" in answer.headers["Warning"]
        assert given(client)
        dps_patch(client, {"op": "remove", "path": f"{path}/repeat"})
        assert not given(client), "it is the limit that the offer had before"


def test_a_moved_end_moves_what_was_counted_and_an_offer_opened_again_begins_at_0() -> None:
    """Once per customer is once after the old end too; the receipt of the opening warns."""
    hand = Hand()

    def ends(days: int) -> str:
        end = datetime.fromtimestamp(START // SECOND + days * 86_400, UTC).isoformat()
        operation = {"op": "add", "path": "/_instance/xdm:selectionConstraint/xdm:endDate", "value": end}
        answer = client.patch(instance_of(client, "personalized-offer", FOR_ALL), json=[operation])
        assert answer.status_code == 200, answer.text
        return str(answer.headers.get("Warning", ""))

    with capped(a_cap(1, "profile"), hand=hand) as client:
        ends(10)
        assert [given(client) for _ in range(2)] == [True, False]
        assert "opens again" not in ends(20)
        hand.now_us += 15 * 86_400 * SECOND
        assert not given(client)
        hand.now_us += 15 * 86_400 * SECOND
        assert "opens again" in ends(40)
        assert [given(client) for _ in range(2)] == [True, False]


def a_threshold(query: str, scope: str = "global") -> dict[str, Any]:
    return a_cap(100, scope, dynamicCappingThresholdEnabled=True, dynamicCappingThresholdQuery=query)


def verdict_of(client: TestClient, **members: Any) -> tuple[str, str]:
    answer = decide(client, asked((HOME, HERO), **members), "?explain=true")
    (verdict,) = [one for one in answer["trace"][0]["candidates"] if one["id"] == FOR_ALL]
    return verdict["stage"], verdict["reason"]


def test_a_threshold_is_computed_for_each_decision() -> None:
    """From the offer, the profile and the context; it replaces the limit and is on record with the decision."""
    with capped(a_threshold("offer.rank.priority - offer.rank.priority + @{weather}.seats")) as client:

        def seats(number: Any) -> dict[str, Any]:
            context = [{"@type": "weather", "xdm:data": {"seats": number}}]
            return {"profile": {"xdm:identityMap": {}, "xdm:contextData": context}}

        answer = decide(client, asked((HOME, HERO), **seats(2)))
        assert offered(answer["xdm:propositions"][0]) == [FOR_ALL]
        replay = client.get(f"/api/propositions/{answer['xdm:propositionId']}/replay").json()
        assert (replay["reproduced"], replay["asItWas"]) == (True, [])
        assert verdict_of(client, **seats(1)) == ("capping", "cap `1` is reached: 1 of 1 in total")
        assert verdict_of(client, **seats(3))[0] == "ranked"
        assert verdict_of(client, **seats(0)) == ("capping", "cap `1` is reached: 2 of 0 in total")


@pytest.mark.parametrize("query", ["0.5", "-1", "person.nothing", "1/0", "offer.name", "true"])
def test_an_offer_whose_threshold_is_no_whole_number_is_not_given(query: str) -> None:
    """The fault is counted, named in the trace and in the diagnostics, and does not fail the request."""
    with capped(a_threshold(query)) as client:
        assert not given(client)
        reason = "the threshold of cap `1` gives no whole number of at least 0"
        assert verdict_of(client) == ("capping", reason)
        diagnostics = client.get(f"{ODE}/diagnostics").text
        assert "The threshold of a limit of offer" in diagnostics
        assert "gave no whole number of at least 0 2 times" in diagnostics


def test_thresholds_are_for_limits_in_total() -> None:
    """Per profile, and without a query, they are refused; switched off, the fixed limit is in force."""
    with capped() as client:
        for cap, member, code in (
            (a_threshold("2", scope="profile"), "dynamicCappingThresholdQuery", "threshold-per-profile"),
            (a_cap(1, dynamicCappingThresholdEnabled=True), "dynamicCappingThresholdQuery", "required"),
            (a_threshold("person.age +"), "dynamicCappingThresholdQuery", "pql.syntax"),
            ({"scope": "global", "entity": "offer"}, "limit", "required"),
        ):
            answer = patch(client, {"frequencyCappingConstraints": [xdm(cap)]}, status=422)
            (violation,) = answer["report"]["violations"]
            assert violation["path"].endswith(f"Constraints[0].xdm:{member}")
            assert violation["code"] == code
        off = {**a_threshold("9", scope="profile"), "limit": 1, "dynamicCappingThresholdEnabled": False}
        assert (
            dps_patch(client, {"op": "replace", "path": "/frequencyCappingConstraints", "value": [off]}).status_code
            == 200
        )
        assert [given(client) for _ in range(2)] == [True, False]
        plain = {"scope": "global", "entity": "offer", "dynamicCappingThresholdQuery": "3"}
        dps_patch(client, {"op": "replace", "path": "/frequencyCappingConstraints", "value": [plain]})
        assert [given(client, who) for who in ("bob", "eve", "joe", "may")] == [True, True, True, False]


def test_a_limit_applies_within_its_own_dates() -> None:
    """Before its start and after its end the offer is given, and nothing counts."""
    hand = Hand()
    start, end = (datetime.fromtimestamp(START // SECOND + day * 86_400, UTC).isoformat() for day in (1, 2))
    with capped(a_cap(1, startDate=start, endDate=end), hand=hand) as client:
        assert [given(client) for _ in range(2)] == [True, True]
        hand.now_us += 86_400 * SECOND
        assert [given(client) for _ in range(2)] == [True, False]
        hand.now_us += 86_401 * SECOND
        assert given(client)
        swapped = a_cap(1, startDate=end, endDate=start)
        patch(client, {"frequencyCappingConstraints": [xdm(swapped)]}, status=422)


def test_an_earlier_version_that_is_restored_has_its_counts(tmp_path: Path) -> None:
    """Its limit counted before, whatever the offer had meanwhile."""
    with capped(a_cap(1, "profile")) as client:
        assert [given(client) for _ in range(2)] == [True, False]
        etag = client.get(DPS_OFFER).headers["ETag"].strip('"')
        dps_patch(client, {"op": "replace", "path": "/frequencyCappingConstraints", "value": [a_cap(50)]})
        assert given(client)
        client.post(f"/api/revisions/{FOR_ALL}/{etag}/restore").raise_for_status()
        assert not given(client)


def test_what_is_reserved_counts_until_it_comes_back() -> None:
    """The answer says until when; unconfirmed, it is there again."""
    hand = Hand()
    with capped(a_cap(1), hand=hand) as client:
        answer = decide(client, asked((HOME, HERO), reservation={"xdm:ttl": 60}))
        assert answer["xdm:reservation"] == {"xdm:expires": START // 1000 + 60_000}
        assert not given(client)
        hand.now_us += 61 * SECOND
        until = time.monotonic() + 30
        while not given(client, dryRun=True):
            assert time.monotonic() < until
            time.sleep(0.01)
        assert given(client)


@pytest.mark.parametrize(
    ("reservation", "path"),
    [
        ({}, "$.xdm:reservation.xdm:ttl"),
        ({"xdm:ttl": 0}, "$.xdm:reservation.xdm:ttl"),
        ({"xdm:ttl": 90 * 86_400 + 1}, "$.xdm:reservation.xdm:ttl"),
        ({"xdm:ttl": "1"}, "$.xdm:reservation.xdm:ttl"),
        (60, "$.xdm:reservation"),
    ],
)
def test_a_reservation_says_for_how_long(reservation: Any, path: str) -> None:
    """One second to ninety days; and nothing is counted where it does not."""
    with capped(a_cap(1)) as client:
        answer = decide(client, asked((HOME, HERO), reservation=reservation), status=422)
        assert [one["path"] for one in answer["report"]["violations"]] == [path]
        assert given(client)


@pytest.mark.parametrize(
    ("cap", "member", "code"),
    [
        (a_cap(1, events=["custom"], customQuery='eventType = "web'), "customQuery", "pql.syntax"),
        (
            a_cap(1, events=["custom"], customQuery='eventType = "x"'),
            "customQuery",
            "pql.unknown-root",
        ),
        (a_cap(1, events=["opened"]), "events[0]", "enum"),
        (a_cap(1, events=[]), "events", "range"),
        (a_cap(1, repeat={"unit": "week", "unitCount": 105}), "repeat.xdm:unitCount", "limit"),
        (a_cap(1, repeat={"unit": "year"}), "repeat.xdm:unit", "enum"),
        (a_cap(0), "limit", "range"),
        (a_cap(1, placements=["xcore:offer-placement:ff"]), "placements[0]", "unknown-reference"),
    ],
)
def test_a_cap_that_cannot_be_is_refused(cap: dict[str, Any], member: str, code: str) -> None:
    """With the member at fault, and for a rule the place in its text."""
    with capped() as client:
        answer = patch(client, {"frequencyCappingConstraints": [xdm(cap)]}, status=422)
        (violation,) = answer["report"]["violations"]
        assert violation["path"] == f"$._instance.xdm:frequencyCappingConstraints[0].xdm:{member}"
        assert violation["code"] == code
        if code == "pql.syntax":
            assert (violation["line"], violation["column"]) == (1, 13)


def test_counts_outlive_the_server(tmp_path: Path) -> None:
    """What was given before a restart was given."""

    async def in_a_file(_: Settings) -> Store:
        return await SqliteStore.open(tmp_path / "proffer.db")

    with capped(a_cap(2), opening=in_a_file) as client:
        assert given(client)
    with server(opening=in_a_file) as client:
        assert [given(client) for _ in range(2)] == [True, False]


def given_to(client: TestClient, **ids: str) -> bool:
    """Whether the offer was given to the person of these identities."""
    named = {code: [{"xdm:id": one}] for code, one in ids.items()}
    (proposition,) = decide(client, asked((HOME, HERO), profile={"xdm:identityMap": named}))["xdm:propositions"]
    return FOR_ALL in offered(proposition)


def test_identities_named_together_are_used_up_together() -> None:
    """A customer number and an e-mail sent together are one person, whichever is sent next; dry runs join nothing."""
    with capped(a_cap(1, "profile")) as client:
        named = {"Email": [{"xdm:id": "m@x"}], "Phone": [{"xdm:id": "1"}]}
        decide(client, asked((HOME, HERO), dryRun=True, profile={"xdm:identityMap": named}))
        assert given_to(client, Email="m@x", CRMID="c1")
        assert [given_to(client, **who) for who in ({"Email": "m@x"}, {"CRMID": "c1"}, {"Phone": "1"})] == [
            *[False, False],
            True,
        ]


def test_a_stranger_named_with_a_customer_reads_nothing_of_them() -> None:
    """It is used up with the customer; attributes, audiences, templates and look-ups stay the customer's own."""
    with capped(a_cap(1, "profile")) as client:
        definition = {
            "name": "Grown up",
            "expression": {"type": "PQL", "format": "pql/text", "value": "person.age > 20"},
        }
        schema = {"schema": {"name": "_xdm.context.profile"}}
        assert client.post("/data/core/ups/segment/definitions", json=definition | schema).status_code == 200
        create(client, *rule("xcore:eligibility-rule:e1", "Member", 'inAudience("Grown up")'))
        member = "xcore:personalized-offer:e2e"
        greeting = shown(hero=[html("<p>Hello {{profile.person.name.firstName}}</p>")])
        create(client, *offer(member, "Members", 1, greeting, rule="xcore:eligibility-rule:e1"))
        ingest(client, {"identityMap": identities(Email="m@x"), "person": {"age": 30, "name": {"firstName": "Mia"}}})
        assert given_to(client, Email="m@x", CRMID="c1")
        assert [given_to(client, **who) for who in ({"CRMID": "c1"}, {"Email": "m@x"})] == [False, False]

        with_content = {"responseFormat": {"xdm:includeContent": True}}
        known, alone = (
            decide(
                client, asked((HOME, HERO, 9), profile={"xdm:identityMap": {code: [{"xdm:id": one}]}}, **with_content)
            )
            for code, one in (("Email", "m@x"), ("CRMID", "c1"))
        )
        assert offered(known["xdm:propositions"][0]) == [FOR_ADULTS, member]
        assert "Hello Mia" in str(known)
        assert alone["xdm:factors"]["xdm:profileResponse"] == "HTTP 404"
        assert offered(alone["xdm:propositions"][0]) == []
        assert person(client, "c1", "CRMID") is None
        found = person(client, "m@x")
        assert found["entity"]["identityMap"] == {"Email": [{"id": "m@x"}]}
        assert len(found["identityGraph"]) == 1
