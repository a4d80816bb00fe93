"""Authenticators: determine the caller from request headers (R28)."""

from functools import lru_cache
from typing import Protocol
from urllib.parse import urlsplit

from proffer.api.kit.request import FastRequest
from proffer.auth.principal import Permission, Principal
from proffer.auth.tokens import check_tenant
from proffer.config import LOOPBACK
from proffer.errors import Forbidden, Unauthenticated

_MAX_CLIENT_ID = 200


class TokenVerifier(Protocol):
    """Verify a token and return its principal; raise `Unauthenticated` if invalid."""

    async def verify(self, text: str, *, client: str) -> Principal: ...


class TokenAuthenticator:
    """Authenticate requests by bearer token.

    Adobe's client repeats a refused request, so a refusal must not have side effects.
    """

    def __init__(self, tokens: TokenVerifier) -> None:
        self._tokens = tokens

    async def authenticate(self, request: FastRequest) -> Principal:
        """Return the caller.

        Raises `Unauthenticated` without a valid bearer token, and `Forbidden` where the headers name
        another organisation or sandbox than the token's.
        """
        scheme, _, text = (request.header(b"authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise Unauthenticated("a bearer token is needed: `Authorization: Bearer …`", code="token-missing")
        principal = await self._tokens.verify(text.strip(), client=client_id(request))
        check_tenant(principal, request.header(b"x-gw-ims-org-id"), request.header(b"x-sandbox-name"))
        return principal


class DevAuthenticator:
    """Authenticate every request as the developer, for dev mode."""

    def __init__(self, organisation: str) -> None:
        self._organisation = organisation

    async def authenticate(self, request: FastRequest) -> Principal:
        """Return the developer. Raises `Forbidden` for cross-site writes from a browser."""
        if request.method not in {"GET", "HEAD"} and _is_cross_site(request.header(b"origin")):
            raise Forbidden(
                "in dev mode, pages of other sites may not write: `Origin` is not loopback",
                code="foreign-origin",
            )
        return _developer(self._organisation, client_id(request))


@lru_cache(maxsize=64)
def _developer(organisation: str, client: str) -> Principal:
    return Principal(
        organisation=organisation,
        sandbox=None,
        permissions=frozenset({Permission.ADMIN}),
        user="dev@AdobeID",
        client=client,
    )


def _is_cross_site(origin: str | None) -> bool:
    """Return whether an `Origin` header names a host other than this machine."""
    if origin is None:
        return False
    try:
        host = urlsplit(origin).hostname or ""
    except ValueError:
        return True
    return host not in LOOPBACK and not host.endswith(".localhost")


def client_id(request: FastRequest) -> str:
    """Return the id of the calling program: the `x-api-key` header, else `proffer`."""
    return (request.header(b"x-api-key") or "")[:_MAX_CLIENT_ID] or "proffer"
