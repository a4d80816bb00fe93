"""May this caller do this, in this container? The words of R28."""

from proffer.auth.principal import Permission, Principal
from proffer.errors import Forbidden

_ADMIN = Permission.ADMIN


def require(principal: Principal, permission: Permission) -> None:
    """Raise `Forbidden` unless the caller has the permission (or `admin`)."""
    held = principal.permissions
    if permission not in held and _ADMIN not in held:
        raise Forbidden(
            f"this token lacks the permission `{permission}`",
            code="permission-missing",
            extra={"report": {"permission": str(permission)}},
        )


def sees(principal: Principal, organisation: str, sandbox: str) -> bool:
    """True when the caller may know that a container of this organisation and sandbox exists."""
    return principal.organisation == organisation and (
        principal.sandbox is None or principal.sandbox == sandbox
    )
