"""Permission checks of a principal (R28)."""

from proffer.auth.principal import Permission, Principal
from proffer.errors import Forbidden

_ADMIN = Permission.ADMIN


def require_permission(principal: Principal, permission: Permission) -> None:
    """Raise `Forbidden` unless the principal has the permission or `admin`."""
    permissions = principal.permissions
    if permission not in permissions and _ADMIN not in permissions:
        raise Forbidden(
            f"this token lacks the permission `{permission}`",
            code="permission-missing",
            extra={"report": {"permission": str(permission)}},
        )


def can_see_container(principal: Principal, organisation: str, sandbox: str) -> bool:
    """Return whether the principal may see containers of this organisation and sandbox."""
    return principal.organisation == organisation and (principal.sandbox is None or principal.sandbox == sandbox)
