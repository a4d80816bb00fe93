"""OpenTelemetry: a span per request, if the extra is installed and traces are enabled.

The variables that OpenTelemetry defines, such as OTEL_EXPORTER_OTLP_ENDPOINT, say where spans are sent.
"""

import os
from importlib.metadata import version
from typing import Any

from starlette.types import Scope

from proffer.errors import Unavailable


class RequestTraces:
    """Creates spans. A request that names a parent in `traceparent` gets a child of that span."""

    def __init__(self, provider: Any, context: Any, propagate: Any, trace: Any) -> None:
        self._provider = provider
        self._context = context
        self._extract = propagate.extract
        self._trace = trace
        self._tracer = provider.get_tracer("proffer", version("proffer-server"))

    def begin(self, scope: Scope, name: str) -> Any:
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        span = self._tracer.start_span(
            name,
            context=self._extract(headers),
            kind=self._trace.SpanKind.SERVER,
            attributes={
                "http.request.method": scope["method"],
                "url.path": scope["path"],
                "url.scheme": scope["scheme"],
                "http.route": name.partition(" ")[2],
            },
        )
        return span, self._context.attach(self._trace.set_span_in_context(span))

    def end(self, span_context: Any, status: int, request_id: str) -> None:
        span, token = span_context
        self._context.detach(token)
        span.set_attribute("http.response.status_code", status)
        span.set_attribute("proffer.request_id", request_id)
        if status >= 500:
            span.set_status(self._trace.StatusCode.ERROR)
        span.end()

    def close(self) -> None:
        """Send the spans that are still buffered."""
        self._provider.shutdown()


def request_traces() -> RequestTraces:
    """Return traces that are exported by OTLP over HTTP. Raises `Unavailable` without the extra."""
    try:
        from opentelemetry import context, propagate, trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise Unavailable(
            "traces need OpenTelemetry: `pip install 'proffer-server[otel]'`", code="extra-missing"
        ) from None
    os.environ.setdefault("OTEL_SERVICE_NAME", "proffer")
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return RequestTraces(provider, context, propagate, trace)
