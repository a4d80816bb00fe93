"""OpenAPI description of `/api/changes`, `/api/library` and `/api/revisions`."""

from proffer.api.kit import examples
from proffer.api.kit.openapi import LIMIT, SANDBOX, error_texts, json_answer
from proffer.model.ids import EntityKind
from proffer.wire.openapi import JsonSchema, Operation, OperationParameter, ref

GROUP = "changes"
ABOUT = (
    "Who changed what, when and with which client; earlier revisions of every object, and the library at any time. "
    "A Proffer extension."
)

_VERSION_FIELDS: dict[str, JsonSchema] = {
    "id": {"type": "string"},
    "kind": {"type": "string"},
    "name": {"type": "string"},
    "etag": {"type": "integer", "minimum": 1},
    "revision": {"type": "integer", "minimum": 1},
    "at": {"type": "string", "format": "date-time"},
    "user": {"type": "string"},
    "client": {"type": "string"},
}
SCHEMAS: dict[str, JsonSchema] = {
    "Changes": {
        "type": "object",
        "description": "Changes, newest first; `next` is the `before` of the following page, or null.",
        "properties": {
            "changes": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        **_VERSION_FIELDS,
                        "what": {"enum": ["created", "changed", "deleted"]},
                        "difference": {"type": "array", "items": {"type": "object"}},
                    },
                    "required": [*_VERSION_FIELDS, "what", "difference"],
                },
            },
            "next": {"type": ["integer", "null"]},
        },
        "required": ["changes", "next"],
    },
    "Revision": {
        "type": "object",
        "description": "An earlier revision of an object, with its author.",
        "properties": {**_VERSION_FIELDS, "document": {"type": "object"}},
        "required": [*_VERSION_FIELDS, "document"],
    },
    "LibraryOfAMoment": {
        "type": "object",
        "description": "Every object at that time, in the lists of a library file.",
        "properties": {
            "revision": {"type": "integer"},
            "at": {"type": "string", "format": "date-time"},
            "library": {"type": "object"},
        },
        "required": ["revision", "at", "library"],
    },
}

_ID = OperationParameter(
    name="id",
    location="path",
    about="The object's id; the prefixes `dps:` and `xcore:` are equivalent.",
    example=str(examples.INSTANCES[EntityKind.PLACEMENT]["@id"]),
)
_ETAG = OperationParameter(
    name="etag",
    location="path",
    about="The etag of the revision.",
    schema={"type": "integer", "minimum": 1},
    example=1,
)

OPERATIONS = [
    Operation(
        method="GET",
        path="/api/changes",
        name="listChanges",
        group=GROUP,
        summary="List changes",
        about="Newest first. `difference` is the JSON Patch from the previous version, with the member names of the "
        "repository; it is empty if the object was created or deleted. Needs `library:read`.",
        parameters=[
            SANDBOX,
            OperationParameter(name="id", about="Only changes of this object, which may be deleted."),
            OperationParameter(
                name="before",
                about="Only changes before this revision, taken from `next`.",
                schema={"type": "integer", "minimum": 1},
            ),
            LIMIT,
        ],
        responses={200: json_answer("The changes.", ref("Changes"))},
        errors=error_texts(400, 401, 403, 404, 422),
    ),
    Operation(
        method="GET",
        path="/api/library",
        name="getLibraryAt",
        group=GROUP,
        summary="Get the library at a time",
        about="Every object as it was at `at`. `library` can be loaded as a library file. Needs `library:read`.",
        parameters=[
            SANDBOX,
            OperationParameter(
                name="at",
                about="Date and time, with a time zone.",
                required=True,
                schema={"type": "string", "format": "date-time"},
                example="2090-01-01T00:00:00Z",
            ),
        ],
        responses={200: json_answer("The library.", ref("LibraryOfAMoment"))},
        errors=error_texts(400, 401, 403, 404),
    ),
    Operation(
        method="GET",
        path="/api/revisions/{id}/{etag}",
        name="getRevision",
        group=GROUP,
        summary="Get an earlier revision",
        about="The object with this etag, also if the object is deleted. Needs `library:read`.",
        parameters=[_ID, _ETAG, SANDBOX],
        responses={200: json_answer("The revision.", ref("Revision"))},
        errors=error_texts(400, 401, 403, 404),
    ),
    Operation(
        method="POST",
        path="/api/revisions/{id}/{etag}/restore",
        name="restoreRevision",
        group=GROUP,
        summary="Restore an earlier revision",
        about="Stores the earlier document as a new revision, validated like any other change. A deleted object "
        "cannot be restored under its id. Needs `library:write`.",
        parameters=[_ID, _ETAG, SANDBOX],
        responses={200: json_answer("The new revision.", ref("Revision"))},
        errors=error_texts(400, 401, 403, 404, 409, 422),
    ),
]
