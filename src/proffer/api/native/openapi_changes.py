"""OpenAPI description of `/api/changes`, `/api/library` and `/api/revisions`."""

from proffer.api.kit import examples
from proffer.api.kit.openapi import SANDBOX, error_texts, json_answer
from proffer.model.ids import EntityKind
from proffer.wire.openapi import JsonSchema, Operation, OperationParameter, ref

GROUP = "changes"
ABOUT = (
    "Who changed what, when and with which client; earlier revisions of every object, and the library as it "
    "was. Ours: no other product has it."
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
        "description": "Changes, newest first; `next` is the `before` of those that follow, or null.",
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
        "description": "An object as it was, and who made it so.",
        "properties": {**_VERSION_FIELDS, "document": {"type": "object"}},
        "required": [*_VERSION_FIELDS, "document"],
    },
    "LibraryOfAMoment": {
        "type": "object",
        "description": "Every object there was, in the lists of a library file.",
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
    about="The object's id; `dps:` and `xcore:` name the same object.",
    example=str(examples.INSTANCES[EntityKind.PLACEMENT]["@id"]),
)
_ETAG = OperationParameter(
    name="etag",
    location="path",
    about="The etag that the object had.",
    schema={"type": "integer", "minimum": 1},
    example=1,
)

OPERATIONS = [
    Operation(
        method="GET",
        path="/api/changes",
        name="listChanges",
        group=GROUP,
        summary="What was changed",
        about="Newest first. `difference` is the JSON Patch from the version before, in the repository's spelling; "
        "it is empty where an object was created or deleted. Needs `library:read`.",
        parameters=[
            SANDBOX,
            OperationParameter(
                name="id", about="Only changes of this object, which may be deleted by now."
            ),
            OperationParameter(
                name="before",
                about="Only changes before this revision: taken from `next`.",
                schema={"type": "integer", "minimum": 1},
            ),
            OperationParameter(
                name="limit",
                about="How many; above 1,000 it is taken as 1,000.",
                schema={"type": "integer", "minimum": 1, "default": 50},
            ),
        ],
        responses={200: json_answer("The changes.", ref("Changes"))},
        errors=error_texts(400, 401, 403, 404, 422),
    ),
    Operation(
        method="GET",
        path="/api/library",
        name="getLibraryAt",
        group=GROUP,
        summary="The library of a moment",
        about="Every object as it was at `at`. What `library` holds can be loaded as a file. Needs `library:read`.",
        parameters=[
            SANDBOX,
            OperationParameter(
                name="at",
                about="The moment, with a zone.",
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
        summary="An earlier revision",
        about="The object as it was under an etag, also of an object that was deleted. Needs `library:read`.",
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
        about="The object gets the document it had, as a new revision, checked like any other change. A deleted object "
        "does not come back under its id. Needs `library:write`.",
        parameters=[_ID, _ETAG, SANDBOX],
        responses={200: json_answer("The new revision.", ref("Revision"))},
        errors=error_texts(400, 401, 403, 404, 409, 422),
    ),
]
