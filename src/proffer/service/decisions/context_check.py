"""Validation of context data against its loaded schema (`xdm:validateContextData`).

The schema of a context type is loaded under the root `@<type>`, such as
`@_xdm.context.additionalParameters;version=1`. Data of a type without a schema passes, because
clients written for free-form data set the switch too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from proffer.errors import Violation
from proffer.model.field_types import FieldTypes
from proffer.validation import MAX_VIOLATIONS


def check_context(
    types: Mapping[str, FieldTypes], context: Sequence[tuple[str, Mapping[str, Any]]], path: str
) -> tuple[list[Violation], list[Violation]]:
    """Return violations in these (type, data) entries, and warnings about types without a schema.

    At most `MAX_VIOLATIONS` of each. `types`: the field types of the context types with a schema; `path`: the path
    of the list.
    """
    violations: list[Violation] = []
    warnings: list[Violation] = []
    for index, (declared, data) in enumerate(context):
        field_types = types.get(declared)
        if field_types is not None:
            root = f"{path}[{index}].xdm:data"
            violations += [
                replace(violation, path=root + (violation.path or "$")[1:])
                for violation in field_types.violations(data)
            ]
        else:
            warnings.append(_missing_schema_warning(declared[:100], f"{path}[{index}]"))
    return violations[:MAX_VIOLATIONS], warnings[:MAX_VIOLATIONS]


def _missing_schema_warning(declared: str, path: str) -> Violation:
    return Violation(
        code="no-context-schema",
        message=f"data of the type `{declared}` is not validated: no schema is loaded for it",
        path=path,
        help=f"load its schema with `proffer schema load FILE --root '@{declared}'`",
    )
