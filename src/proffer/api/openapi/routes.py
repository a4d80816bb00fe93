"""The OpenAPI document and its HTML page, public."""

from functools import cached_property

from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall, Surface
from proffer.api.kit.permissions import OperationRoutes
from proffer.api.kit.request import FastRequest
from proffer.api.kit.security import client_id
from proffer.api.openapi.document import OPENAPI_OPERATIONS, description
from proffer.api.openapi.html import render_page
from proffer.auth.principal import Principal
from proffer.wire.codec import encode

_JSON = "application/json"
_CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


class AnonymousAuthenticator:
    """Accept every request, as a caller without permissions."""

    async def authenticate(self, request: FastRequest) -> Principal:
        return Principal(
            organisation="",
            sandbox=None,
            permissions=frozenset(),
            user="anybody",
            client=client_id(request),
        )


class OpenApiRoutes:
    """Routes and handlers, for `AnonymousAuthenticator`: no response depends on the caller."""

    def surface(self) -> Surface:
        table = [
            ("getDescription", self.describe),
            ("getDocs", self.docs),
        ]
        return Surface(
            name="own",
            prefix="",
            endpoints=[OperationRoutes(OPENAPI_OPERATIONS).endpoint(name, handler) for name, handler in table],
        )

    async def describe(self, _: ApiCall) -> Response:
        """GET /openapi.json."""
        return Response(self._description, media_type=_JSON)

    async def docs(self, _: ApiCall) -> Response:
        """GET /docs."""
        headers = {"Content-Security-Policy": _CONTENT_SECURITY_POLICY}
        return Response(self._page, headers=headers, media_type="text/html")

    @cached_property
    def _description(self) -> bytes:
        return encode(description())

    @cached_property
    def _page(self) -> str:
        return render_page(description())
