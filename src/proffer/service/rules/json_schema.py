"""Conversion of JSON Schemas to fields with types.

Schema registries export such schemas. Supports `properties`, `items`, `additionalProperties`, `allOf`, `$ref`,
`type`, `format`, `enum` and `meta:enum`. Everything else has the type `any`, which is never refused; an object
that is not described completely allows other fields: `{"name": "text", "*": "any"}`.
`xdm:` prefixes are removed: both spellings name one field (PQL D-XDM).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any
from urllib.parse import unquote, urljoin

from proffer.errors import Invalid, Violation
from proffer.model.identity import schema_name

_MAX_DEPTH = 50
_MAX_PARTS = 200_000
_SCALARS = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}
_FORMATS = {"date": "date", "date-time": "date-time"}
_OPEN = {"*": "any"}


@dataclass(frozen=True, slots=True)
class SchemaFile:
    """A schema file: its address, which relative references start from, and its content."""

    address: str
    content: Any


@dataclass(frozen=True, slots=True)
class SchemaFields:
    """Fields with their types, and the references that none of the files resolves."""

    fields: Mapping[str, Any]
    unresolved: tuple[str, ...] = ()


def fields_of(files: Sequence[SchemaFile]) -> SchemaFields:
    """Return the fields that the files declare together.

    Files to which no other file refers declare fields; the others only resolve references. Raises `Invalid` if
    the references expand to too many fields.
    """
    references = _References(files)
    reader = _SchemaReader(references)
    types = [
        reader.type_of(file.content, file) if _is_json_schema(file.content) else dict(file.content)
        for file in references.roots()
    ]
    merged = reduce(_merge, types)
    if merged != "any" and not isinstance(merged, Mapping):
        raise _unreadable("the schema describes values that are not objects", "give the schema of an object")
    return SchemaFields(_OPEN if merged == "any" else merged, tuple(reader.unresolved))


def _is_json_schema(document: Mapping[str, Any]) -> bool:
    """Return whether the document is a JSON Schema rather than plain fields."""
    members = {"properties": Mapping, "allOf": list, "$ref": str, "$id": str, "$schema": str, "$defs": Mapping}
    return any(isinstance(document.get(name), kind) for name, kind in members.items())


class _References:
    """The files by their `$id` and address, for the resolution of references."""

    def __init__(self, files: Sequence[SchemaFile]) -> None:
        self._files = files
        self._by_address = {schema_name(file.address): file for file in files}
        self._by_address |= {_base(file): file for file in files}

    def roots(self) -> list[SchemaFile]:
        """Return the files to which no other file refers; all files if there is none."""
        referred = {
            id(target[1])
            for file in self._files
            for reference in _references_in(file.content)
            if (target := self.target(reference, file)) is not None and target[1] is not file
        }
        return [file for file in self._files if id(file) not in referred] or list(self._files)

    def target(self, reference: str, home: SchemaFile) -> tuple[Any, SchemaFile] | None:
        """Return the schema that a reference in `home` names, and its file; None if it is in no file."""
        for base in (_base(home), home.address):
            try:
                address, _, fragment = urljoin(base, reference).partition("#")
            except ValueError:
                return None
            file = home if reference.startswith("#") else self._by_address.get(schema_name(address))
            schema = _at_pointer(file.content, fragment) if file is not None else None
            if file is not None and schema is not None:
                return schema, file
        return None


def _base(file: SchemaFile) -> str:
    """Return the address from which references in a file start: its `$id`, else its own."""
    declared = file.content.get("$id")
    try:
        return schema_name(urljoin(file.address, declared.rstrip("#"))) if isinstance(declared, str) else file.address
    except ValueError:
        return file.address


def _references_in(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        reference = value.get("$ref")
        if isinstance(reference, str):
            yield reference
    members = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for member in members:
        yield from _references_in(member)


def _at_pointer(document: Any, pointer: str) -> Any:
    """Return the part of a document at a JSON pointer, or None."""
    for escaped in pointer.split("/")[1:]:
        step = unquote(escaped).replace("~1", "/").replace("~0", "~")
        if isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            document = document.get(step) if isinstance(document, Mapping) else None
    return document if not pointer or pointer.startswith("/") else None


class _SchemaReader:
    def __init__(self, references: _References) -> None:
        self.unresolved: dict[str, None] = {}
        self._references = references
        self._active: set[int] = set()
        self._parts = 0

    def type_of(self, schema: Any, home: SchemaFile) -> Any:
        """Return the type of the values that a schema in the file `home` describes."""
        described = self._read(schema, home, 0)
        return "any" if described is None else described

    def _read(self, schema: Any, home: SchemaFile, depth: int) -> Any:
        """Return the described type; None if the schema says nothing about types."""
        if not isinstance(schema, Mapping):
            return None
        self._parts += 1
        if self._parts > _MAX_PARTS:
            message = f"the references expand to more than {_MAX_PARTS:,} parts"
            raise _unreadable(message, "leave out files that no rule needs")
        if depth > _MAX_DEPTH:
            return "any"
        types = []
        reference = schema.get("$ref")
        if isinstance(reference, str):
            types.append(self._referenced(reference, home, depth))
        parts = schema.get("allOf")
        types += [self._read(part, home, depth + 1) for part in (parts if isinstance(parts, list) else ())]
        types.append(self._own_type(schema, home, depth))
        described = [described for described in types if described is not None]
        return reduce(_merge, described) if described else None

    def _referenced(self, reference: str, home: SchemaFile, depth: int) -> Any:
        target = self._references.target(reference, home)
        if target is None:
            self.unresolved[reference] = None
            return "any"
        schema, file = target
        if id(schema) in self._active:  # a schema that contains itself
            return "any"
        self._active.add(id(schema))
        try:
            return self._read(schema, file, depth + 1)
        finally:
            self._active.discard(id(schema))

    def _own_type(self, schema: Mapping[str, Any], home: SchemaFile, depth: int) -> Any:
        kind = _kind(schema)
        if kind == "string":
            return _text(schema)
        if kind in _SCALARS:
            return _SCALARS[kind]
        if kind == "array":
            item = self._read(schema.get("items"), home, depth + 1)
            return ["any" if item is None else item]
        fields: dict[str, Any] = {}
        properties = schema.get("properties")
        if isinstance(properties, Mapping):
            for name, inner in properties.items():
                described = self._read(inner, home, depth + 1)
                fields[str(name).removeprefix("xdm:")] = "any" if described is None else described
        values = schema.get("additionalProperties")
        if isinstance(values, Mapping):
            described = self._read(values, home, depth + 1)
            fields["*"] = "any" if described is None else described
        elif any(_declares_more(schema.get(name)) for name in ("anyOf", "oneOf", "if", "patternProperties")):
            fields["*"] = "any"
        return fields or None


def _declares_more(alternatives: Any) -> bool:
    """Return whether alternatives may declare fields, rather than only require some."""
    parts = alternatives if isinstance(alternatives, list) else [alternatives]
    return any(isinstance(part, Mapping) and part.keys() - {"required", "not"} for part in parts)


def _merge(first: Any, second: Any) -> Any:
    """Return the type of values that fit both types; where they contradict, the second."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return {
            **first,
            **{
                name: _merge(first[name], described) if name in first else described
                for name, described in second.items()
            },
        }
    if "any" in (first, second):
        other = second if first == "any" else first
        return {**_OPEN, **other} if isinstance(other, Mapping) else other
    if isinstance(first, list) and isinstance(second, list) and first and second:
        return [_merge(first[0], second[0])]
    return second


def _kind(schema: Mapping[str, Any]) -> str | None:
    kind = schema.get("type")
    if isinstance(kind, Sequence) and not isinstance(kind, str):  # ["string", "null"]
        kinds = [type_name for type_name in kind if type_name != "null"]
        kind = kinds[0] if len(kinds) == 1 else None
    return kind if isinstance(kind, str) else None


def _text(schema: Mapping[str, Any]) -> str:
    declared = schema.get("format")
    if isinstance(declared, str) and declared in _FORMATS:
        return _FORMATS[declared]
    values = schema.get("enum") or schema.get("meta:enum")
    is_plain = isinstance(values, list | Mapping) and all(
        isinstance(value, str) and not set(value) & set("|:") for value in values
    )
    if values and is_plain:
        return "text: " + "|".join(values)
    return "text"


def _unreadable(message: str, remedy: str) -> Invalid:
    return Invalid.of([Violation(code="schema-file", message=message, path="$", help=remedy)])
