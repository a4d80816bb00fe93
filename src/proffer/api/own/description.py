"""The published description of every surface: one declaration, from which the document and the pages are made."""

from importlib.metadata import metadata
from typing import Any

from proffer.api.own import (
    audiences,
    customers,
    decisioning,
    edge,
    history,
    language,
    offer_library,
    reporting,
    repository,
)
from proffer.api.own.common import PROBLEM, just_json
from proffer.wire.openapi import Answer, Content, Operation, document

_OWN = "server"
_OWN_OPERATIONS = [
    Operation(
        method="GET",
        path="/healthz",
        name="getHealth",
        group=_OWN,
        summary="Whether the server answers",
        about="For load balancers and supervisors. Needs no token and touches nothing.",
        answers={
            200: just_json(
                "The server answers.",
                {
                    "type": "object",
                    "properties": {"status": {"const": "ok"}},
                    "required": ["status"],
                },
                {"status": "ok"},
            )
        },
        public=True,
    ),
    Operation(
        method="GET",
        path="/openapi.json",
        name="getDescription",
        group=_OWN,
        summary="This description",
        about="Every path of the server as an OpenAPI 3.1 document. Needs no token.",
        answers={200: just_json("An OpenAPI document.", {"type": "object"})},
        errors={},
        public=True,
    ),
    Operation(
        method="GET",
        path="/docs",
        name="getDocs",
        group=_OWN,
        summary="This description, to read",
        about="A page made of the description, with an example of every body and answer. Needs no token, no "
        "script, and nothing from elsewhere.",
        answers={
            200: Answer(
                about="The page.", content={"text/html": Content(schema={"type": "string"})}
            )
        },
        errors={},
        public=True,
    ),
]

OPERATIONS = [
    *offer_library.OPERATIONS,
    *repository.OPERATIONS,
    *decisioning.OPERATIONS,
    *edge.OPERATIONS,
    *reporting.OPERATIONS,
    *customers.OPERATIONS,
    *audiences.OPERATIONS,
    *language.OPERATIONS,
    *history.OPERATIONS,
    *_OWN_OPERATIONS,
]


def description() -> dict[str, Any]:
    """The OpenAPI document of this server; title and version are those of the package."""
    package = metadata("proffer")
    return document(
        title=package["Name"].capitalize(),
        version=package["Version"],
        about=package["Summary"],
        groups={
            offer_library.GROUP: offer_library.ABOUT,
            repository.GROUP: repository.ABOUT,
            decisioning.GROUP: decisioning.ABOUT,
            **edge.GROUPS,
            reporting.GROUP: reporting.ABOUT,
            **customers.GROUPS,
            **audiences.GROUPS,
            language.GROUP: language.ABOUT,
            history.GROUP: history.ABOUT,
            _OWN: "The server itself.",
        },
        operations=OPERATIONS,
        schemas={
            "Problem": PROBLEM,
            **offer_library.SCHEMAS,
            **repository.SCHEMAS,
            **decisioning.SCHEMAS,
            **edge.SCHEMAS,
            **reporting.SCHEMAS,
            **customers.SCHEMAS,
            **audiences.SCHEMAS,
            **language.SCHEMAS,
            **history.SCHEMAS,
        },
    )
