"""OpenAPI description of the repository API."""

from proffer.api.kit import examples
from proffer.api.kit.openapi import CONTAINER, ETAG_HEADER, IF_MATCH, IF_NONE_MATCH, LIMIT, error_texts
from proffer.model.documents import SHAPES
from proffer.model.ids import SERVED_KINDS, EntityKind
from proffer.wire import xcore
from proffer.wire.openapi import (
    JsonSchema,
    MediaTypeContent,
    Operation,
    OperationParameter,
    OperationResponse,
    json_schema,
    ref,
)

GROUP = "repository"
ABOUT = "Placements, tags, rules, offers, collections, fallback offers and decisions: the offer library."

_BASE = "/data/core/xcore"
_INSTANCES = f"{_BASE}/{{container}}/instances"
_INSTANCE = f"{_INSTANCES}/{{instance}}"
_KINDS = [str(kind) for kind in SERVED_KINDS]

SCHEMAS: dict[str, JsonSchema] = {
    **{str(kind): json_schema(SHAPES[kind]) for kind in SERVED_KINDS},
    "Audit": {
        "type": "object",
        "properties": {
            "repo:etag": {"type": "integer", "minimum": 1},
            **{
                name: {"type": "string", "format": "date-time"}
                for name in ("repo:createdDate", "repo:lastModifiedDate")
            },
            **{
                name: {"type": "string"}
                for name in (
                    "repo:createdBy",
                    "repo:lastModifiedBy",
                    "repo:createdByClientId",
                    "repo:lastModifiedByClientId",
                )
            },
        },
        "required": list(examples.AUDIT),
    },
    "Receipt": {
        "description": "The receipt of a write.",
        "allOf": [ref("Audit")],
        "type": "object",
        "properties": {
            "instanceId": {"type": "string", "format": "uuid"},
            "@id": {"type": "string"},
        },
        "required": ["instanceId", "@id"],
    },
    "Envelope": {
        "description": "One object with its repository metadata.",
        "allOf": [ref("Audit")],
        "type": "object",
        "properties": {
            "instanceId": {"type": "string"},
            "schemas": {"type": "array", "items": {"type": "string"}},
            "productContexts": {"type": "array", "items": {"type": "string"}},
            "_instance": {"type": "object"},
            "_links": {"type": "object"},
            "_score": {"type": "number"},
            "sandboxName": {"type": "string"},
        },
        "required": ["instanceId", "schemas", "_instance", "_links"],
    },
    "Page": {
        "description": "A page of objects; `_links.next` is present if more objects follow.",
        "type": "object",
        "properties": {
            "containerId": {"type": "string"},
            "schemaNs": {"type": "string"},
            "requestTime": {"type": "string", "format": "date-time"},
            "_embedded": {
                "type": "object",
                "properties": {
                    "results": {"type": "array", "items": ref("Envelope")},
                    "total": {"type": "integer"},
                    "count": {"type": "integer"},
                },
                "required": ["results", "total", "count"],
            },
            "_links": {"type": "object"},
        },
        "required": ["containerId", "schemaNs", "requestTime", "_embedded", "_links"],
    },
    "Home": {
        "description": "The containers the caller may use.",
        "type": "object",
        "properties": {
            "_embedded": {
                "type": "object",
                "properties": {xcore.CONTAINER_SCHEMA: {"type": "array", "items": ref("Envelope")}},
                "required": [xcore.CONTAINER_SCHEMA],
            },
            "_links": {"type": "object"},
        },
        "required": ["_embedded", "_links"],
    },
    "Patch": {
        "description": "A JSON Patch (RFC 6902) over the envelope: paths begin with `/_instance`.",
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "op": {
                    "type": "string",
                    "enum": ["add", "remove", "replace", "move", "copy", "test"],
                },
                "path": {"type": "string"},
                "from": {"type": "string"},
                "value": {},
            },
            "required": ["op", "path"],
        },
    },
}

_BODY = {
    f'{xcore.INSTANCE_TYPE}; schema="{xcore.NAMESPACE}{kind}"': MediaTypeContent(
        schema=ref(kind), example=examples.INSTANCES[kind]
    )
    for kind in SERVED_KINDS
} | {
    xcore.HAL_TYPE: MediaTypeContent(
        schema={
            "type": "object",
            "properties": {"_instance": {"anyOf": [ref(kind) for kind in _KINDS]}},
            "required": ["_instance"],
        },
        example={"_instance": examples.INSTANCES[EntityKind.TAG] | {"xdm:name": "summer"}},
    ),
    "application/json": MediaTypeContent(
        schema={"anyOf": [ref(kind) for kind in _KINDS]},
        example=examples.INSTANCES[EntityKind.PLACEMENT],
    ),
}

_RECEIPT = MediaTypeContent(
    schema=ref("Receipt"),
    example={
        "instanceId": examples.INSTANCE,
        "@id": examples.INSTANCES[EntityKind.PLACEMENT]["@id"],
        **examples.AUDIT,
    },
)
_RECEIPTS = {f"{xcore.RECEIPT_TYPE}; version=1": _RECEIPT, "application/json": _RECEIPT}

_INSTANCE_ID = OperationParameter(
    name="instance",
    location="path",
    about="The object's instance id, from its receipt or envelope.",
    example=examples.INSTANCE,
)
_LIST_PARAMETERS = [
    CONTAINER,
    OperationParameter(
        name="schema",
        about="Kind of the objects: a schema name, with or without a version.",
        required=True,
        schema={"type": "string", "enum": [xcore.NAMESPACE + kind for kind in SERVED_KINDS]},
        example=f"{xcore.NAMESPACE}{EntityKind.TAG}",
    ),
    OperationParameter(name="id", about="Only the object with this `@id`.", repeated=True),
    OperationParameter(name="name", about="Only objects with this name; `*` and `?` are wildcards."),
    OperationParameter(
        name="property",
        about="Only objects that match: `path==value`, also with `!=`, `<`, `<=`, `>`, `>=` or `~`. Several "
        "conditions must all match.",
        repeated=True,
        example=["_instance.xdm:name==spring"],
    ),
    OperationParameter(name="q", about="Only objects whose texts contain these words; `*` and `?` are wildcards."),
    OperationParameter(
        name="qop",
        about="Match any word of `q`, or all words.",
        schema={"type": "string", "enum": ["or", "and"], "default": "or"},
    ),
    OperationParameter(name="field", about="Search `q` only at these paths.", repeated=True),
    OperationParameter(
        name="orderby",
        about="Paths to sort by, separated by commas; a leading `-` sorts in descending order.",
        example="-repo:createdDate",
    ),
    LIMIT,
    OperationParameter(name="start", about="Start of the page, taken from `_links.next`."),
]
_PAGE = OperationResponse(
    about="A page of objects.",
    content={media_type: MediaTypeContent(schema=ref("Page")) for media_type in (xcore.HAL_TYPE, "application/json")},
)
_CONFLICT_TEXT = "The object has changed since it was read, or the change needs a name that is in use."


def _home(path: str, name: str, about: str) -> Operation:
    return Operation(
        method="GET",
        path=path,
        name=name,
        group=GROUP,
        summary="The containers the caller may use",
        about=about,
        parameters=[
            OperationParameter(name="product", about="Only containers of this product.", repeated=True),
            OperationParameter(
                name="property",
                about="Only containers that match this comparison.",
                repeated=True,
                example=["_instance.containerType==decisioning"],
            ),
        ],
        responses={
            200: OperationResponse(
                about="The containers.",
                content={
                    media_type: MediaTypeContent(schema=ref("Home"))
                    for media_type in (xcore.HOME_TYPE, "application/json")
                },
            )
        },
        errors=error_texts(400, 401, 403, 422),
    )


OPERATIONS = [
    _home(
        _BASE,
        "getHome",
        "Start here. Each sandbox of an organisation has one container; its `instanceId` is part of every other path.",
    ),
    _home(f"{_BASE}/", "getHomeSlash", "The same, for clients that end the path with a slash."),
    Operation(
        method="GET",
        path=f"{_BASE}/containers/{{container}}",
        name="getContainer",
        group=GROUP,
        summary="One container",
        about="The container as the home resource shows it.",
        parameters=[CONTAINER],
        responses={
            200: OperationResponse(
                about="The container.",
                content={
                    media_type: MediaTypeContent(schema=ref("Envelope"))
                    for media_type in (xcore.HAL_TYPE, "application/json")
                },
            )
        },
        errors=error_texts(401, 403, 404),
    ),
    Operation(
        method="POST",
        path=_INSTANCES,
        name="createInstance",
        group=GROUP,
        summary="Create an object",
        about="The body is the object itself, or wrapped in `_instance`. The schema in the Content-Type identifies "
        "its kind; without a schema, the members do. An `@id` in the body is used if no object has it. When the "
        "receipt arrives, the object is stored durably and applies to every decision that starts later. Needs "
        "`library:write`.",
        parameters=[CONTAINER],
        body=_BODY,
        responses={
            201: OperationResponse(
                about="Created. A `Warning` header lists what is probably not intended, such as a very large offer.",
                content=_RECEIPTS,
                headers={
                    **ETAG_HEADER,
                    "Location": "The URL of the object.",
                    "Content-Base": "The base URL of the API.",
                },
            )
        },
        errors=error_texts(400, 401, 403, 404, 409, 413, 415, 422),
    ),
    Operation(
        method="GET",
        path=_INSTANCES,
        name="listInstances",
        group=GROUP,
        summary="List, look up or search objects",
        about="Objects of one kind: all, those with an id or name, or search results. Default order: instance id. "
        "Needs `library:read`.",
        parameters=_LIST_PARAMETERS,
        responses={200: _PAGE},
        errors=error_texts(400, 401, 403, 404, 422),
    ),
    Operation(
        method="GET",
        path=f"{_BASE}/{{container}}/queries/core/search",
        name="searchInstances",
        group=GROUP,
        summary="Search objects",
        about="The same as listing, at the search path of older clients. Needs `library:read`.",
        parameters=_LIST_PARAMETERS,
        responses={200: _PAGE},
        errors=error_texts(400, 401, 403, 404, 422),
    ),
    Operation(
        method="GET",
        path=_INSTANCE,
        name="getInstance",
        group=GROUP,
        summary="One object",
        about=f"The object in its envelope, or bare if Accept names `{xcore.INSTANCE_TYPE}`. Needs `library:read`.",
        parameters=[CONTAINER, _INSTANCE_ID, IF_NONE_MATCH],
        responses={
            200: OperationResponse(
                about="The object.",
                content={
                    xcore.HAL_TYPE: MediaTypeContent(schema=ref("Envelope")),
                    "application/json": MediaTypeContent(schema=ref("Envelope")),
                    xcore.INSTANCE_TYPE: MediaTypeContent(schema={"type": "object"}),
                },
                headers=ETAG_HEADER,
            ),
            304: OperationResponse(about="Not modified.", headers=ETAG_HEADER),
        },
        errors=error_texts(401, 403, 404),
    ),
    Operation(
        method="PUT",
        path=_INSTANCE,
        name="replaceInstance",
        group=GROUP,
        summary="Replace an object",
        about="The body replaces the whole object, bare or wrapped. Its `@id` cannot change. Needs `library:write`.",
        parameters=[CONTAINER, _INSTANCE_ID, IF_MATCH],
        body=_BODY,
        responses={200: OperationResponse(about="Replaced.", content=_RECEIPTS, headers=ETAG_HEADER)},
        errors=error_texts(400, 401, 403, 404, 413, 415, 422, _409=_CONFLICT_TEXT),
    ),
    Operation(
        method="PATCH",
        path=_INSTANCE,
        name="patchInstance",
        group=GROUP,
        summary="Change an object",
        about="A JSON Patch of the envelope: members of the object are under `/_instance`; `test` can read the "
        "rest. If an operation cannot be applied, or the result is invalid, nothing is stored. Needs "
        "`library:write`.",
        parameters=[CONTAINER, _INSTANCE_ID, IF_MATCH],
        body={
            media_type: MediaTypeContent(schema=ref("Patch"), example=examples.PATCH)
            for media_type in (xcore.PATCH_TYPE, "application/json")
        },
        responses={200: OperationResponse(about="Changed.", content=_RECEIPTS, headers=ETAG_HEADER)},
        errors=error_texts(400, 401, 403, 404, 413, 415, 422, _409=_CONFLICT_TEXT),
    ),
    Operation(
        method="DELETE",
        path=_INSTANCE,
        name="deleteInstance",
        group=GROUP,
        summary="Delete an object",
        about="An object that others refer to cannot be deleted. Needs `library:write`.",
        parameters=[CONTAINER, _INSTANCE_ID, IF_MATCH],
        responses={202: OperationResponse(about="Deleted.")},
        errors=error_texts(
            401,
            403,
            404,
            422,
            _409="Other objects refer to the object (`report.referrers` lists them), or it has changed.",
        ),
    ),
]
