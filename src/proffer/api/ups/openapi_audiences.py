"""OpenAPI description of audiences, estimates, merge policies, namespaces and descriptors."""

from typing import Any

from proffer.api.kit import examples
from proffer.api.kit.openapi import error_texts, json_answer
from proffer.model.documents import SHAPES
from proffer.model.ids import EntityKind
from proffer.wire import segments
from proffer.wire.openapi import (
    JsonSchema,
    MediaTypeContent,
    Operation,
    OperationParameter,
    OperationResponse,
    json_schema,
    ref,
)

AUDIENCES, SETTINGS = "audiences", "customer settings"
GROUPS = {
    AUDIENCES: "Who is meant: named rules and uploaded lists, kept up to date.",
    SETTINGS: "How identities are named, and how sources that disagree are merged.",
}

_SEGMENT = "4afe34ae-8c98-4513-8a1d-67ccaa54bc05"
_DEFINITION = {
    "name": "People of Ulm",
    "description": "Everybody who lives there",
    "expression": {"type": "PQL", "format": "pql/text", "value": 'homeAddress.city = "Ulm"'},
    "schema": {"name": "_xdm.context.profile"},
    "evaluationInfo": {"batch": {"enabled": True}, "continuous": {"enabled": True}},
}
_INSTANCE_FIELDS = {"key": _SEGMENT, "organisation": "ACME@AdobeOrg", "sandbox": "prod"}
_DEFINITION_DOCUMENT = segments.segment(
    _DEFINITION, **_INSTANCE_FIELDS, created_ms=1579292094000, updated_ms=1579292094000
)
_POLICY = {
    "name": "CRM first",
    "attributeMerge": {"type": "dataSetPrecedence", "order": ["crm", "web"]},
    "default": False,
}
_NAMESPACE = {"code": "loyaltyId", "name": "Loyalty card", "idType": "CROSS_DEVICE"}
_DESCRIPTOR = {
    "@type": segments.IDENTITY_DESCRIPTOR,
    "xdm:sourceSchema": "https://ns.adobe.com/acme/schemas/loyalty",
    "xdm:sourceProperty": "/personalEmail/address",
    "xdm:namespace": "Email",
    "xdm:isPrimary": True,
}
_DESCRIPTOR_DOCUMENT = segments.descriptor(
    _DESCRIPTOR, key=_SEGMENT, organisation="ACME@AdobeOrg", etag=1
)
_NAMESPACE_DOCUMENT = segments.namespace(
    _NAMESPACE, key=_SEGMENT, custom=True, created_ms=1579292094000, updated_ms=1579292094000
)


def _descriptor_schema() -> JsonSchema:
    """Return the descriptor schema with the instance id as `@id`."""
    schema = json_schema(SHAPES[EntityKind.DESCRIPTOR])
    return {**schema, "properties": {**schema["properties"], "@id": {"type": "string"}}}


SCHEMAS: dict[str, JsonSchema] = {
    "Audience": json_schema(SHAPES[EntityKind.AUDIENCE]),
    "MergePolicy": json_schema(SHAPES[EntityKind.MERGE_POLICY]),
    "Namespace": json_schema(SHAPES[EntityKind.NAMESPACE]),
    "PreviewRequest": json_schema(segments.PREVIEW_REQUEST),
    "Audiences": {
        "type": "object",
        "properties": {
            "segments": {"type": "array", "items": ref("Audience")},
            "page": {"type": "object"},
            "link": {"type": "object"},
        },
        "required": ["segments", "page", "link"],
    },
    "Members": {
        "type": "object",
        "properties": {name: {"type": "integer", "minimum": 0} for name in ("listed", "left")},
        "required": ["listed", "left"],
    },
    "Preview": {
        "type": "object",
        "properties": {name: {} for name in segments.preview("")},
        "required": list(segments.preview("")),
    },
    "Estimate": {
        "type": "object",
        "properties": {
            "state": {"type": "string", "enum": ["RUNNING", "RESULT_READY"]},
            "estimatedSize": {"type": "integer", "minimum": 0},
            "standardError": {"type": "number", "minimum": 0},
            "between": {
                "type": "array",
                "items": {"type": "integer"},
                "description": "The sizes between which the true one lies with 95 % confidence.",
            },
        },
        "required": ["state", "estimatedSize"],
    },
    "MergePolicies": {
        "type": "object",
        "properties": {
            "_page": {"type": "object"},
            "children": {"type": "array", "items": ref("MergePolicy")},
            "_links": {"type": "object"},
        },
        "required": ["_page", "children"],
    },
    "Descriptor": _descriptor_schema(),
    "Descriptors": {"type": "array", "items": ref("Descriptor")},
    "Namespaces": {"type": "array", "items": ref("Namespace")},
    "AudiencesById": {
        "type": "object",
        "properties": {"results": {"type": "object", "additionalProperties": ref("Audience")}},
        "required": ["results"],
    },
}


def _body(name: str, example: Any) -> dict[str, MediaTypeContent]:
    return {"application/json": MediaTypeContent(schema=ref(name), example=example)}


_SANDBOX = OperationParameter(
    name="x-sandbox-name",
    location="header",
    about="The sandbox. Only dev mode needs it: elsewhere the token says it.",
)
_ID = OperationParameter(
    name="segment", location="path", about="The audience's id.", example=_SEGMENT
)
_POLICY_ID = OperationParameter(
    name="policy", location="path", about="The policy's id.", example=_SEGMENT
)
_DEFINITIONS = "/data/core/ups/segment/definitions"
_POLICIES = "/data/core/ups/config/mergePolicies"
_NAMESPACES = "/data/core/idnamespace/identities"
_DEFINITION_PATH = f"{_DEFINITIONS}/{{segment}}"
_DEFINITION_ANSWER = json_answer("The definition.", ref("Audience"), _DEFINITION_DOCUMENT)
_POLICY_ANSWER = json_answer(
    "The policy.",
    ref("MergePolicy"),
    segments.merge_policy(_POLICY, **_INSTANCE_FIELDS, updated_ms=1579292094000),
)
_DESCRIPTORS = "/data/foundation/schemaregistry/tenant/descriptors"
_DESCRIPTOR_ID = OperationParameter(
    name="descriptor", location="path", about="The descriptor's id.", example=_SEGMENT
)
_DESCRIPTOR_ANSWER = json_answer("The descriptor.", ref("Descriptor"), _DESCRIPTOR_DOCUMENT)
_NAMESPACE_ANSWER = json_answer("The namespace.", ref("Namespace"), _NAMESPACE_DOCUMENT)
_READ_ERRORS = error_texts(401, 403, 404)
_WRITE_ERRORS = error_texts(400, 401, 403, 404, 409, 413, 422)


def _operation(
    method: str, path: str, name: str, group: str, summary: str, about: str, **more: Any
) -> Operation:
    parameters = [*more.pop("parameters", []), _SANDBOX]
    return Operation(
        method=method,
        path=path,
        name=name,
        group=group,
        summary=summary,
        about=about,
        parameters=parameters,
        **more,
    )


OPERATIONS = [
    _operation(
        "GET",
        _DEFINITIONS,
        "listAudiences",
        AUDIENCES,
        "List audiences",
        "A page of definitions, the newest first. Needs `library:read`.",
        parameters=[
            OperationParameter(name="start", about="How many to skip."),
            OperationParameter(
                name="limit", about="How many to a page: 100 unless told otherwise."
            ),
            OperationParameter(name="page", about="Which page, from 0."),
            OperationParameter(
                name="sort",
                about="`creationTime`, `updateTime` or `name`, then `:asc` or `:desc`.",
                example="updateTime:desc",
            ),
            OperationParameter(
                name="evaluationInfo.continuous.enabled",
                about="Only those that are, or are not, evaluated when a profile is written.",
            ),
        ],
        responses={
            200: json_answer(
                "A page.",
                ref("Audiences"),
                segments.segments_page(
                    [_DEFINITION_DOCUMENT],
                    total=1,
                    limit=100,
                    sort_field="creationTime",
                    order="desc",
                ),
            )
        },
        errors=error_texts(400, 401, 403, 404),
    ),
    _operation(
        "POST",
        _DEFINITIONS,
        "createAudience",
        AUDIENCES,
        "Define an audience",
        "A rule in PQL, checked at once. It is evaluated when a profile is written (unless `evaluationInfo` "
        "says batch only) and by `proffer audiences evaluate`. An `id` that is a UUID is kept. An expression "
        "of type `LIST` makes a list, filled by `proffer audiences upload`. Needs `library:write`.",
        body=_body("Audience", _DEFINITION),
        responses={200: _DEFINITION_ANSWER},
        errors=_WRITE_ERRORS,
    ),
    _operation(
        "POST",
        f"{_DEFINITIONS}/bulk-get",
        "getAudiences",
        AUDIENCES,
        "Read several audiences",
        "By id; those that are not there are left out. Needs `library:read`.",
        body={
            "application/json": MediaTypeContent(
                schema={"type": "object", "required": ["ids"]}, example={"ids": [{"id": _SEGMENT}]}
            )
        },
        responses={
            207: json_answer(
                "By id.", ref("AudiencesById"), {"results": {_SEGMENT: _DEFINITION_DOCUMENT}}
            )
        },
        errors=error_texts(400, 401, 403, 404, 413, 422),
    ),
    _operation(
        "GET",
        _DEFINITION_PATH,
        "getAudience",
        AUDIENCES,
        "Read an audience",
        "Needs `library:read`.",
        parameters=[_ID],
        responses={200: _DEFINITION_ANSWER},
        errors=_READ_ERRORS,
    ),
    _operation(
        "PATCH",
        _DEFINITION_PATH,
        "reviseAudience",
        AUDIENCES,
        "Revise an audience",
        "The members that are named get these values. Needs `library:write`.",
        parameters=[_ID],
        body=_body("Audience", _DEFINITION),
        responses={200: _DEFINITION_ANSWER},
        errors=_WRITE_ERRORS,
    ),
    _operation(
        "DELETE",
        _DEFINITION_PATH,
        "deleteAudience",
        AUDIENCES,
        "Delete an audience",
        "From then on it is in no profile. Needs `library:write`.",
        parameters=[_ID],
        responses={200: OperationResponse(about="It is gone.")},
        errors=_READ_ERRORS,
    ),
    _operation(
        "PUT",
        f"{_DEFINITION_PATH}/members",
        "putMembers",
        AUDIENCES,
        "Upload a list of people",
        "For an audience whose expression is of type `LIST`. A CSV with a header, at most 16 MB: the people in it are "
        "the members from now on, known or not, and whoever is not in it leaves. The other columns enrich the "
        "audience. A line that is wrong refuses the whole list. Needs `profiles:write`.",
        parameters=[
            _ID,
            OperationParameter(
                name="namespace",
                about="The code of the identities' namespace.",
                required=True,
                example="Email",
            ),
            OperationParameter(
                name="identity",
                about="The column of the identities; the first unless told otherwise.",
            ),
        ],
        body={
            "text/csv": MediaTypeContent(
                schema={"type": "string"}, example="mail,tier\nada@example.org,gold\n"
            )
        },
        responses={
            200: json_answer(
                "How many there are, and left.", ref("Members"), {"listed": 1, "left": 0}
            )
        },
        errors=error_texts(400, 401, 403, 404, 413, 422),
    ),
    _operation(
        "POST",
        "/data/core/ups/preview",
        "startEstimate",
        AUDIENCES,
        "Count whom a rule picks",
        "Begins to count; the answer's `previewId` fetches the count. Needs `profiles:read`.",
        body=_body("PreviewRequest", {"predicateExpression": "person.age >= 18"}),
        responses={201: json_answer("It has begun.", ref("Preview"), segments.preview(_SEGMENT))},
        errors=error_texts(400, 401, 403, 404, 413, 422),
    ),
    _operation(
        "GET",
        "/data/core/ups/estimate/{preview}",
        "getEstimate",
        AUDIENCES,
        "How many a rule picks",
        "Exact below a million profiles; above that of a sample of 100,000, with the standard error. Needs "
        "`profiles:read`.",
        parameters=[
            OperationParameter(
                name="preview", location="path", about="The `previewId`.", example=examples.INSTANCE
            )
        ],
        responses={
            200: json_answer(
                "The count, or that it is under way.",
                ref("Estimate"),
                {"state": "RUNNING", "estimatedSize": 0, "profilesReadSoFar": 0},
            )
        },
        errors=error_texts(401, 403, 404, 422),
    ),
    _operation(
        "GET",
        _POLICIES,
        "listMergePolicies",
        SETTINGS,
        "List merge policies",
        "Beside these there is always `timestampOrdered`. Needs `library:read`.",
        responses={
            200: json_answer(
                "All of them.",
                ref("MergePolicies"),
                {"_page": {"totalCount": 0, "pageSize": 0}, "children": [], "_links": {}},
            )
        },
        errors=_READ_ERRORS,
    ),
    _operation(
        "POST",
        _POLICIES,
        "createMergePolicy",
        SETTINGS,
        "Make a merge policy",
        "`timestampOrdered`: the newest record wins. `dataSetPrecedence`: the dataset named first wins. The "
        "newest policy that is `default` counts where none is named. Needs `library:write`.",
        body=_body("MergePolicy", _POLICY),
        responses={200: _POLICY_ANSWER},
        errors=_WRITE_ERRORS,
    ),
    _operation(
        "GET",
        f"{_POLICIES}/{{policy}}",
        "getMergePolicy",
        SETTINGS,
        "Read a merge policy",
        "Needs `library:read`.",
        parameters=[_POLICY_ID],
        responses={200: _POLICY_ANSWER},
        errors=_READ_ERRORS,
    ),
    _operation(
        "PUT",
        f"{_POLICIES}/{{policy}}",
        "replaceMergePolicy",
        SETTINGS,
        "Replace a merge policy",
        "Needs `library:write`.",
        parameters=[_POLICY_ID],
        body=_body("MergePolicy", _POLICY),
        responses={200: _POLICY_ANSWER},
        errors=_WRITE_ERRORS,
    ),
    _operation(
        "DELETE",
        f"{_POLICIES}/{{policy}}",
        "deleteMergePolicy",
        SETTINGS,
        "Delete a merge policy",
        "Whoever names it gets the default one. Needs `library:write`.",
        parameters=[_POLICY_ID],
        responses={200: OperationResponse(about="It is gone.")},
        errors=_READ_ERRORS,
    ),
    _operation(
        "GET",
        _NAMESPACES,
        "listNamespaces",
        SETTINGS,
        "List identity namespaces",
        "The standard ones, then one's own. Needs `library:read`.",
        responses={200: json_answer("All of them.", ref("Namespaces"), [_NAMESPACE_DOCUMENT])},
        errors=_READ_ERRORS,
    ),
    _operation(
        "POST",
        _NAMESPACES,
        "createNamespace",
        SETTINGS,
        "Make an identity namespace",
        "Its code counts in any letter case. Needs `library:write`.",
        body=_body("Namespace", _NAMESPACE),
        responses={200: _NAMESPACE_ANSWER},
        errors=_WRITE_ERRORS,
    ),
    _operation(
        "GET",
        f"{_NAMESPACES}/{{code}}",
        "getNamespace",
        SETTINGS,
        "Read an identity namespace",
        "By its code, or its id. Needs `library:read`.",
        parameters=[
            OperationParameter(name="code", location="path", about="Code or id.", example="Email")
        ],
        responses={200: _NAMESPACE_ANSWER},
        errors=_READ_ERRORS,
    ),
    _operation(
        "GET",
        _DESCRIPTORS,
        "listDescriptors",
        SETTINGS,
        "List identity descriptors",
        "Which fields of which schemas are identities. With `Accept: application/vnd.adobe.xdm-id+json` their "
        "ids alone, with `…xdm-link+json` their addresses. Needs `library:read`.",
        responses={200: json_answer("All of them.", ref("Descriptors"), [_DESCRIPTOR_DOCUMENT])},
        errors=_READ_ERRORS,
    ),
    _operation(
        "POST",
        _DESCRIPTORS,
        "createDescriptor",
        SETTINGS,
        "Declare a field to be an identity",
        "Records and events whose header names this schema need no identity map then. A path that leads "
        "through a list means each of its elements. One field of a schema may be primary. Counts for what comes "
        "in from now on. Needs `library:write`.",
        body=_body("Descriptor", _DESCRIPTOR),
        responses={201: _DESCRIPTOR_ANSWER},
        errors=_WRITE_ERRORS,
    ),
    _operation(
        "GET",
        f"{_DESCRIPTORS}/{{descriptor}}",
        "getDescriptor",
        SETTINGS,
        "Read an identity descriptor",
        "Needs `library:read`.",
        parameters=[_DESCRIPTOR_ID],
        responses={200: _DESCRIPTOR_ANSWER},
        errors=_READ_ERRORS,
    ),
    _operation(
        "PUT",
        f"{_DESCRIPTORS}/{{descriptor}}",
        "replaceDescriptor",
        SETTINGS,
        "Replace an identity descriptor",
        "Needs `library:write`.",
        parameters=[_DESCRIPTOR_ID],
        body=_body("Descriptor", _DESCRIPTOR),
        responses={200: _DESCRIPTOR_ANSWER},
        errors=_WRITE_ERRORS,
    ),
    _operation(
        "DELETE",
        f"{_DESCRIPTORS}/{{descriptor}}",
        "deleteDescriptor",
        SETTINGS,
        "Delete an identity descriptor",
        "What came in by it stays linked. Needs `library:write`.",
        parameters=[_DESCRIPTOR_ID],
        responses={204: OperationResponse(about="It is gone.")},
        errors=_READ_ERRORS,
    ),
]
