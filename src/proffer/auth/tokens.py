"""Bearer tokens: issued once, stored and looked up by their hash.

A token has 256 random bits, so a fast hash protects it; the slow hash of a password is not needed.
"""

import hashlib
import secrets

from proffer.auth.principal import Permission, Principal
from proffer.errors import Forbidden, Unauthenticated
from proffer.model.token import StoredToken

TOKEN_PREFIX = "pfr_"  # noqa: S105 - a prefix, no secret
"""Prefix of every token, so that secret scanners recognise a leaked one."""


def token_digest(text: str) -> str:
    """Return the SHA-256 of a token's text in lower-case hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def issue_token(
    *,
    organisation: str,
    sandbox: str,
    permissions: frozenset[Permission],
    label: str,
    now_us: int,
    expires_us: int | None = None,
) -> tuple[str, StoredToken]:
    """Create a token. Returns its text, to be shown once, and the record to store."""
    text = TOKEN_PREFIX + secrets.token_urlsafe(32)
    stored = StoredToken(
        id=secrets.token_hex(6),
        digest=token_digest(text),
        organisation=organisation,
        sandbox=sandbox,
        permissions=frozenset(str(permission) for permission in permissions),
        label=label,
        created_us=now_us,
        expires_us=expires_us,
    )
    return text, stored


def verify_token(stored: StoredToken | None, now_us: int, *, client: str) -> Principal:
    """Return the principal of a stored token. Raises `Unauthenticated` without telling the exact reason."""
    if (
        stored is None
        or stored.revoked_us is not None
        or (stored.expires_us is not None and now_us >= stored.expires_us)
    ):
        raise Unauthenticated("the bearer token is not valid: unknown, revoked or expired", code="token-invalid")
    all_permissions = frozenset(Permission)
    return Principal(
        organisation=stored.organisation,
        sandbox=stored.sandbox,
        permissions=frozenset(permission for permission in all_permissions if str(permission) in stored.permissions),
        user=stored.label,
        client=client,
    )


def check_tenant(principal: Principal, organisation: str | None, sandbox: str | None) -> None:
    """Raise `Forbidden` if headers and token name different organisations or sandboxes (R28)."""
    if organisation is not None and organisation != principal.organisation:
        raise Forbidden(
            "the header `x-gw-ims-org-id` names a different organisation than the token",
            code="organisation-mismatch",
        )
    if sandbox is not None and principal.sandbox not in {None, sandbox}:
        raise Forbidden(
            "the header `x-sandbox-name` names a different sandbox than the token",
            code="sandbox-mismatch",
        )
