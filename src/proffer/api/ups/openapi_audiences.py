"""OpenAPI description of audiences, estimates, merge policies, namespaces and descriptors."""

from typing import Any

from proffer.api.kit import examples
from proffer.api.kit.openapi import SANDBOX, error_texts, json_answer, json_content
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
    AUDIENCES: "Audiences (segments): named rules and uploaded lists of customers, kept up to date.",
    SETTINGS: "Identity namespaces and descriptors, and merge policies for conflicting records.",
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
_POLICY_DOCUMENT = segments.merge_policy(_POLICY, **_INSTANCE_FIELDS, updated_ms=1579292094000)
_NAMESPACE = {"code": "loyaltyId", "name": "Loyalty card", "idType": "CROSS_DEVICE"}
_DESCRIPTOR = {
    "@type": segments.IDENTITY_DESCRIPTOR,
    "xdm:sourceSchema": "https://ns.adobe.com/acme/schemas/loyalty",
    "xdm:sourceProperty": "/personalEmail/address",
    "xdm:namespace": "Email",
    "xdm:isPrimary": True,
}
_DESCRIPTOR_DOCUMENT = segments.descriptor(_DESCRIPTOR, key=_SEGMENT, organisation="ACME@AdobeOrg", etag=1)
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
    "PreviewResults": {
        "type": "object",
        "properties": {
            "state": {"type": "string", "enum": ["RUNNING", "RESULT_READY"]},
            "results": {"type": "array", "items": {"type": "object"}},
            "page": {"type": "object"},
            "links": {"type": "object"},
        },
        "required": ["state", "results", "page", "links"],
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
                "description": "The 95 % confidence interval of the size.",
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

_ID = OperationParameter(name="segment", location="path", about="The audience's id.", example=_SEGMENT)
_POLICY_ID = OperationParameter(name="policy", location="path", about="The policy's id.", example=_SEGMENT)
_PREVIEW_ID = OperationParameter(name="preview", location="path", about="The `previewId`.", example=examples.INSTANCE)
_PREVIEW_PATH = "/data/core/ups/preview/{preview}"
_DEFINITIONS = "/data/core/ups/segment/definitions"
_POLICIES = "/data/core/ups/config/mergePolicies"
_NAMESPACES = "/data/core/idnamespace/identities"
_DEFINITION_PATH = f"{_DEFINITIONS}/{{segment}}"
_DEFINITION_ANSWER = json_answer("The definition.", ref("Audience"), _DEFINITION_DOCUMENT)
_POLICY_ANSWER = json_answer(
    "The policy.",
    ref("MergePolicy"),
    _POLICY_DOCUMENT,
)
_DESCRIPTORS = "/data/foundation/schemaregistry/tenant/descriptors"
_DESCRIPTOR_ID = OperationParameter(name="descriptor", location="path", about="The descriptor's id.", example=_SEGMENT)
_DESCRIPTOR_ANSWER = json_answer("The descriptor.", ref("Descriptor"), _DESCRIPTOR_DOCUMENT)
_NAMESPACE_ANSWER = json_answer("The namespace.", ref("Namespace"), _NAMESPACE_DOCUMENT)
_READ_ERRORS = error_texts(401, 403, 404)
_WRITE_ERRORS = error_texts(400, 401, 403, 404, 409, 413, 422)


def _operation(method: str, path: str, name: str, group: str, summary: str, about: str, **more: Any) -> Operation:
    parameters = [*more.pop("parameters", []), SANDBOX]
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
        "A page of definitions, newest first. Needs `library:read`.",
        parameters=[
            OperationParameter(name="start", about="Number of definitions to skip."),
            OperationParameter(name="limit", about="Page size; default 100."),
            OperationParameter(name="page", about="Page number, from 0."),
            OperationParameter(
                name="sort",
                about="`creationTime`, `updateTime` or `name`, then `:asc` or `:desc`.",
                example="updateTime:desc",
            ),
            OperationParameter(
                name="evaluationInfo.continuous.enabled",
                about="Only audiences that are, or are not, evaluated when a profile is written.",
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
        "Create an audience",
        "A PQL rule, checked at once; a `Warning` header lists what is probably not intended. It is evaluated when a "
        "profile is written (unless `evaluationInfo` sets batch only) and, for all customers, within seconds and "
        "once a day. An `id` that is a UUID is kept. An expression of type `LIST` creates a list, filled by `proffer "
        "audiences upload`. Needs `library:write`.",
        body=json_content(ref("Audience"), _DEFINITION),
        responses={200: _DEFINITION_ANSWER},
        errors=_WRITE_ERRORS,
    ),
    _operation(
        "POST",
        f"{_DEFINITIONS}/bulk-get",
        "getAudiences",
        AUDIENCES,
        "Read several audiences",
        "By id; unknown ids are omitted. Needs `library:read`.",
        body=json_content({"type": "object", "required": ["ids"]}, {"ids": [{"id": _SEGMENT}]}),
        responses={207: json_answer("By id.", ref("AudiencesById"), {"results": {_SEGMENT: _DEFINITION_DOCUMENT}})},
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
        "Change an audience",
        "Sets the members in the body. Needs `library:write`.",
        parameters=[_ID],
        body=json_content(ref("Audience"), _DEFINITION),
        responses={200: _DEFINITION_ANSWER},
        errors=_WRITE_ERRORS,
    ),
    _operation(
        "DELETE",
        _DEFINITION_PATH,
        "deleteAudience",
        AUDIENCES,
        "Delete an audience",
        "The audience is removed from all profiles. One that offers, decisions, rules or content name cannot be "
        "deleted: `report.referrers` lists them. Needs `library:write`.",
        parameters=[_ID],
        responses={200: OperationResponse(about="Deleted.")},
        errors=error_texts(401, 403, 404, 409),
    ),
    _operation(
        "PUT",
        f"{_DEFINITION_PATH}/members",
        "putMembers",
        AUDIENCES,
        "Upload a list of customers",
        "For an audience with an expression of type `LIST`. A CSV file with a header, at most 16 MB, replaces the "
        "members, known customers or not. The other columns enrich the audience. Blanks around ids and cells do not "
        "count. An invalid line, or a first line that does not name the columns, rejects the whole list. A list "
        "with fewer than half as many customers as the audience has members is 409 without `replace=all`. "
        "Needs `profiles:write`.",
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
                about="The column of the identities; default: the one named like the namespace, else the first.",
            ),
            OperationParameter(
                name="delimiter",
                about="`,`, `;`, `|` or `tab`; default: detected from the first line.",
                example=";",
            ),
            OperationParameter(
                name="replace",
                about="`all`: accept a list with fewer than half as many customers as the audience has members.",
                example="all",
            ),
        ],
        body={"text/csv": MediaTypeContent(schema={"type": "string"}, example="mail,tier\nada@example.org,gold\n")},
        responses={
            200: json_answer(
                "The number of members, and of those removed.",
                ref("Members"),
                {"listed": 1, "left": 0},
            )
        },
        errors=error_texts(400, 401, 403, 404, 409, 413, 422),
    ),
    _operation(
        "POST",
        "/data/core/ups/preview",
        "startEstimate",
        AUDIENCES,
        "Count the customers that match a rule",
        "Starts a count; `previewId` in the response retrieves it. The rule is checked as if it were saved: an invalid "
        "one is refused with each violation, and a `Warning` header lists what is probably not intended. Needs "
        "`profiles:read`.",
        body=json_content(ref("PreviewRequest"), {"predicateExpression": "person.age >= 18"}),
        responses={201: json_answer("The count has started.", ref("Preview"), segments.preview(_SEGMENT))},
        errors=error_texts(400, 401, 403, 404, 413, 422),
    ),
    _operation(
        "GET",
        _PREVIEW_PATH,
        "getPreview",
        AUDIENCES,
        "List customers that match a rule",
        "The first hundred that the count of this `previewId` met: by XID, with the other identities of the customer. "
        "Needs `profiles:read`.",
        parameters=[_PREVIEW_ID],
        responses={
            200: json_answer(
                "The customers, or none while the count runs.",
                ref("PreviewResults"),
                segments.preview_results(
                    [["RW1haWwAYWRhQGV4YW1wbGUub3Jn"]], key=examples.INSTANCE, origin="http://127.0.0.1:8700"
                ),
            )
        },
        errors=error_texts(401, 403, 404, 422),
    ),
    _operation(
        "DELETE",
        _PREVIEW_PATH,
        "deletePreview",
        AUDIENCES,
        "Stop and forget a count",
        "Needs `profiles:read`.",
        parameters=[_PREVIEW_ID],
        responses={200: OperationResponse(about="Deleted.")},
        errors=_READ_ERRORS,
    ),
    _operation(
        "GET",
        "/data/core/ups/estimate/{preview}",
        "getEstimate",
        AUDIENCES,
        "Get a count",
        "Exact up to a million profiles; above that, estimated from a sample of 100,000, with the standard error. "
        "Needs `profiles:read`.",
        parameters=[_PREVIEW_ID],
        responses={
            200: json_answer(
                "The count, or its state while it runs.",
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
        "By name: all, or a page of `limit`; `_links.next` is always present, with an empty `href` on the last page. "
        "The policy `timestampOrdered` always exists in addition. Needs `library:read`.",
        parameters=[
            OperationParameter(name="limit", about="Page size; all policies if absent, at most 1,000."),
            OperationParameter(name="start", about="Number of policies to skip."),
            OperationParameter(name="orderBy", about="`name`, `id` or `updateEpoch`; with `-` descending."),
            OperationParameter(name="default", about="Only policies that are, or are not, a default."),
            OperationParameter(name="schema.name", about="Only policies of this schema."),
            OperationParameter(name="identityGraph.type", about="Only policies with this graph: `pdg` or `none`."),
            OperationParameter(name="attributeMerge.type", about="Only policies that merge in this way."),
            OperationParameter(name="isActiveOnEdge", about="Only policies with this value of `isActiveOnEdge`."),
        ],
        responses={
            200: json_answer(
                "A page.",
                ref("MergePolicies"),
                segments.merge_policies_page([_POLICY_DOCUMENT], total=1, next_query=""),
            )
        },
        errors=error_texts(400, 401, 403, 404),
    ),
    _operation(
        "POST",
        _POLICIES,
        "createMergePolicy",
        SETTINGS,
        "Create a merge policy",
        "`timestampOrdered`: the newest record wins. `dataSetPrecedence`: the dataset named first wins. If a "
        "request names no policy, the newest policy with `default` applies. Needs `library:write`.",
        body=json_content(ref("MergePolicy"), _POLICY),
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
        body=json_content(ref("MergePolicy"), _POLICY),
        responses={200: _POLICY_ANSWER},
        errors=_WRITE_ERRORS,
    ),
    _operation(
        "PATCH",
        f"{_POLICIES}/{{policy}}",
        "reviseMergePolicy",
        SETTINGS,
        "Change a merge policy",
        "By a JSON Patch (RFC 6902). A path may separate members by dots, as in `/identityGraph.type`. Needs "
        "`library:write`.",
        parameters=[_POLICY_ID],
        body=json_content(
            {"type": "array", "items": {"type": "object"}},
            [{"op": "add", "path": "/attributeMerge.type", "value": "timestampOrdered"}],
        ),
        responses={200: _POLICY_ANSWER},
        errors=_WRITE_ERRORS,
    ),
    _operation(
        "DELETE",
        f"{_POLICIES}/{{policy}}",
        "deleteMergePolicy",
        SETTINGS,
        "Delete a merge policy",
        "Requests that name it use the default policy. Needs `library:write`.",
        parameters=[_POLICY_ID],
        responses={200: OperationResponse(about="Deleted.")},
        errors=_READ_ERRORS,
    ),
    _operation(
        "GET",
        _NAMESPACES,
        "listNamespaces",
        SETTINGS,
        "List identity namespaces",
        "Standard namespaces, then custom namespaces. Needs `library:read`.",
        responses={200: json_answer("All namespaces.", ref("Namespaces"), [_NAMESPACE_DOCUMENT])},
        errors=_READ_ERRORS,
    ),
    _operation(
        "POST",
        _NAMESPACES,
        "createNamespace",
        SETTINGS,
        "Create an identity namespace",
        "Codes are not case-sensitive. Needs `library:write`.",
        body=json_content(ref("Namespace"), _NAMESPACE),
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
        parameters=[OperationParameter(name="code", location="path", about="Code or id.", example="Email")],
        responses={200: _NAMESPACE_ANSWER},
        errors=_READ_ERRORS,
    ),
    _operation(
        "PUT",
        f"{_NAMESPACES}/{{code}}",
        "replaceNamespace",
        SETTINGS,
        "Replace an identity namespace",
        "By its code, or its id. The code cannot change, and standard namespaces cannot. Needs `library:write`.",
        parameters=[OperationParameter(name="code", location="path", about="Code or id.", example="loyaltyId")],
        body=json_content(ref("Namespace"), _NAMESPACE),
        responses={200: _NAMESPACE_ANSWER},
        errors=_WRITE_ERRORS,
    ),
    _operation(
        "GET",
        _DESCRIPTORS,
        "listDescriptors",
        SETTINGS,
        "List identity descriptors",
        "The identity fields of schemas. With `Accept: application/vnd.adobe.xdm-id+json` only their ids, with "
        "`…xdm-link+json` only their addresses; with `…xdm-v2+json` (`-v2-id`, `-v2-link`) the same in `results`, on "
        "one page. Needs `library:read`.",
        parameters=[
            OperationParameter(
                name="property",
                about="Only descriptors with this property, as `path==value`; several are separated by commas.",
                example="@type==xdm:descriptorIdentity",
            )
        ],
        responses={200: json_answer("All descriptors.", ref("Descriptors"), [_DESCRIPTOR_DOCUMENT])},
        errors=error_texts(400, 401, 403, 404, 422),
    ),
    _operation(
        "POST",
        _DESCRIPTORS,
        "createDescriptor",
        SETTINGS,
        "Create an identity descriptor",
        "Declares a field of a schema to be an identity. Records and events that name this schema then need no "
        "identity map. A path through a list means every element. One field of a schema may be primary. Applies to "
        "data received later. Needs `library:write`.",
        body=json_content(ref("Descriptor"), _DESCRIPTOR),
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
        body=json_content(ref("Descriptor"), _DESCRIPTOR),
        responses={200: _DESCRIPTOR_ANSWER},
        errors=_WRITE_ERRORS,
    ),
    _operation(
        "DELETE",
        f"{_DESCRIPTORS}/{{descriptor}}",
        "deleteDescriptor",
        SETTINGS,
        "Delete an identity descriptor",
        "Identities that it linked stay linked. Needs `library:write`.",
        parameters=[_DESCRIPTOR_ID],
        responses={204: OperationResponse(about="Deleted.")},
        errors=_READ_ERRORS,
    ),
]
