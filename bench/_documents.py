"""A library, customers and requests for the benchmarks of whole servers."""

import random
from collections.abc import Sequence
from typing import Any

import msgspec

from proffer.app import DEV_CONTAINER

NAMESPACE = "https://ns.adobe.com/experience/offer-management/"
HTML = f"{NAMESPACE}content-component-html"
COUNTRIES = ("FR", "DE", "NL", "AT", "BE", "IE")
PATH = f"/data/core/ode/{DEV_CONTAINER}/decisions"
CAPPED_EVERY = 10
"""One offer in so many has caps."""


def placement(number: int) -> str:
    return f"xcore:offer-placement:{number:x}"


def offer_id(number: int) -> str:
    return f"xcore:personalized-offer:{number:x}"


def an_offer(number: int, placements: int) -> dict[str, Any]:
    """Return an offer; each tenth has caps that are never reached, and a high priority."""
    capped = number % CAPPED_EVERY == 0
    document: dict[str, Any] = {
        "@id": offer_id(number),
        "xdm:name": f"Offer {number}",
        "xdm:status": "approved",
        "xdm:rank": {"xdm:priority": 50 + number % 60 if capped else number * 37 % 101},
        "xdm:tags": ["xcore:tag:1"],
        "xdm:selectionConstraint": {
            "xdm:startDate": "2020-01-01T00:00:00Z",
            "xdm:endDate": "2090-01-01T00:00:00Z",
            "xdm:profileConstraintType": "eligibilityRule",
            "xdm:eligibilityRule": f"xcore:eligibility-rule:{number:x}",
        },
        "xdm:representations": representations(f"<p>Offer {number}: {'words ' * 30}</p>", placements),
    }
    if capped:
        document["xdm:cappingConstraint"] = {"xdm:globalCap": 10**9, "xdm:profileCap": 10**6}
    return document


def a_rule(number: int, *, narrow: bool) -> dict[str, Any]:
    """Return a rule of three tests; a narrow one holds only for customers of one country."""
    countries = [COUNTRIES[number % 6]] if narrow else COUNTRIES
    country_list = ", ".join(f'"{country}"' for country in countries)
    text = (
        f"person.age >= {18 + number % 50} and "
        f"homeAddress.countryCode in [{country_list}] and "
        f"loyalty.points > {number * 7 % 1000}"
    )
    return {
        "@id": f"xcore:eligibility-rule:{number:x}",
        "xdm:name": f"Rule {number}",
        "xdm:condition": {"xdm:type": "PQL", "xdm:format": "pql/text", "xdm:value": text},
    }


def library(offers: int, placements: int = 1, decisions: int = 1, *, narrow: bool = True) -> dict[str, Any]:
    """Return a library of offers under one tag, each with a rule of three tests, and decisions on all."""
    placement_ids = [placement(number) for number in range(1, placements + 1)]
    return {
        "placements": [
            {
                "@id": placement_id,
                "xdm:name": placement_id,
                "xdm:channel": "web",
                "xdm:componentType": HTML,
            }
            for placement_id in placement_ids
        ],
        "tags": [{"@id": "xcore:tag:1", "xdm:name": "all"}],
        "rules": [a_rule(number, narrow=narrow) for number in range(1, offers + 1)],
        "offers": [an_offer(number, placements) for number in range(1, offers + 1)],
        "collections": [
            {
                "@id": "xcore:offer-filter:1",
                "xdm:name": "All",
                "xdm:filterType": "anyTags",
                "xdm:ids": ["xcore:tag:1"],
            }
        ],
        "fallbacks": [
            {
                "@id": "xcore:fallback-offer:1",
                "xdm:name": "House",
                "xdm:status": "approved",
                "xdm:representations": representations("<p>house</p>", placements),
            }
        ],
        "decisions": [
            {
                "@id": f"xcore:offer-activity:{number:x}",
                "xdm:name": f"Decision {number}",
                "xdm:status": "live",
                "xdm:fallback": "xcore:fallback-offer:1",
                "xdm:criteria": [
                    {
                        "xdm:placements": placement_ids,
                        "xdm:optionSelection": {"xdm:filter": "xcore:offer-filter:1"},
                    }
                ],
            }
            for number in range(1, decisions + 1)
        ],
    }


def representations(content: str, placements: int) -> list[dict[str, Any]]:
    component = {"@type": HTML, "dc:format": "text/html", "xdm:content": content}
    return [{"xdm:placement": placement(number), "xdm:components": [component]} for number in range(1, placements + 1)]


def email(customer: int) -> str:
    return f"customer{customer}@example.org"


def profile(customer: int) -> dict[str, Any]:
    """Return a customer profile of about 1 KB with two identities."""
    draw = random.Random(customer)
    return {
        "identityMap": {
            "Email": [{"id": email(customer), "primary": True}],
            "ECID": [{"id": f"{draw.getrandbits(120):038d}"}],
        },
        "person": {"name": {"firstName": "Ada", "lastName": "Byron"}, "age": draw.randint(18, 90)},
        "homeAddress": {"city": "Ulm", "countryCode": draw.choice(COUNTRIES)},
        "loyalty": {
            "tier": draw.choice(["gold", "silver"]),
            "points": draw.randint(0, 1_100),
        },
        "consents": {"marketing": {"email": {"val": "y"}}},
        "_acme": {"interests": ["sports", "music"], "note": "x" * 560},
    }


def request(customer: int, items: Sequence[int] = (1,), decision: int = 1) -> bytes:
    """Return an HTTP request for a decision for one customer, with a scope per element of `items`."""
    body = {
        "xdm:propositionRequests": [
            {
                "xdm:activityId": f"xcore:offer-activity:{decision:x}",
                "xdm:placementId": placement(number),
                "xdm:itemCount": item_count,
            }
            for number, item_count in enumerate(items, 1)
        ],
        "xdm:profiles": [{"xdm:identityMap": {"Email": [{"xdm:id": email(customer)}]}}],
        "xdm:responseFormat": {
            "xdm:includeContent": True,
            "xdm:includeMetadata": {"xdm:option": ["name"]},
        },
    }
    return post(PATH, msgspec.json.encode(body))


def post(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Accept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
