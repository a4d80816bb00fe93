"""Endpoints of described operations; permission and container are resolved once per request."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from starlette.responses import Response

from proffer.api.kit.endpoints import ApiCall, Endpoint, Handler
from proffer.auth.policy import require_permission
from proffer.auth.principal import Permission
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry
from proffer.wire.openapi import Operation

ContainerHandler: TypeAlias = Callable[[ApiCall, AuthorizedContainer], Awaitable[Response]]
ContainerResolver: TypeAlias = Callable[[ApiCall, Permission | None], AuthorizedContainer]
RouteSpec: TypeAlias = tuple[str, Permission | None, ContainerHandler]
"""Name of the operation, required permission (None: read access is enough), handler."""


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

    def authorized(self, table: Iterable[RouteSpec], resolve: ContainerResolver) -> list[Endpoint]:
        """Return endpoints whose handlers get the container that `resolve` authorizes."""

        def authorizing_handler(permission: Permission | None, handler: ContainerHandler) -> Handler:
            return lambda call: handler(call, resolve(call, permission))

        return [self.endpoint(name, authorizing_handler(permission, handler)) for name, permission, handler in table]

    def in_container(self, registry: ContainerRegistry, table: Iterable[RouteSpec]) -> list[Endpoint]:
        """Return endpoints whose path names the container, as `{container}`."""

        def resolve(call: ApiCall, permission: Permission | None) -> AuthorizedContainer:
            container_id = call.request.scope["path_params"]["container"]
            return registry.authorize(call.principal, container_id, permission)

        return self.authorized(table, resolve)

    def in_sandbox(self, registry: ContainerRegistry, table: Iterable[RouteSpec]) -> list[Endpoint]:
        """Return endpoints of the container of the caller's sandbox (`x-sandbox-name`)."""

        def resolve(call: ApiCall, permission: Permission | None) -> AuthorizedContainer:
            sandbox = call.header(b"x-sandbox-name")
            return registry.authorize_sandbox(call.principal, sandbox, permission)

        return self.authorized(table, resolve)
