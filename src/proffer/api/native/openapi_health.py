"""OpenAPI description of health, readiness and metrics."""

from typing import Any

from proffer.api.kit.openapi import error_texts, json_answer
from proffer.wire.openapi import MediaTypeContent, Operation, OperationResponse

GROUP = "server"
ABOUT = "Health, metrics and documentation of the server."


def _status_schema(*words: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "status": {"enum": list(words)},
            "reasons": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["status"],
    }


OPERATIONS = [
    Operation(
        method="GET",
        path="/healthz",
        name="getHealth",
        group=GROUP,
        summary="Check that the server is alive",
        about="For supervisors: restart the server if it does not respond. Needs no token and reads no data. "
        "`degraded` means that some functions are not available; `reasons` says which and why.",
        responses={
            200: json_answer("The server is alive.", _status_schema("ok", "degraded"), {"status": "ok"}),
        },
        public=True,
    ),
    Operation(
        method="GET",
        path="/readyz",
        name="getReadiness",
        group=GROUP,
        summary="Check that the server is ready",
        about="For load balancers. Needs no token. The server is not ready while it loads its libraries and after "
        "SIGTERM. With 200, `reasons` says what is degraded, as `/healthz` does.",
        responses={
            200: json_answer("The server accepts requests.", _status_schema("ready"), {"status": "ready"}),
        },
        errors={503: "The server does not accept requests now; `reasons` says why."},
        public=True,
    ),
    Operation(
        method="GET",
        path="/metrics",
        name="getMetrics",
        group=GROUP,
        summary="Get metrics",
        about="In the Prometheus text format, for all workers together, if the server was started with `--metrics`. "
        "If a metrics token is configured, it is required as bearer token; otherwise only callers on the same "
        "machine are allowed. API tokens are not accepted, because the metrics cover all organisations.",
        responses={
            200: OperationResponse(
                about="The metrics.",
                content={"text/plain": MediaTypeContent(schema={"type": "string"})},
            )
        },
        errors=error_texts(
            _401="A metrics token is configured, and the request does not have it.",
            _403="No metrics token is configured, and the caller is on another machine.",
            _404="Metrics are off.",
        ),
        public=True,
    ),
]
