"""HTTP requests that fill an installation, and requests that query it later."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic_ns
from typing import Any
from unittest.mock import patch

from starlette.testclient import TestClient

from proffer.app import DEV_CONTAINER, create_app
from proffer.config import Settings
from proffer.model.events import edge_token, item_token, new_decision_id
from proffer.wire.scope import encode_scope
from support.customers import identities, ingest, person
from support.server import ODE
from upgrade.library import BUYERS, CARD, GOLD_CLUB, HOME, LOCALS, MAIL, NEWCOMERS, decision_id, offer_id

Document = dict[str, Any]

STORED_US = 1_770_026_400_000_000
"""2026-02-02T10:00:00Z, a Monday: the time of all stored data."""
HOUR_US = 3_600_000_000
ASKED_US = STORED_US + HOUR_US
"""The time of the queries: the same day, week and month."""
DATASTREAM = "6f2b1a53-0d8e-4c0f-9b52-8a3f2f4a7c11"
RULES, LIMITS, RESERVED, RUSH, NEAR, FOR_ALL, PERSONS = (decision_id(f"ad{number}") for number in range(1, 8))
ANN_BY_PHONE = {"Phone": "+49341001"}
"""An identity without a customer that is named together with Ann: it counts for her, and reads nothing of her."""
GUEST = {"Email": "guest@example.org", "Phone": "+49341002"}
"""Two identities of nobody that are named together: they count as one person without a customer."""
PLACEMENTS = {"home": HOME, "card": CARD, "mail": MAIL}
_DECISION_TYPE = (
    'application/vnd.adobe.xdm+json; schema="https://ns.adobe.com/experience/'
    'offer-management/decision-request;version=1.0"'
)
_BOUGHT = '(select e from xEvent where e.eventType = "purchase" and e.timestamp occurs <= 90 days before now)'
_SEGMENTS = "/data/core/ups/segment/definitions"


@contextmanager
def serving(database: str, spool: Path, start_us: int = ASKED_US, *, dev: bool = True) -> Iterator[TestClient]:
    """Run a server in this process; its clock starts at `start_us`."""
    begun_ns = monotonic_ns()
    app = create_app(
        Settings(dev=dev, database=database, spool=str(spool)),
        clock=lambda: start_us + (monotonic_ns() - begun_ns) // 1000,
    )
    with TestClient(app, base_url="http://127.0.0.1:8700", raise_server_exceptions=False) as client:
        yield client


def request(
    *scopes: tuple[str, str], who: str | Mapping[str, str], count: int = 5, phone: bool = False, **members: Any
) -> Document:
    """Return a decision request for one customer: decisions, each with a placement.

    `who`: the email address, or ids by namespace.
    """
    named = {"Email": who} if isinstance(who, str) else who
    profile: Document = {"xdm:identityMap": {namespace: [{"xdm:id": key}] for namespace, key in named.items()}}
    if phone:
        data = {"kind": "phone"}
        profile["xdm:contextData"] = [{"@type": "https://ns.adobe.com/acme/device;version=1", "xdm:data": data}]
    return {
        "xdm:propositionRequests": [
            {
                "xdm:activityId": decision,
                "xdm:placementId": PLACEMENTS[placement],
                "xdm:itemCount": count,
            }
            for decision, placement in scopes
        ],
        "xdm:profiles": [profile],
        "xdm:responseFormat": {
            "xdm:includeContent": True,
            "xdm:includeMetadata": {"xdm:option": ["name"]},
        },
        **members,
    }


def decide(client: TestClient, document: Mapping[str, Any], *, explain: bool = False) -> Document:
    """Return the response of the decisioning API to this request."""
    answer = client.post(
        f"{ODE}/decisions",
        json=document,
        params={"explain": "true"} if explain else {},
        headers={"Content-Type": _DECISION_TYPE},
    )
    assert answer.status_code == 200, answer.text
    content: Document = answer.json()
    return content


def options(proposition: Mapping[str, Any]) -> list[Document]:
    """Return the offers of one scope, best first, or else the fallback."""
    return list(proposition.get("xdm:options") or [proposition["xdm:fallback"]])


def option_ids(answer: Mapping[str, Any]) -> list[list[str]]:
    """Return the ids of the options of each scope."""
    return [[one["xdm:id"] for one in options(scope)] for scope in answer["xdm:propositions"]]


QUESTIONS: Mapping[str, Document] = {
    "rules of an adult": request((RULES, "home"), who="ann@example.org", count=20),
    "rules of a child": request((RULES, "home"), who="ben@example.org", count=20),
    "rules of a customer in Ulm": request((RULES, "home"), who="eve@example.org", count=20),
    "rules of a stranger": request((RULES, "home"), who="new@example.org", count=20),
    "rules of a stranger on a phone": request((RULES, "home"), who="new@example.org", count=20, phone=True),
    "content for JSON": request((RULES, "card"), who="ann@example.org", count=20),
    "a text": request((RULES, "mail"), who="eve@example.org"),
    "limits of a customer who had them": request((LIMITS, "home"), (LIMITS, "card"), who="ann@example.org"),
    "limits of another customer": request((LIMITS, "home"), who="ben@example.org"),
    "what is reserved": request((RESERVED, "home"), who="eve@example.org"),
    "a formula": request((NEAR, "home"), who="ann@example.org", count=20),
    "a formula for a child": request((NEAR, "home"), who="ben@example.org", count=20),
    "a person who had everything": request((PERSONS, "home"), who="eve@example.org"),
    "a newcomer by the time": request((PERSONS, "home"), who="ben@example.org"),
    "a stranger who had nothing": request((PERSONS, "home"), who="new@example.org"),
    "an identity that joined a customer": request((PERSONS, "home"), who=ANN_BY_PHONE),
    "an identity that joined another": request((PERSONS, "home"), who={"Phone": GUEST["Phone"]}),
}
"""Requests that are stored with their answers, and repeated as dry runs by every later version."""


def dry_run(client: TestClient, question: Mapping[str, Any]) -> Document:
    """Send a request as a dry run; return the response with trace."""
    return decide(client, {**question, "xdm:dryRun": True}, explain=True)


def trace_stages(answer: Mapping[str, Any]) -> list[list[Document]]:
    """Return id, stage and rank of each candidate of each scope."""
    return [
        sorted(
            ({name: one.get(name) for name in ("id", "stage", "rank")} for one in scope),
            key=lambda one: str(one["id"]),
        )
        for scope in candidates(answer)
    ]


def candidates(answer: Mapping[str, Any]) -> list[list[Document]]:
    return [scope["candidates"] for scope in answer["trace"]]


def interact(client: TestClient, event: Mapping[str, Any]) -> Document:
    """Send one event over the edge; return the response."""
    answer = client.post(f"/ee/v1/interact?configId={DATASTREAM}", json={"events": [event]})
    assert answer.status_code == 200, answer.text
    content: Document = answer.json()
    return content


def edge_propositions(answer: Mapping[str, Any]) -> list[Document]:
    return [
        one for handle in answer["handle"] if handle["type"] == "personalization:decisions" for one in handle["payload"]
    ]


def edge_decision(client: TestClient, crm: str, *scopes: tuple[str, str]) -> list[Document]:
    """Return propositions for these decisions over the edge."""
    names = [encode_scope(decision, PLACEMENTS[placement]) for decision, placement in scopes]
    event = {
        "xdm": {"identityMap": {"CRMID": [{"id": crm, "primary": True}]}},
        "query": {"personalization": {"decisionScopes": names}},
    }
    return edge_propositions(interact(client, event))


def report(client: TestClient, *events: Mapping[str, Any]) -> list[Document]:
    """Report feedback events; return the result of each."""
    answer = client.post("/api/feedback", json={"events": list(events)})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["received"])


def settle(client: TestClient, proposition: str, action: str = "") -> str:
    """Confirm or release a reservation if `action` says so; return its state."""
    path = f"/api/reservations/{proposition}"
    answer = client.post(f"{path}/{action}") if action else client.get(path)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["state"])


def _audience(key: str, name: str, rule: str) -> Document:
    return {
        "id": key,
        "name": name,
        "expression": {"type": "PQL", "format": "pql/text", "value": rule},
        "schema": {"name": "_xdm.context.profile"},
    }


def _customers(client: TestClient) -> None:
    named = {"id": DATASTREAM, "name": "The shop", "explain": True}
    for path, document, status in (
        ("/api/datastreams", named, 201),
        (
            "/data/core/idnamespace/identities",
            {"code": "loyaltyId", "name": "Loyalty card", "idType": "CROSS_DEVICE"},
            200,
        ),
        (_SEGMENTS, _audience(LOCALS, "Locals", 'homeAddress.city = "Leipzig"'), 200),
        (_SEGMENTS, _audience(BUYERS, "Buyers", _BOUGHT), 200),
        (_SEGMENTS, _audience(NEWCOMERS, "Newcomers", "loyalty.joinDate occurs < 60 days before now"), 200),
        (_SEGMENTS, {"id": GOLD_CLUB, "name": "Gold club", "expression": {"type": "LIST"}}, 200),
    ):
        answer = client.post(path, json=document)
        assert answer.status_code == status, answer.text
    ann = identities(Email="ann@example.org", CRMID="c-1", loyaltyId="L-77")
    for entity, dataset in (
        (
            {
                "identityMap": ann,
                "person": {"age": 36, "name": {"firstName": "Ann"}},
                "homeAddress": {"city": "Leipzig", "postalCode": "04275"},
                "loyalty": {"joinDate": "2020-05-05"},
            },
            "crm",
        ),
        ({"identityMap": ann, "loyalty": {"tier": "gold"}}, "shop"),
        (
            {
                "identityMap": identities(Email="ben@example.org", CRMID="c-2"),
                "person": {"age": 12, "name": {"firstName": "Ben"}},
                "homeAddress": {"city": "Lyon", "postalCode": "69001"},
                "loyalty": {"joinDate": "2025-12-24"},
            },
            "crm",
        ),
        (
            {
                "identityMap": identities(Email="eve@example.org", CRMID="c-3"),
                "person": {"age": 64, "name": {"firstName": "Ève"}},
                "homeAddress": {"city": "Ulm", "postalCode": "89073"},
            },
            "crm",
        ),
    ):
        ingest(client, entity, dataset)
    ingest(
        client,
        {
            "_id": "purchase-1",
            "timestamp": "2026-01-20T08:00:00Z",
            "eventType": "purchase",
            "identityMap": ann,
            "commerce": {"order": {"priceTotal": 40.5}},
        },
        "events",
    )
    answer = client.put(
        f"{_SEGMENTS}/{GOLD_CLUB}/members",
        content=b"mail,tier\nann@example.org,gold\neve@example.org,silver\n",
        params={"namespace": "email"},
        headers={"Content-Type": "text/csv"},
    )
    assert answer.status_code == 200, answer.text


def run_scenario(client: TestClient) -> Document:
    """Add customers, decide, reserve and report feedback; return the expected results."""
    _customers(client)
    decisions: dict[str, Document] = {}

    def record(name: str, *scopes: tuple[str, str], **members: Any) -> str:
        answer = decide(client, request(*scopes, **members))
        key = str(answer["xdm:propositionId"])
        decisions[key] = {
            "name": name,
            "surface": "ode",
            "options": option_ids(answer),
            "scopes": [[decision, PLACEMENTS[placement]] for decision, placement in scopes],
        }
        return key

    def reserve(name: str, seconds: int) -> str:
        reservation = {"xdm:ttl": seconds}
        return record(name, (RESERVED, "home"), who="ann@example.org", **{"xdm:reservation": reservation})

    record("rules", (RULES, "home"), (RULES, "card"), who="ann@example.org", count=20)
    record("a formula", (NEAR, "home"), who="eve@example.org", count=20)
    record("rules of a stranger on a phone", (RULES, "home"), who="x@example.org", phone=True)
    limits = [
        record("limits", (LIMITS, "home"), who="ann@example.org"),
        record("limits again", (LIMITS, "home"), who="ann@example.org"),
        record("limits in another place", (LIMITS, "card"), who="eve@example.org"),
    ]
    for number in range(3):
        record("rush", (RUSH, "home"), who=f"{number}@example.org", count=1)

    reservations = {
        "confirmed": reserve("a reservation to confirm", 86_400),
        "released": reserve("a reservation to release", 86_400),
    }
    settle(client, reservations["confirmed"], "confirm")
    settle(client, reservations["released"], "release")
    reservations["held"] = reserve("a reservation to keep", 80 * 86_400)
    reservations["expired"] = reserve("a reservation that expires", 60)

    seen = {"type": "display", "items": ["xcore:personalized-offer:14"]}
    received = report(
        client,
        {"id": "seen-1", "propositionId": limits[0], **seen},
        {"id": "seen-2", "propositionId": limits[1], **seen},
        {"id": "click-1", "propositionId": limits[0], "type": "interact"},
        {"id": "lost-1", "propositionId": "01978a4b-7c2e-7d10-9a43-5d1f0c6b2e11", **seen},
    )
    assert [len(one["missed"]) for one in received] == [0, 0, 0, 1], received
    record("nothing left", (LIMITS, "home"), (LIMITS, "card"), who="ann@example.org")

    edge = edge_decision(client, "c-3", (RULES, "home"), (RESERVED, "home"))
    first = {key: edge[0][key] for key in ("id", "scope", "scopeDetails")}
    interact(
        client,
        {
            "xdm": {
                "_id": "edge-seen-1",
                "identityMap": {"CRMID": [{"id": "c-3", "primary": True}]},
                "eventType": "decisioning.propositionDisplay",
                "_experience": {
                    "decisioning": {
                        "propositions": [first],
                        "propositionEventType": {"display": 1},
                    }
                },
            }
        },
    )

    # Since 0.2.0.
    with patch("proffer.service.decisions.decide.new_decision_id", _id_that_records_dropped):
        first_of_eve = record("a limit by a formula", (PERSONS, "home"), who="eve@example.org")
    record("a customer and an identity of nobody", (PERSONS, "home"), who={"Email": "ann@example.org", **ANN_BY_PHONE})
    record("two identities of nobody", (PERSONS, "home"), who=GUEST)
    record("a limit by a formula again", (PERSONS, "home"), who="eve@example.org")
    token = item_token(edge_token(first_of_eve, 0), decisions[first_of_eve]["options"][0].index(offer_id("34")))
    item_feedback = {"id": "item-seen-1", "type": "display", "propositionId": first_of_eve, "tokens": [token]}
    (counted,) = report(client, item_feedback)
    assert counted["missed"] == [], counted
    return {
        "container": DEV_CONTAINER,
        "decisions": decisions,
        "edge": [{"id": one["id"], "items": [item["id"] for item in one["items"]]} for one in edge],
        "reservations": reservations,
        "itemFeedback": item_feedback,
    }


def _id_that_records_dropped(now_us: int) -> str:
    """Return an id of a decision that records how many candidates were dropped."""
    return f"{new_decision_id(now_us)[:-1]}0"


def answers(client: TestClient) -> Document:
    """Return the request and answer of every question, for later versions."""
    return {name: {"request": one, **answer_to(client, one)} for name, one in QUESTIONS.items()}


def answer_to(client: TestClient, question: Mapping[str, Any]) -> Document:
    """Return the options and the trace of a dry run."""
    answer = dry_run(client, question)
    return {
        "options": [options(scope) for scope in answer["xdm:propositions"]],
        "trace": trace_stages(answer),
    }


def customers(client: TestClient) -> Document:
    """Return the profile of each customer, by identity."""
    profiles: Document = {}
    for identity in ("Email:ann@example.org", "CRMID:c-2", "loyaltyId:L-77"):
        namespace, _, key = identity.partition(":")
        profiles[identity] = person(client, key, namespace)["entity"]
    return profiles


def covers(actual: Any, stored: Any) -> bool:
    """Return whether `actual` contains everything stored; later versions may add members."""
    if isinstance(stored, dict):
        return isinstance(actual, dict) and all(
            name in actual and covers(actual[name], value) for name, value in stored.items()
        )
    if isinstance(stored, list):
        return (
            isinstance(actual, Sequence)
            and len(actual) == len(stored)
            and all(covers(*pair) for pair in zip(actual, stored, strict=True))
        )
    return bool(actual == stored)
