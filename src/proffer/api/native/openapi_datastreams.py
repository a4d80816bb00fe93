"""OpenAPI description of datastreams and of the demo page."""

from proffer.api.kit.openapi import ERRORS, SANDBOX, error_texts, json_answer, json_content
from proffer.model.documents import SHAPES
from proffer.model.ids import EntityKind
from proffer.wire.openapi import (
    JsonSchema,
    MediaTypeContent,
    Operation,
    OperationParameter,
    OperationResponse,
    json_schema,
    ref,
)

GROUP = "datastreams"
ABOUT = "Addresses by which sites and apps reach a sandbox, with code snippets. A Proffer extension."
_EDGE = "edge"

_STREAM = "6f2b1a53-0d8e-4c0f-9b52-8a3f2f4a7c11"
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
_TEXT: JsonSchema = {"type": "string"}

SCHEMAS: dict[str, JsonSchema] = {
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

_DATASTREAM = OperationParameter(name="datastream", location="path", about="The id of the datastream.", example="dev")
_ETAG_CHANGED = "The datastream's etag has changed."
_IF_MATCH = OperationParameter(name="If-Match", location="header", about="Write only if the datastream has this etag.")

OPERATIONS = [
    Operation(
        method="GET",
        path="/api/datastreams",
        name="listDatastreams",
        group=GROUP,
        summary="List datastreams",
        about="Datastreams of the sandbox, oldest first. Needs `library:read`.",
        parameters=[SANDBOX],
        responses={200: json_answer("The datastreams.", ref("Datastreams"), {"datastreams": [_DATASTREAM_DOCUMENT]})},
        errors=error_texts(401, 403, 404),
    ),
    Operation(
        method="POST",
        path="/api/datastreams",
        name="createDatastream",
        group=GROUP,
        summary="Create a datastream",
        about="The body may contain an `id`, for example one that a site already uses. All settings except `name` "
        "are optional. Needs `admin`.",
        parameters=[SANDBOX],
        body=json_content(ref("Datastream"), _SETTINGS),
        responses={201: json_answer("The datastream.", ref("Datastream"), _DATASTREAM_DOCUMENT)},
        errors=error_texts(400, 401, 403, 404, 409, 413, 422),
    ),
    Operation(
        method="GET",
        path="/api/datastreams/{datastream}",
        name="getDatastream",
        group=GROUP,
        summary="Read a datastream",
        about="The settings and the etag. Needs `library:read`.",
        parameters=[_DATASTREAM, SANDBOX],
        responses={200: json_answer("The datastream.", ref("Datastream"), _DATASTREAM_DOCUMENT)},
        errors=error_texts(401, 403, 404),
    ),
    Operation(
        method="PUT",
        path="/api/datastreams/{datastream}",
        name="replaceDatastream",
        group=GROUP,
        summary="Change a datastream",
        about="The body replaces all settings; omitted settings get their defaults. Effective from the next "
        "request. Needs `admin`.",
        parameters=[_DATASTREAM, _IF_MATCH, SANDBOX],
        body=json_content(ref("Datastream"), _SETTINGS),
        responses={200: json_answer("The datastream.", ref("Datastream"), _DATASTREAM_DOCUMENT)},
        errors=error_texts(400, 401, 403, 404, 409, 413, 422, _412=_ETAG_CHANGED),
    ),
    Operation(
        method="DELETE",
        path="/api/datastreams/{datastream}",
        name="deleteDatastream",
        group=GROUP,
        summary="Delete a datastream",
        about="Sites and apps that use it no longer receive offers. Its id is not reused in this sandbox. Needs "
        "`admin`.",
        parameters=[_DATASTREAM, _IF_MATCH, SANDBOX],
        responses={204: OperationResponse(about="Deleted.")},
        errors=error_texts(401, 403, 404, 409, _412=_ETAG_CHANGED),
    ),
    Operation(
        method="GET",
        path="/api/datastreams/{datastream}/snippets",
        name="getSnippets",
        group=GROUP,
        summary="Get code snippets",
        about="For each decision and placement, or those of one decision: the scope string, and snippets for a "
        "page, an Android app and an iOS app. Needs `library:read`.",
        parameters=[
            _DATASTREAM,
            OperationParameter(name="decision", about="The `@id` of a decision."),
            OperationParameter(
                name="domain",
                about="The public host name of the edge; default: the host of this request.",
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
        group=_EDGE,
        summary="Demo page",
        about="Dev mode only. A shop page that gets its offers from the edge with `@adobe/alloy`, with a customer "
        "switch and an explanation of each offer. alloy requires https on port 443; otherwise the page sends the "
        "same requests itself.",
        responses={200: OperationResponse(about="The page.", content={"text/html": MediaTypeContent(schema=_TEXT)})},
        errors={403: ERRORS[403]},
        public=True,
    ),
    Operation(
        method="GET",
        path="/demo/{file}",
        name="getDemoFile",
        group=_EDGE,
        summary="File of the demo page",
        about="Dev mode only: `demo.js`, `demo.css`, and from npm `alloy.min.js` with `alloy.LICENSE.txt`.",
        parameters=[
            OperationParameter(name="file", location="path", about="The name of the file.", example="demo.css")
        ],
        responses={200: OperationResponse(about="The file.", content={"text/css": MediaTypeContent(schema=_TEXT)})},
        errors={404: "The file does not exist, or npm was not available when Proffer was built."},
        public=True,
    ),
]
