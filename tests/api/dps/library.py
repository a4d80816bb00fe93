"""A small library as the Offer Library API spells it, with ids of its own, and calls to make with it."""

from typing import Any

from starlette.testclient import TestClient

DPS = "/data/core/dps"
ODS = "/data/core/ods/decisions"
WEB = "https://ns.adobe.com/xdm/channel-types/web"

PLACEMENT = "dps:offer-placement:a1"
TAG = "dps:tag:b1"
RULE = "dps:eligibility-rule:c1"
FORMULA = "dps:ranking-function:c2"
OFFER, ORDINARY = "dps:personalized-offer:d1", "dps:personalized-offer:d2"
COLLECTION = "dps:offer-filter:e1"
FALLBACK = "dps:fallback-offer:f1"
DECISION = "dps:offer-activity:10"

PATHS = {
    "offer-placement": "placements",
    "tag": "tags",
    "eligibility-rule": "offer-rules",
    "offer-filter": "offer-collections",
    "personalized-offer": "offers?offer-type=personalized",
    "fallback-offer": "offers?offer-type=fallback",
    "offer-activity": "offer-decisions",
    "ranking-function": "ranking-formulas",
}


def path(kind: str, entity_id: str | None = None) -> str:
    """The path of a kind's objects, or of one of them."""
    collection, question, query = PATHS[kind].partition("?")
    return f"{DPS}/{collection}{f'/{entity_id}' if entity_id else ''}{question}{query}"


def at(entity_id: str) -> str:
    return path(entity_id.split(":")[1], entity_id)


def content(placement: str, text: str, kind: str = "html", media: str = "text/html") -> Any:
    component = {"type": kind, "format": media, "content": text}
    return {"channel": WEB, "placement": placement, "components": [component]}


def documents(placement: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """One object of each kind, two offers; what is referred to comes first."""
    return [
        {
            "id": PLACEMENT,
            "name": "Home hero",
            "description": "top of page",
            "componentType": "html",
            "channel": WEB,
            **(placement or {}),
        },
        {"id": TAG, "name": "fibre", "description": "fibre tariffs"},
        {
            "id": RULE,
            "name": "Adults",
            "condition": {"type": "PQL", "format": "pql/text", "value": "person.age >= 18"},
            "definedOn": {
                "profile": {
                    "schema": {
                        "ref": "https://ns.adobe.com/xdm/context/profile_union",
                        "version": "1",
                    },
                    "referencePaths": ["person.age"],
                }
            },
        },
        {
            "id": FORMULA,
            "name": "By priority",
            "exdFunction": False,
            "returnType": {"type": "integer"},
            "expression": {"type": "PQL", "format": "pql/text", "value": "1"},
            "definedOn": {
                "offer": {
                    "schema": {
                        "altId": "_experience.offer-management.personalized-offer",
                        "version": "0",
                    }
                }
            },
        },
        {
            "id": OFFER,
            "name": "Fibre 500 upgrade",
            "status": "approved",
            "representations": [content(PLACEMENT, "<p>500</p>")],
            "selectionConstraint": {
                "startDate": "2020-03-01T00:00:00.000+00:00",
                "endDate": "2099-06-30T22:00:00.000+00:00",
                "profileConstraintType": "eligibility-rule",
                "eligibilityRule": RULE,
            },
            "rank": {"priority": 20},
            "cappingConstraint": {},
            "tags": [TAG],
            "characteristics": {"tier": "gold"},
            "frequencyCappingConstraints": [
                {
                    "enabled": True,
                    "limit": 3,
                    "scope": "profile",
                    "entity": "offer",
                    "events": ["decisioning"],
                    "repeat": {"enabled": True, "unit": "week", "unitCount": 1},
                }
            ],
        },
        {
            "id": ORDINARY,
            "name": "Fibre 100",
            "status": "approved",
            "representations": [content(PLACEMENT, "<p>100</p>")],
            "rank": {"priority": 10},
            "tags": [TAG],
        },
        {
            "id": COLLECTION,
            "name": "Fibre offers",
            "filterType": "any-tags",
            "ids": [TAG],
            "labels": ["core/C5"],
        },
        {
            "id": FALLBACK,
            "name": "House banner",
            "status": "approved",
            "representations": [content(PLACEMENT, "<p>house</p>")],
            "selectionConstraint": {"startDate": "2020-03-01T00:00:00Z"},
            "rank": {"priority": 1},
        },
        {
            "id": DECISION,
            "name": "Home page NBO",
            "status": "live",
            "startDate": "2020-03-01T00:00:00.000+00:00",
            "endDate": "2099-12-31T00:00:00.000+00:00",
            "fallback": FALLBACK,
            "criteria": [
                {
                    "placements": [PLACEMENT],
                    "rank": {"priority": 1, "order": {"orderEvaluationType": "static"}},
                    "profileConstraint": {"profileConstraintType": "none"},
                    "optionSelection": {"filter": COLLECTION},
                }
            ],
        },
    ]


def fill(client: TestClient, placement: dict[str, Any] | None = None) -> None:
    """Create the library."""
    for document in documents(placement):
        answer = client.post(path(document["id"].split(":")[1]), json=document)
        assert answer.status_code == 201, answer.text


def decide(
    client: TestClient,
    members: dict[str, Any] | None = None,
    *,
    where: str = ODS,
    scope: dict[str, Any] | None = None,
) -> Any:
    """Ask for the one scope; `members` are further members of the request, `scope` of the scope."""
    named = {"xdm:activityId": DECISION, "xdm:placementId": PLACEMENT}
    body = {
        "xdm:propositionRequests": [{**named, **(scope or {})}],
        "xdm:profiles": [
            {
                "xdm:identityMap": {"Email": [{"xdm:id": "a@b.c"}]},
                "xdm:attributes": {"person": {"age": 30, "name": {"firstName": "Ada <3"}}},
            }
        ],
        **(members or {}),
    }
    answer = client.post(where, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()
