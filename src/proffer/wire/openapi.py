"""API descriptions: operations declared as data, and their OpenAPI 3.1 document."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from proffer.validation import (
    AnyShape,
    BooleanShape,
    DateTimeShape,
    IntegerShape,
    ListShape,
    MapShape,
    Member,
    NullShape,
    NumberShape,
    ObjectShape,
    OneOfShape,
    ReferenceShape,
    Shape,
    TextShape,
)

JsonSchema: TypeAlias = dict[str, Any]

PROBLEM_TYPE = "application/problem+json"


def ref(name: str) -> JsonSchema:
    """Return a reference to a schema of the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


# Declarations.


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationParameter:
    """A parameter. `location`: `path`, `query` or `header`; `repeated`: may be given several times."""

    name: str
    about: str
    location: str = "query"
    schema: JsonSchema = field(default_factory=lambda: {"type": "string"})
    required: bool = False
    repeated: bool = False
    example: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaTypeContent:
    """One media type of a request or response body: its schema and an example."""

    schema: JsonSchema
    example: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationResponse:
    """A success response. `content` is by media type, and empty without a body."""

    about: str
    content: Mapping[str, MediaTypeContent] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Description of one route. `errors`: status to the condition under which it is returned."""

    method: str
    path: str
    name: str
    group: str
    summary: str
    about: str
    responses: Mapping[int, OperationResponse]
    errors: Mapping[int, str] = field(default_factory=dict)
    parameters: Sequence[OperationParameter] = ()
    body: Mapping[str, MediaTypeContent] = field(default_factory=dict)
    public: bool = False


# The document.


def openapi_document(
    *,
    title: str,
    version: str,
    about: str,
    groups: Mapping[str, str],
    operations: Iterable[Operation],
    schemas: Mapping[str, JsonSchema],
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of these operations."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation_object(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": about},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [{"name": name, "description": text} for name, text in groups.items()],
        "paths": paths,
        "components": {
            "schemas": dict(schemas),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `proffer token create`. In dev mode none is needed.",
                }
            },
        },
    }


def _operation_object(operation: Operation) -> dict[str, Any]:
    operation_object: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.group],
        "summary": operation.summary,
        "description": operation.about,
        "parameters": [_parameter_object(parameter) for parameter in operation.parameters],
    }
    if operation.body:
        operation_object["requestBody"] = {
            "required": True,
            "content": _content_object(operation.body),
        }
    operation_object["responses"] = {
        str(status): _response_object(response) for status, response in sorted(operation.responses.items())
    } | {
        str(status): {
            "description": when,
            "content": {PROBLEM_TYPE: {"schema": ref("Problem")}},
        }
        for status, when in sorted(operation.errors.items())
    }
    if operation.public:
        operation_object["security"] = []
    return operation_object


def _parameter_object(parameter: OperationParameter) -> dict[str, Any]:
    schema = {"type": "array", "items": parameter.schema} if parameter.repeated else parameter.schema
    parameter_object: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.location,
        "description": parameter.about,
        "required": parameter.required or parameter.location == "path",
        "schema": schema,
    }
    if parameter.repeated:
        parameter_object |= {"style": "form", "explode": True}
    if parameter.example is not None:
        parameter_object["example"] = parameter.example
    return parameter_object


def _response_object(response: OperationResponse) -> dict[str, Any]:
    response_object: dict[str, Any] = {"description": response.about}
    if response.headers:
        response_object["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in response.headers.items()
        }
    if response.content:
        response_object["content"] = _content_object(response.content)
    return response_object


def _content_object(by_type: Mapping[str, MediaTypeContent]) -> dict[str, Any]:
    return {
        media_type: {"schema": content.schema} | ({"example": content.example} if content.example is not None else {})
        for media_type, content in by_type.items()
    }


# Schemas.


def json_schema(shape: Shape) -> JsonSchema:
    """Return the JSON Schema (2020-12) of a shape; looser where a schema cannot express the shape."""
    match shape:
        case TextShape():
            return _text_schema(shape)
        case IntegerShape():
            return _with_limits({"type": "integer"}, minimum=shape.min, maximum=shape.max)
        case NumberShape():
            return _with_limits({"type": "number"}, minimum=shape.min, maximum=shape.max)
        case BooleanShape():
            return {"type": "boolean"}
        case NullShape():
            return {"type": "null"}
        case DateTimeShape():
            return {"type": "string", "format": "date-time"}
        case ReferenceShape():
            kinds = "|".join(shape.kinds) or "[a-z][a-z-]*"
            return {"type": "string", "pattern": f"^(?:xcore|dps):(?:{kinds}):[0-9a-f]{{1,16}}$"}
        case AnyShape():
            return {}
        case ListShape():
            items = {"type": "array", "items": json_schema(shape.shape)}
            return _with_limits(
                items,
                minItems=shape.min or None,
                maxItems=shape.max,
                uniqueItems=shape.unique or None,
            )
        case MapShape():
            members = {"type": "object", "additionalProperties": json_schema(shape.shape)}
            return _with_limits(members, maxProperties=shape.max)
        case ObjectShape():
            return _object_schema(shape)
        case OneOfShape():
            return _one_of_schema(shape)


def _with_limits(schema: JsonSchema, **limits: Any) -> JsonSchema:
    return schema | {name: value for name, value in limits.items() if value is not None}


def _text_schema(shape: TextShape) -> JsonSchema:
    # A schema counts characters only, and a text never has fewer bytes than characters.
    maxima = [maximum for maximum in (shape.max, shape.max_bytes) if maximum is not None]
    return _with_limits(
        {"type": "string"},
        enum=[str(choice) for choice in shape.one_of] or None,
        minLength=shape.min or None,
        maxLength=min(maxima) if maxima else None,
        pattern=f"^(?:{shape.pattern})$" if shape.pattern is not None else None,
    )


def _object_schema(shape: ObjectShape) -> JsonSchema:
    properties = {
        spelling: json_schema(member.shape)
        for name, member in shape.members.items()
        for spelling in (name, *member.aliases)
    }
    required = [name for name, member in shape.members.items() if member.required and not member.aliases]
    groups = [_spellings(name, member) for name, member in shape.members.items() if member.required and member.aliases]
    groups += [
        [spelling for name in group for spelling in _spellings(name, shape.members.get(name))]
        for group in shape.at_least_one_of
    ]
    alternatives = [{"anyOf": [{"required": [name]} for name in group]} for group in groups]
    return _with_limits(
        {"type": "object", "properties": properties},
        required=required or None,
        allOf=alternatives or None,
    )


def _spellings(name: str, member: Member | None) -> list[str]:
    return [name, *(member.aliases if member is not None else ())]


def _one_of_schema(shape: OneOfShape) -> JsonSchema:
    choices = [json_schema(choice) for choice in shape.shapes]
    if len(choices) == 2 and choices[1] == {"type": "null"}:
        first = choices[0]
        if isinstance(first.get("type"), str) and "enum" not in first:
            return {**first, "type": [first["type"], "null"]}
    return {"anyOf": choices}
