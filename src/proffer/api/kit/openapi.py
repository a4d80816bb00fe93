"""Statuses, bodies, parameters and schemas shared by operations of the OpenAPI description."""

from proffer.api.kit import examples
from proffer.service.search.search import DEFAULT_LIMIT, MAX_LIMIT
from proffer.wire.openapi import JsonSchema, MediaTypeContent, OperationParameter, OperationResponse

ERRORS = {
    400: "The body is not JSON, or a parameter cannot be read.",
    401: "The bearer token is missing, unknown, revoked or expired.",
    403: "The token lacks the permission, or the headers name another organisation or sandbox.",
    404: "The container or object does not exist, or is not accessible to the caller.",
    409: "The id or name is in use, other objects refer to the object, or it has changed since it was read.",
    413: "The body is larger than 1,000,000 bytes.",
    415: "The Content-Type names an unsupported schema, or no schema where one is required.",
    422: "The body is invalid: every error is listed with its JSON path and how to fix it.",
    500: "A bug in the server; the server log has the cause under the request id.",
    503: "A dependency of the server is not available, or the server is overloaded; try again after `Retry-After`.",
}
"""Default description of each error status."""


def error_texts(*statuses: int, **specific: str) -> dict[int, str]:
    """Return descriptions of these statuses, 500 and 503; `_404="…"` overrides one."""
    overrides = {int(name.strip("_")): text for name, text in specific.items()}
    return {status: ERRORS[status] for status in (*statuses, 500, 503)} | overrides


def json_content(schema: JsonSchema, example: object = None) -> dict[str, MediaTypeContent]:
    """Return the content of a JSON body."""
    return {"application/json": MediaTypeContent(schema=schema, example=example)}


def json_answer(about: str, schema: JsonSchema, example: object = None) -> OperationResponse:
    return OperationResponse(about=about, content=json_content(schema, example))


CONTAINER = OperationParameter(
    name="container",
    location="path",
    about="The container's id, from the home resource.",
    example=examples.CONTAINER,
)

SANDBOX = OperationParameter(
    name="x-sandbox-name",
    location="header",
    about="The sandbox; optional if the token is for one sandbox.",
    example="prod",
)

LIMIT = OperationParameter(
    name="limit",
    about=f"Page size; values above {MAX_LIMIT:,} are reduced to {MAX_LIMIT:,}.",
    schema={"type": "integer", "minimum": 1, "default": DEFAULT_LIMIT},
)

IF_MATCH = OperationParameter(
    name="If-Match",
    location="header",
    about="Write only if the object has one of these etags; `*` matches every etag.",
)

IF_NONE_MATCH = OperationParameter(
    name="If-None-Match",
    location="header",
    about="Return 304 without a body if the object has one of these etags.",
)

ETAG_HEADER = {"ETag": "The object's etag, in quotes."}

PROBLEM: JsonSchema = {
    "type": "object",
    "description": "The error (RFC 7807). `code` is stable; the texts are for people.",
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
                    "description": "The objects that refer to the object.",
                },
            },
        },
    },
    "required": ["type", "title", "status", "detail", "code"],
}
