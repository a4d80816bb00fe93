"""Caps over HTTP: an offer is given as often as its caps allow, whoever asks and however."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.ode.library import (
    CARD,
    FOR_ALL,
    HERO,
    HOME,
    HOUSE,
    asked,
    asked_09,
    decide,
    fill,
    instance_of,
    offered,
)
from proffer.config import Settings
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from proffer.store.sqlite.store import SqliteStore
from support.server import server

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
