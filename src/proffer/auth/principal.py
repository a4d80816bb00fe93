"""Authenticated callers and their permissions."""

from dataclasses import dataclass
from enum import StrEnum


class Permission(StrEnum):
    """Permission of a token. `admin` includes all others."""

    LIBRARY_READ = "library:read"
    LIBRARY_WRITE = "library:write"
    DECISIONS_EXECUTE = "decisions:execute"
    PROFILES_READ = "profiles:read"
    PROFILES_WRITE = "profiles:write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An authenticated caller. `sandbox` None: all sandboxes of the organisation."""

    organisation: str
    sandbox: str | None
    permissions: frozenset[Permission]
    user: str
    client: str
