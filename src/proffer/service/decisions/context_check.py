"""Validation of context data against its loaded schema (`xdm:validateContextData`).

The schema of a context type is loaded under the root `@<type>`, such as
`@_xdm.context.additionalParameters;version=1`. Data of a type without a schema passes, because
clients written for free-form data set the switch too.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from proffer.errors import Finding
from proffer.model.catalog import Catalog
from proffer.service.rules.check import field_schemas
from proffer.validation import parse_moment

_MOST = 100
_KINDS: Mapping[str, tuple[type, ...]] = {
    "text": (str,),
    "date": (str,),
    "date-time": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def mistakes(
    catalog: Catalog, context: Sequence[tuple[str, Mapping[str, Any]]], path: str
) -> list[Finding]:
    """Return the violations in these (type, data) entries of the list at `path`, at most 100."""
    schemas = {schema.name: schema.fields for schema in field_schemas(catalog)}
    found: list[Finding] = []
    for index, (declared, data) in enumerate(context):
        fields = schemas.get(f"@{declared}")
        if fields is not None:
            found += _object(fields, data, f"{path}[{index}].xdm:data")
    return found[:_MOST]


def _object(fields: Mapping[str, Any], data: Mapping[str, Any], path: str) -> Iterator[Finding]:
    for name, value in data.items():
        declared = fields.get(name.removeprefix("xdm:"), fields.get(name))
        if declared is None:
            yield _misfit(
                "unknown-field", f"the schema has no field `{name[:100]}`", f"{path}.{name[:100]}"
            )
        else:
            yield from _value(declared, value, f"{path}.{name}")


def _value(declared: Any, value: Any, path: str) -> Iterator[Finding]:
    if value is None or declared == "any":
        return
    if isinstance(declared, Mapping):
        if not isinstance(value, Mapping):
            yield _misfit("type", "this is not an object", path)
        elif set(declared) == {"*"}:
            for name, member in value.items():
                yield from _value(declared["*"], member, f"{path}.{name[:100]}")
        else:
            yield from _object(declared, value, path)
    elif isinstance(declared, Sequence) and not isinstance(declared, str):
        if not isinstance(value, list):
            yield _misfit("type", "this is not a list", path)
            return
        for index, item in enumerate(value):
            yield from _value(declared[0], item, f"{path}[{index}]")
    else:
        yield from _scalar(str(declared), value, path)


def _scalar(declared: str, value: Any, path: str) -> Iterator[Finding]:
    kind, _, listed = declared.partition(":")
    wanted = _KINDS.get(kind, (object,))
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind != "boolean"):
        yield _misfit("type", f"this is not {'an' if kind[0] in 'aeiou' else 'a'} {kind}", path)
        return
    known = [one.strip() for one in listed.split("|")] if listed else []
    if known and value not in known:
        yield _misfit("enum", f"this is none of {', '.join(known)}", path)
    if not isinstance(value, str):
        return
    try:
        if kind == "date":
            date.fromisoformat(value)
        elif kind == "date-time":
            parse_moment(value)
    except ValueError as error:
        yield _misfit("format", f"this is no {kind}: {error}", path)


def _misfit(code: str, message: str, path: str) -> Finding:
    return Finding(
        code=code, message=message, path=path, help="send what the loaded schema declares"
    )
