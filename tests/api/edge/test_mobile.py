"""What phones demand of the wire, one test for each demand, in the order of `spec/wire/mobile.json`.

The Edge and Optimize extensions cannot run here. `Phone` sends what they send, byte for byte, and reads answers as
narrowly as the stricter of the two platforms does: what a phone would drop, it drops.
"""

import base64
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.ode.library import (
    BANNER,
    CARD,
    FOR_ALL,
    HERO,
    HOME,
    HOUSE,
    PICTURE,
    REQUEST,
    SHOP,
    fill,
)
from proffer.model.ids import EntityKind
from proffer.testing import builders as b
from support.decisions import a_library, always
from support.server import ODE, server

DEMANDS: dict[str, str] = json.loads(
    (Path(__file__).parents[3] / "spec" / "wire" / "mobile.json").read_text(encoding="utf-8")
)["demands"]
SCHEMAS = [
    f"https://ns.adobe.com/experience/offer-management/content-component-{kind}"
    for kind in ("html", "json", "imagelink", "text")
]
OTHERS = [f"https://ns.adobe.com/personalization/{kind}-content-item" for kind in ("default", "html", "json")]
TYPED = {"application/json", "text/plain", "text/html"}
SEPARATOR, LINE_FEED = "\0", "\n"


def decision_scope(activity: str, placement: str, item_count: int = 1) -> str:
    """As the SDK makes it: names without prefix, the number only where it is above 1."""
    count = f',"itemCount":{item_count}' if item_count > 1 else ""
    text = f'{{"activityId":"{activity}","placementId":"{placement}"{count}}}'
    return base64.b64encode(text.encode()).decode()


@dataclass
class Phone:
    """A phone with an ECID of its own and what it was given to keep."""

    client: TestClient
    ecid: str = "62550821943710293846571029384756102938"
    platform: str = "android"
    kept: dict[str, str] = field(default_factory=dict)
    offers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    propositions: dict[str, dict[str, Any]] = field(default_factory=dict)

    def send(self, event: dict[str, Any], path: str = "/ee/v1/interact", **meta: Any) -> list[Any]:
        """Send one event as the Edge extension does, and take in the records of the answer."""
        self.client.cookies.clear()
        streaming = {"enabled": True, "recordSeparator": SEPARATOR, "lineFeed": LINE_FEED}
        entries = [{"key": key, "value": value} for key, value in self.kept.items()]
        document = {
            "xdm": {
                "identityMap": {"ECID": [{"id": self.ecid, "authenticatedState": "ambiguous", "primary": False}]},
                "implementationDetails": {
                    "version": "3.5.0+3.0.2",
                    "environment": "app",
                    "name": f"https://ns.adobe.com/experience/mobilesdk/{self.platform}",
                },
            },
            "events": [event],
            "meta": {
                "konductorConfig": {"streaming": streaming},
                **({"state": {"entries": entries}} if entries else {}),
                **meta,
            },
        }
        self.request_id = str(uuid.uuid4()).upper()
        self.answer = self.client.post(
            f"{path}?configId=dev&requestId={self.request_id}",
            content=json.dumps(document).encode(),
            headers={
                "Content-Type": "application/json",
                "Accept": "application/json",
                "X-Adobe-AEP-Validation-Token": "token",
            },
        )
        records = self.read()
        for record in records:
            self.take(record)
        return records

    def read(self) -> list[Any]:
        """The records of a success, cut as Android cuts them: without looking."""
        assert self.answer.status_code in {200, 204, 207}, self.answer.text
        lines = [line for line in self.answer.text.split(LINE_FEED) if line]
        return [json.loads(line[len(SEPARATOR) :]) for line in lines]

    def take(self, record: Any) -> None:
        strict_errors(record.get("errors", []) + record.get("warnings", []))
        for handle in record["handle"]:
            if handle["type"] == "state:store":
                for entry in handle["payload"]:
                    assert {"key", "value", "maxAge"} <= entry.keys()
                    self.kept[entry["key"]] = entry["value"]
            if handle["type"] == "personalization:decisions":
                for one in handle["payload"]:
                    self.optimize(one)

    def optimize(self, proposition: dict[str, Any]) -> None:
        """What Optimize keeps of a proposition, by the scope that it asked for."""
        assert isinstance(proposition["id"], str)
        assert proposition["id"]
        assert isinstance(proposition["scope"], str)
        assert proposition["scope"]
        valid = [item for item in proposition["items"] if is_valid(item)]
        self.propositions[proposition["scope"]] = proposition
        self.offers[proposition["scope"]] = valid

    def fetch(self, *scopes: str, **more: Any) -> list[Any]:
        """`Optimize.updatePropositions`."""
        xdm = {
            "eventType": "personalization.request",
            "_id": str(uuid.uuid4()),
            "timestamp": "2026-11-23T08:15:19.527Z",
        }
        query = {"personalization": {"schemas": SCHEMAS + OTHERS, "decisionScopes": list(scopes)}}
        return self.send({"xdm": xdm, "query": query, **more})

    def track(self, scope: str, kind: str, item: dict[str, Any] | None = None) -> list[Any]:
        """`offer.displayed()` or `offer.tapped()`, in the form of the platform."""
        proposition = self.propositions[scope]
        listed = self.offers[scope] if self.platform == "ios" or item is None else [item]
        reported: dict[str, Any] = {
            "id": proposition["id"],
            "scope": scope,
            "scopeDetails": proposition.get("scopeDetails", {}),
            "items": [{"id": one["id"]} for one in listed],
        }
        decisioning: dict[str, Any] = {"propositions": [reported]}
        if self.platform == "ios":
            reported |= {"activity": proposition["activity"], "placement": proposition["placement"]}
            decisioning["propositionEventType"] = {kind: 1}
        xdm = {
            "eventType": f"decisioning.proposition{kind.capitalize()}",
            "_id": str(uuid.uuid4()),
            "timestamp": "2026-11-23T08:15:20.527Z",
            "_experience": {"decisioning": decisioning},
        }
        return self.send({"xdm": xdm})


def strict_errors(listed: list[Any]) -> None:
    """iOS reads errors by fixed types and throws the whole answer away for one that is another."""
    for one in listed:
        for name in ("type", "title", "detail"):
            assert isinstance(one[name], str)
        assert type(one["status"]) is int
        report = one.get("report", {})
        assert type(report.get("eventIndex", 0)) is int
        assert all(isinstance(text, str) for text in report.get("errors", []))
        for name in ("requestId", "orgId"):
            assert isinstance(report.get(name, ""), str)


def is_valid(item: dict[str, Any]) -> bool:
    """Whether Optimize takes an item; what is wrong with one only drops that one."""
    data = item.get("data")
    return (
        isinstance(item.get("id"), str)
        and isinstance(item.get("schema"), str)
        and isinstance(item.get("etag", ""), str)
        and (isinstance(item.get("score", 0), int | float) and item.get("score") is not True)
        and isinstance(item.get("meta", {}), dict)
        and isinstance(data, dict)
        and data.get("id") == item["id"]
        and isinstance(data.get("format"), str)
        and isinstance(data.get("content", data.get("deliveryURL")), str)
        and all(isinstance(one, str) for one in data.get("language", []))
        and all(isinstance(one, str) for one in data.get("characteristics", {}).values())
    )


HERO_SCOPE, CARD_SCOPE = decision_scope(HOME, HERO), decision_scope(HOME, CARD)
PICTURE_SCOPE = decision_scope(SHOP, BANNER)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with server() as client:
        fill(client)
        yield client


@pytest.fixture(params=["android", "ios"])
def phone(client: TestClient, request: pytest.FixtureRequest) -> Phone:
    return Phone(client, platform=request.param)


@pytest.fixture
def fetched(phone: Phone) -> Phone:
    """A phone that has asked for offers in four places, one of them unknown."""
    phone.fetch(HERO_SCOPE, CARD_SCOPE, PICTURE_SCOPE, decision_scope("xcore:offer-activity:99", HERO))
    return phone


def test_every_demand_is_tested() -> None:
    """By its number."""
    tested = {name.split("_")[1] for name in globals() if name.startswith("test_d")}

    assert tested == {f"d{number}" for number in DEMANDS}
    assert list(DEMANDS) == [str(number) for number in range(1, 31)]


# Transport.


def test_d1_statuses_are_200_204_or_207(phone: Phone) -> None:
    phone.fetch(HERO_SCOPE)
    assert phone.answer.status_code == 200
    phone.fetch(decision_scope("xcore:offer-activity:99", HERO))
    assert phone.answer.status_code == 207
    phone.send({"xdm": {"eventType": "app.launch"}}, "/ee/v1/collect")
    assert phone.answer.status_code == 204


def test_d2_records_are_framed_and_on_one_line(fetched: Phone) -> None:
    text = fetched.answer.text
    assert text[0] == SEPARATOR
    assert text[-1] == LINE_FEED
    assert text.count(SEPARATOR) == text.count(LINE_FEED) == 1
    # The other platform splits at line feeds and trims the separator off.
    assert json.loads(text.split(LINE_FEED)[0].strip(SEPARATOR))["handle"]


def test_d3_an_answer_waits_for_nobody(fetched: Phone) -> None:
    """It is whole when it begins: nothing is streamed that could come late."""
    assert int(fetched.answer.headers["content-length"]) == len(fetched.answer.content)


def test_d4_the_event_is_named_by_its_index(fetched: Phone) -> None:
    (record,) = fetched.read()
    assert record["requestId"] == fetched.request_id
    for handle in record["handle"]:
        assert handle.get("eventIndex", 0) == 0


def test_d5_decisions_are_an_array_of_objects(fetched: Phone) -> None:
    (record,) = fetched.read()
    (handle,) = [one for one in record["handle"] if one["type"] == "personalization:decisions"]
    assert isinstance(handle["payload"], list)
    assert all(isinstance(one, dict) for one in handle["payload"])


def test_d6_no_scope_comes_twice(phone: Phone) -> None:
    phone.fetch(HERO_SCOPE, HERO_SCOPE)
    (record,) = phone.read()
    (handle,) = [one for one in record["handle"] if one["type"] == "personalization:decisions"]
    assert [one["scope"] for one in handle["payload"]] == [HERO_SCOPE]


def test_d7_refusals_are_plain_json(client: TestClient) -> None:
    streaming = {"enabled": True, "recordSeparator": SEPARATOR, "lineFeed": LINE_FEED}
    meta = {"konductorConfig": {"streaming": streaming}}
    answer = client.post("/ee/v1/interact?configId=dev", json={"meta": meta})
    problem = json.loads(answer.text)
    assert answer.status_code == 400
    assert {"type", "title", "status", "detail", "report"} <= problem.keys()


def test_d8_errors_have_the_types_that_ios_reads(fetched: Phone) -> None:
    (record,) = fetched.read()
    assert len(record["errors"]) == 1
    strict_errors(record["errors"])
    assert fetched.offers.keys() == {HERO_SCOPE, CARD_SCOPE, PICTURE_SCOPE}


def test_d9_entries_say_how_long_they_last(fetched: Phone) -> None:
    """And what is kept comes back with the next request, and is understood."""
    assert list(fetched.kept) == ["kndctr_DEV_AdobeOrg_identity"]
    fetched.fetch(HERO_SCOPE)
    assert "warnings" not in fetched.read()[0]


def test_d10_a_hint_is_given_and_any_is_understood(fetched: Phone) -> None:
    (record,) = fetched.read()
    (handle,) = [one for one in record["handle"] if one["type"] == "locationHint:result"]
    (given,) = handle["payload"]
    assert (given["scope"], type(given["ttlSeconds"])) == ("EdgeNetwork", int)
    for hint in (given["hint"], "or2"):
        fetched.send({"xdm": {"eventType": "app.launch"}}, f"/ee/{hint}/v1/interact")
        assert fetched.answer.status_code == 200


def test_d11_the_phone_keeps_its_own_ecid(fetched: Phone) -> None:
    from proffer.wire.ecid import decode_identity

    assert decode_identity(fetched.kept["kndctr_DEV_AdobeOrg_identity"]) == fetched.ecid


# Propositions.


def test_d12_propositions_have_id_and_scope(fetched: Phone) -> None:
    for one in fetched.propositions.values():
        assert isinstance(one["id"], str)
        assert one["id"]
        assert one["scope"]


@pytest.mark.parametrize(
    "scope",
    [
        HERO_SCOPE,
        decision_scope(HOME, HERO, 2),
        base64.b64encode(f'{{"xdm:placementId": "{HERO}",  "xdm:activityId": "{HOME}"}}'.encode()).decode(),
    ],
)
def test_d13_the_scope_is_the_key(phone: Phone, scope: str) -> None:
    phone.fetch(scope)
    assert list(phone.offers) == [scope]


def test_d14_a_proposition_is_never_without_a_valid_item(fetched: Phone) -> None:
    for scope, items in fetched.offers.items():
        assert items, scope
        assert len(items) == len(fetched.propositions[scope]["items"])


def test_d15_scope_details_say_everything(fetched: Phone) -> None:
    """Android sends them back and nothing else, so decision and placement stand in them too."""
    for one in fetched.propositions.values():
        details = one["scopeDetails"]
        assert details["decisionProvider"] == "ODE"
        assert details["activity"] == one["activity"]
        assert details["placement"] == one["placement"]
        assert all(isinstance(text, str) for text in details["characteristics"].values())


def test_d16_payloads_are_the_propositions_themselves(fetched: Phone) -> None:
    for one in fetched.propositions.values():
        assert "propositions" not in one
        assert "renderAttempted" not in one


# Items.


def test_d17_the_data_has_the_id_of_its_item(fetched: Phone) -> None:
    for items in fetched.offers.values():
        assert all(item["data"]["id"] == item["id"] for item in items)


def test_d18_schemas_are_those_that_are_asked_for(fetched: Phone) -> None:
    for items in fetched.offers.values():
        assert all(item["schema"] in SCHEMAS for item in items)


def test_d19_etags_are_texts(fetched: Phone) -> None:
    assert all(isinstance(item["etag"], str) for items in fetched.offers.values() for item in items)


def test_d20_scores_are_numbers() -> None:
    """They come where a formula gave one."""
    with server() as client:
        a_library(
            client,
            b.a_formula("double", "offer.rank.priority * 2.5"),
            always(b.an_offer("gold", priority=2)),
            b.a_decision("decision", b.a_criterion(options=["gold"], formula="double")),
        )
        phone = Phone(client)
        scope = decision_scope(b.id_of(EntityKind.DECISION, "decision"), b.id_of(EntityKind.PLACEMENT, "web"))
        phone.fetch(scope)
        (item,) = phone.offers[scope]
    assert item["score"] == 5.0


def test_d21_extra_members_are_ignored(fetched: Phone) -> None:
    (item,) = fetched.offers[HERO_SCOPE]
    assert item["name"] == "For all"
    assert item["priority"] == 30
    assert "meta" not in item


def test_d22_every_item_has_data(fetched: Phone) -> None:
    assert all(isinstance(item["data"], dict) for items in fetched.offers.values() for item in items)


def test_d23_formats_are_bare_and_in_lower_case(fetched: Phone) -> None:
    for items in fetched.offers.values():
        for item in items:
            format_ = item["data"]["format"]
            assert format_ in TYPED or format_.startswith("image/")
            assert ";" not in format_


def test_d24_content_is_text(fetched: Phone) -> None:
    """Of JSON too: a text to be parsed."""
    (item,) = fetched.offers[CARD_SCOPE]
    assert isinstance(item["data"]["content"], str)
    assert isinstance(json.loads(item["data"]["content"]), dict)


def test_d25_pictures_have_an_address_and_no_content(fetched: Phone) -> None:
    (item,) = fetched.offers[PICTURE_SCOPE]
    assert item["id"] == PICTURE
    assert item["data"]["deliveryURL"] == "https://cdn.example.org/picture.png"
    assert "content" not in item["data"]


def test_d26_characteristics_are_texts(fetched: Phone) -> None:
    (item,) = fetched.offers[HERO_SCOPE]
    assert item["data"]["characteristics"] == {"tier": "basic"}
    assert item["data"]["language"] == ["en"]


# What it sends.


def test_d27_several_offers_come_where_they_are_asked_for(phone: Phone) -> None:
    scope = decision_scope(HOME, HERO, 5)
    phone.fetch(scope)
    assert len(phone.offers[scope]) >= 1
    assert "itemCount" in base64.b64decode(scope).decode()
    assert "itemCount" not in base64.b64decode(decision_scope(HOME, HERO, 1)).decode()


def test_d28_fetches_say_what_they_are_and_may_name_a_dataset(phone: Phone) -> None:
    phone.fetch(HERO_SCOPE, data={"free": ["form", 1]}, meta={"collect": {"datasetId": "5eb9"}})
    assert [item["id"] for item in phone.offers[HERO_SCOPE]] == [FOR_ALL]


@pytest.mark.parametrize("platform", ["android", "ios"])
def test_d29_reports_of_both_platforms_count(platform: str) -> None:
    """Android names the one item and no kind beside the event's; iOS names everything."""
    with server() as client:
        cap = b.a_cap(1, scope="profile") | {"xdm:events": ["impression"]}
        clicks = b.a_cap(1, scope="profile") | {"xdm:events": ["click"]}
        a_library(
            client,
            always(b.an_offer("gold", priority=2, caps=[cap])),
            always(b.an_offer("silver", priority=1, caps=[clicks])),
        )
        phone = Phone(client, platform=platform)
        scope = decision_scope(b.id_of(EntityKind.DECISION, "decision"), b.id_of(EntityKind.PLACEMENT, "web"))
        given = []
        for kind in ("display", "interact", "display"):
            phone.fetch(scope)
            (item,) = phone.offers[scope]
            given.append(item["name"])
            (record,) = phone.track(scope, kind, item)
            assert "personalization:decisions" not in [one["type"] for one in record["handle"]]
            assert "errors" not in record
    assert given == ["gold", "silver", "fallback"]


def test_d30_later_events_may_name_a_proposition(fetched: Phone) -> None:
    key = fetched.propositions[HERO_SCOPE]["id"]
    xdm = {
        "eventType": "commerce.purchases",
        "_id": str(uuid.uuid4()),
        "timestamp": "2026-11-23T08:15:21.527Z",
        "_experience": {"decisioning": {"propositionID": key}},
    }
    (record,) = fetched.send({"xdm": xdm})
    assert "errors" not in record
    assert "warnings" not in record


def test_the_fallback_comes_as_an_offer(fetched: Phone) -> None:
    """Nothing else was left for the card once the hero had it."""
    (item,) = fetched.offers[CARD_SCOPE]
    assert item["id"] == HOUSE


def test_the_hub_gives_the_phone_the_same(fetched: Phone) -> None:
    """The same scopes, asked for over the decisioning API."""
    answer = fetched.client.post(
        f"{ODE}/decisions",
        json={
            "xdm:propositionRequests": [
                {"xdm:activityId": decision, "xdm:placementId": placement}
                for decision, placement in ((HOME, HERO), (HOME, CARD), (SHOP, BANNER))
            ],
            "xdm:profiles": [{"xdm:identityMap": {"ECID": [{"xdm:id": fetched.ecid}]}}],
        },
        headers={"Content-Type": f'application/vnd.adobe.xdm+json; schema="{REQUEST};version=1.0"'},
    )
    given = [
        (one.get("xdm:options") or [one["xdm:fallback"]])[0]["xdm:id"] for one in answer.json()["xdm:propositions"]
    ]
    assert given == [items[0]["id"] for items in fetched.offers.values()]
