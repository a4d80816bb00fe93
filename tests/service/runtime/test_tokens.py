"""Looking up tokens: quickly, and not for longer than a moment after they have changed."""

import asyncio
from typing import Any

import pytest

from proffer.auth.principal import Permission
from proffer.errors import Unauthenticated
from proffer.model.token import StoredToken
from proffer.service.runtime.tokens import _MAX_CACHED, TokenService
from proffer.store.memory.store import MemoryStore
from support.clock import SetClock


class CountingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def token(self, digest: str) -> StoredToken | None:
        self.asked += 1
        return await super().token(digest)


def create(access: TokenService, **more: Any) -> Any:
    return access.create(
        organisation="a@AdobeOrg",
        sandbox="prod",
        permissions=frozenset({Permission.LIBRARY_READ}),
        label="x",
        **more,
    )


async def test_a_token_is_looked_up_once_in_a_moment() -> None:
    """A busy client costs the store five look-ups a second, and a revoked token is refused after 200 ms."""
    clock, store = SetClock(), CountingStore()
    access = TokenService(store, clock)
    text, stored, _ = await create(access)
    for _ in range(100):
        await access.verify(text, client="c")
        clock.now_us += 1_000
    assert store.asked == 1
    await access.revoke(stored.id)
    clock.now_us += 100_000
    with pytest.raises(Unauthenticated):
        await access.verify(text, client="c")


async def test_an_expiry_is_exact() -> None:
    """It is judged at each request, not when the token was looked up."""
    clock = SetClock()
    access = TokenService(MemoryStore(), clock)
    text, _, _ = await create(access, expires_us=clock.now_us + 5)
    await access.verify(text, client="c")
    clock.now_us += 5
    with pytest.raises(Unauthenticated):
        await access.verify(text, client="c")


async def test_a_token_refused_before_it_was_made_is_known_soon() -> None:
    """That a token is unknown is remembered for no longer than that it is known."""
    clock, store = SetClock(), MemoryStore()
    access, elsewhere = TokenService(store, clock), TokenService(store, clock)
    text, stored, _ = await create(elsewhere)
    store._tokens.clear()
    with pytest.raises(Unauthenticated):
        await access.verify(text, client="c")
    await store.add_token(stored)
    clock.now_us += 200_000
    await access.verify(text, client="c")


async def test_a_flood_of_tokens_is_not_remembered_for_ever() -> None:
    """What is remembered has a bound, whatever is tried."""
    access = TokenService(MemoryStore(), SetClock())
    for number in range(_MAX_CACHED + 10):
        with pytest.raises(Unauthenticated):
            await access.verify(f"guess {number}", client="c")
    assert len(access._cache) <= _MAX_CACHED


async def test_a_sandbox_has_one_container() -> None:
    """However many tokens are made for it, at once too; an id asked for is used if there is none yet."""
    access = TokenService(MemoryStore(), SetClock())
    made = await asyncio.gather(*(create(access) for _ in range(5)))
    assert len({container.id for _, _, container in made}) == 1
    again = await access.container("a@AdobeOrg", "prod", new_id="wanted")
    assert again.id == made[0][2].id
    other = await access.container("a@AdobeOrg", "stage", new_id="wanted")
    assert other.id == "wanted"
    assert [one.id for one in await access.list()]
