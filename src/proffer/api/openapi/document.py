"""The OpenAPI document of all interfaces."""

from importlib.metadata import metadata
from typing import Any

from proffer.api.dps import openapi as offer_library
from proffer.api.edge import openapi as edge
from proffer.api.kit.openapi import PROBLEM, error_texts, json_answer
from proffer.api.native import (
    openapi_changes as history,
)
from proffer.api.native import (
    openapi_feedback as reporting,
)
from proffer.api.native import (
    openapi_rules as language,
)
from proffer.api.ode import openapi as decisioning
from proffer.api.ups import openapi_audiences as audiences
from proffer.api.ups import openapi_profiles as customers
from proffer.api.xcore import openapi as repository
from proffer.wire.openapi import MediaTypeContent, Operation, OperationResponse, openapi_document

_SERVER_GROUP = "server"


def _status_schema(*words: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "status": {"enum": list(words)},
            "reasons": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["status"],
    }


_SERVER_OPERATIONS = [
    Operation(
        method="GET",
        path="/healthz",
        name="getHealth",
        group=_SERVER_GROUP,
        summary="Whether the server is alive",
        about="For supervisors: who gets no answer should restart it. Needs no token and touches nothing. "
        "`degraded` means that it serves, but not everything; `reasons` says what and why.",
        responses={
            200: json_answer("It is alive.", _status_schema("ok", "degraded"), {"status": "ok"}),
        },
        public=True,
    ),
    Operation(
        method="GET",
        path="/readyz",
        name="getReadiness",
        group=_SERVER_GROUP,
        summary="Whether the server may be sent requests",
        about="For load balancers. Needs no token. While it reads its libraries, and from SIGTERM on, it is not ready.",
        responses={
            200: json_answer(
                "It may be sent requests.", _status_schema("ready"), {"status": "ready"}
            ),
        },
        errors={503: "It should not be sent requests now; `reasons` says why."},
        public=True,
    ),
    Operation(
        method="GET",
        path="/metrics",
        name="getMetrics",
        group=_SERVER_GROUP,
        summary="The numbers of the server",
        about="For Prometheus, in its text format, of all workers together, where the server was started with "
        "`--metrics`. Where there is a metrics token, whoever presents it as bearer token may read them; where there "
        "is none, callers on the same machine. Tokens of the APIs do not open it: the numbers are those of all "
        "organisations.",
        responses={
            200: OperationResponse(
                about="The numbers.",
                content={"text/plain": MediaTypeContent(schema={"type": "string"})},
            )
        },
        errors=error_texts(
            _401="There is a metrics token, and this is not it.",
            _403="There is no metrics token, and the caller is on another machine.",
            _404="The server counts nothing.",
        ),
        public=True,
    ),
    Operation(
        method="GET",
        path="/openapi.json",
        name="getDescription",
        group=_SERVER_GROUP,
        summary="This description",
        about="Every path of the server as an OpenAPI 3.1 document. Needs no token.",
        responses={200: json_answer("An OpenAPI document.", {"type": "object"})},
        errors={},
        public=True,
    ),
    Operation(
        method="GET",
        path="/docs",
        name="getDocs",
        group=_SERVER_GROUP,
        summary="This description, to read",
        about="A page made of the description, with an example of every body and answer. Needs no token, no "
        "script, and nothing from elsewhere.",
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
    *reporting.OPERATIONS,
    *customers.OPERATIONS,
    *audiences.OPERATIONS,
    *language.OPERATIONS,
    *history.OPERATIONS,
    *_SERVER_OPERATIONS,
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
            **edge.GROUPS,
            reporting.GROUP: reporting.ABOUT,
            **customers.GROUPS,
            **audiences.GROUPS,
            language.GROUP: language.ABOUT,
            history.GROUP: history.ABOUT,
            _SERVER_GROUP: "The server itself.",
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
