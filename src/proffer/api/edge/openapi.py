"""OpenAPI description of the edge API and its datastreams."""

from typing import Any

from proffer.api.kit import examples
from proffer.api.kit.openapi import ERRORS, SANDBOX, error_texts, json_answer
from proffer.model.documents import SHAPES
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

EDGE, DATASTREAMS = "edge", "datastreams"
GROUPS = {
    EDGE: "Where sites and apps get offers and tell what became of them, by `@adobe/alloy` and the mobile SDKs "
    "as they are. No token: the datastream says whose offers these are. After `/ee` a location hint may "
    "stand, as in `/ee/or2/v1/interact`, and `/ee-pre-prd` serves the same. `OPTIONS` answers preflights. "
    "[The edge](edge.md) tells everything.",
    DATASTREAMS: "The addresses by which sites and apps reach a sandbox, and what to paste into them. Ours.",
}

_OPTION = examples.ANSWER["xdm:propositions"][0]["xdm:options"][0]  # type: ignore[index]
_SCOPE = examples.ANSWER["xdm:propositions"][0]["xdm:scope"]  # type: ignore[index]
_ECID = "40112233445566778899001122334455667788"
_STREAM = "6f2b1a53-0d8e-4c0f-9b52-8a3f2f4a7c11"
_DISPLAY = {
    "eventType": "decisioning.propositionDisplay",
    "_experience": {
        "decisioning": {
            "propositions": [
                {"id": "7be0c1a4-2f6d-5d1b-b0f3-1c9e8a7d6f52", "scope": _SCOPE, "items": []}
            ],
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
        }
    ],
}
_ANSWER = {
    "requestId": "b3d9c1a2-7e55-4a0e-9c9b-0b6c61f6f0a1",
    "handle": [
        _IDENTITY_HANDLE,
        {"type": "personalization:decisions", "eventIndex": 0, "payload": [_PROPOSITION]},
        _STATE_HANDLE,
    ],
}
_IDENTITY_ANSWER = {**_ANSWER, "handle": [_IDENTITY_HANDLE, _STATE_HANDLE]}
_CONSENT = {
    "consent": [{"standard": "Adobe", "version": "1.0", "value": {"general": "in"}}],
    "query": {"identity": {"fetch": ["ECID"]}},
}
_SETTINGS = {
    "name": "The shop",
    "allowedOrigins": ["https://www.shop.example", "https://*.shop.example"],
}
_DATASTREAM_DOCUMENT = {
    "id": _STREAM,
    **_SETTINGS,
    "etag": 1,
    "created": "2024-03-21T09:15:22.004113Z",
    "modified": "2024-03-21T09:15:22.004113Z",
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
                        "type": {"enum": [edge.DECISIONS, edge.IDENTITY, edge.STATE]},
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
    "Datastream": json_schema(SHAPES[EntityKind.DATASTREAM]),
    "Datastreams": {
        "type": "object",
        "properties": {"datastreams": {"type": "array", "items": {"type": "object"}}},
        "required": ["datastreams"],
    },
    "Snippets": {
        "type": "object",
        "properties": {
            "snippets": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "decision": {"type": "object"},
                        "placement": {"type": "object"},
                        **{name: {"type": "string"} for name in ("scope", "web", "android", "ios")},
                    },
                    "required": ["decision", "placement", "scope", "web", "android", "ios"],
                },
            }
        },
        "required": ["snippets"],
    },
}

_TEXT: JsonSchema = {"type": "string"}
_TYPES = ("application/json", "text/plain")
_REQUEST_ID = OperationParameter(
    name="requestId", about="The id that the answer repeats; `x-request-id` does the same."
)
_V1 = [
    OperationParameter(
        name="configId", about="The id of the datastream.", required=True, example="dev"
    ),
    _REQUEST_ID,
]
_V2 = [
    OperationParameter(
        name="datastreamId",
        about="The id of the datastream; `dataStreamId` and `configId` mean the same.",
        required=True,
        example="dev",
    ),
    _REQUEST_ID,
]


def _error_texts() -> dict[int, str]:
    return {
        400: "Not JSON, empty, or something is missing: the datastream, a member of the body, an identity that can "
        "be read.",
        401: "The datastream wants a token, and there is none that is valid.",
        403: "Pages of this origin may not use the datastream, or the token is another organisation's.",
        408: "The body did not arrive in time.",
        413: f"The body is larger than {edge.MAX_BODY:,} bytes.",
        415: "The body is of a type that is not read here.",
        422: "Understood, and wrong: `report.errors` says everything. Or the datastream is disabled.",
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
        group=EDGE,
        summary=summary,
        about=about,
        parameters=_V2 if version == "v2" else _V1,
        errors=_error_texts(),
        public=True,
        **more,
    )


_EVENTS_TEXT = "Events of a page or an app: feedback is counted, then what they ask for is decided."
_INTERACT_ANSWERS = {
    200: json_answer("Handles, one of a type or several.", ref("EdgeAnswer"), _ANSWER),
    207: json_answer(
        "The same; some scopes were not found, and `errors` has a problem for each of them.",
        ref("EdgeAnswer"),
    ),
}
_COLLECT_V2: dict[str, Any] = {
    "body": _body("EdgeEvents", {"events": [{"xdm": _DISPLAY}]}),
    "responses": {
        202: json_answer(
            "They are taken in.",
            ref("EdgeReceived"),
            {"requestId": "b3d9c1a2-7e55-4a0e-9c9b-0b6c61f6f0a1"},
        ),
        204: OperationResponse(about="The same, with `silent=true`."),
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
_DATASTREAM = OperationParameter(
    name="datastream", location="path", about="The id of the datastream.", example="dev"
)
_ETAG_CHANGED = "The datastream has another etag now."
_IF_MATCH = OperationParameter(
    name="If-Match", location="header", about="Only if the datastream still has this etag."
)

OPERATIONS = [
    _operation(
        "/ee/v1/interact",
        "edgeInteract",
        "Interact",
        f"{_EVENTS_TEXT} Scopes are base64 of a decision and a placement, in any spelling, and come back as they "
        "were sent; those of other products are passed over. `meta.konductorConfig.streaming` asks for a "
        "framed answer.",
        body=_body("EdgeEvents", _FETCH),
        responses=_INTERACT_ANSWERS,
    ),
    _operation(
        "/ee/v1/collect",
        "edgeCollect",
        "Collect",
        "Events that want no answer, such as those that a page sends when it is left.",
        body=_body("EdgeEvents", {"events": [{"xdm": _DISPLAY}]}),
        responses={204: OperationResponse(about="They are taken in.")},
    ),
    _operation(
        "/ee/v1/identity/acquire",
        "edgeAcquireIdentity",
        "Acquire an identity",
        "Who this browser is: the id that it keeps, or a new one.",
        body=_body("EdgeIdentity", {"query": {"identity": {"fetch": ["ECID"]}}}),
        responses={200: json_answer("Handles with the id.", ref("EdgeAnswer"), _IDENTITY_ANSWER)},
    ),
    _operation(
        "/ee/v1/privacy/set-consent",
        "edgeSetConsent",
        "Set consent",
        "What a person consents to, in the standards `Adobe` 1.0 and 2.0 and `IAB TCF` 2.0. The client keeps it and "
        "sends it with every request; who does not consent is not answered with offers, and nothing is kept.",
        body=_body("EdgeConsent", _CONSENT),
        responses={
            200: json_answer("Handles with what to keep.", ref("EdgeAnswer"), _IDENTITY_ANSWER)
        },
    ),
    _operation(
        "/ee/v2/interact",
        "edgeInteractV2",
        "Interact, from a server",
        f"{_EVENTS_TEXT} One event, whose identity map marks one identity primary, or has an ECID.",
        **_INTERACT_V2,
    ),
    _operation(
        "/ee/v2/collect",
        "edgeCollectV2",
        "Collect, from a server",
        "Events that want no answer. `silent=true` asks for none at all.",
        **_COLLECT_V2,
    ),
    _operation(
        "/v2/interact",
        "edgeInteractServer",
        "Interact, at the older address",
        "The same as `/ee/v2/interact`.",
        **_INTERACT_V2,
    ),
    _operation(
        "/v2/collect",
        "edgeCollectServer",
        "Collect, at the older address",
        "The same as `/ee/v2/collect`.",
        **_COLLECT_V2,
    ),
    Operation(
        method="GET",
        path="/api/datastreams",
        name="listDatastreams",
        group=DATASTREAMS,
        summary="List datastreams",
        about="Those of the sandbox, oldest first. Needs `library:read`.",
        parameters=[SANDBOX],
        responses={
            200: json_answer(
                "The datastreams.", ref("Datastreams"), {"datastreams": [_DATASTREAM_DOCUMENT]}
            )
        },
        errors=error_texts(401, 403, 404),
    ),
    Operation(
        method="POST",
        path="/api/datastreams",
        name="createDatastream",
        group=DATASTREAMS,
        summary="Create a datastream",
        about="Under the `id` it brings, such as the one that a site is configured with already, or a new one. "
        "All settings but `name` may be left out. Needs `admin`.",
        parameters=[SANDBOX],
        body={"application/json": MediaTypeContent(schema=ref("Datastream"), example=_SETTINGS)},
        responses={201: json_answer("The datastream.", ref("Datastream"), _DATASTREAM_DOCUMENT)},
        errors=error_texts(400, 401, 403, 404, 409, 413, 422),
    ),
    Operation(
        method="GET",
        path="/api/datastreams/{datastream}",
        name="getDatastream",
        group=DATASTREAMS,
        summary="Read a datastream",
        about="Its settings, and its etag. Needs `library:read`.",
        parameters=[_DATASTREAM, SANDBOX],
        responses={200: json_answer("The datastream.", ref("Datastream"), _DATASTREAM_DOCUMENT)},
        errors=error_texts(401, 403, 404),
    ),
    Operation(
        method="PUT",
        path="/api/datastreams/{datastream}",
        name="replaceDatastream",
        group=DATASTREAMS,
        summary="Change a datastream",
        about="Its settings are those of the body; what is left out is as if it had never been said. In force for "
        "the next request. Needs `admin`.",
        parameters=[_DATASTREAM, _IF_MATCH, SANDBOX],
        body={"application/json": MediaTypeContent(schema=ref("Datastream"), example=_SETTINGS)},
        responses={200: json_answer("The datastream.", ref("Datastream"), _DATASTREAM_DOCUMENT)},
        errors=error_texts(400, 401, 403, 404, 409, 413, 422, _412=_ETAG_CHANGED),
    ),
    Operation(
        method="DELETE",
        path="/api/datastreams/{datastream}",
        name="deleteDatastream",
        group=DATASTREAMS,
        summary="Delete a datastream",
        about="Sites and apps that use it get nothing any more. Its id is not given out again in this sandbox. "
        "Needs `admin`.",
        parameters=[_DATASTREAM, _IF_MATCH, SANDBOX],
        responses={204: OperationResponse(about="It is gone.")},
        errors=error_texts(401, 403, 404, 409, _412=_ETAG_CHANGED),
    ),
    Operation(
        method="GET",
        path="/api/datastreams/{datastream}/snippets",
        name="getSnippets",
        group=DATASTREAMS,
        summary="What to paste",
        about="For each decision and placement, or those of one decision: the scope string, and what to paste into a "
        "page, an Android app and an iOS app. Needs `library:read`.",
        parameters=[
            _DATASTREAM,
            OperationParameter(name="decision", about="The `@id` of a decision."),
            OperationParameter(
                name="domain",
                about="The host of the edge as browsers reach it; that of this request.",
            ),
            SANDBOX,
        ],
        responses={200: json_answer("The snippets.", ref("Snippets"))},
        errors=error_texts(401, 403, 404),
    ),
    Operation(
        method="GET",
        path="/demo",
        name="getDemo",
        group=EDGE,
        summary="A page that shows it",
        about="Dev mode only. A shop page that gets its offers over the edge by `@adobe/alloy`, with a switch between "
        "customers, and beside it why each offer was given. alloy speaks https on port 443; served otherwise, "
        "the page sends the same requests itself.",
        responses={
            200: OperationResponse(
                about="The page.", content={"text/html": MediaTypeContent(schema=_TEXT)}
            )
        },
        errors={403: ERRORS[403]},
        public=True,
    ),
    Operation(
        method="GET",
        path="/demo/{file}",
        name="getDemoFile",
        group=EDGE,
        summary="A file of that page",
        about="Dev mode only: `demo.js`, `demo.css`, and from npm `alloy.min.js` with `alloy.LICENSE.txt`.",
        parameters=[
            OperationParameter(
                name="file", location="path", about="The name of the file.", example="demo.css"
            )
        ],
        responses={
            200: OperationResponse(
                about="The file.", content={"text/css": MediaTypeContent(schema=_TEXT)}
            )
        },
        errors={404: "There is no such file, or npm was absent when Proffer was built."},
        public=True,
    ),
]
