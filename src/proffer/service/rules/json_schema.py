"""Conversion of a JSON Schema to fields with types.

Schema registries export such schemas. Supports `properties`, `items`, `additionalProperties`, `allOf`, local
`$ref`s, `type`, `format`, `enum` and `meta:enum`. Everything else has the type `any`, which is never refused.
`xdm:` prefixes are removed: both spellings name one field (PQL D-XDM).
"""

from collections.abc import Mapping, Sequence
from typing import Any

_MAX_DEPTH = 30
_SCALARS = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}
_FORMATS = {"date": "date", "date-time": "date-time"}


def looks_like_json_schema(document: Any) -> bool:
    """Return whether a document has `properties` or `allOf` rather than plain fields."""
    return isinstance(document, Mapping) and any(
        isinstance(document.get(name), kind) for name, kind in (("properties", Mapping), ("allOf", list))
    )


def fields_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a JSON Schema with their types."""
    return _SchemaReader(document).fields(document, 0)


class _SchemaReader:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def fields(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        schema = self._resolve(schema)
        declared: dict[str, Any] = {}
        for part in schema.get("allOf") or ():
            if isinstance(part, Mapping) and depth < _MAX_DEPTH:
                declared.update(self.fields(part, depth + 1))
        properties = schema.get("properties")
        if isinstance(properties, Mapping):
            for name, inner in properties.items():
                declared[str(name).removeprefix("xdm:")] = self._type(inner, depth + 1)
        return declared

    def _type(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
            return "any"
        schema = self._resolve(schema)
        kind = _kind(schema)
        if kind == "string":
            return _text(schema)
        if kind in _SCALARS:
            return _SCALARS[kind]
        if kind == "array":
            return [self._type(schema.get("items"), depth + 1)]
        fields = self.fields(schema, depth)
        if fields:
            return fields
        values = schema.get("additionalProperties")
        if isinstance(values, Mapping):
            return {"*": self._type(values, depth + 1)}
        return "any"

    def _resolve(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the schema, or the target of its local `$ref`."""
        for _ in range(_MAX_DEPTH):
            reference = schema.get("$ref")
            if not isinstance(reference, str) or not reference.startswith("#/"):
                return schema
            target: Any = self._root
            for escaped in reference[2:].split("/"):
                step = escaped.replace("~1", "/").replace("~0", "~")
                target = target.get(step) if isinstance(target, Mapping) else None
            if not isinstance(target, Mapping):
                return {}
            schema = target
        return {}


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
    if values and all(isinstance(value, str) and not set(value) & set("|:") for value in values):
        return "text: " + "|".join(values)
    return "text"
