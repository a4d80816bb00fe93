"""The OpenAPI document of all interfaces."""

from importlib.metadata import metadata
from typing import Any

from proffer.api.dps import openapi as offer_library
from proffer.api.edge import openapi as edge
from proffer.api.ingest import openapi as ingestion
from proffer.api.kit.openapi import PROBLEM, json_answer
from proffer.api.native import openapi_changes as history
from proffer.api.native import openapi_datastreams as datastreams
from proffer.api.native import openapi_feedback as reporting
from proffer.api.native import openapi_health as operations
from proffer.api.native import openapi_rules as language
from proffer.api.ode import openapi as decisioning
from proffer.api.ups import openapi_audiences as audiences
from proffer.api.ups import openapi_profiles as customers
from proffer.api.xcore import openapi as repository
from proffer.wire.openapi import MediaTypeContent, Operation, OperationResponse, openapi_document

OPENAPI_OPERATIONS = [
    Operation(
        method="GET",
        path="/openapi.json",
        name="getDescription",
        group=operations.GROUP,
        summary="Get the OpenAPI document",
        about="Every path of the server as an OpenAPI 3.1 document. Needs no token.",
        responses={200: json_answer("An OpenAPI document.", {"type": "object"})},
        errors={},
        public=True,
    ),
    Operation(
        method="GET",
        path="/docs",
        name="getDocs",
        group=operations.GROUP,
        summary="Read the API documentation",
        about="An HTML page of the OpenAPI document, with an example of every body and response. Needs no token, no "
        "script and no external files.",
        responses={
            200: OperationResponse(
                about="The page.",
                content={"text/html": MediaTypeContent(schema={"type": "string"})},
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
    *datastreams.OPERATIONS,
    *reporting.OPERATIONS,
    *ingestion.OPERATIONS,
    *customers.OPERATIONS,
    *audiences.OPERATIONS,
    *language.OPERATIONS,
    *history.OPERATIONS,
    *operations.OPERATIONS,
    *OPENAPI_OPERATIONS,
]


def description() -> dict[str, Any]:
    """Build the OpenAPI document; its version is that of the distribution."""
    package = metadata("proffer-server")
    return openapi_document(
        title="Proffer",
        version=package["Version"],
        about=package["Summary"],
        groups={
            offer_library.GROUP: offer_library.ABOUT,
            repository.GROUP: repository.ABOUT,
            decisioning.GROUP: decisioning.ABOUT,
            edge.GROUP: edge.ABOUT,
            datastreams.GROUP: datastreams.ABOUT,
            reporting.GROUP: reporting.ABOUT,
            ingestion.GROUP: ingestion.ABOUT,
            **customers.GROUPS,
            **audiences.GROUPS,
            language.GROUP: language.ABOUT,
            history.GROUP: history.ABOUT,
            operations.GROUP: operations.ABOUT,
        },
        operations=OPERATIONS,
        schemas={
            "Problem": PROBLEM,
            **offer_library.SCHEMAS,
            **repository.SCHEMAS,
            **decisioning.SCHEMAS,
            **edge.SCHEMAS,
            **datastreams.SCHEMAS,
            **reporting.SCHEMAS,
            **ingestion.SCHEMAS,
            **customers.SCHEMAS,
            **audiences.SCHEMAS,
            **language.SCHEMAS,
            **history.SCHEMAS,
        },
    )
