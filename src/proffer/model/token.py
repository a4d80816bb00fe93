"""An access token as it is kept: never its text, only the hash of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredToken:
    """What a bearer token stands for. Times are microseconds since 1970, UTC.

    `id` names the token to people (it is printed by `proffer token list` and taken by `revoke`) and
    reveals nothing; `digest` is the SHA-256 of its text in lower-case hex.
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
