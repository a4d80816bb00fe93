"""OpenAPI description of streaming ingestion and profile access."""

from typing import Any

from proffer.api.kit import examples
from proffer.api.kit.openapi import error_texts, json_answer
from proffer.wire import collection, ups
from proffer.wire.openapi import (
    JsonSchema,
    MediaTypeContent,
    Operation,
    OperationParameter,
    json_schema,
    ref,
)

INGESTION, PROFILES = "ingestion", "profiles"
GROUPS = {
    INGESTION: "What others know of customers, one message at a time or many together.",
    PROFILES: "What is kept of a person, by any of their identities.",
}

_SCHEMA_REF = {"schemaRef": {"id": "https://ns.adobe.com/xdm/context/profile"}}
_MESSAGE = {
    "header": {**_SCHEMA_REF, "datasetId": "crm"},
    "body": {
        "xdmMeta": _SCHEMA_REF,
        "xdmEntity": {
            "identityMap": {"Email": [{"id": "ada@example.org", "primary": True}]},
            "person": {"name": {"firstName": "Ada"}, "birthDate": "1990-12-10"},
        },
    },
}
_RECEIPT = {
    "inletId": examples.CONTAINER,
    "xactionId": "1565628583792:1:0",
    "receivedTimeMs": 1565628583792,
}
_ENTITY = ups.entity(
    xid="RW1haWwAYWRhQGV4YW1wbGUub3Jn",
    graph=["RW1haWwAYWRhQGV4YW1wbGUub3Jn"],
    sources=["crm"],
    document={"person": {"name": {"firstName": "Ada"}}},
    modified="2024-03-21T09:15:22.004Z",
    policy="default",
)

SCHEMAS: dict[str, JsonSchema] = {
    "IngestionMessage": json_schema(collection.MESSAGE),
    "IngestionBatch": {
        "type": "object",
        "properties": {
            "messages": {
                "type": "array",
                "items": ref("IngestionMessage"),
                "minItems": 1,
                "maxItems": collection.MAX_MESSAGES,
            }
        },
        "required": ["messages"],
    },
    "Received": {
        "type": "object",
        "properties": {
            "inletId": {"type": "string"},
            "xactionId": {"type": "string"},
            "receivedTimeMs": {"type": "integer"},
            "syncValidation": {"type": "object"},
            "synchronousValidation": {"type": "object"},
        },
        "required": ["inletId", "xactionId", "receivedTimeMs"],
    },
    "ReceivedBatch": {
        "type": "object",
        "properties": {
            "inletId": {"type": "string"},
            "batchId": {"type": "string"},
            "receivedTimeMs": {"type": "integer"},
            "responses": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "xactionId": {"type": "string"},
                        "statusCode": {"const": 400},
                        "message": {"type": "string"},
                        "violations": {"type": "array", "items": {"type": "object"}},
                    },
                },
            },
        },
        "required": ["inletId", "batchId", "receivedTimeMs", "responses"],
    },
    "EntitiesRequest": json_schema(ups.ENTITIES_REQUEST),
    "Entities": {
        "description": "By XID. Of events, each is a page of them.",
        "type": "object",
        "additionalProperties": {"type": "object"},
    },
    "Removed": {
        "type": "object",
        "properties": {
            "removed": {
                "type": "object",
                "properties": {
                    "identities": {"type": "array", "items": {"type": "object"}},
                    **{
                        name: {"type": "integer", "minimum": 0}
                        for name in (
                            "attributes",
                            "events",
                            "audiences",
                            "counters",
                            "decisions",
                            "feedback",
                        )
                    },
                },
                "required": [
                    "identities",
                    "attributes",
                    "events",
                    "audiences",
                    "counters",
                    "decisions",
                    "feedback",
                ],
            }
        },
        "required": ["removed"],
    },
}


def _json(name: str, example: Any) -> dict[str, MediaTypeContent]:
    return {"application/json": MediaTypeContent(schema=ref(name), example=example)}


_INLET = OperationParameter(
    name="inlet",
    location="path",
    about="The inlet: a container's id; in dev mode also `dev`.",
    example=examples.CONTAINER,
)
_SANDBOX = OperationParameter(
    name="x-sandbox-name",
    location="header",
    about="The sandbox. Only dev mode needs it: elsewhere the token says it.",
)
_IDENTITY_PARAMETERS = [
    OperationParameter(
        name="schema.name",
        about=f"`{ups.PROFILE}` for a person, `{ups.EVENT}` for what they did.",
        schema={"type": "string", "enum": [ups.PROFILE, ups.EVENT]},
        required=True,
        example=ups.PROFILE,
    ),
    OperationParameter(
        name="entityId", about="The id; without a namespace, an XID.", example="ada@example.org"
    ),
    OperationParameter(name="entityIdNS", about="The code of the id's namespace.", example="Email"),
]

OPERATIONS = [
    Operation(
        method="POST",
        path="/collection/{inlet}",
        name="ingest",
        group=INGESTION,
        summary="Take in one message",
        about="A profile record or an experience event. Durable and visible to decisions once this answers. A "
        "record is merged into what its dataset said before of the same primary identity, and null removes; "
        "identities that stand together belong to one person from then on. The same record id with the "
        "same content again changes nothing. Needs `profiles:write`.",
        parameters=[
            _INLET,
            OperationParameter(
                name="syncValidation",
                about="Say in the answer that the message is valid. It is validated in any case; "
                "`synchronousValidation` is the older name.",
                schema={"type": "boolean", "default": False},
            ),
            _SANDBOX,
        ],
        body=_json("IngestionMessage", _MESSAGE),
        responses={200: json_answer("It is durable.", ref("Received"), _RECEIPT)},
        errors=error_texts(
            401,
            403,
            404,
            413,
            _400="Not JSON, or a wrong message: every mistake is listed with its JSON path.",
        ),
    ),
    Operation(
        method="POST",
        path="/collection/batch/{inlet}",
        name="ingestBatch",
        group=INGESTION,
        summary="Take in many messages",
        about="Each on its own: those that are wrong are told, all the others are durable together. Needs "
        "`profiles:write`.",
        parameters=[_INLET, _SANDBOX],
        body=_json("IngestionBatch", {"messages": [_MESSAGE]}),
        responses={
            207: json_answer(
                "What became of each message, in order.",
                ref("ReceivedBatch"),
                {
                    "inletId": examples.CONTAINER,
                    "batchId": "1565628583792:2:0",
                    "receivedTimeMs": 1565628583792,
                    "responses": [{"xactionId": "1565628583792:2:0:0"}],
                },
            )
        },
        errors=error_texts(
            401, 403, 404, 413, _400="Not JSON, or not a list of messages in `messages`."
        ),
    ),
    Operation(
        method="GET",
        path="/data/core/ups/access/entities",
        name="getEntity",
        group=PROFILES,
        summary="Look a person up",
        about="By any identity; or their kept experience events, oldest first, by `relatedEntityId`. Needs "
        "`profiles:read`.",
        parameters=[
            *_IDENTITY_PARAMETERS,
            OperationParameter(
                name="fields", about="Only these dotted paths, separated by commas."
            ),
            OperationParameter(
                name="mergePolicyId", about="Merge by this policy instead of the default one."
            ),
            OperationParameter(name="relatedEntityId", about="For events: whose."),
            OperationParameter(
                name="relatedEntityIdNS", about="For events: the code of its namespace."
            ),
            OperationParameter(
                name="startTime", about="For events: not before this moment, in milliseconds."
            ),
            OperationParameter(
                name="endTime", about="For events: before this moment, in milliseconds."
            ),
            OperationParameter(name="start", about="For events: begin with this one."),
            OperationParameter(name="limit", about="For events: so many at most."),
            OperationParameter(
                name="orderby", about="For events: `timestamp`, or `-timestamp` for newest first."
            ),
            _SANDBOX,
        ],
        responses={
            200: json_answer("The person, by XID.", ref("Entities"), {_ENTITY["entityId"]: _ENTITY})
        },
        errors=error_texts(400, 401, 403, 422, _404="Nobody has this identity."),
    ),
    Operation(
        method="POST",
        path="/data/core/ups/access/entities",
        name="getEntities",
        group=PROFILES,
        summary="Look several people up",
        about="As above, for a list of identities. Who is not known is an empty entity. Needs `profiles:read`.",
        parameters=[_SANDBOX],
        body=_json(
            "EntitiesRequest",
            {
                "schema": {"name": ups.PROFILE},
                "fields": ["person.name"],
                "identities": [
                    {"entityId": "ada@example.org", "entityIdNS": {"code": "Email"}},
                ],
            },
        ),
        responses={
            200: json_answer("The people, by XID.", ref("Entities"), {_ENTITY["entityId"]: _ENTITY})
        },
        errors=error_texts(400, 401, 403, 404, 413, 422),
    ),
    Operation(
        method="DELETE",
        path="/data/core/ups/access/entities",
        name="eraseEntity",
        group=PROFILES,
        summary="Erase a person",
        about="Remove attributes, identities, events and audience membership of whoever has this identity, and "
        "say what there was. Decisions and feedback stay on record without saying whom they are about. `proffer "
        "vacuum` takes it out of the file. Needs `profiles:write`.",
        parameters=[*_IDENTITY_PARAMETERS, _SANDBOX],
        responses={
            202: json_answer(
                "It is gone.",
                ref("Removed"),
                {
                    "removed": {
                        "identities": [{"id": "ada@example.org", "namespace": {"code": "Email"}}],
                        "attributes": 2,
                        "events": 0,
                        "audiences": 0,
                        "counters": 1,
                        "decisions": 3,
                        "feedback": 2,
                    }
                },
            )
        },
        errors=error_texts(400, 401, 403, 422, _404="Nobody has this identity."),
    ),
]
