"""Example documents of the OpenAPI description: a small library, creatable in this order."""

from collections.abc import Mapping
from typing import Any

from proffer.model.ids import EntityKind
from proffer.wire.scope import encode_scope

CONTAINER = "e0bd8463-0913-4ca1-bd84-6309134ca1f6"
INSTANCE = "9b1e6c40-8a11-11eb-9c5e-0242ac130003"

_PLACEMENT = "xcore:offer-placement:13b0c2f5a9c41001"
_TAG = "xcore:tag:13b0c31d2b841002"
_RULE = "xcore:eligibility-rule:13b0c34488c41003"
_OFFER = "xcore:personalized-offer:13b0c36be6041004"
_COLLECTION = "xcore:offer-filter:13b0c39343441005"
_FALLBACK = "xcore:fallback-offer:13b0c3baa0841006"
_DECISION = "xcore:offer-activity:13b0c3e1fdc41007"
_FORMULA = "xcore:ranking-function:13b0c408f7041008"
_HTML = "https://ns.adobe.com/experience/offer-management/content-component-html"


def _representations(content: str) -> list[dict[str, Any]]:
    component = {"@type": _HTML, "dc:format": "text/html", "xdm:content": content}
    return [{"xdm:placement": _PLACEMENT, "xdm:components": [component]}]


INSTANCES: Mapping[EntityKind, dict[str, Any]] = {
    EntityKind.PLACEMENT: {
        "@id": _PLACEMENT,
        "xdm:name": "Home page hero",
        "xdm:channel": "https://ns.adobe.com/xdm/channel-types/web",
        "xdm:componentType": _HTML,
    },
    EntityKind.TAG: {"@id": _TAG, "xdm:name": "spring"},
    EntityKind.RULE: {
        "@id": _RULE,
        "xdm:name": "Adults",
        "xdm:condition": {
            "xdm:type": "PQL",
            "xdm:format": "pql/text",
            "xdm:value": "person.age >= 18",
        },
    },
    EntityKind.FORMULA: {
        "@id": _FORMULA,
        "xdm:name": "The older the better",
        "xdm:expression": {
            "xdm:type": "PQL",
            "xdm:format": "pql/text",
            "xdm:value": "offer.rank.priority + person.age",
        },
    },
    EntityKind.OFFER: {
        "@id": _OFFER,
        "xdm:name": "A glass on the house",
        "xdm:status": "approved",
        "xdm:rank": {"xdm:priority": 10},
        "xdm:tags": [_TAG],
        "xdm:selectionConstraint": {
            "xdm:startDate": "2024-01-01T00:00:00Z",
            "xdm:endDate": "2090-12-31T23:59:59Z",
            "xdm:profileConstraintType": "eligibilityRule",
            "xdm:eligibilityRule": _RULE,
        },
        "xdm:representations": _representations("<p>A glass on the house</p>"),
    },
    EntityKind.COLLECTION: {
        "@id": _COLLECTION,
        "xdm:name": "Spring offers",
        "xdm:filterType": "anyTags",
        "xdm:ids": [_TAG],
    },
    EntityKind.FALLBACK: {
        "@id": _FALLBACK,
        "xdm:name": "Lemonade for all",
        "xdm:status": "approved",
        "xdm:representations": _representations("<p>Lemonade for all</p>"),
    },
    EntityKind.DECISION: {
        "@id": _DECISION,
        "xdm:name": "Home page",
        "xdm:status": "live",
        "xdm:fallback": _FALLBACK,
        "xdm:criteria": [
            {
                "xdm:placements": [_PLACEMENT],
                "xdm:optionSelection": {"xdm:filter": _COLLECTION},
            }
        ],
    },
}
"""One object of each kind. Each refers only to earlier ones."""

AUDIT = {
    "repo:etag": 1,
    "repo:createdDate": "2024-03-21T09:15:22.004113Z",
    "repo:lastModifiedDate": "2024-03-21T09:15:22.004113Z",
    "repo:createdBy": "dev@AdobeID",
    "repo:lastModifiedBy": "dev@AdobeID",
    "repo:createdByClientId": "proffer",
    "repo:lastModifiedByClientId": "proffer",
}

PATCH = [{"op": "replace", "path": "/_instance/xdm:name", "value": "Home page, top"}]

REQUEST = {
    "xdm:propositionRequests": [{"xdm:activityId": _DECISION, "xdm:placementId": _PLACEMENT}],
    "xdm:profiles": [
        {
            "xdm:identityMap": {"Email": [{"xdm:id": "ada@example.org"}]},
            "xdm:attributes": {"person": {"age": 30}},
            "xdm:decisionRequestId": "req-71",
        }
    ],
    "xdm:responseFormat": {
        "xdm:includeContent": True,
        "xdm:includeMetadata": {"xdm:option": ["name"]},
    },
}

ANSWER = {
    "xdm:propositionId": "0f6a7c1e-4b55-4d0e-9a1e-0c7be0b6f001",
    "xdm:propositionID": "0f6a7c1e-4b55-4d0e-9a1e-0c7be0b6f001",
    "xdm:propositions": [
        {
            "xdm:activity": {"xdm:id": _DECISION, "repo:etag": "1"},
            "xdm:placement": {"xdm:id": _PLACEMENT, "repo:etag": "1"},
            "xdm:scope": encode_scope(_DECISION, _PLACEMENT),
            "xdm:options": [
                {
                    "xdm:id": _OFFER,
                    "repo:etag": "1",
                    "xdm:name": "A glass on the house",
                    "@type": _HTML,
                    "dc:format": "text/html",
                    "xdm:content": "<p>A glass on the house</p>",
                }
            ],
        }
    ],
    "xdm:factors": {},
    "ode:createDate": 1711012522004,
    "xdm:decisionRequestId": "req-71",
}

REQUEST_09 = {
    "xdm:offerActivities": [{"xdm:offerActivity": _DECISION}],
    "xdm:identityMap": {"Email": [{"xdm:id": "ada@example.org"}]},
}

ANSWER_09 = {
    "xdm:propositionID": "0f6a7c1e-4b55-4d0e-9a1e-0c7be0b6f001",
    "xdm:propositions": [
        {
            "xdm:offerActivity": _DECISION,
            "xdm:scope": encode_scope(_DECISION),
            "xdm:fallbackOffer": _FALLBACK,
        }
    ],
    "xdm:factors": {"xdm:profileResponse": "HTTP 404", "xdm:numberOfIneligibleOffers": "1"},
}

DECISION = _DECISION
