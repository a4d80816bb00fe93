"""Stored access tokens: only the hash, never the text."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredToken:
    """A stored bearer token. Times are microseconds since 1970, UTC.

    `id` is not secret: `proffer token list` prints it and `revoke` takes it. `digest` is the SHA-256 of
    the token's text in lower-case hex.
    """

    id: str
    digest: str
    organisation: str
    sandbox: str
    permissions: frozenset[str]
    label: str
    created_us: int
    expires_us: int | None = None
    revoked_us: int | None = None
