"""JSON Schemas in one or several files are read to fields with types."""

from typing import Any

import pytest

from proffer.errors import Invalid
from proffer.service.rules.check import read_schema
from proffer.service.rules.json_schema import SchemaFields, SchemaFile

REMOTE = "https://ns.adobe.com/xdm/datatypes/consents-and-preferences#/definitions/profile-consents"


def fields_of(**contents: Any) -> SchemaFields:
    """The fields of these files, named `<name>.schema.json` in one folder."""
    return read_schema(
        [SchemaFile(f"file:///schemas/{name}.schema.json", content) for name, content in contents.items()]
    )


@pytest.mark.parametrize("schema", [{"allOf": [{"$ref": REMOTE}]}, {"$ref": REMOTE}])
def test_a_root_that_is_not_resolved_allows_every_field(schema: dict[str, Any]) -> None:
    """It says nothing about the fields, so no rule may become false by it."""
    assert fields_of(a=schema) == SchemaFields({"*": "any"}, (REMOTE,))


def test_an_unresolved_part_leaves_its_level_open_and_no_other() -> None:
    """Fields beside it keep their types; other objects stay complete."""
    schema = {
        "allOf": [{"$ref": REMOTE}, {"properties": {"age": {"type": "integer"}}}],
        "properties": {
            "address": {"type": "object", "properties": {"city": {"type": "string"}}},
            "order": {"$ref": "#/definitions/absent", "properties": {"total": {"type": "number"}}},
            "items": {"type": "array", "items": {"$ref": "other.json"}},
        },
    }
    read = fields_of(a=schema)

    assert read.fields == {
        "*": "any",
        "age": "integer",
        "address": {"city": "text"},
        "order": {"*": "any", "total": "number"},
        "items": ["any"],
    }
    assert read.unresolved == (REMOTE, "#/definitions/absent", "other.json")


def test_references_among_files_are_resolved_by_id_path_and_pointer() -> None:
    """Only the file that no other names declares fields."""
    read = fields_of(
        profile={
            "$id": "https://ns.example.org/schemas/profile",
            "allOf": [{"$ref": "https://ns.example.org/groups/loyalty;version=1"}, {"$ref": "./person.schema.json"}],
        },
        loyalty={
            "$id": "https://ns.example.org/groups/loyalty",
            "definitions": {"points": {"properties": {"xdm:points": {"type": "integer"}}}},
            "properties": {"loyalty": {"$ref": "#/definitions/points"}},
        },
        person={"properties": {"address": {"$ref": "types.schema.json#/definitions/addresses/0"}}},
        types={"definitions": {"addresses": [{"properties": {"city": {"type": "string"}}}]}},
    )

    assert read == SchemaFields({"loyalty": {"points": "integer"}, "address": {"city": "text"}})


def test_field_groups_of_one_object_are_joined() -> None:
    """Groups that no file names are merged member by member, also with plain fields."""
    first = {"properties": {"_acme": {"type": "object", "properties": {"plan": {"type": "string"}}}}}
    second = {
        "properties": {"_acme": {"type": "object", "properties": {"since": {"type": "string", "format": "date"}}}}
    }

    read = fields_of(a=first, b=second, c={"person": {"age": "integer"}})

    assert read.fields == {"_acme": {"plan": "text", "since": "date"}, "person": {"age": "integer"}}


def test_a_schema_that_contains_itself_ends_in_any() -> None:
    """The second level of the same schema is not described."""
    node = {"properties": {"name": {"type": "string"}, "left": {"$ref": "#"}, "right": {"$ref": "#"}}}

    read = fields_of(a={"$id": "https://ns.example.org/node", **node})

    side = {"name": "text", "left": "any", "right": "any"}
    assert read.fields == {"name": "text", "left": side, "right": side}


def test_references_that_multiply_are_refused() -> None:
    """Thirty levels that each name the next one twice would be a thousand million fields."""
    levels = {
        f"l{level}": {"properties": {name: {"$ref": f"#/definitions/l{level + 1}"} for name in "ab"}}
        for level in range(30)
    }
    with pytest.raises(Invalid, match="expand to more than"):
        fields_of(a={"$ref": "#/definitions/l0", "definitions": levels})


def test_alternatives_leave_an_object_open_unless_they_only_require_fields() -> None:
    """Fields of alternatives are not told apart."""
    declared = {"properties": {"a": {"type": "string"}}}
    required = {**declared, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    alternatives = {**declared, "oneOf": [{"properties": {"b": {"type": "string"}}}]}

    assert fields_of(a=required).fields == {"a": "text"}
    assert fields_of(a=alternatives).fields == {"a": "text", "*": "any"}


def _nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    "contents",
    [
        [{"a": []}],
        [{"a": []}, {"a": []}],
        [_nested(3000)],
    ],
)
def test_a_file_that_describes_no_fields_is_refused(contents: list[dict[str, Any]]) -> None:
    """The message says so, also where several files declare the field, or the nesting exceeds the stack."""
    with pytest.raises(Invalid):
        fields_of(**{f"f{number}": content for number, content in enumerate(contents)})


@pytest.mark.parametrize("member", ["allOf", "anyOf", "enum", "meta:enum", "format", "items", "properties", "type"])
@pytest.mark.parametrize("value", [5, True, "x", [5], [["x"]], {"x": 5}])
def test_a_malformed_member_of_a_schema_is_no_failure(member: str, value: Any) -> None:
    """Other fields keep their types."""
    schema = {"properties": {"a": {"type": "string", member: value}, "b": {"type": "integer"}}}

    assert fields_of(a=schema).fields["b"] == "integer"
