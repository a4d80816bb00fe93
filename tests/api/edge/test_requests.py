"""What a request may look like, what it may not, and what a page gets to see of the answer (edge 1, 6, 8)."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.edge.requests import (
    CARD_SCOPE,
    HERO_SCOPE,
    WEB,
    body,
    encode_mobile_scope,
    handles,
    interact,
    offers,
    propositions,
)
from api.ode.library import BANNER, CARD, FOR_ALL, HERO, HOME, HOUSE, SHOP, WHEN_HOT
from proffer.wire.scope import encode_scope

PATHS = ["/ee/v1/interact", "/ee/or2/v1/interact", "/ee/t35/v1/interact", "/ee-pre-prd/v1/interact"]


@pytest.mark.parametrize("path", PATHS)
def test_a_location_hint_changes_nothing(client: TestClient, path: str) -> None:
    assert offers(interact(client, body(HERO_SCOPE), f"{path}?configId=dev")) == [[FOR_ALL]]


@pytest.mark.parametrize("media", ["application/json", "text/plain", "text/javascript; charset=x", "TEXT/PLAIN"])
def test_json_is_read_whatever_it_is_called(client: TestClient, media: str) -> None:
    assert offers(interact(client, body(HERO_SCOPE), content_type=media)) == [[FOR_ALL]]


def test_scopes_come_back_to_the_letter(client: TestClient) -> None:
    """Padding, prefixes and the order of names included; each proposition has an id of its own."""
    asked = [
        encode_scope(HOME, HERO),
        encode_mobile_scope(HOME, CARD).rstrip("="),
        encode_mobile_scope(SHOP, HERO, 2),
    ]
    answer = interact(client, body(*asked))

    assert [one["scope"] for one in propositions(answer)] == asked
    assert len({one["id"] for one in propositions(answer)}) == 3


def test_queries_of_event_and_request_add_up(client: TestClient) -> None:
    """Beside the events, in an event, and in several events: each proposition stands with its event."""
    query = {"personalization": {"decisionScopes": [HERO_SCOPE]}}
    document = body(CARD_SCOPE, HERO_SCOPE, query=query)
    document["events"].append({"query": query})
    answer = interact(client, document)
    found = handles(answer, "personalization:decisions")

    assert [one["eventIndex"] for one in found] == [0, 1]
    assert [[p["scope"] for p in one["payload"]] for one in found] == [
        [HERO_SCOPE, CARD_SCOPE],
        [HERO_SCOPE],
    ]


@pytest.mark.parametrize("scope", ["__view__", "mbox", "", "e30=", "eydh", "\u00e9", "bnVsbA==", "x" * 3_000])
def test_scopes_of_others_are_passed_over(client: TestClient, scope: str) -> None:
    """They neither fail nor are told, and harm nobody."""
    answer = interact(client, body(scope, HERO_SCOPE))

    assert (answer.status_code, offers(answer)) == (200, [[FOR_ALL]])
    assert "errors" not in answer.json()


def test_unknown_scopes_harm_nobody(client: TestClient) -> None:
    """207, the good ones answered, and an error for each of the others in the types that clients read."""
    asked = [encode_scope("xcore:offer-activity:99", HERO), encode_scope(HOME, BANNER), HERO_SCOPE]
    answer = interact(client, body(*asked))

    assert (answer.status_code, offers(answer)) == (207, [[FOR_ALL]])
    assert len(answer.json()["errors"]) == 2
    for one in answer.json()["errors"]:
        assert one["type"] == "https://ns.adobe.com/aep/errors/ODE-0001-404"
        assert one["status"] == 404
        assert all(isinstance(text, str) for text in one["report"]["errors"])
        assert isinstance(one["report"]["eventIndex"], int)


@pytest.mark.parametrize("count", [0, -1, 31, 1.5, "2", True, [], 10**30])
def test_a_number_that_is_none_is_told(client: TestClient, count: object) -> None:
    """`itemCount` from 1 to 30; others answered all the same."""
    import base64

    text = json.dumps({"activityId": HOME, "placementId": HERO, "itemCount": count})
    answer = interact(client, body(base64.b64encode(text.encode()).decode(), CARD_SCOPE))

    assert (answer.status_code, len(propositions(answer))) == (207, 1)
    assert "itemCount" in answer.json()["errors"][0]["report"]["errors"][0]


def test_the_request_is_the_moment(client: TestClient) -> None:
    """What the event says is context for rules, laid over what the request says as a whole."""
    document = body(encode_mobile_scope(HOME, HERO, 5), xdm={"weather": "hot"})
    document["xdm"] = {"weather": "cold"}

    assert WHEN_HOT in offers(interact(client, document))[0]
    document["events"][0]["xdm"] = {}
    assert WHEN_HOT not in offers(interact(client, document))[0]


def test_the_wanted_language_comes(client: TestClient) -> None:
    answer = interact(client, body(HERO_SCOPE), accept_language="de-AT, en;q=0.5")

    assert propositions(answer)[0]["items"][0]["data"]["content"] == "<p>alle</p>"


def test_the_fallback_is_an_item_like_any_other(client: TestClient) -> None:
    """Only its id tells."""
    answer = interact(client, body(HERO_SCOPE, CARD_SCOPE))
    items = [item for one in propositions(answer) for item in one["items"]]

    for item in items:
        assert item["data"]["id"] == item["id"]
        assert item["schema"].startswith("https://ns.adobe.com/experience/offer-management/content-component-")
    assert HOUSE in [item["id"] for item in items]


def test_offers_can_be_switched_off(client: TestClient) -> None:
    """By an override of the request: the handle is there, and empty."""
    over = {"com_adobe_experience_platform": {"com_adobe_edge_ode": {"enabled": False}}}
    answer = interact(client, body(HERO_SCOPE, meta={"configOverrides": over}))

    assert handles(answer, "personalization:decisions")[0]["payload"] == []
    over["com_adobe_experience_platform"]["com_adobe_edge_ode"] = {"enabled": "no"}  # type: ignore[dict-item]
    wrong = interact(client, body(HERO_SCOPE, meta={"configOverrides": over}))
    assert (wrong.status_code, wrong.json()["code"]) == (400, "EXEG-0113-400")


# Framed answers.


def test_framed_answers_are_records_on_one_line(client: TestClient) -> None:
    """The separators asked for, around JSON without a line break; refusals are plain."""
    streaming = {"enabled": True, "recordSeparator": "\0", "lineFeed": "\n"}
    meta = {"konductorConfig": {"streaming": streaming}}
    answer = interact(client, body(HERO_SCOPE, meta=meta))

    assert answer.text[0] == "\0"
    assert answer.text.index("\n") == len(answer.text) - 1
    assert json.loads(answer.text[1:-1])["handle"]
    streaming["recordSeparator"] = "<<"
    assert interact(client, body(HERO_SCOPE, meta=meta)).text.startswith("<<{")
    streaming["enabled"] = False
    assert interact(client, body(HERO_SCOPE, meta=meta)).text.startswith("{")
    refused = interact(client, body(meta=meta), "/ee/v1/interact?configId=nobody")
    assert refused.text.startswith("{")


def test_separators_are_short(client: TestClient) -> None:
    streaming = {"enabled": True, "recordSeparator": "x" * 17}
    answer = interact(client, body(meta={"konductorConfig": {"streaming": streaming}}))

    assert answer.json()["code"] == "EXEG-0104-422"


# Refusals.


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "EXEG-0106-400"),
        (b"  ", "EXEG-0106-400"),
        (b"{", "EXEG-0101-400"),
        (b"\xff", "EXEG-0101-400"),
        (b'{"events": [{"xdm": {"a": "\\ud800"}}]}', "EXEG-0101-400"),
        (b"[" * 200 + b"]" * 200, "EXEG-0101-400"),
        (b"[]", "EXEG-0104-422"),
        (b"null", "EXEG-0104-422"),
        (b'"text"', "EXEG-0104-422"),
        (b"{}", "EXEG-0103-400"),
        (b'{"events": []}', "EXEG-0104-422"),
        (b'{"events": [[]]}', "EXEG-0104-422"),
        (b'{"events": [{"xdm": {"a": "\\u0000"}}]}', "EXEG-0104-422"),
        (b'{"event": {}}', "EXEG-0103-400"),
        (json.dumps({"events": [{}] * 101}).encode(), "EXEG-0104-422"),
        (json.dumps({"events": [{"xdm": {"a": "x" * 65_536}}]}).encode(), "EXEG-0112-413"),
    ],
)
def test_bad_bodies_are_refused(client: TestClient, text: bytes, code: str) -> None:
    """In the documented codes; the page gets to see why."""
    for path in ("/ee/v1/interact", "/ee/v1/collect"):
        answer = interact(client, text, f"{path}?configId=dev")
        assert answer.json()["code"] == code, answer.text
        assert answer.status_code == int(code[-3:])
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert answer.headers["access-control-allow-origin"] == WEB["Origin"]


def test_a_body_of_64_kilobytes_is_read(client: TestClient) -> None:
    """And one byte more is not."""
    document = json.dumps(body(HERO_SCOPE, xdm={"a": "x"}))
    full = document.replace('"a": "x"', '"a": "' + "x" * (65_536 - len(document) + 1) + '"')

    assert len(full) == 65_536
    assert interact(client, full.encode()).status_code == 200
    assert interact(client, full.replace("xx", "xxx", 1).encode()).status_code == 413


def test_31_scopes_are_too_many(client: TestClient) -> None:
    """30 decision scopes and whatever else rides along are answered."""
    scopes = [encode_scope(f"xcore:offer-activity:9{number:02}", HERO) for number in range(31)]

    assert interact(client, body(*scopes[:30], "__view__")).status_code == 207
    answer = interact(client, body(*scopes, "__view__"))
    assert (answer.status_code, answer.json()["code"]) == (422, "EXEG-0104-422")


def test_more_offers_than_an_answer_holds_are_refused(client: TestClient) -> None:
    scopes = [encode_mobile_scope(f"xcore:offer-activity:9{number}", HERO, 30) for number in range(4)]

    assert interact(client, body(*scopes)).json()["code"] == "EXEG-0104-422"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "EXEG-0002-400"),
        ("?configId=", "EXEG-0002-400"),
        ("?datastreamId=dev", "EXEG-0002-400"),
        ("?configId=nobody", "EXEG-0003-400"),
        ("?configId=" + "x" * 5_000, "EXEG-0003-400"),
    ],
)
def test_the_datastream_is_needed(client: TestClient, query: str, code: str) -> None:
    answer = interact(client, body(), f"/ee/v1/interact{query}")

    assert (answer.json()["code"], answer.status_code) == (code, 400)


def test_unread_types_are_refused(client: TestClient) -> None:
    answer = interact(client, body(), content_type="multipart/form-data")

    assert (answer.status_code, answer.json()["code"]) == (415, "EXEG-0111-415")


@pytest.mark.parametrize("path", ["/ee/v1/nothing", "/ee/OR2/v1/interact", "/ee/a/b/v1/interact", "/v2/x", "/ee/"])
def test_addresses_nearby_answer_so_that_a_page_sees_it(client: TestClient, path: str) -> None:
    answer = interact(client, body(), f"{path}?configId=dev")

    assert answer.status_code == 404
    assert answer.headers["access-control-allow-origin"] == WEB["Origin"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "PATCH"])
@pytest.mark.parametrize("path", ["/ee/v1/interact", "/ee/or2/v1/interact", "/v2/interact"])
def test_other_methods_are_refused(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, f"{path}?configId=dev", headers={"Origin": "https://a.test"})

    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")
    assert answer.headers["access-control-allow-origin"] == "https://a.test"


# What a page gets to see.


@pytest.mark.parametrize("path", ["/ee/v1/interact", "/ee/or2/v1/collect", "/v2/interact"])
def test_preflights_are_answered(client: TestClient, path: str) -> None:
    asked = {"Origin": "https://a.test", "Access-Control-Request-Headers": "content-type, x-a"}
    answer = client.request("OPTIONS", path, headers=asked)

    assert (answer.status_code, answer.text) == (204, "")
    assert answer.headers["access-control-allow-origin"] == "https://a.test"
    assert answer.headers["access-control-allow-headers"] == "content-type, x-a"
    assert "POST" in answer.headers["access-control-allow-methods"]


def test_without_origin_there_are_no_such_headers(client: TestClient) -> None:
    answer = client.post("/ee/v1/interact?configId=dev", json=body())

    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"


def test_the_request_id_comes_back(client: TestClient) -> None:
    """Of the address, else of the header, else a new one; what is no text for a header is not repeated in one."""
    path = "/ee/v1/interact?configId=dev"

    assert interact(client, body(), f"{path}&requestId=mine").json()["requestId"] == "mine"
    assert interact(client, body(), path, x_request_id="theirs").json()["requestId"] == "theirs"
    assert interact(client, body(), f"{path}&requestId=a%0d%0ab").status_code == 200
    assert len(interact(client, body(), path).json()["requestId"]) == 32


# The second version.


def test_the_second_version_takes_one_event(client: TestClient) -> None:
    """From servers; one identity says who it is."""
    event: dict[str, Any] = {"xdm": {"identityMap": {"CRMID": [{"id": "42", "primary": True}]}}}
    query = {"personalization": {"decisionScopes": [HERO_SCOPE]}}
    for path in ("/ee/v2/interact", "/v2/interact", "/ee/va6/v2/interact"):
        for parameter in ("datastreamId", "dataStreamId", "configId"):
            answer = interact(client, {"event": event, "query": query}, f"{path}?{parameter}=dev")
            assert offers(answer) == [[FOR_ALL]]
    assert interact(client, body(), "/v2/interact?configId=dev").json()["code"] == "EXEG-0103-400"
    event["xdm"]["identityMap"]["CRMID"][0].pop("primary")
    answer = interact(client, {"event": event}, "/v2/interact?configId=dev")
    assert answer.json()["code"] == "EXEG-0306-400"


def test_servers_are_told_that_events_arrived(client: TestClient) -> None:
    """202 with the request's id; nothing where they ask for silence."""
    path = "/ee/v2/collect?datastreamId=dev&requestId=mine"

    answer = interact(client, body(), path)
    assert (answer.status_code, answer.json()) == (202, {"requestId": "mine"})
    answer = interact(client, body(), f"{path}&silent=true")
    assert (answer.status_code, answer.text) == (204, "")
