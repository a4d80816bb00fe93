"""Bearer tokens: issued once, kept as a hash, looked up by it.

A token's text is 256 random bits, so one fast hash keeps it as well as a slow one would keep a password.
"""

import hashlib
import secrets

from proffer.auth.principal import Permission, Principal
from proffer.errors import Forbidden, Unauthenticated
from proffer.model.token import StoredToken

PREFIX = "pfr_"
"""What every token begins with, so that one that leaked is recognised by scanners."""


def digest(text: str) -> str:
    """The SHA-256 of a token's text, in lower-case hex: what is stored and looked up."""
    return hashlib.sha256(text.encode()).hexdigest()


def issue(
    *,
    organisation: str,
    sandbox: str,
    permissions: frozenset[Permission],
    label: str,
    now_us: int,
    expires_us: int | None = None,
) -> tuple[str, StoredToken]:
    """A new token: its text, to be shown once, and what is to be stored."""
    text = PREFIX + secrets.token_urlsafe(32)
    stored = StoredToken(
        id=secrets.token_hex(6),
        digest=digest(text),
        organisation=organisation,
        sandbox=sandbox,
        permissions=frozenset(str(permission) for permission in permissions),
        label=label,
        created_us=now_us,
        expires_us=expires_us,
    )
    return text, stored


def verify(stored: StoredToken | None, now_us: int, *, client: str) -> Principal:
    """The caller a stored token stands for. Raises `Unauthenticated`, never saying which of the reasons it was."""
    if (
        stored is None
        or stored.revoked_us is not None
        or (stored.expires_us is not None and now_us >= stored.expires_us)
    ):
        raise Unauthenticated(
            "the bearer token is not valid: unknown, revoked or expired", code="token-invalid"
        )
    known = frozenset(Permission)
    return Principal(
        organisation=stored.organisation,
        sandbox=stored.sandbox,
        permissions=frozenset(p for p in known if str(p) in stored.permissions),
        user=stored.label,
        client=client,
    )


def refuse_other_tenant(
    principal: Principal, organisation: str | None, sandbox: str | None
) -> None:
    """Raise `Forbidden` if the caller's headers name another organisation or sandbox than the token's (R28)."""
    if organisation is not None and organisation != principal.organisation:
        raise Forbidden(
            "the header `x-gw-ims-org-id` names another organisation than the token's",
            code="organisation-mismatch",
        )
    if sandbox is not None and principal.sandbox not in {None, sandbox}:
        raise Forbidden(
            "the header `x-sandbox-name` names another sandbox than the token's",
            code="sandbox-mismatch",
        )
