"""OpenAPI description of `/api/rules`."""

from proffer.api.kit.openapi import error_texts, json_answer, json_content
from proffer.wire.openapi import JsonSchema, Operation, ref

GROUP = "rules"
ABOUT = "Diagnostics of rules and formulas, for editors. A Proffer extension."

SCHEMAS: dict[str, JsonSchema] = {
    "RuleCheck": {
        "type": "object",
        "description": "The text to check.",
        "properties": {
            "value": {"type": ["string", "object"], "description": "PQL text or syntax tree."},
            "kind": {
                "enum": ["rule", "formula"],
                "description": "Kind of the text; default: rule.",
            },
            "container": {
                "type": "string",
                "description": "Container whose schemas apply; default: the caller's first.",
            },
            "definedOn": {"type": "object", "description": "Additional roots, by name."},
            "customers": {
                "type": "boolean",
                "description": "Count stored customers for whom a comparison cannot be made; needs `profiles:read`.",
            },
        },
        "required": ["value"],
    },
    "RuleFindings": {
        "type": "object",
        "description": "At most 100 diagnostics; of a valid text also its type, its fields and its canonical form.",
        "properties": {
            "valid": {"type": "boolean"},
            "diagnostics": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "code": {"type": "string"},
                        "severity": {"enum": ["error", "warning"]},
                        "message": {"type": "string"},
                        "help": {"type": ["string", "null"]},
                        "start": {
                            "type": "integer",
                            "description": "Offset in characters, from 0.",
                        },
                        "end": {"type": "integer"},
                        "line": {"type": ["integer", "null"], "description": "From 1."},
                        "column": {"type": ["integer", "null"], "description": "From 1."},
                        "shown": {
                            "type": "string",
                            "description": "With the source line and carets.",
                        },
                        "fix": {
                            "type": ["object", "null"],
                            "description": "A change that an editor can make: replace the characters from `start` "
                            "to `end`.",
                            "properties": {
                                "start": {"type": "integer"},
                                "end": {"type": "integer"},
                                "replacement": {"type": "string"},
                            },
                            "required": ["start", "end", "replacement"],
                        },
                    },
                    "required": ["code", "severity", "message", "shown"],
                },
            },
            "type": {"type": ["string", "null"]},
            "reads": {"type": "array", "items": {"type": "string"}},
            "canonical": {"type": ["string", "null"]},
            "customers": {
                "type": "object",
                "description": "With `customers`: the comparisons that cannot be made, of the customers who were "
                "`evaluated` within a second: up to 2,000, of more a sample.",
                "properties": {
                    "total": {"type": "integer", "description": "Number of stored customers."},
                    "evaluated": {"type": "integer"},
                    "incomparable": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "source": {"type": "string", "description": "The part of the text."},
                                "customers": {"type": "integer"},
                                "holds": {"type": "boolean", "description": "The result for them."},
                                "values": {
                                    "type": "array",
                                    "description": "The most frequent values, as JSON.",
                                    "items": {
                                        "type": "object",
                                        "properties": {
                                            "value": {"type": "string"},
                                            "customers": {"type": "integer"},
                                        },
                                        "required": ["value", "customers"],
                                    },
                                },
                                "message": {"type": "string"},
                            },
                            "required": ["source", "customers", "holds", "values", "message"],
                        },
                    },
                },
                "required": ["total", "evaluated", "incomparable"],
            },
        },
        "required": ["valid", "diagnostics", "reads"],
    },
}

OPERATIONS = [
    Operation(
        method="POST",
        path="/api/rules/check",
        name="checkRule",
        group=GROUP,
        summary="Check a rule or formula",
        about="Checks a text in one pass, as if it were saved to the caller's library. Reports errors, and warnings "
        "about text that is valid but probably wrong; with `customers`, also for how many stored customers a "
        "comparison cannot be made. Needs `library:read`.",
        body=json_content(ref("RuleCheck"), {"value": "person.age >= 18", "kind": "rule"}),
        responses={
            200: json_answer(
                "The findings.",
                ref("RuleFindings"),
                {
                    "valid": True,
                    "diagnostics": [],
                    "type": "Boolean",
                    "reads": ["profile.person.age"],
                    "canonical": "person.age >= 18",
                },
            )
        },
        errors=error_texts(
            400,
            401,
            403,
            413,
            422,
            _404="The container does not exist, or is not accessible to the caller.",
        ),
    )
]
