"""A library with one object of each kind, under ids of its own, and calls as clients make them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from httpx2 import Response
from starlette.testclient import TestClient

from support.server import NAMESPACE, XCORE, create, server

BASE = "/data/core/xcore"
HAL = "application/vnd.adobe.platform.xcore.hal+json"
PATCH = "application/vnd.adobe.platform.xcore.patch.hal+json"
BARE = "application/schema-instance+json"
HTML = f"{NAMESPACE}content-component-html"
TEXT = f"{NAMESPACE}content-component-text"

HERO, CARD = "xcore:offer-placement:a1", "xcore:offer-placement:a2"
TAG = "xcore:tag:c1"
RULE = "xcore:eligibility-rule:b1"
OFFER = "xcore:personalized-offer:e1"
COLLECTION = "xcore:offer-filter:d1"
FALLBACK = "xcore:fallback-offer:f1"
DECISION = "xcore:offer-activity:9"

Document = dict[str, Any]


def representation(placement: str, component: str = HTML, content: str = "<p>hi</p>") -> Document:
    inside = {"@type": component, "dc:format": "text/html", "xdm:content": content}
    return {"xdm:placement": placement, "xdm:components": [inside]}


def documents() -> dict[str, Document]:
    """One valid document for each kind, in an order in which they can be created; each names the ones before."""
    return {
        "offer-placement": {
            "@id": HERO,
            "xdm:name": "Hero",
            "xdm:channel": "https://ns.adobe.com/xdm/channel-types/web",
            "xdm:componentType": HTML,
        },
        "tag": {"@id": TAG, "xdm:name": "winter"},
        "eligibility-rule": {
            "@id": RULE,
            "xdm:name": "Adults",
            "xdm:condition": {
                "xdm:type": "PQL",
                "xdm:format": "pql/text",
                "xdm:value": "person.age >= 18",
            },
        },
        "personalized-offer": {
            "@id": OFFER,
            "xdm:name": "Skis",
            "xdm:status": "approved",
            "xdm:representations": [representation(HERO)],
            "xdm:rank": {"xdm:priority": 3},
            "xdm:tags": [TAG],
            "xdm:selectionConstraint": {
                "xdm:startDate": "2021-01-01T00:00:00Z",
                "xdm:endDate": "2099-01-01T00:00:00Z",
                "xdm:eligibilityRule": RULE,
            },
        },
        "offer-filter": {
            "@id": COLLECTION,
            "xdm:name": "Winter things",
            "xdm:filterType": "anyTags",
            "xdm:ids": [TAG],
        },
        "fallback-offer": {
            "@id": FALLBACK,
            "xdm:name": "House",
            "xdm:status": "approved",
            "xdm:representations": [representation(HERO)],
        },
        "offer-activity": {
            "@id": DECISION,
            "xdm:name": "Home page",
            "xdm:status": "live",
            "xdm:fallback": FALLBACK,
            "xdm:criteria": [
                {
                    "xdm:placements": [HERO],
                    "xdm:optionSelection": {"xdm:filter": COLLECTION},
                }
            ],
        },
    }


KINDS = list(documents())


@contextmanager
def library() -> Iterator[tuple[TestClient, dict[str, str]]]:
    """A server with one object of each kind, and their instance ids by kind."""
    with server() as client:
        yield (
            client,
            {kind: create(client, kind, document)["instanceId"] for kind, document in documents().items()},
        )


def post(client: TestClient, kind: str, document: object, headers: Mapping[str, str] | None = None) -> Response:
    """Create an instance; the caller looks at the answer."""
    media = {"Content-Type": f'{BARE}; version=1;  schema="{NAMESPACE}{kind}"'}
    return client.post(f"{XCORE}/instances", json=document, headers={**media, **(headers or {})})


def patch(client: TestClient, instance: str, *operations: Document, **headers: str) -> Response:
    """Patch an instance; headers may be given with `_` for `-`."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.patch(f"{XCORE}/instances/{instance}", json=list(operations), headers=sent)


def set_to(path: str, value: object) -> Document:
    return {"op": "add", "path": f"/_instance/{path}", "value": value}


def stored(client: TestClient, instance: str) -> Document:
    """The instance's own members, as they are now."""
    answer = client.get(f"{XCORE}/instances/{instance}")
    assert answer.status_code == 200, answer.text
    document: Document = answer.json()["_instance"]
    return document


def listed(client: TestClient, kind: str, query: str = "", *, search: bool = False) -> Response:
    """A page of a kind, with the query as it stands in a link."""
    path = f"{XCORE}/queries/core/search" if search else f"{XCORE}/instances"
    return client.get(f"{path}?schema={NAMESPACE}{kind}{query}")


def names(answer: Response) -> list[str]:
    """The names on a page."""
    assert answer.status_code == 200, answer.text
    return [one["_instance"]["xdm:name"] for one in answer.json()["_embedded"]["results"]]


def codes(answer: Response) -> list[tuple[str, str]]:
    """What a refusal complains about: (code, path) of each mistake."""
    return [(one["code"], one["path"]) for one in answer.json()["report"]["violations"]]
