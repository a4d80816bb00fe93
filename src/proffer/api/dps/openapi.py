"""OpenAPI description of the Offer Library API."""

from collections.abc import Iterator
from typing import Any

from proffer.api.kit import examples
from proffer.api.kit.openapi import (
    ETAG_HEADER,
    IF_MATCH,
    IF_NONE_MATCH,
    LIMIT,
    SANDBOX,
    error_texts,
    json_answer,
    json_content,
)
from proffer.model.documents import SHAPES
from proffer.model.ids import KIND_LABELS, SERVED_KINDS, EntityKind
from proffer.wire import dps
from proffer.wire.openapi import (
    JsonSchema,
    MediaTypeContent,
    Operation,
    OperationParameter,
    OperationResponse,
    json_schema,
    ref,
)
from proffer.wire.renaming import public_shape, to_public

GROUP = "offer library"
ABOUT = (
    "The current API of the offer library: the same objects as in the repository, under shorter names. The caller's "
    "organisation and the `x-sandbox-name` header select the library."
)

_BASE = "/data/core/dps"
_EXAMPLE_ID = "dps:offer-placement:13b0c2f5a9c41001"
_OPERATION_NOUNS = {
    "placements": ("Placement", "Placements"),
    "tags": ("Tag", "Tags"),
    "offer-rules": ("OfferRule", "OfferRules"),
    "offer-collections": ("OfferCollection", "OfferCollections"),
    "offers": ("LibraryOffer", "LibraryOffers"),
    "offer-decisions": ("OfferDecision", "OfferDecisions"),
    "ranking-formulas": ("RankingFormula", "RankingFormulas"),
}
_STRING: JsonSchema = {"type": "string"}
_MOMENT: JsonSchema = {"type": "string", "format": "date-time"}


def _schema_name(kind: EntityKind) -> str:
    return f"dps.{kind}"


def _receipt(**members: JsonSchema) -> JsonSchema:
    return {
        "description": "The receipt of a write.",
        "type": "object",
        "properties": members,
        "required": list(members),
    }


_ENVELOPE: JsonSchema = {
    "description": "Members that the server adds to every object.",
    "type": "object",
    "properties": {
        "created": _MOMENT,
        "modified": _MOMENT,
        "etag": {"type": "integer", "minimum": 1},
        "schemas": {"type": "array", "items": _STRING},
        "createdBy": _STRING,
        "lastModifiedBy": _STRING,
        "id": _STRING,
    },
    "required": ["created", "modified", "etag", "schemas", "createdBy", "lastModifiedBy", "id"],
}

SCHEMAS: dict[str, JsonSchema] = {
    **{
        _schema_name(kind): json_schema(public_shape(dps.RENAMING_BY_KIND[kind], SHAPES[kind])) for kind in SERVED_KINDS
    },
    "dps.Envelope": _ENVELOPE,
    "dps.Receipt": _receipt(
        etag={"type": "integer", "minimum": 1},
        id=_STRING,
        sandboxId=_STRING,
        createdBy=_STRING,
        lastModifiedBy=_STRING,
        createdDate=_MOMENT,
        lastModifiedDate=_MOMENT,
        createdByClientId=_STRING,
        lastModifiedByClientId=_STRING,
    ),
    "dps.Page": {
        "description": "A page of objects; `next` and `prev` are present if there are more objects on that side.",
        "type": "object",
        "properties": {
            "results": {"type": "array", "items": ref("dps.Envelope")},
            "count": {"type": "integer"},
            "total": {"type": "integer"},
            "_links": {"type": "object"},
        },
        "required": ["results", "count", "total", "_links"],
    },
}

_RECEIPT = json_content(
    ref("dps.Receipt"),
    {
        "etag": 1,
        "id": _EXAMPLE_ID,
        "sandboxId": examples.CONTAINER,
        "createdBy": "dev@AdobeID",
        "lastModifiedBy": "dev@AdobeID",
        "createdDate": "2025-02-03T10:11:12.345Z",
        "lastModifiedDate": "2025-02-03T10:11:12.345Z",
        "createdByClientId": "proffer",
        "lastModifiedByClientId": "proffer",
    },
)
_OFFER_TYPE = OperationParameter(
    name="offer-type",
    about="Type of the offers; not case-sensitive.",
    required=True,
    schema={"type": "string", "enum": list(dps.OFFER_TYPES)},
    example="personalized",
)
_LIST_PARAMETERS = [
    OperationParameter(
        name="property",
        about="Only objects that match: `field==value`, also with `!=`, `<`, `<=`, `>`, `>=` or `~` (a regular "
        "expression); `field` alone matches if the field exists. A leading `!` negates the condition. Several "
        "conditions, repeated or separated by commas, must all match. Put a value with commas in double quotes.",
        repeated=True,
        example=['name=="Save 10, get 5"'],
    ),
    OperationParameter(
        name="orderBy",
        about="Paths to sort by, separated by commas; a leading `-` sorts in descending order. Default: newest "
        "change first.",
        example="-modified,name",
    ),
    LIMIT,
    OperationParameter(
        name="start",
        about="Start of the page, taken from a link. A date without time is accepted if the order is by date.",
    ),
    OperationParameter(name="href", about="A link of a page, in place of its parameters (older form)."),
]
_STALE_TEXT = "The object has changed since it was read."


def _id_parameter(kind: EntityKind) -> OperationParameter:
    return OperationParameter(
        name="id",
        location="path",
        about="The object's id; the prefixes `dps:` and `xcore:` are equivalent.",
        example=str(examples.INSTANCES[kind]["@id"]).replace("xcore:", "dps:"),
    )


def _example(kind: EntityKind) -> Any:
    return to_public(dps.RENAMING_BY_KIND[kind], examples.INSTANCES[kind])


def _body(kinds: list[EntityKind]) -> dict[str, MediaTypeContent]:
    one_of = [ref(_schema_name(kind)) for kind in kinds]
    schema = one_of[0] if len(one_of) == 1 else {"anyOf": one_of}
    return json_content(schema, _example(kinds[0]))


def _operations(collection: str, kinds: list[EntityKind]) -> Iterator[Operation]:
    singular, plural = _OPERATION_NOUNS[collection]
    noun = KIND_LABELS[kinds[0]] if len(kinds) == 1 else "offer"
    noun_phrase = f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"
    common_parameters = [SANDBOX] + ([_OFFER_TYPE] if len(kinds) > 1 else [])
    path = f"{_BASE}/{collection}"
    item = f"{path}/{{id}}"
    schema: JsonSchema = {"anyOf": [{"allOf": [ref(_schema_name(k)), ref("dps.Envelope")]} for k in kinds]}
    yield Operation(
        method="POST",
        path=path,
        name=f"create{singular}",
        group=GROUP,
        summary=f"Create {noun_phrase}",
        about="An `id` in the body is used if no object has it. When the receipt arrives, the object is stored "
        "durably and applies to every decision that starts later. Needs `library:write`.",
        parameters=common_parameters,
        body=_body(kinds),
        responses={
            201: OperationResponse(
                about="Created. A `Warning` header lists what is probably not intended.",
                content=_RECEIPT,
                headers={**ETAG_HEADER, "Location": "The URL of the object."},
            )
        },
        errors=error_texts(400, 401, 403, 404, 409, 413, 415, 422),
    )
    yield Operation(
        method="GET",
        path=path,
        name=f"list{plural}",
        group=GROUP,
        summary=f"List {noun}s",
        about="A page of objects, filtered and ordered. Needs `library:read`.",
        parameters=[*common_parameters, *_LIST_PARAMETERS],
        responses={200: json_answer("A page.", ref("dps.Page"))},
        errors=error_texts(400, 401, 403, 404, 422),
    )
    yield Operation(
        method="GET",
        path=item,
        name=f"get{singular}",
        group=GROUP,
        summary=f"Look up {noun_phrase}",
        about="One object by its id. Needs `library:read`.",
        parameters=[_id_parameter(kinds[0]), *common_parameters, IF_NONE_MATCH],
        responses={
            200: OperationResponse(about="The object.", content=json_content(schema), headers=ETAG_HEADER),
            304: OperationResponse(about="Not modified.", headers=ETAG_HEADER),
        },
        errors=error_texts(400, 401, 403, 404),
    )
    yield Operation(
        method="PATCH",
        path=item,
        name=f"patch{singular}",
        group=GROUP,
        summary=f"Change {noun_phrase}",
        about="A JSON Patch of the object as this API returns it. `replace` of a missing member adds it. If an "
        "operation cannot be applied, or the result is invalid, nothing is stored. Needs `library:write`.",
        parameters=[_id_parameter(kinds[0]), *common_parameters, IF_MATCH],
        body=json_content(ref("Patch"), [{"op": "replace", "path": "/name", "value": "Another name"}]),
        responses={
            200: OperationResponse(
                about="Changed. A `Warning` header as for a created object.", content=_RECEIPT, headers=ETAG_HEADER
            )
        },
        errors=error_texts(400, 401, 403, 404, 409, 413, 415, 422, _412=_STALE_TEXT),
    )
    yield Operation(
        method="DELETE",
        path=item,
        name=f"delete{singular}",
        group=GROUP,
        summary=f"Delete {noun_phrase}",
        about="An object that others refer to cannot be deleted. Needs `library:write`.",
        parameters=[_id_parameter(kinds[0]), *common_parameters, IF_MATCH],
        responses={200: OperationResponse(about="Deleted.")},
        errors=error_texts(
            400,
            401,
            403,
            404,
            _409="Other objects refer to the object; `report.referrers` lists them.",
            _412=_STALE_TEXT,
        ),
    )


_PATHS: dict[str, list[EntityKind]] = {
    **{collection: [EntityKind(kind)] for collection, kind in dps.COLLECTIONS.items()},
    "offers": [EntityKind(kind) for kind in dps.OFFER_TYPES.values()],
}
OPERATIONS = [
    *(item for collection, kinds in _PATHS.items() for item in _operations(collection, kinds)),
]
