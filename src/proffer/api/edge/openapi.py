"""OpenAPI description of the edge API."""

import json
from typing import Any

from proffer.api.kit import examples
from proffer.api.kit.openapi import ERRORS, json_answer
from proffer.model.ids import EntityKind
from proffer.wire import edge
from proffer.wire.openapi import (
    JsonSchema,
    MediaTypeContent,
    Operation,
    OperationParameter,
    OperationResponse,
    json_schema,
    ref,
)

GROUP = "edge"
ABOUT = (
    "Interface for sites and apps: get offers and report feedback, with unmodified `@adobe/alloy` and mobile SDKs. "
    "No token: the datastream identifies the sandbox. A location hint may follow `/ee`, as in "
    "`/ee/or2/v1/interact`; `/ee-pre-prd` is equivalent. `OPTIONS` answers preflights. See [The edge](edge.md)."
)

_OPTION = examples.ANSWER["xdm:propositions"][0]["xdm:options"][0]  # type: ignore[index]
_SCOPE = examples.ANSWER["xdm:propositions"][0]["xdm:scope"]  # type: ignore[index]
_ECID = "40112233445566778899001122334455667788"
_DISPLAY = {
    "eventType": "decisioning.propositionDisplay",
    "_experience": {
        "decisioning": {
            "propositions": [{"id": "7be0c1a4-2f6d-5d1b-b0f3-1c9e8a7d6f52", "scope": _SCOPE, "items": []}],
            "propositionEventType": {"display": 1},
        }
    },
}
_FETCH: dict[str, Any] = {
    "events": [
        {
            "xdm": {
                "eventType": "decisioning.propositionFetch",
                "web": {"webPageDetails": {"URL": "https://www.shop.example/"}},
            },
            "query": {"personalization": {"decisionScopes": [_SCOPE]}},
        }
    ],
    "query": {"identity": {"fetch": ["ECID"]}},
}
_STATE_HANDLE = {
    "type": "state:store",
    "payload": [
        {
            "key": "kndctr_DEV_AdobeOrg_identity",
            "value": "CiY0MDExMjIzMzQ0NTU2Njc3ODg5OTAwMTEyMjMzNDQ1NTY2Nzc4OA",
            "maxAge": 34128000,
            "attrs": {"SameSite": "None"},
        }
    ],
}
_LOCATION_HANDLE = json.loads(edge.LOCATION_HANDLE)
_IDENTITY_HANDLE = {
    "type": "identity:result",
    "payload": [{"id": _ECID, "namespace": {"code": "ECID"}}],
}
_PROPOSITION = {
    "id": "7be0c1a4-2f6d-5d1b-b0f3-1c9e8a7d6f52",
    "scope": _SCOPE,
    "activity": {"id": examples.DECISION, "etag": "1", "name": "Home page"},
    "placement": {
        "id": examples.INSTANCES[EntityKind.PLACEMENT]["@id"],
        "etag": "1",
        "name": "Home page hero",
        "channel": "https://ns.adobe.com/xdm/channel-types/web",
        "componentType": _OPTION["@type"],
    },
    "scopeDetails": {
        "decisionProvider": "ODE",
        "activity": {"id": examples.DECISION, "etag": "1"},
        "placement": {"id": examples.INSTANCES[EntityKind.PLACEMENT]["@id"], "etag": "1"},
        "characteristics": {"eventToken": "0f6a7c1e-4b55-4d0e-9a1e-0c7be0b6f001.0"},
    },
    "items": [
        {
            "id": _OPTION["xdm:id"],
            "etag": "1",
            "schema": _OPTION["@type"],
            "data": {
                "id": _OPTION["xdm:id"],
                "format": "text/html",
                "content": "<p>A glass on the house</p>",
            },
            "name": "A glass on the house",
            "priority": 10,
            "characteristics": {"tokens": ["0f6a7c1e-4b55-4d0e-9a1e-0c7be0b6f001.0.0"]},
        }
    ],
}
_ANSWER = {
    "requestId": "b3d9c1a2-7e55-4a0e-9c9b-0b6c61f6f0a1",
    "handle": [
        _IDENTITY_HANDLE,
        {"type": "personalization:decisions", "eventIndex": 0, "payload": [_PROPOSITION]},
        _LOCATION_HANDLE,
        _STATE_HANDLE,
    ],
}
_IDENTITY_ANSWER = {**_ANSWER, "handle": [_IDENTITY_HANDLE, _LOCATION_HANDLE, _STATE_HANDLE]}
_CONSENT = {
    "consent": [{"standard": "Adobe", "version": "1.0", "value": {"general": "in"}}],
    "query": {"identity": {"fetch": ["ECID"]}},
}

SCHEMAS: dict[str, JsonSchema] = {
    "EdgeEvents": json_schema(edge.EVENTS_SHAPE),
    "EdgeEvent": json_schema(edge.EVENT_SHAPE),
    "EdgeIdentity": json_schema(edge.ACQUIRE_SHAPE),
    "EdgeConsent": json_schema(edge.CONSENT_SHAPE),
    "EdgeAnswer": {
        "type": "object",
        "properties": {
            "requestId": {"type": "string"},
            "handle": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "type": {"enum": [edge.DECISIONS, edge.IDENTITY, edge.LOCATION, edge.STATE]},
                        "eventIndex": {"type": "integer", "minimum": 0},
                        "payload": {"type": "array", "items": {"type": "object"}},
                    },
                    "required": ["type", "payload"],
                },
            },
            "errors": {"type": "array", "items": {"type": "object"}},
            "warnings": {"type": "array", "items": {"type": "object"}},
        },
        "required": ["requestId", "handle"],
    },
    "EdgeReceived": {
        "type": "object",
        "properties": {"requestId": {"type": "string"}},
        "required": ["requestId"],
    },
}

_TYPES = ("application/json", "text/plain")
_REQUEST_ID = OperationParameter(
    name="requestId", about="The id that the response repeats; `x-request-id` is equivalent."
)
_V1 = [
    OperationParameter(name="configId", about="The id of the datastream.", required=True, example="dev"),
    _REQUEST_ID,
]
_V2 = [
    OperationParameter(
        name="datastreamId",
        about="The id of the datastream; `dataStreamId` and `configId` are equivalent.",
        required=True,
        example="dev",
    ),
    _REQUEST_ID,
]


def _error_texts() -> dict[int, str]:
    return {
        400: "The body is empty or not JSON, or the datastream, a member or a valid identity is missing.",
        401: "The datastream requires a token, and the request has no valid token.",
        403: "The datastream does not allow this origin, or the token belongs to another organisation.",
        408: "The body did not arrive in time.",
        413: f"The body is larger than {edge.MAX_BODY:,} bytes.",
        415: "The media type of the body is not supported.",
        422: "The body is invalid (`report.errors` lists every error), or the datastream is disabled.",
        500: ERRORS[500],
        503: ERRORS[503],
    }


def _body(name: str, example: Any) -> dict[str, MediaTypeContent]:
    return {media: MediaTypeContent(schema=ref(name), example=example) for media in _TYPES}


def _operation(path: str, name: str, summary: str, about: str, **more: Any) -> Operation:
    version = "v2" if "/v2/" in path else "v1"
    return Operation(
        method="POST",
        path=path,
        name=name,
        group=GROUP,
        summary=summary,
        about=about,
        parameters=_V2 if version == "v2" else _V1,
        errors=_error_texts(),
        public=True,
        **more,
    )


_EVENTS_TEXT = "Events of a page or an app: feedback is counted first, then the requested scopes are decided."
_INTERACT_ANSWERS = {
    200: json_answer("Handles; several may have the same type.", ref("EdgeAnswer"), _ANSWER),
    207: json_answer(
        "As 200, but some scopes were not found; `errors` has a problem for each of them.",
        ref("EdgeAnswer"),
    ),
}
_COLLECT_V2: dict[str, Any] = {
    "body": _body("EdgeEvents", {"events": [{"xdm": _DISPLAY}]}),
    "responses": {
        202: json_answer(
            "The events are accepted.",
            ref("EdgeReceived"),
            {"requestId": "b3d9c1a2-7e55-4a0e-9c9b-0b6c61f6f0a1"},
        ),
        204: OperationResponse(about="The events are accepted, with `silent=true`."),
    },
}
_INTERACT_V2: dict[str, Any] = {
    "body": _body(
        "EdgeEvent",
        {
            "event": {
                "xdm": {"identityMap": {"CRMID": [{"id": "42", "primary": True}]}},
            },
            "query": {"personalization": {"decisionScopes": [_SCOPE]}},
        },
    ),
    "responses": _INTERACT_ANSWERS,
}

OPERATIONS = [
    _operation(
        "/ee/v1/interact",
        "edgeInteract",
        "Interact",
        f"{_EVENTS_TEXT} A scope is the base64 of a decision and a placement, in any spelling, and is returned as "
        "sent; scopes of other products are ignored. `meta.konductorConfig.streaming` requests a framed response.",
        body=_body("EdgeEvents", _FETCH),
        responses=_INTERACT_ANSWERS,
    ),
    _operation(
        "/ee/v1/collect",
        "edgeCollect",
        "Collect",
        "Events that need no decision, such as those that a page sends when it is closed.",
        body=_body("EdgeEvents", {"events": [{"xdm": _DISPLAY}]}),
        responses={204: OperationResponse(about="The events are accepted.")},
    ),
    _operation(
        "/ee/v1/identity/acquire",
        "edgeAcquireIdentity",
        "Acquire an identity",
        "Return the id of this browser: its stored id, or a new one.",
        body=_body("EdgeIdentity", {"query": {"identity": {"fetch": ["ECID"]}}}),
        responses={200: json_answer("Handles with the id.", ref("EdgeAnswer"), _IDENTITY_ANSWER)},
    ),
    _operation(
        "/ee/v1/privacy/set-consent",
        "edgeSetConsent",
        "Set consent",
        "Consent of a person, in the standards `Adobe` 1.0 and 2.0 and `IAB TCF` 2.0. The client stores it and "
        "sends it with every request. If the person refuses, no offers are returned and nothing is stored.",
        body=_body("EdgeConsent", _CONSENT),
        responses={200: json_answer("Handles with the state to store.", ref("EdgeAnswer"), _IDENTITY_ANSWER)},
    ),
    _operation(
        "/ee/v2/interact",
        "edgeInteractV2",
        "Interact, from a server",
        f"{_EVENTS_TEXT} One event; its identity map marks one identity as primary, or has an ECID.",
        **_INTERACT_V2,
    ),
    _operation(
        "/ee/v2/collect",
        "edgeCollectV2",
        "Collect, from a server",
        "Events that need no decision. With `silent=true`, the response has no body.",
        **_COLLECT_V2,
    ),
    _operation(
        "/v2/interact",
        "edgeInteractServer",
        "Interact, older path",
        "The same as `/ee/v2/interact`.",
        **_INTERACT_V2,
    ),
    _operation(
        "/v2/collect",
        "edgeCollectServer",
        "Collect, older path",
        "The same as `/ee/v2/collect`.",
        **_COLLECT_V2,
    ),
]
