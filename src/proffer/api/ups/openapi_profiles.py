"""OpenAPI description of profile access."""

from proffer.api.kit.openapi import SANDBOX, error_texts, json_answer, json_content
from proffer.wire import collection, ups
from proffer.wire.openapi import (
    JsonSchema,
    Operation,
    OperationParameter,
    json_schema,
    ref,
)

PROFILES = "profiles"
GROUPS = {
    PROFILES: "Stored customer data, by any identity of the customer.",
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
    "EntitiesRequest": json_schema(ups.ENTITIES_REQUEST),
    "Entities": {
        "description": "Entities by XID. For events, each entity is a page of events.",
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

_IDENTITY_PARAMETERS = [
    OperationParameter(
        name="schema.name",
        about=f"`{collection.PROFILE}` for a person, `{collection.EVENT}` for what they did.",
        schema={"type": "string", "enum": [collection.PROFILE, collection.EVENT]},
        required=True,
        example=collection.PROFILE,
    ),
    OperationParameter(name="entityId", about="The id; without a namespace, an XID.", example="ada@example.org"),
    OperationParameter(name="entityIdNS", about="The code of the id's namespace.", example="Email"),
]

OPERATIONS = [
    Operation(
        method="GET",
        path="/data/core/ups/access/entities",
        name="getEntity",
        group=PROFILES,
        summary="Look up a profile",
        about="By any identity; or its stored experience events, oldest first, by `relatedEntityId`. Needs "
        "`profiles:read`.",
        parameters=[
            *_IDENTITY_PARAMETERS,
            OperationParameter(name="fields", about="Only these dotted paths, separated by commas."),
            OperationParameter(name="mergePolicyId", about="Merge by this policy instead of the default one."),
            OperationParameter(name="relatedEntityId", about="For events: an identity of the customer."),
            OperationParameter(name="relatedEntityIdNS", about="For events: the namespace code of that identity."),
            OperationParameter(name="startTime", about="For events: start time in milliseconds, inclusive."),
            OperationParameter(name="endTime", about="For events: end time in milliseconds, exclusive."),
            OperationParameter(name="start", about="For events: the first event of the page."),
            OperationParameter(name="offsets", about="For events: the same as `start`, which has precedence."),
            OperationParameter(name="limit", about="For events: page size."),
            OperationParameter(name="orderby", about="For events: `timestamp`, or `-timestamp` for newest first."),
            SANDBOX,
        ],
        responses={200: json_answer("The profile, by XID.", ref("Entities"), {_ENTITY["entityId"]: _ENTITY})},
        errors=error_texts(400, 401, 403, 422, _404="No profile has this identity."),
    ),
    Operation(
        method="POST",
        path="/data/core/ups/access/entities",
        name="getEntities",
        group=PROFILES,
        summary="Look up several profiles",
        about="As above, for a list of identities. An unknown customer is an empty entity. Needs `profiles:read`.",
        parameters=[SANDBOX],
        body=json_content(
            ref("EntitiesRequest"),
            {
                "schema": {"name": collection.PROFILE},
                "fields": ["person.name"],
                "identities": [
                    {"entityId": "ada@example.org", "entityIdNS": {"code": "Email"}},
                ],
            },
        ),
        responses={200: json_answer("The profiles, by XID.", ref("Entities"), {_ENTITY["entityId"]: _ENTITY})},
        errors=error_texts(400, 401, 403, 404, 413, 422),
    ),
    Operation(
        method="DELETE",
        path="/data/core/ups/access/entities",
        name="eraseEntity",
        group=PROFILES,
        summary="Erase a customer",
        about="Removes the attributes, identities, events and audience memberships of the customer with this "
        "identity, and reports what was removed. Decisions and feedback stay, without the customer. `proffer "
        "vacuum` removes the data from the database file. Needs `profiles:write`.",
        parameters=[*_IDENTITY_PARAMETERS, SANDBOX],
        responses={
            202: json_answer(
                "The customer is erased.",
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
        errors=error_texts(400, 401, 403, 422, _404="No profile has this identity."),
    ),
]
