"""Liveness, readiness and metrics, for operators."""

from collections.abc import Callable, Mapping
from secrets import compare_digest

from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall, Surface
from proffer.api.kit.json_body import json_response
from proffer.api.kit.permissions import OperationRoutes
from proffer.api.native.openapi_health import OPERATIONS
from proffer.config import LOOPBACK
from proffer.errors import Forbidden, NotFound, Unauthenticated, Unavailable
from proffer.metrics import MetricsSnapshot
from proffer.service.runtime.health import Health

_NO_STORE = {"Cache-Control": "no-store"}


class OperationsRoutes:
    """Routes and handlers. `reading` returns all metrics; None if metrics are off."""

    def __init__(self, health: Health, reading: Callable[[], MetricsSnapshot] | None, token: str = "") -> None:
        self._health = health
        self._reading = reading
        self._token = token

    def surface(self) -> Surface:
        table = [
            ("getHealth", self.healthz),
            ("getReadiness", self.readyz),
            ("getMetrics", self.metrics),
        ]
        return Surface(
            name="own",
            prefix="",
            endpoints=[OperationRoutes(OPERATIONS).endpoint(name, handler) for name, handler in table],
        )

    async def healthz(self, _: ApiCall) -> Response:
        """GET /healthz: `ok`, or `degraded` with reasons."""
        degraded = self._health.degraded_reasons()
        return _state_document("degraded" if degraded else "ok", degraded)

    async def readyz(self, _: ApiCall) -> Response:
        """GET /readyz: 200 if ready for requests, with the reasons for a degraded state, else 503 with reasons."""
        unready = self._health.unready_reasons()
        if unready:
            detail = "; ".join(unready.values())
            raise Unavailable(detail, code="not-ready", extra={"reasons": unready})
        return _state_document("ready", self._health.degraded_reasons())

    async def metrics(self, call: ApiCall) -> Response:
        """GET /metrics: requires the metrics token, or without one a caller on loopback."""
        if self._reading is None:
            raise NotFound("metrics are off: start the server with `--metrics`", code="metrics")
        if self._token:
            scheme, _, text = (call.header(b"authorization") or "").partition(" ")
            if scheme.lower() != "bearer" or not compare_digest(text.strip().encode(), self._token.encode()):
                raise Unauthenticated("the metrics token is required", code="metrics")
        elif call.request.client is None or call.request.client.host not in LOOPBACK:
            raise Forbidden(
                "metrics are only for callers on this machine; configure a metrics token",
                code="metrics",
            )
        from proffer.api.native.prometheus import (  # imported late: it loads slowly
            MEDIA_TYPE,
            exposition,
        )

        return Response(exposition(self._reading()), media_type=MEDIA_TYPE, headers=_NO_STORE)


def _state_document(status: str, reasons: Mapping[str, str]) -> Response:
    document = {"status": status, "reasons": reasons} if reasons else {"status": status}
    return json_response(document, headers=_NO_STORE)
