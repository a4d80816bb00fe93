"""OpenAPI description of `/api/rules`."""

from proffer.api.kit.openapi import error_texts, json_answer
from proffer.wire.openapi import JsonSchema, MediaTypeContent, Operation, ref

GROUP = "rules"
ABOUT = (
    "What the rule language has to say about a text, for editors. Ours: no other product has it."
)

SCHEMAS: dict[str, JsonSchema] = {
    "RuleCheck": {
        "type": "object",
        "description": "What is to be checked.",
        "properties": {
            "value": {"type": ["string", "object"], "description": "PQL text, or a tree."},
            "kind": {"enum": ["rule", "formula"], "description": "What it is to be; a rule."},
            "container": {
                "type": "string",
                "description": "Against whose schemas; the caller's first container.",
            },
            "definedOn": {"type": "object", "description": "Further roots, by name."},
        },
        "required": ["value"],
    },
    "RuleFindings": {
        "type": "object",
        "description": "Every finding; for a sound text also its type, what it reads and its canonical form.",
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
                        "start": {"type": "integer", "description": "In characters from 0."},
                        "end": {"type": "integer"},
                        "line": {"type": ["integer", "null"], "description": "From 1."},
                        "column": {"type": ["integer", "null"], "description": "From 1."},
                        "shown": {"type": "string", "description": "With the line and carets."},
                    },
                    "required": ["code", "severity", "message", "shown"],
                },
            },
            "type": {"type": ["string", "null"]},
            "reads": {"type": "array", "items": {"type": "string"}},
            "canonical": {"type": ["string", "null"]},
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
        about="Everything there is to say about a text in one pass, as if it were saved into the caller's library: "
        "errors, and doubts about what is legal and surely wrong. Needs `library:read`.",
        body={
            "application/json": MediaTypeContent(
                schema=ref("RuleCheck"), example={"value": "person.age >= 18", "kind": "rule"}
            )
        },
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
            400, 401, 403, 413, 422, _404="The container named is not there, or not the caller's."
        ),
    )
]
