"""/api/reservations: what was reserved is kept, given back, or comes back by itself."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from proffer.config import Settings
from proffer.model.ids import EntityKind
from proffer.store.ports import Store
from proffer.store.sqlite.store import SqliteStore
from proffer.testing import builders as b
from support.clock import SetClock
from support.decisions import a_library, always, ask, offer_ids, proposition
from support.server import server

GOLD, FALLBACK = b.id_of(EntityKind.OFFER, "gold"), b.id_of(EntityKind.FALLBACK, "fallback")
HOUR = 3_600_000_000


@pytest.fixture
def clock() -> SetClock:
    return SetClock(b.NOON + 90 * 24 * HOUR)


@pytest.fixture
def client(tmp_path: Path, clock: SetClock) -> Iterator[TestClient]:
    """One gold, and the fallback when it is gone."""

    async def opening(_: Settings) -> Store:
        return await SqliteStore.open(tmp_path / "proffer.db")

    with server(opening=opening, clock=clock) as client:
        a_library(client, always(b.an_offer("gold", cap=1)))
        yield client


def reserve(client: TestClient, hours: int = 1) -> str:
    answer = ask(client, **{"xdm:reservation": {"xdm:ttl": hours * 3600}})  # type: ignore[arg-type]
    assert offer_ids(answer) == [GOLD]
    return proposition(answer)


def settle(client: TestClient, key: str, what: str = "", status: int = 200) -> Any:
    path = f"/api/reservations/{key}{what and '/'}{what}"
    answer = client.post(path) if what else client.get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_what_is_confirmed_counts_for_good(client: TestClient, clock: SetClock) -> None:
    """Also when its time is over. Done twice it is done once; it cannot be given back any more."""
    key = reserve(client)
    held = settle(client, key)
    assert held == {
        "propositionId": key,
        "decisionId": key,
        "state": "held",
        "expires": "2026-04-01T13:00:00.000000Z",
    }
    assert settle(client, key, "confirm") == held | {"state": "confirmed"}
    assert settle(client, key, "confirm")["state"] == "confirmed"
    assert settle(client, key, "release", 409)["code"] == "reservation-settled"

    clock.now_us += 2 * HOUR
    assert settle(client, key)["state"] == "confirmed"
    assert offer_ids(ask(client)) == [FALLBACK]


def test_what_is_released_may_be_given_again(client: TestClient) -> None:
    """At once, and once, however often it is released."""
    key = reserve(client)
    assert offer_ids(ask(client)) == [FALLBACK]
    for _ in range(2):
        assert settle(client, key, "release")["state"] == "released"
    assert settle(client, key, "confirm", 409)["code"] == "reservation-settled"

    assert offer_ids(ask(client)) == [GOLD]
    assert offer_ids(ask(client)) == [FALLBACK]


def test_what_expires_comes_back_by_itself(client: TestClient, clock: SetClock) -> None:
    """Within moments. It can be confirmed no more; releasing it finds that done."""
    key = reserve(client)
    clock.now_us += HOUR
    assert settle(client, key)["state"] == "expired"
    for _ in range(100):
        answer = offer_ids(ask(client, **{"xdm:dryRun": True}))  # type: ignore[arg-type]
        if answer == [GOLD]:
            break
        time.sleep(0.05)  # the process looks for what expired twenty times a second
    assert offer_ids(ask(client)) == [GOLD]
    assert settle(client, key, "confirm", 409)["code"] == "reservation-settled"
    assert settle(client, key, "release")["state"] == "expired"


@pytest.mark.parametrize(
    "key",
    ["nothing", "00000000-0000-7000-8000-000000000000", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"],
)
def test_what_reserved_nothing_is_not_found(client: TestClient, key: str) -> None:
    """No such proposition, or one that was simply decided."""
    for what in ("", "confirm", "release"):
        assert settle(client, key, what, 404)["code"] == "reservation-not-found"
    plain = proposition(ask(client))
    assert settle(client, plain, "confirm", 404)["code"] == "reservation-not-found"


def test_capital_letters_name_the_same(client: TestClient) -> None:
    """Ids are UUIDs."""
    assert settle(client, reserve(client).upper(), "confirm")["state"] == "confirmed"
