"""Permissions before anything else: a caller who may not is told so, whatever they sent."""

from starlette.responses import Response

from proffer.api.kit.surface import Call, Handler
from proffer.auth.policy import require
from proffer.auth.principal import Permission


def needing(permission: Permission, handler: Handler) -> Handler:
    """The handler for callers who have this permission; others are refused before their body is read."""

    async def checked(call: Call) -> Response:
        require(call.principal, permission)
        return await handler(call)

    return checked
