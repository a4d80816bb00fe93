"""Where a request meets `auth`: from its headers to the caller, or to the reason there is none (R28)."""

from functools import lru_cache
from typing import Protocol
from urllib.parse import urlsplit

from proffer.api.kit.request import Asked
from proffer.auth.principal import Permission, Principal
from proffer.auth.tokens import refuse_other_tenant
from proffer.errors import Forbidden, Unauthenticated

_MOST_OF_A_CLIENT_ID = 200


class TokenVerifier(Protocol):
    """Turns the text of a token into a caller, or raises `Unauthenticated`."""

    async def verify(self, text: str, *, client: str) -> Principal: ...


class TokenAuthenticator:
    """Decides who a request comes from. Adobe's client asks twice after a no, so a no has no effect."""

    def __init__(self, tokens: TokenVerifier) -> None:
        self._tokens = tokens

    async def authenticate(self, request: Asked) -> Principal:
        """The caller.

        Raises `Unauthenticated` without a valid bearer token, and `Forbidden` where the headers name
        another organisation or sandbox than the token's.
        """
        scheme, _, text = (request.header(b"authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise Unauthenticated(
                "a bearer token is needed: `Authorization: Bearer …`", code="token-missing"
            )
        principal = await self._tokens.verify(text.strip(), client=client_of(request))
        refuse_other_tenant(
            principal, request.header(b"x-gw-ims-org-id"), request.header(b"x-sandbox-name")
        )
        return principal


class DevAuthenticator:
    """Authenticate every request of dev mode as the one developer, whatever its headers."""

    def __init__(self, organisation: str) -> None:
        self._organisation = organisation

    async def authenticate(self, request: Asked) -> Principal:
        """The developer. Raises `Forbidden` for a write that a page of another site sends through their browser."""
        if request.method not in {"GET", "HEAD"} and _is_foreign(request.header(b"origin")):
            raise Forbidden(
                "in dev mode anybody may write, but not a page of another site: `Origin` is not loopback",
                code="foreign-origin",
            )
        return _developer(self._organisation, client_of(request))


@lru_cache(maxsize=64)
def _developer(organisation: str, client: str) -> Principal:
    return Principal(
        organisation=organisation,
        sandbox=None,
        permissions=frozenset({Permission.ADMIN}),
        user="dev@AdobeID",
        client=client,
    )


def _is_foreign(origin: str | None) -> bool:
    """True for an `Origin` that is not a page of this machine."""
    if origin is None:
        return False
    try:
        host = urlsplit(origin).hostname or ""
    except ValueError:
        return True
    return host not in {"localhost", "127.0.0.1", "::1"} and not host.endswith(".localhost")


def client_of(request: Asked) -> str:
    """The program that calls: its api key, as the documented headers have it."""
    return (request.header(b"x-api-key") or "")[:_MOST_OF_A_CLIENT_ID] or "proffer"
