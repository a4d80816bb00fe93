"""Authorization before the handlers: permission and container are resolved here, once per request."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from starlette.responses import Response

from proffer.api.kit.surface import ApiCall, Endpoint, Handler
from proffer.auth.policy import require_permission
from proffer.auth.principal import Permission
from proffer.service.library.registry import AuthorizedContainer, ContainerRegistry

ContainerHandler: TypeAlias = Callable[[ApiCall, AuthorizedContainer], Awaitable[Response]]
ContainerResolver: TypeAlias = Callable[[ApiCall, Permission | None], AuthorizedContainer]
RouteSpec: TypeAlias = tuple[str, str, Permission | None, ContainerHandler]
"""Method, path, required permission (None: read access to the container is enough), handler."""


def requires(permission: Permission, handler: Handler) -> Handler:
    """Return a handler that checks this permission before reading the body."""

    def check_and_handle(call: ApiCall) -> Awaitable[Response]:
        require_permission(call.principal, permission)
        return handler(call)

    return check_and_handle


def endpoints(table: Iterable[RouteSpec], resolve: ContainerResolver) -> list[Endpoint]:
    """Return endpoints whose handlers get the container that `resolve` authorizes."""

    def authorizing_handler(permission: Permission | None, handler: ContainerHandler) -> Handler:
        return lambda call: handler(call, resolve(call, permission))

    return [
        Endpoint(method=method, path=path, handler=authorizing_handler(permission, handler))
        for method, path, permission, handler in table
    ]


def in_container(registry: ContainerRegistry, table: Iterable[RouteSpec]) -> list[Endpoint]:
    """Return endpoints whose path names the container, as `{container}`."""

    def resolve(call: ApiCall, permission: Permission | None) -> AuthorizedContainer:
        container_id = call.request.scope["path_params"]["container"]
        return registry.authorize(call.principal, container_id, permission)

    return endpoints(table, resolve)


def in_sandbox(registry: ContainerRegistry, table: Iterable[RouteSpec]) -> list[Endpoint]:
    """Return endpoints of the container of the caller's sandbox (`x-sandbox-name`)."""

    def resolve(call: ApiCall, permission: Permission | None) -> AuthorizedContainer:
        sandbox = call.header(b"x-sandbox-name")
        return registry.authorize_sandbox(call.principal, sandbox, permission)

    return endpoints(table, resolve)
