"""API descriptions: operations declared as data, and their OpenAPI 3.1 document."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from proffer.validation import (
    Anything,
    Boolean,
    DateTime,
    Integer,
    ListOf,
    MapOf,
    Member,
    Null,
    Number,
    Object,
    OneOf,
    Reference,
    Shape,
    Text,
)

JsonSchema: TypeAlias = dict[str, Any]

PROBLEM_TYPE = "application/problem+json"


def ref(name: str) -> JsonSchema:
    """Return a reference to a schema of the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


# Declarations.


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter. `location`: `path`, `query` or `header`; `repeated`: may be given several times."""

    name: str
    about: str
    place: str = "query"
    schema: JsonSchema = field(default_factory=lambda: {"type": "string"})
    required: bool = False
    repeated: bool = False
    example: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One media type of a request or response body: its schema and an example."""

    schema: JsonSchema
    example: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A success response. `content` is by media type, and empty without a body."""

    about: str
    content: Mapping[str, Content] = field(default_factory=dict)
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
    answers: Mapping[int, Answer]
    errors: Mapping[int, str] = field(default_factory=dict)
    parameters: Sequence[Parameter] = ()
    body: Mapping[str, Content] = field(default_factory=dict)
    public: bool = False


# The document.


def document(
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
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
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


def _operation(one: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": one.name,
        "tags": [one.group],
        "summary": one.summary,
        "description": one.about,
        "parameters": [_parameter(parameter) for parameter in one.parameters],
    }
    if one.body:
        described["requestBody"] = {"required": True, "content": _content(one.body)}
    described["responses"] = {
        str(status): _answer(answer) for status, answer in sorted(one.answers.items())
    } | {
        str(status): {
            "description": when,
            "content": {PROBLEM_TYPE: {"schema": ref("Problem")}},
        }
        for status, when in sorted(one.errors.items())
    }
    if one.public:
        described["security"] = []
    return described


def _parameter(one: Parameter) -> dict[str, Any]:
    schema = {"type": "array", "items": one.schema} if one.repeated else one.schema
    described: dict[str, Any] = {
        "name": one.name,
        "in": one.place,
        "description": one.about,
        "required": one.required or one.place == "path",
        "schema": schema,
    }
    if one.repeated:
        described |= {"style": "form", "explode": True}
    if one.example is not None:
        described["example"] = one.example
    return described


def _answer(one: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": one.about}
    if one.headers:
        described["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in one.headers.items()
        }
    if one.content:
        described["content"] = _content(one.content)
    return described


def _content(by_type: Mapping[str, Content]) -> dict[str, Any]:
    return {
        media_type: {"schema": one.schema}
        | ({"example": one.example} if one.example is not None else {})
        for media_type, one in by_type.items()
    }


# Schemas.


def json_schema(shape: Shape) -> JsonSchema:
    """Return the JSON Schema (2020-12) of a shape; looser where a schema cannot express the shape."""
    match shape:
        case Text():
            return _text(shape)
        case Integer():
            return _given({"type": "integer"}, minimum=shape.min, maximum=shape.max)
        case Number():
            return _given({"type": "number"}, minimum=shape.min, maximum=shape.max)
        case Boolean():
            return {"type": "boolean"}
        case Null():
            return {"type": "null"}
        case DateTime():
            return {"type": "string", "format": "date-time"}
        case Reference():
            kinds = "|".join(shape.kinds) or "[a-z][a-z-]*"
            return {"type": "string", "pattern": f"^(?:xcore|dps):(?:{kinds}):[0-9a-f]{{1,16}}$"}
        case Anything():
            return {}
        case ListOf():
            items = {"type": "array", "items": json_schema(shape.shape)}
            return _given(
                items,
                minItems=shape.min or None,
                maxItems=shape.max,
                uniqueItems=shape.unique or None,
            )
        case MapOf():
            members = {"type": "object", "additionalProperties": json_schema(shape.shape)}
            return _given(members, maxProperties=shape.max)
        case Object():
            return _object(shape)
        case OneOf():
            return _one_of(shape)


def _given(schema: JsonSchema, **limits: Any) -> JsonSchema:
    return schema | {name: value for name, value in limits.items() if value is not None}


def _text(shape: Text) -> JsonSchema:
    # A schema counts characters only, and a text never has fewer bytes than characters.
    longest = [most for most in (shape.max, shape.max_bytes) if most is not None]
    return _given(
        {"type": "string"},
        enum=[str(choice) for choice in shape.one_of] or None,
        minLength=shape.min or None,
        maxLength=min(longest) if longest else None,
        pattern=f"^(?:{shape.pattern})$" if shape.pattern is not None else None,
    )


def _object(shape: Object) -> JsonSchema:
    properties = {
        spelling: json_schema(member.shape)
        for name, member in shape.members.items()
        for spelling in (name, *member.aliases)
    }
    plain = [
        name for name, member in shape.members.items() if member.required and not member.aliases
    ]
    groups = [
        _spellings(name, member)
        for name, member in shape.members.items()
        if member.required and member.aliases
    ]
    groups += [
        [spelling for name in group for spelling in _spellings(name, shape.members.get(name))]
        for group in shape.at_least_one_of
    ]
    either = [{"anyOf": [{"required": [name]} for name in group]} for group in groups]
    return _given(
        {"type": "object", "properties": properties},
        required=plain or None,
        allOf=either or None,
    )


def _spellings(name: str, member: Member | None) -> list[str]:
    return [name, *(member.aliases if member is not None else ())]


def _one_of(shape: OneOf) -> JsonSchema:
    choices = [json_schema(choice) for choice in shape.shapes]
    if len(choices) == 2 and choices[1] == {"type": "null"}:
        first = choices[0]
        if isinstance(first.get("type"), str) and "enum" not in first:
            return {**first, "type": [first["type"], "null"]}
    return {"anyOf": choices}
