"""The OpenAPI document of all interfaces."""

from importlib.metadata import metadata
from typing import Any

from proffer.api.dps import openapi as offer_library
from proffer.api.edge import openapi as edge
from proffer.api.kit.openapi import PROBLEM, errors, just_json
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
from proffer.wire.openapi import Answer, Content, Operation, document

_OWN = "server"


def _words(*words: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "status": {"enum": list(words)},
            "reasons": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["status"],
    }


_OWN_OPERATIONS = [
    Operation(
        method="GET",
        path="/healthz",
        name="getHealth",
        group=_OWN,
        summary="Whether the server is alive",
        about="For supervisors: who gets no answer should restart it. Needs no token and touches nothing. "
        "`degraded` means that it serves, but not everything; `reasons` says what and why.",
        answers={
            200: just_json("It is alive.", _words("ok", "degraded"), {"status": "ok"}),
        },
        public=True,
    ),
    Operation(
        method="GET",
        path="/readyz",
        name="getReadiness",
        group=_OWN,
        summary="Whether the server may be sent requests",
        about="For load balancers. Needs no token. While it reads its libraries, and from SIGTERM on, it is not ready.",
        answers={
            200: just_json("It may be sent requests.", _words("ready"), {"status": "ready"}),
        },
        errors={503: "It should not be sent requests now; `reasons` says why."},
        public=True,
    ),
    Operation(
        method="GET",
        path="/metrics",
        name="getMetrics",
        group=_OWN,
        summary="The numbers of the server",
        about="For Prometheus, in its text format, of all workers together, where the server was started with "
        "`--metrics`. Where there is a metrics token, whoever presents it as bearer token may read them; where there "
        "is none, callers on the same machine. Tokens of the APIs do not open it: the numbers are those of all "
        "organisations.",
        answers={
            200: Answer(
                about="The numbers.", content={"text/plain": Content(schema={"type": "string"})}
            )
        },
        errors=errors(
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
    """Build the OpenAPI document; its version is that of the distribution."""
    package = metadata("proffer-server")
    return document(
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
