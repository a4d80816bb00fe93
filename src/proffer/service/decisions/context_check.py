"""Validation of context data against its loaded schema (`xdm:validateContextData`).

The schema of a context type is loaded under the root `@<type>`, such as
`@_xdm.context.additionalParameters;version=1`. Data of a type without a schema passes, because
clients written for free-form data set the switch too.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from proffer.errors import Violation
from proffer.model.catalog import Catalog
from proffer.service.rules.check import field_schemas
from proffer.validation import parse_timestamp_us

_MAX_VIOLATIONS = 100
_PYTHON_TYPES: Mapping[str, tuple[type, ...]] = {
    "text": (str,),
    "date": (str,),
    "date-time": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def check_context(
    catalog: Catalog, context: Sequence[tuple[str, Mapping[str, Any]]], path: str
) -> tuple[list[Violation], list[Violation]]:
    """Return violations in these (type, data) entries, and warnings about types without a schema.

    At most 100 of each. `path` is the path of the list.
    """
    schemas = {schema.name: schema.fields for schema in field_schemas(catalog)}
    violations: list[Violation] = []
    warnings: list[Violation] = []
    for index, (declared, data) in enumerate(context):
        fields = schemas.get(f"@{declared}")
        if fields is not None:
            violations += _check_object(fields, data, f"{path}[{index}].xdm:data")
        else:
            warnings.append(_missing_schema_warning(declared[:100], f"{path}[{index}]"))
    return violations[:_MAX_VIOLATIONS], warnings[:_MAX_VIOLATIONS]


def _check_object(fields: Mapping[str, Any], data: Mapping[str, Any], path: str) -> Iterator[Violation]:
    for name, value in data.items():
        declared = fields.get(name.removeprefix("xdm:"), fields.get(name, fields.get("*")))
        if declared is None:
            yield _violation("unknown-field", f"the schema has no field `{name[:100]}`", f"{path}.{name[:100]}")
        else:
            yield from _check_value(declared, value, f"{path}.{name}")


def _check_value(declared: Any, value: Any, path: str) -> Iterator[Violation]:
    if value is None or declared == "any":
        return
    if isinstance(declared, Mapping):
        if not isinstance(value, Mapping):
            yield _violation("type", "this is not an object", path)
        elif set(declared) == {"*"}:
            for name, member in value.items():
                yield from _check_value(declared["*"], member, f"{path}.{name[:100]}")
        else:
            yield from _check_object(declared, value, path)
    elif isinstance(declared, Sequence) and not isinstance(declared, str):
        if not isinstance(value, list):
            yield _violation("type", "this is not a list", path)
            return
        for index, item in enumerate(value):
            yield from _check_value(declared[0], item, f"{path}[{index}]")
    else:
        yield from _check_scalar(str(declared), value, path)


def _check_scalar(declared: str, value: Any, path: str) -> Iterator[Violation]:
    kind, _, choices_text = declared.partition(":")
    types = _PYTHON_TYPES.get(kind, (object,))
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "boolean"):
        yield _violation("type", f"this is not {'an' if kind[0] in 'aeiou' else 'a'} {kind}", path)
        return
    choices = [choice.strip() for choice in choices_text.split("|")] if choices_text else []
    if choices and value not in choices:
        yield _violation("enum", f"this is not one of {', '.join(choices)}", path)
    if not isinstance(value, str):
        return
    try:
        if kind == "date":
            date.fromisoformat(value)
        elif kind == "date-time":
            parse_timestamp_us(value)
    except ValueError as error:
        yield _violation("format", f"this is not a {kind}: {error}", path)


def _missing_schema_warning(declared: str, path: str) -> Violation:
    return Violation(
        code="no-context-schema",
        message=f"data of the type `{declared}` is not validated: no schema is loaded for it",
        path=path,
        help=f"load its schema with `proffer schema load FILE --root '@{declared}'`",
    )


def _violation(code: str, message: str, path: str) -> Violation:
    return Violation(code=code, message=message, path=path, help="send data that matches the loaded schema")
