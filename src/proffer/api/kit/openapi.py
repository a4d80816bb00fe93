"""Statuses, headers and schemas shared by operations of the OpenAPI description."""

from proffer.api.kit import examples
from proffer.wire.openapi import JsonSchema, MediaTypeContent, OperationParameter, OperationResponse

ERRORS = {
    400: "The body is not JSON, or a parameter cannot be read.",
    401: "There is no bearer token, or it is unknown, revoked or expired.",
    403: "The token lacks the permission, or the headers name another organisation or sandbox.",
    404: "There is no such container or object, or it is not the caller's.",
    409: "The id or name is taken, the object is still referred to, or it has changed since it was read.",
    413: "The body is larger than 1,000,000 bytes.",
    415: "The Content-Type names no schema that is served here, or none where one is needed.",
    422: "Understood, and wrong: every mistake is listed with its JSON path and how to mend it.",
    500: "A bug of the server; its log has the reason under the request id.",
    503: "Something the server needs is away, or it has too much to do; try again after `Retry-After`.",
}
"""Default description of each error status."""


def error_texts(*statuses: int, **specific: str) -> dict[int, str]:
    """Return descriptions of these statuses, 500 and 503; `_404="…"` overrides one."""
    overrides = {int(name.strip("_")): text for name, text in specific.items()}
    return {status: ERRORS[status] for status in (*statuses, 500, 503)} | overrides


def json_answer(about: str, schema: JsonSchema, example: object = None) -> OperationResponse:
    return OperationResponse(
        about=about, content={"application/json": MediaTypeContent(schema=schema, example=example)}
    )


CONTAINER = OperationParameter(
    name="container",
    location="path",
    about="The container's id, as the home resource tells it.",
    example=examples.CONTAINER,
)

SANDBOX = OperationParameter(
    name="x-sandbox-name",
    location="header",
    about="The sandbox; a token that is for one sandbox needs no naming of it.",
    example="prod",
)

PROBLEM: JsonSchema = {
    "type": "object",
    "description": "What went wrong (RFC 7807). `code` is stable; the words are for people.",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "minLength": 1},
        "code": {"type": "string"},
        "requestId": {"type": "string"},
        "report": {
            "type": "object",
            "properties": {
                "violations": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "code": {"type": "string"},
                            "message": {"type": "string"},
                            "path": {"type": "string", "description": "A JSON path."},
                            "line": {"type": "integer", "minimum": 1},
                            "column": {"type": "integer", "minimum": 1},
                            "help": {"type": "string"},
                        },
                        "required": ["code", "message"],
                    },
                },
                "referrers": {
                    "type": "array",
                    "items": {"type": "object"},
                    "description": "What refers to the object that cannot be deleted.",
                },
            },
        },
    },
    "required": ["type", "title", "status", "detail", "code"],
}
