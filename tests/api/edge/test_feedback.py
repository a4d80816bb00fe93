"""What pages and apps report moves caps at once, whatever way it comes; decisions over the edge are on record."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.edge.requests import ECID, body, encode_mobile_scope, interact, offers, propositions
from proffer.model.ids import EntityKind
from proffer.testing import builders as b
from proffer.wire.scope import encode_scope
from support.decisions import a_library, always
from support.server import server

GOLD, SILVER = b.id_of(EntityKind.OFFER, "gold"), b.id_of(EntityKind.OFFER, "silver")
FALLBACK = b.id_of(EntityKind.FALLBACK, "fallback")
WEB = b.id_of(EntityKind.PLACEMENT, "web")
DECISION = b.id_of(EntityKind.DECISION, "decision")
SCOPE = encode_scope(DECISION, WEB)
ANN = {"identityMap": {"CRMID": [{"id": "ann", "primary": True}]}}


def capped(limit: int, *events: str, scope: str = "profile") -> dict[str, Any]:
    return b.a_cap(limit, scope=scope) | {"xdm:events": list(events)}


@pytest.fixture
def client() -> Iterator[TestClient]:
    """Gold and then silver, each shown once to a customer; and the fallback."""
    with server() as client:
        a_library(
            client,
            always(b.an_offer("gold", priority=2, caps=[capped(1, "impression")])),
            always(b.an_offer("silver", priority=1, caps=[capped(1, "impression")])),
        )
        yield client


def fetch(client: TestClient, *scopes: str, **more: Any) -> Any:
    return interact(client, body(*(scopes or (SCOPE,)), xdm=ANN, **more))


def report(shown: Sequence[dict[str, Any]], kind: str = "display", **more: Any) -> dict[str, Any]:
    """The event of a page that has shown these propositions; items only where they are given."""
    event_type = f"decisioning.proposition{kind.capitalize()}"
    marks = {"propositionEventType": {kind: 1}}
    decisioning = {"propositions": list(shown), **marks}
    return body(xdm={**ANN, "eventType": event_type, "_experience": {"decisioning": decisioning}, **more})


def report_with_tokens(shown: Sequence[dict[str, Any]], tokens: Sequence[str]) -> dict[str, Any]:
    document = report(shown)
    document["events"][0]["xdm"]["_experience"]["decisioning"]["propositionAction"] = {"tokens": list(tokens)}
    return document


def bare(proposition: dict[str, Any]) -> dict[str, Any]:
    """As the web sends it: without items."""
    return {key: proposition[key] for key in ("id", "scope", "scopeDetails")}


@pytest.mark.parametrize("path", ["/ee/v1/interact", "/ee/v1/collect", "/ee/or2/v1/collect", "/ee/v2/collect"])
def test_a_display_moves_the_next_decision(client: TestClient, path: str) -> None:
    """The next offer, then the fallback; decisions alone move nothing here."""
    assert offers(fetch(client)) == offers(fetch(client)) == [[GOLD]]
    for expected in (SILVER, FALLBACK):
        shown = [bare(one) for one in propositions(fetch(client))]
        answer = interact(client, report(shown), f"{path}?configId=dev")
        assert answer.status_code < 300
        assert offers(fetch(client)) == [[expected]]


@pytest.mark.parametrize("kind", ["interact", "dismiss", "trigger"])
def test_other_events_do_not_count_as_seen(client: TestClient, kind: str) -> None:
    """They are taken in, and answered without decisions."""
    shown = [bare(one) for one in propositions(fetch(client))]
    answer = interact(client, report(shown, kind))

    assert answer.status_code == 200
    assert propositions(answer) == []
    assert offers(fetch(client)) == [[GOLD]]


def test_only_the_items_that_are_named_count(client: TestClient) -> None:
    """All that the proposition delivered, where none are."""
    asked = encode_mobile_scope(DECISION, WEB, 2)
    (both,) = propositions(fetch(client, asked))
    assert [item["id"] for item in both["items"]] == [GOLD, SILVER]

    interact(client, report([{**bare(both), "items": [{"id": SILVER}]}]))
    (left,) = propositions(fetch(client, asked))
    assert [item["id"] for item in left["items"]] == [GOLD]
    (other,) = propositions(fetch(client, asked))
    interact(client, report([bare(other)]))
    assert offers(fetch(client, asked)) == [[FALLBACK]]


def test_a_token_names_one_item(client: TestClient) -> None:
    """With the proposition, beside the id of an item, or alone; a token that is not ours counts nothing."""
    asked = encode_mobile_scope(DECISION, WEB, 2)
    (both,) = propositions(fetch(client, asked))
    gold, silver = (item["characteristics"]["tokens"] for item in both["items"])
    assert gold != silver

    for shown, tokens in (([bare(both)], ["made-up"]), ([], ["made-up"])):
        interact(client, report_with_tokens(shown, tokens))
    (same,) = propositions(fetch(client, asked))
    assert [item["id"] for item in same["items"]] == [GOLD, SILVER]

    interact(client, report_with_tokens([bare(both)], silver))
    (left,) = propositions(fetch(client, asked))
    assert [item["id"] for item in left["items"]] == [GOLD]
    interact(client, report_with_tokens([], gold))
    assert offers(fetch(client, asked)) == [[FALLBACK]]


def test_apps_send_tokens_in_their_items(client: TestClient) -> None:
    """As one text with commas."""
    (both,) = propositions(fetch(client, encode_mobile_scope(DECISION, WEB, 2)))
    tokens = ",".join(item["characteristics"]["tokens"][0] for item in both["items"])
    interact(client, report([{**bare(both), "items": [{"id": "rendered", "characteristics": {"tokens": tokens}}]}]))

    assert offers(fetch(client)) == [[FALLBACK]]


def test_a_report_counts_before_what_the_same_request_asks_for(client: TestClient) -> None:
    """A page may report what it has shown with its next question."""
    shown = [bare(one) for one in propositions(fetch(client))]
    document = report(shown)
    document["events"][0]["query"] = {"personalization": {"decisionScopes": [SCOPE]}}

    assert offers(interact(client, document)) == [[SILVER]]


def test_what_is_sent_again_counts_once(client: TestClient) -> None:
    """By the event's id; without one by the id of the request, which clients repeat when they try again."""
    (first,) = propositions(fetch(client, encode_mobile_scope(DECISION, WEB, 2)))
    path = f"/ee/v1/interact?configId=dev&requestId={uuid.uuid4()}"
    gold = report([{**bare(first), "items": [{"id": GOLD}]}])
    silver = report([{**bare(first), "items": [{"id": SILVER}]}])

    interact(client, gold, path)
    interact(client, silver, path)  # the same request again, as far as anybody can tell
    assert offers(fetch(client)) == [[SILVER]]
    silver["events"][0]["xdm"]["_id"] = "one"
    interact(client, silver, path)
    assert offers(fetch(client)) == [[FALLBACK]]


def test_dry_runs_count_nothing(client: TestClient) -> None:
    """Neither the decision nor the report of it."""
    dry = {"__adobe": {"ajo": {"dryRun": True}}}
    asked = body(SCOPE, xdm=ANN)
    asked["events"][0]["data"] = dry
    shown = [bare(one) for one in propositions(interact(client, asked))]
    reported = report(shown)
    reported["events"][0]["data"] = dry
    interact(client, reported)

    assert offers(fetch(client)) == [[GOLD]]
    interact(client, report(shown))  # of a decision that is not on record
    assert offers(fetch(client)) == [[GOLD]]


def test_proposals_are_counted_over_the_edge() -> None:
    """The same counters as on the decisioning API: what the one gives, the other has no more of."""
    from support.decisions import ask, offer_ids

    with server() as client:
        once = [capped(1, "decisioning")]
        a_library(client, always(b.an_offer("gold", caps=once)))
        assert offers(fetch(client)) == [[GOLD]]
        assert offers(fetch(client)) == [[FALLBACK]]
        who: Any = {"xdm:identityMap": {"CRMID": [{"xdm:id": "ann"}]}}
        asked: Any = {"xdm:profiles": [who]}
        assert offer_ids(ask(client, **asked)) == [FALLBACK]
        assert offer_ids(ask(client, email="bob@x")) == [GOLD]


def test_browsers_are_counted_by_themselves(client: TestClient) -> None:
    """Somebody who is not known is the browser; another browser is somebody else."""

    def asked(ecid: str) -> Any:
        return interact(client, body(SCOPE, xdm={"identityMap": {"ECID": [{"id": ecid}]}}))

    document = report([bare(one) for one in propositions(asked(ECID))])
    document["events"][0]["xdm"]["identityMap"] = {"ECID": [{"id": ECID}]}
    interact(client, document)
    assert offers(asked(ECID)) == [[SILVER]]
    assert offers(asked(ECID[::-1])) == [[GOLD]]


def test_reports_in_the_spelling_of_addresses_count(client: TestClient) -> None:
    """Full addresses instead of short names, as JSON-LD has them."""
    (shown,) = propositions(fetch(client))
    listed = [{"xdm:id": shown["id"], "xdm:scope": shown["scope"], "xdm:items": [{"xdm:id": GOLD}]}]
    xdm = {
        **ANN,
        "xdm:eventType": "decisioning.propositionDisplay",
        "https://ns.adobe.com/experience/decisioning/propositions": listed,
    }

    assert interact(client, body(xdm=xdm)).status_code == 200
    assert offers(fetch(client)) == [[SILVER]]


@pytest.mark.parametrize(
    "decisioning",
    [
        {"propositions": "x"},
        {"propositions": [{"id": 5}]},
        {"propositions": [{"id": "a", "items": "x"}]},
        {"propositions": [{"id": "a", "items": [{}]}]},
        {"propositions": [{"id": "a"}] * 1_001},
        {"propositionEventType": 1, "propositions": [{"id": "a"}]},
    ],
)
def test_reports_that_cannot_be_read_are_refused(client: TestClient, decisioning: dict[str, Any]) -> None:
    """With the path, and before anything of the request has an effect."""
    event = {"xdm": {"_experience": {"decisioning": decisioning}}}
    answer = interact(client, {"events": [event, event]})

    assert (answer.status_code, answer.json()["code"]) == (422, "EXEG-0104-422")
    texts = answer.json()["report"]["errors"]
    assert texts[0].startswith("$.events[0].xdm._experience")
    assert texts[-1].startswith("$.events[1].xdm._experience")
    assert offers(fetch(client)) == [[GOLD]]
    answer = interact(client, {"event": event}, "/ee/v2/interact?datastreamId=dev")
    assert answer.json()["report"]["errors"][0].startswith("$.event.xdm._experience")


@pytest.mark.parametrize("path", ["/ee/v1/interact", "/ee/v1/collect", "/ee/v2/collect"])
def test_a_report_that_cannot_be_read_does_not_refuse_the_others(client: TestClient, path: str) -> None:
    (shown,) = propositions(fetch(client))
    document = report([bare(shown)])
    document["events"].append({"xdm": {"_experience": {"decisioning": {"propositions": "x"}}}})
    answer = interact(client, document, f"{path}?configId=dev&datastreamId=dev")

    assert answer.status_code == 207
    (entry,) = answer.json()["errors"]
    assert entry["type"].endswith("EXEG-0104-422")
    assert entry["report"]["eventIndex"] == 1
    assert entry["report"]["errors"][0].startswith("$.events[1].xdm._experience")
    assert offers(fetch(client)) == [[SILVER]]


def test_a_misspelt_event_type_is_a_warning(client: TestClient) -> None:
    document = report([{"id": "a"}], eventType="decisioning.propositionDisplayed")
    (warning,) = interact(client, document).json()["warnings"]
    assert warning["type"].endswith("EXEG-0206-200")
    assert "did you mean `decisioning.propositionDisplay`?" in warning["detail"]
    assert "warnings" not in interact(client, report([{"id": "a"}], eventType="commerce.purchases")).json()


@pytest.mark.parametrize("key", ["nobody", "0f6a7c1e-4b55-5d0e-9a1e-0c7be0b6f001", "x" * 1_000])
def test_reports_on_nothing_harm_nobody(client: TestClient, key: str) -> None:
    """They are kept for whoever looks for them, and the page hears nothing of it."""
    answer = interact(client, report([{"id": key, "scope": SCOPE}]))

    assert answer.status_code == 200
    assert offers(fetch(client)) == [[GOLD]]


def test_odd_ids_and_times_are_replaced(client: TestClient) -> None:
    """An event has an id and a time whatever its client makes of them."""
    for more in (
        {"_id": 5},
        {"_id": ""},
        {"_id": "x" * 2_000},
        {"timestamp": "yesterday"},
        {"timestamp": 5},
        {"timestamp": "9999-01-01T00:00:00Z"},
        {"timestamp": "0001-01-01T00:00:00Z"},
    ):
        assert interact(client, report([{"id": "a"}], **more)).status_code == 200


def test_events_are_kept_where_the_datastream_says_so(client: TestClient) -> None:
    """With the customer, once, for rules over events; what cannot be kept is told and harms nobody."""
    made = client.post("/api/datastreams", json={"name": "Keeps", "keepEvents": True}).json()
    path = f"/ee/v1/interact?configId={made['id']}"
    (shown,) = propositions(interact(client, body(SCOPE, xdm=ANN), path))
    document = report([bare(shown)], commerce={"purchases": {"value": 1}})
    document["events"][0]["xdm"]["_id"] = "one"
    for _ in range(2):
        assert interact(client, document, path).status_code == 200
    query = {
        "schema.name": "_xdm.context.experienceevent",
        "relatedEntityId": "ann",
        "relatedEntityIdNS": "CRMID",
    }
    found = client.get("/data/core/ups/access/entities", params=query).json()
    assert [one["entity"]["_id"] for one in found["children"]].count("one") == 1
    assert offers(fetch(client)) == [[SILVER]]
    (dry,) = propositions(fetch(client))
    reported = report([bare(dry)])
    reported["events"][0]["data"] = {"__adobe": {"ajo": {"dryRun": True}}}
    assert interact(client, reported, path).status_code == 200
    assert offers(fetch(client)) == [[SILVER]]  # a dry run is neither counted nor kept
    answer = interact(client, body(SCOPE, xdm={**ANN, "web": "wrong"}), path)
    assert answer.json()["warnings"][0]["type"].endswith("EXEG-0204-200")
    assert len(propositions(answer)) == 1
