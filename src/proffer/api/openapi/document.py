"""The OpenAPI document of all interfaces."""

from importlib.metadata import metadata
from typing import Any

from proffer.api.dps import openapi as offer_library
from proffer.api.edge import openapi as edge
from proffer.api.ingest import openapi as ingestion
from proffer.api.kit.openapi import PROBLEM, json_answer
from proffer.api.native import openapi_changes, openapi_datastreams, openapi_feedback, openapi_health, openapi_rules
from proffer.api.ode import openapi as decisioning
from proffer.api.ups import openapi_audiences, openapi_profiles
from proffer.api.xcore import openapi as repository
from proffer.wire.openapi import MediaTypeContent, Operation, OperationResponse, openapi_document

OPENAPI_OPERATIONS = [
    Operation(
        method="GET",
        path="/openapi.json",
        name="getDescription",
        group=openapi_health.GROUP,
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
        group=openapi_health.GROUP,
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
    *openapi_datastreams.OPERATIONS,
    *openapi_feedback.OPERATIONS,
    *ingestion.OPERATIONS,
    *openapi_profiles.OPERATIONS,
    *openapi_audiences.OPERATIONS,
    *openapi_rules.OPERATIONS,
    *openapi_changes.OPERATIONS,
    *openapi_health.OPERATIONS,
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
            openapi_datastreams.GROUP: openapi_datastreams.ABOUT,
            openapi_feedback.GROUP: openapi_feedback.ABOUT,
            ingestion.GROUP: ingestion.ABOUT,
            **openapi_profiles.GROUPS,
            **openapi_audiences.GROUPS,
            openapi_rules.GROUP: openapi_rules.ABOUT,
            openapi_changes.GROUP: openapi_changes.ABOUT,
            openapi_health.GROUP: openapi_health.ABOUT,
        },
        operations=OPERATIONS,
        schemas={
            "Problem": PROBLEM,
            **offer_library.SCHEMAS,
            **repository.SCHEMAS,
            **decisioning.SCHEMAS,
            **edge.SCHEMAS,
            **openapi_datastreams.SCHEMAS,
            **openapi_feedback.SCHEMAS,
            **ingestion.SCHEMAS,
            **openapi_profiles.SCHEMAS,
            **openapi_audiences.SCHEMAS,
            **openapi_rules.SCHEMAS,
            **openapi_changes.SCHEMAS,
        },
    )
