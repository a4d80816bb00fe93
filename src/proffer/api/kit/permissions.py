"""Endpoints of described operations; permission and container are resolved once per request."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall, Endpoint, Handler
from proffer.auth.policy import require_permission
from proffer.auth.principal import Permission
from proffer.errors import Conflict, Invalid, NotFound, Stale, Unavailable
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.wire.openapi import Operation

ContainerHandler: TypeAlias = Callable[[ApiCall, AuthorizedContainer], Awaitable[Response]]
ContainerResolver: TypeAlias = Callable[[ApiCall, Permission | None], AuthorizedContainer]
RouteSpec: TypeAlias = tuple[str, Permission | None, ContainerHandler]
"""Name of the operation, required permission (None: read access is enough), handler."""
_MAY_BE_OUTDATED = '111 proffer "the database is not available: this is the last known state"'


def requires(permission: Permission, handler: Handler) -> Handler:
    """Return a handler that checks this permission before reading the body."""

    def check_and_handle(call: ApiCall) -> Awaitable[Response]:
        require_permission(call.principal, permission)
        return handler(call)

    return check_and_handle


@dataclass(frozen=True, slots=True)
class OperationRoutes:
    """Endpoints of the operations described in `openapi`; these declare method and path."""

    operations: Sequence[Operation]
    prefix: str = ""

    def endpoint(self, name: str, handler: Handler) -> Endpoint:
        """Return the endpoint of an operation, without authorization."""
        operation = next(operation for operation in self.operations if operation.name == name)
        path = operation.path.removeprefix(self.prefix)
        return Endpoint(method=operation.method, path=path, handler=handler)

    def authorized(
        self,
        registry: ContainerRegistry,
        table: Iterable[RouteSpec],
        resolve: ContainerResolver,
        *,
        sees_all_writes: bool = False,
    ) -> list[Endpoint]:
        """Return endpoints whose handlers get the container that `resolve` authorizes.

        With `sees_all_writes` a handler sees every write whose receipt was sent before the request
        arrived, in any process. Otherwise only an unknown container is looked for in the store (R50).
        """

        def authorizing_handler(permission: Permission | None, handler: ContainerHandler) -> Handler:
            def handle(call: ApiCall) -> Awaitable[Response]:
                try:
                    access = resolve(call, permission)
                except NotFound:
                    return handle_latest(call)
                return handler(call, access)

            async def handle_latest(call: ApiCall) -> Response:
                await registry.see_all_writes()
                return await handler(call, resolve(call, permission))

            async def handle_after_all_writes(call: ApiCall) -> Response:
                try:
                    await registry.see_all_writes()
                except Unavailable as outage:
                    return await _handle_from_memory(handle, call, outage)
                return await handler(call, resolve(call, permission))

            return handle_after_all_writes if sees_all_writes else handle

        return [self.endpoint(name, authorizing_handler(permission, handler)) for name, permission, handler in table]

    def in_container(
        self, registry: ContainerRegistry, table: Iterable[RouteSpec], *, sees_all_writes: bool = False
    ) -> list[Endpoint]:
        """Return endpoints whose path names the container, as `{container}`."""

        def resolve(call: ApiCall, permission: Permission | None) -> AuthorizedContainer:
            container_id = call.request.scope["path_params"]["container"]
            return registry.authorize(call.principal, container_id, permission)

        return self.authorized(registry, table, resolve, sees_all_writes=sees_all_writes)

    def in_sandbox(
        self, registry: ContainerRegistry, table: Iterable[RouteSpec], *, sees_all_writes: bool = False
    ) -> list[Endpoint]:
        """Return endpoints of the container of the caller's sandbox (`x-sandbox-name`)."""

        def resolve(call: ApiCall, permission: Permission | None) -> AuthorizedContainer:
            sandbox = call.header(b"x-sandbox-name")
            return registry.authorize_sandbox(call.principal, sandbox, permission)

        return self.authorized(registry, table, resolve, sees_all_writes=sees_all_writes)


async def _handle_from_memory(handler: Handler, call: ApiCall, outage: Unavailable) -> Response:
    """Respond from memory, with a `Warning` header; a refusal that the store could lift becomes the outage."""
    try:
        response = await handler(call)
    except (NotFound, Conflict, Stale, Invalid):
        raise outage from None
    response.headers["Warning"] = _MAY_BE_OUTDATED
    return response
