"""OpenAPI description of feedback, reservations and recorded decisions."""

from proffer.api.kit.openapi import LIMIT, SANDBOX, error_texts, json_answer, json_content
from proffer.wire.feedback import FEEDBACK
from proffer.wire.openapi import (
    JsonSchema,
    Operation,
    OperationParameter,
    json_schema,
    ref,
)

GROUP = "feedback"
ABOUT = (
    "Feedback on propositions (displays, clicks, dismissals and other events), reservations and stored decisions. A "
    "Proffer extension. `/collection` accepts whole experience events. The caller's sandbox selects the library."
)

_PROPOSITION = "01978a4b-7c2e-7d10-9a43-5d1f0c6b2e11"
_ITEM = "xcore:personalized-offer:1124521c1ad40000"
_DECISION = "xcore:offer-activity:1124521c1ad40001"
_PLACEMENT = "xcore:offer-placement:1124521c1ad40002"

_ABOUT_IT: JsonSchema = {
    "delivered": {
        "description": "The offers that the event is about, each with its decision and placement.",
        "type": "array",
        "items": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in ("propositionId", "decision", "placement", "item")},
        },
    },
    "missed": {
        "description": "Items that no stored decision contains, with the reason.",
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "propositionId": {"type": "string"},
                "item": {"type": ["string", "null"]},
                "why": {
                    "enum": [
                        "unknown-proposition",
                        "forgotten-proposition",
                        "other-scope",
                        "other-item",
                        "other-token",
                    ]
                },
            },
            "required": ["propositionId", "why"],
        },
    },
}
_KIND: JsonSchema = {"enum": ["display", "interact", "dismiss", "custom"]}

SCHEMAS: dict[str, JsonSchema] = {
    "Feedback": json_schema(FEEDBACK),
    "FeedbackReceived": {
        "type": "object",
        "properties": {
            "received": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string"},
                        "kind": _KIND,
                        "again": {
                            "type": "boolean",
                            "description": "The event was accepted before; nothing was changed.",
                        },
                        "waiting": {
                            "type": "boolean",
                            "description": "The event is stored until the database is available; then its offers "
                            "are known.",
                        },
                        **_ABOUT_IT,
                    },
                    "required": ["id", "kind", "again", "waiting", "delivered", "missed"],
                },
            },
            "refused": {
                "description": "Events with mistakes; nothing of them is stored.",
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "index": {"type": "integer", "description": "Position in the request, from 0."},
                        "id": {"type": ["string", "null"]},
                        "violations": {"type": "array", "items": {"type": "object"}},
                    },
                    "required": ["index", "violations"],
                },
            },
        },
        "required": ["received"],
    },
    "Unattributed": {
        "description": "Events in order of arrival; `next` is the `after` of the following page, or null.",
        "type": "object",
        "properties": {
            "events": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "number": {"type": "integer"},
                        "id": {"type": "string"},
                        "kind": _KIND,
                        "at": {"type": "string", "format": "date-time"},
                        "received": {"type": "string", "format": "date-time"},
                        "event": {"type": "object"},
                        **_ABOUT_IT,
                    },
                    "required": ["number", "id", "kind", "at", "received", "delivered", "missed"],
                },
            },
            "next": {"type": ["integer", "null"]},
        },
        "required": ["events", "next"],
    },
    "Reservation": {
        "type": "object",
        "properties": {
            "propositionId": {"type": "string"},
            "decisionId": {"type": "string"},
            "state": {"enum": ["held", "confirmed", "released", "expired"]},
            "expires": {
                "type": "string",
                "format": "date-time",
                "description": "When the reservation expires unless it is confirmed.",
            },
        },
        "required": ["propositionId", "decisionId", "state", "expires"],
    },
}

_DIFFERENCES: JsonSchema = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "scope": {
                "type": "integer",
                "description": "Index of the scope in the request, from 0.",
            },
            "decision": {"type": "string"},
            "placement": {"type": "string"},
            "before": {"type": "array", "items": {"type": "string"}},
            "after": {"type": "array", "items": {"type": "string"}},
            "reasons": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["scope", "decision", "placement", "before", "after", "reasons"],
    },
}
SCHEMAS |= {
    "DecisionOnRecord": {
        "description": "A row of the decision dataset.",
        "type": "object",
        "properties": {
            "_id": {"type": "string"},
            "timestamp": {"type": "string", "format": "date-time"},
            "eventType": {"type": "string"},
            "identityMap": {"type": "object"},
            "_experience": {"type": "object"},
            "_adobecloudplatform": {"type": "object"},
            "_proffer": {"type": "object"},
        },
        "required": ["_id", "timestamp", "eventType", "_experience", "_proffer"],
    },
    "Replay": {
        "description": "Differences by scope; empty lists if the stored decision is reproduced.",
        "type": "object",
        "properties": {
            "meaning": {
                "description": "Only if the decision was made with another version of the meaning of rules and "
                "formulas than the replay uses: then a result that differs does not mean that the record is wrong.",
                "type": "object",
                "properties": {
                    "recorded": {"type": "integer"},
                    "used": {"type": "integer"},
                    "note": {"type": "string"},
                    "changes": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["recorded", "used", "note", "changes"],
            },
            "propositionId": {"type": "string"},
            "decisionId": {"type": "string"},
            "revision": {"type": "integer"},
            "reproduced": {"type": "boolean"},
            "customerKept": {
                "type": "boolean",
                "description": "Whether customer data is stored today; otherwise the recorded data is used.",
            },
            "explanation": {
                "description": "For every scope of the stored decision, the stage and reason of each candidate.",
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "decision": {"type": "string"},
                        "placement": {"type": "string"},
                        "candidates": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "properties": {
                                    "id": {"type": "string"},
                                    "name": {"type": "string"},
                                    "stage": {"type": "string"},
                                    "reason": {"type": "string"},
                                    "rank": {"type": "integer"},
                                    "score": {"type": "number"},
                                },
                                "description": "Also the parts of the reason: docs/reference/trace.md.",
                                "required": ["id", "name", "stage", "reason"],
                            },
                        },
                    },
                    "required": ["decision", "placement", "candidates"],
                },
            },
            "asItWas": _DIFFERENCES,
            "libraryToday": _DIFFERENCES,
            "allToday": _DIFFERENCES,
        },
        "required": [
            "propositionId",
            "decisionId",
            "revision",
            "reproduced",
            "customerKept",
            "explanation",
            "asItWas",
            "libraryToday",
            "allToday",
        ],
    },
}

_PROPOSITION_PARAMETER = OperationParameter(
    name="proposition",
    location="path",
    about="The proposition's id, as returned by the decision or edge API.",
    example=_PROPOSITION,
)
_RESERVATION_STATE = {
    "propositionId": _PROPOSITION,
    "decisionId": _PROPOSITION,
    "state": "confirmed",
    "expires": "2026-01-02T12:00:00.000000Z",
}
_DELIVERED = {
    "propositionId": _PROPOSITION,
    "decision": _DECISION,
    "placement": _PLACEMENT,
    "item": _ITEM,
}


def _reservation(method: str, path: str, name: str, summary: str, about: str) -> Operation:
    return Operation(
        method=method,
        path=f"/api/reservations/{{proposition}}{path}",
        name=name,
        group=GROUP,
        summary=summary,
        about=f"{about} Needs `decisions:execute`.",
        parameters=[_PROPOSITION_PARAMETER, SANDBOX],
        responses={200: json_answer("The state of the reservation.", ref("Reservation"), _RESERVATION_STATE)},
        errors=error_texts(
            401,
            403,
            _404="The proposition has no reservation.",
            **({} if method == "GET" else {"_409": "The reservation was settled differently, or has expired."}),
        ),
    )


OPERATIONS = [
    Operation(
        method="POST",
        path="/api/feedback",
        name="takeFeedback",
        group=GROUP,
        summary="Report feedback",
        about="`type` is `display`, `interact`, `dismiss`, or your own event type, which makes a custom event. "
        "Without `items` or `tokens` the event is about all offers of the proposition, without `scope` about all "
        "scopes; a token names one item of an answer. Custom queries of caps can read `data` beside these members. An "
        "event is identified by its `id`: sending it again changes nothing. An event about an unknown proposition is "
        "stored and listed by `GET /api/feedback/unattributed`. When the response arrives, every event is stored "
        "durably and counted for the next decision. Needs `decisions:execute`.",
        parameters=[SANDBOX],
        body=json_content(
            ref("Feedback"),
            {
                "events": [
                    {
                        "id": "f3f7c9a2-1",
                        "type": "display",
                        "propositionId": _PROPOSITION,
                        "items": [_ITEM],
                    }
                ]
            },
        ),
        responses={
            200: json_answer(
                "The result for each event, in the order of the request.",
                ref("FeedbackReceived"),
                {
                    "received": [
                        {
                            "id": "f3f7c9a2-1",
                            "kind": "display",
                            "again": False,
                            "waiting": False,
                            "delivered": [_DELIVERED],
                            "missed": [],
                        }
                    ]
                },
            ),
            207: json_answer(
                "Some events have mistakes: they are listed in `refused`, and the others are accepted.",
                ref("FeedbackReceived"),
                {
                    "received": [],
                    "refused": [{"index": 1, "id": "f3f7c9a2-2", "violations": [{"code": "required"}]}],
                },
            ),
        },
        errors=error_texts(400, 401, 403, 404, 413, 422),
    ),
    Operation(
        method="GET",
        path="/api/feedback/unattributed",
        name="listUnattributed",
        group=GROUP,
        summary="List unattributed feedback",
        about="Events with an unknown or deleted proposition, or with a scope or item that the proposition does not "
        "contain. Needs `profiles:read`.",
        parameters=[
            OperationParameter(
                name="after",
                about="Only events after this number.",
                schema={"type": "integer", "minimum": 0},
            ),
            LIMIT,
            SANDBOX,
        ],
        responses={
            200: json_answer(
                "A page of events.",
                ref("Unattributed"),
                {
                    "events": [
                        {
                            "number": 7,
                            "id": "f3f7c9a2-2",
                            "kind": "interact",
                            "at": "2026-01-01T12:00:00.000000Z",
                            "received": "2026-01-01T12:00:01.250000Z",
                            "delivered": [],
                            "missed": [
                                {
                                    "propositionId": _PROPOSITION,
                                    "item": _ITEM,
                                    "why": "other-item",
                                }
                            ],
                            "event": {"_id": "f3f7c9a2-2"},
                        }
                    ],
                    "next": None,
                },
            )
        },
        errors=error_texts(400, 401, 403, 404),
    ),
    _reservation(
        "GET",
        "",
        "getReservation",
        "Get a reservation",
        "A decision with `xdm:reservation` holds the counts of its offers until they are confirmed, released or "
        "expired.",
    ),
    _reservation(
        "POST",
        "/confirm",
        "confirmReservation",
        "Confirm a reservation",
        "The counts become permanent, as without a reservation. Repeating the request changes nothing.",
    ),
    _reservation(
        "POST",
        "/release",
        "releaseReservation",
        "Release a reservation",
        "The counts return to the caps for the next decision. Repeating the request changes nothing.",
    ),
    Operation(
        method="GET",
        path="/api/propositions/{proposition}",
        name="getProposition",
        group=GROUP,
        summary="Get a stored decision",
        about="The decision with its customer, time and reasons, as in the decision dataset, with the object names "
        "of that time. Needs `profiles:read`.",
        parameters=[_PROPOSITION_PARAMETER, SANDBOX],
        responses={200: json_answer("The decision.", ref("DecisionOnRecord"))},
        errors=error_texts(401, 403, _404="No stored decision has this proposition."),
    ),
    Operation(
        method="GET",
        path="/api/propositions/{proposition}/replay",
        name="replayProposition",
        group=GROUP,
        summary="Replay a decision",
        about="Repeats the decision three times: with the library of its revision and all recorded inputs, which "
        "gives the same result (`asItWas` is empty) unless `meaning` says that rules and formulas meant something else "
        "then; with today's library and the recorded inputs; and with today's "
        "library, customer, counters and time. `explanation` gives, for every candidate of the first run, its stage "
        "and the reason. Nothing is counted. Needs `profiles:read`.",
        parameters=[_PROPOSITION_PARAMETER, SANDBOX],
        responses={
            200: json_answer(
                "The differences.",
                ref("Replay"),
                {
                    "propositionId": _PROPOSITION,
                    "decisionId": _PROPOSITION,
                    "revision": 143,
                    "reproduced": True,
                    "customerKept": True,
                    "explanation": [
                        {
                            "decision": _DECISION,
                            "placement": _PLACEMENT,
                            "candidates": [
                                {
                                    "id": _ITEM,
                                    "name": "Gold",
                                    "stage": "ranked",
                                    "reason": "rank 1, by priority 2",
                                    "rank": 1,
                                }
                            ],
                        }
                    ],
                    "asItWas": [],
                    "libraryToday": [],
                    "allToday": [
                        {
                            "scope": 0,
                            "decision": _DECISION,
                            "placement": _PLACEMENT,
                            "before": [f"`Gold`, {_ITEM} (version 1)"],
                            "after": ["fallback `House`, xcore:fallback-offer:1124521c1ad40003 (version 1)"],
                            "reasons": ["`Gold` was excluded at capping: cap `globalCap` is reached: 1 of 1 in total"],
                        }
                    ],
                },
            )
        },
        errors=error_texts(
            401,
            403,
            _404="No stored decision has this proposition.",
            _409="The inputs of the decision were erased with its customer.",
        ),
    ),
]
