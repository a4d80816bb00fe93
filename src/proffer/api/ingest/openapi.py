"""OpenAPI description of streaming ingestion."""

from proffer.api.kit import examples
from proffer.api.kit.openapi import SANDBOX, error_texts, json_answer, json_content
from proffer.wire import collection
from proffer.wire.openapi import (
    JsonSchema,
    Operation,
    OperationParameter,
    json_schema,
    ref,
)

GROUP = "ingestion"
ABOUT = "Ingestion of profile records and experience events, single or in batches."

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
}

_INLET = OperationParameter(
    name="inlet",
    location="path",
    about="The inlet: a container's id; in dev mode also `dev`.",
    example=examples.CONTAINER,
)

OPERATIONS = [
    Operation(
        method="POST",
        path="/collection/{inlet}",
        name="ingest",
        group=GROUP,
        summary="Send one message",
        about="A profile record or an experience event. When the response arrives, it is stored durably and visible "
        "to decisions. A record is merged into earlier records of the same dataset and primary identity; null "
        "removes a member. Identities in one message belong to one customer from then on. Repeating a record id "
        "with the same content changes nothing. Values must have the types that the loaded schema, or XDM, declares: a "
        "message with a wrong value is refused completely. Needs `profiles:write`.",
        parameters=[
            _INLET,
            OperationParameter(
                name="syncValidation",
                about="Confirm in the response that the message is valid. Messages are always validated; "
                "`synchronousValidation` is the older name.",
                schema={"type": "boolean", "default": False},
            ),
            SANDBOX,
        ],
        body=json_content(ref("IngestionMessage"), _MESSAGE),
        responses={200: json_answer("The message is stored durably.", ref("Received"), _RECEIPT)},
        errors=error_texts(
            401,
            403,
            404,
            413,
            _400="The body is not JSON, or the message is invalid: every error is listed with its JSON path.",
        ),
    ),
    Operation(
        method="POST",
        path="/collection/batch/{inlet}",
        name="ingestBatch",
        group=GROUP,
        summary="Send several messages",
        about="Messages are independent: invalid messages are reported, all others are stored durably together. "
        "Needs `profiles:write`.",
        parameters=[_INLET, SANDBOX],
        body=json_content(ref("IngestionBatch"), {"messages": [_MESSAGE]}),
        responses={
            207: json_answer(
                "The result for each message, in order.",
                ref("ReceivedBatch"),
                {
                    "inletId": examples.CONTAINER,
                    "batchId": "1565628583792:2:0",
                    "receivedTimeMs": 1565628583792,
                    "responses": [{"xactionId": "1565628583792:2:0:0"}],
                },
            )
        },
        errors=error_texts(401, 403, 404, 413, _400="The body is not JSON, or `messages` is not a list."),
    ),
]
