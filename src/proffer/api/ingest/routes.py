"""Streaming ingestion of profile records and experience events, singly or in batches."""

from starlette.responses import Response

from proffer.api.ingest import translate
from proffer.api.ingest.openapi import OPERATIONS
from proffer.api.kit.endpoints import ApiCall, Surface
from proffer.api.kit.permissions import OperationRoutes, RouteSpec
from proffer.auth.principal import Permission
from proffer.errors import Kind
from proffer.service.customers.ingest import IngestService
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.service.runtime.clock import Clock

PREFIX = "/collection"
_DEV_INLET = "dev"
_VALIDATION_FLAGS = ("syncValidation", "synchronousValidation")


class IngestRoutes:
    """Routes and handlers over the ingest service.

    An inlet is a container's id; in dev mode also `dev`.
    """

    def __init__(self, service: IngestService, registry: ContainerRegistry, clock: Clock, *, dev: bool) -> None:
        self._service = service
        self._registry = registry
        self._clock = clock
        self._dev = dev

    def surface(self) -> Surface:
        """Return the interface. As in the original, an invalid message is a 400."""
        table: list[RouteSpec] = [
            ("ingestBatch", Permission.PROFILES_WRITE, self.batch),
            ("ingest", Permission.PROFILES_WRITE, self.single),
        ]
        return Surface(
            name="ingest",
            prefix=PREFIX,
            endpoints=OperationRoutes(OPERATIONS, PREFIX).authorized(self._registry, table, self._authorize),
            status_overrides={Kind.INVALID: 400},
        )

    async def single(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """POST /{inlet}: one message, durable when the response is sent."""
        validations = [name for name in _VALIDATION_FLAGS if call.flag(name)]
        message = translate.read_message(await call.body(), self._organisation(access))
        outcomes = await self._service.ingest(access, [message])
        receipt = self._receipt(call, access)
        body = translate.write_message_receipt(receipt, message, outcomes[0], validations)
        return Response(body, media_type="application/json")

    async def batch(self, call: ApiCall, access: AuthorizedContainer) -> Response:
        """POST /batch/{inlet}: several messages; valid ones are durable when the response is sent."""
        messages = translate.read_batch(await call.body(), self._organisation(access))
        outcomes = await self._service.ingest(access, messages)
        body = translate.write_batch_receipt(self._receipt(call, access), messages, outcomes)
        return Response(body, 207, media_type="application/json")

    def _authorize(self, call: ApiCall, permission: Permission | None) -> AuthorizedContainer:
        inlet = _inlet(call)
        if self._dev and inlet == _DEV_INLET:
            sandbox = call.header(b"x-sandbox-name")
            return self._registry.authorize_sandbox(call.principal, sandbox, permission)
        return self._registry.authorize(call.principal, inlet, permission)

    def _organisation(self, access: AuthorizedContainer) -> str | None:
        """Return the only organisation that messages may name; None (any) in dev mode."""
        return None if self._dev else access.state.container.organisation

    def _receipt(self, call: ApiCall, access: AuthorizedContainer) -> translate.Receipt:
        organisation = access.state.container.organisation
        return translate.Receipt(_inlet(call), organisation, self._clock() // 1000)


def _inlet(call: ApiCall) -> str:
    return str(call.request.path_params["inlet"])
