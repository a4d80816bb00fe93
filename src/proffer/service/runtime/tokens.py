"""Verification and administration of bearer tokens."""

import uuid
from collections.abc import Sequence

from proffer.auth.principal import Permission, Principal
from proffer.auth.tokens import issue_token, token_digest, verify_token
from proffer.errors import Invalid, Violation
from proffer.model.instance import Actor, Container
from proffer.model.token import StoredToken
from proffer.service.runtime.clock import Clock
from proffer.store.errors import StoreUnavailable
from proffer.store.ports import Store

_CACHE_TTL_US = 200_000
_OUTAGE_TTL_US = 3_600_000_000
_MAX_CACHED = 10_000


class TokenService:
    """Verify, create, list and revoke tokens.

    Lookups are cached for 200 ms, so a revocation takes effect that soon. While the database is
    unavailable, tokens looked up within the last hour stay valid.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._cache: dict[str, tuple[int, StoredToken | None]] = {}
        self._principals: dict[tuple[str, str], tuple[StoredToken, Principal]] = {}
        """(digest, client) → stored token and the principal derived from it."""

    async def verify(self, text: str, *, client: str) -> Principal:
        """Return the principal of a token. Raises `Unauthenticated` unless it is valid now."""
        key = token_digest(text)
        stored = await self._stored(key)
        now_us = self._clock()
        cached = self._principals.get((key, client))
        if cached is not None and cached[0] is stored and not _is_expired(stored, now_us):
            return cached[1]
        principal = verify_token(stored, now_us, client=client)
        assert stored is not None
        if len(self._principals) >= _MAX_CACHED:
            self._principals.clear()
        self._principals[key, client] = (stored, principal)
        return principal

    async def create(
        self,
        *,
        organisation: str,
        sandbox: str,
        permissions: frozenset[Permission],
        label: str,
        expires_us: int | None = None,
    ) -> tuple[str, StoredToken, Container]:
        """Create a token, and its sandbox's container if missing. The text is not stored."""
        container = await self.container(organisation, sandbox, by=label)
        now_us = self._clock()
        text, stored = issue_token(
            organisation=organisation,
            sandbox=sandbox,
            permissions=permissions,
            label=label,
            now_us=now_us,
            expires_us=expires_us,
        )
        await self._store.add_token(stored)
        return text, stored, container

    async def container(
        self, organisation: str, sandbox: str, *, by: str = "proffer", new_id: str | None = None
    ) -> Container:
        """Return the container of a sandbox, created if missing.

        A new one gets `new_id` if given. Raises `Invalid` for names that cannot be sent in a header.
        """
        violations = [
            Violation(
                code="name",
                message=f"`{name}` is not a valid name of {what}",
                help="use printable text",
            )
            for what, name in (("an organisation", organisation), ("a sandbox", sandbox))
            if not name or name != name.strip() or not name.isprintable()
        ]
        if violations:
            raise Invalid.of(violations)
        return await self._store.ensure_container(
            Container(
                id=new_id or str(uuid.uuid4()),  # container ids are not time-based
                organisation=organisation,
                sandbox=sandbox,
                name=f"{sandbox} decisioning",
                created_us=self._clock(),
                created_by=Actor(user=by, client="proffer"),
            )
        )

    async def list(self) -> Sequence[StoredToken]:
        """Return all tokens, oldest first."""
        return await self._store.tokens()

    async def revoke(self, token_id: str) -> bool:
        """Revoke a token; False if there was no valid token with this id."""
        return await self._store.revoke_token(token_id, self._clock())

    async def _stored(self, key: str) -> StoredToken | None:
        now = self._clock()
        cached = self._cache.get(key)
        if cached is not None and 0 <= now - cached[0] < _CACHE_TTL_US:
            return cached[1]
        try:
            stored = await self._store.token(key)
        except StoreUnavailable:
            # Recently verified tokens stay valid while the database is unavailable.
            if cached is not None and cached[1] is not None and now - cached[0] < _OUTAGE_TTL_US:
                return cached[1]
            raise
        if cached is not None and stored == cached[1]:
            stored = cached[1]  # the same object, so that the cached principal stays valid
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        self._cache[key] = (now, stored)
        return stored


def _is_expired(stored: StoredToken, now_us: int) -> bool:
    return stored.expires_us is not None and now_us >= stored.expires_us
