"""OpenAPI description of feedback, reservations and recorded decisions."""

from proffer.api.kit.openapi import SANDBOX, error_texts, json_answer
from proffer.api.native.feedback import FEEDBACK
from proffer.wire.openapi import (
    JsonSchema,
    MediaTypeContent,
    Operation,
    OperationParameter,
    json_schema,
    ref,
)

GROUP = "feedback"
ABOUT = (
    "What became of propositions: seen, clicked, closed, bought; and of what was reserved. Ours. Whole experience "
    "events are taken in by `/collection`; the library meant is that of the caller's sandbox."
)

_PROPOSITION = "01978a4b-7c2e-7d10-9a43-5d1f0c6b2e11"
_ITEM = "xcore:personalized-offer:1124521c1ad40000"
_DECISION = "xcore:offer-activity:1124521c1ad40001"
_PLACEMENT = "xcore:offer-placement:1124521c1ad40002"

_ABOUT_IT: JsonSchema = {
    "delivered": {
        "description": "What it is about: offers that the decision gave, each where it gave them.",
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                name: {"type": "string"}
                for name in ("propositionId", "decision", "placement", "item")
            },
        },
    },
    "missed": {
        "description": "What is on no record, and why.",
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
                            "description": "It was taken in before: nothing happened.",
                        },
                        "waiting": {
                            "type": "boolean",
                            "description": "It is kept until the database is back; what it is about shows then.",
                        },
                        **_ABOUT_IT,
                    },
                    "required": ["id", "kind", "again", "waiting", "delivered", "missed"],
                },
            }
        },
        "required": ["received"],
    },
    "Unattributed": {
        "description": "Events in the order they came; `next` is the `after` of the page that follows, if any.",
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
                "description": "When it comes back, or would have, unless it is confirmed.",
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
            "scope": {"type": "integer", "description": "Its place in the request, from 0."},
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
        "description": "A row of the dataset of decisions.",
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
        "description": "Scopes that are answered differently: none where what is on record is reproduced.",
        "type": "object",
        "properties": {
            "propositionId": {"type": "string"},
            "decisionId": {"type": "string"},
            "revision": {"type": "integer"},
            "reproduced": {"type": "boolean"},
            "customerKept": {
                "type": "boolean",
                "description": "Whether anything is kept of the customer today; else they are as on record.",
            },
            "explanation": {
                "description": "Of every scope, as it was: where each candidate stood or left, and why.",
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
    about="The proposition's id, as the hub or the edge gave it.",
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
        responses={200: json_answer("How it stands now.", ref("Reservation"), _RESERVATION_STATE)},
        errors=error_texts(
            401,
            403,
            _404="The proposition reserved nothing.",
            **({} if method == "GET" else {"_409": "It was settled otherwise, or has expired."}),
        ),
    )


OPERATIONS = [
    Operation(
        method="POST",
        path="/api/feedback",
        name="takeFeedback",
        group=GROUP,
        summary="Say what became of propositions",
        about="`type` is `display`, `interact`, `dismiss`, or an event type of your own, which makes a custom event. "
        "Without `items` the event is about everything the proposition delivered, without `scope` about every scope; "
        "`data` is what custom queries of caps may ask about, beside these members. An event is known by its `id`: the "
        "same one again changes nothing. What is about no proposition on record is kept, and listed by "
        "`GET /api/feedback/unattributed`. Every event is durable and counted when this answers; the next decision "
        "knows it. Needs `decisions:execute`.",
        parameters=[SANDBOX],
        body={
            "application/json": MediaTypeContent(
                schema=ref("Feedback"),
                example={
                    "events": [
                        {
                            "id": "f3f7c9a2-1",
                            "type": "display",
                            "propositionId": _PROPOSITION,
                            "items": [_ITEM],
                        }
                    ]
                },
            )
        },
        responses={
            200: json_answer(
                "What became of each event, in their order.",
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
            )
        },
        errors=error_texts(400, 401, 403, 404, 413, 422),
    ),
    Operation(
        method="GET",
        path="/api/feedback/unattributed",
        name="listUnattributed",
        group=GROUP,
        summary="What reports on nothing on record",
        about="Events that name a proposition nobody knows (any more), a scope or an item that was not in it. Needs "
        "`profiles:read`.",
        parameters=[
            OperationParameter(
                name="after",
                about="Only events after the one of this number.",
                schema={"type": "integer", "minimum": 0},
            ),
            OperationParameter(
                name="limit",
                about="How many per page; above 1,000 it is taken as 1,000.",
                schema={"type": "integer", "minimum": 1, "default": 50},
            ),
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
        "How a reservation stands",
        "A decision that was asked for with `xdm:reservation` holds what it gives until it is confirmed or released, "
        "or until it expires.",
    ),
    _reservation(
        "POST",
        "/confirm",
        "confirmReservation",
        "Keep what was reserved",
        "It counts for good, as if it had not been reserved. Done twice, it is done once.",
    ),
    _reservation(
        "POST",
        "/release",
        "releaseReservation",
        "Give back what was reserved",
        "It goes back to the caps, and the next decision may give it. Done twice, it is done once.",
    ),
    Operation(
        method="GET",
        path="/api/propositions/{proposition}",
        name="getProposition",
        group=GROUP,
        summary="A decision on record",
        about="What was decided for whom, when and why, as the dataset of decisions has it, with names of the versions "
        "of then. Needs `profiles:read`.",
        parameters=[_PROPOSITION_PARAMETER, SANDBOX],
        responses={200: json_answer("The decision.", ref("DecisionOnRecord"))},
        errors=error_texts(401, 403, _404="No decision on record has this proposition."),
    ),
    Operation(
        method="GET",
        path="/api/propositions/{proposition}/replay",
        name="replayProposition",
        group=GROUP,
        summary="Make a decision again",
        about="With the library of its revision and all that is on record, which gives the same again (`asItWas` is "
        "empty); with the library of today, all else as it was; and with library, customer, counters and moment of "
        "today. `explanation` says of every offer, as it was, at which stage it left, and why. Nothing is counted. "
        "Needs `profiles:read`.",
        parameters=[_PROPOSITION_PARAMETER, SANDBOX],
        responses={
            200: json_answer(
                "Where it differs.",
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
                            "after": [
                                "fallback `House`, xcore:fallback-offer:1124521c1ad40003 (version 1)"
                            ],
                            "reasons": [
                                "`Gold` left at capping: cap `globalCap` is spent: 1 of 1 in total"
                            ],
                        }
                    ],
                },
            )
        },
        errors=error_texts(
            401,
            403,
            _404="No decision on record has this proposition.",
            _409="What it read was erased with its customer.",
        ),
    ),
]
