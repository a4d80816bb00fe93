"""Two processes over one database: what one writes, the other has within a moment (R42)."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from proffer.app import DEV_CONTAINER, Services
from proffer.auth.principal import Permission, Principal
from proffer.errors import Conflict, Forbidden, NotFound, ProfferError, Unauthenticated
from proffer.model.catalog import Catalog
from proffer.model.ids import EntityKind
from proffer.service.library.registry import ContainerRegistry
from proffer.store.errors import StoreUnavailable
from proffer.store.memory.store import MemoryStore
from support.containers import OWNER, access_to, on_file, open_services, tag

GIVE_UP_S = 30.0
"""Only a change that never arrives takes this long; `bench/` measures the delay."""


async def soon(holds: Callable[[], Any]) -> None:
    """Wait until the condition holds without raising."""
    begun = time.monotonic()
    while True:
        try:
            if holds():
                return
        except ProfferError:
            pass
        assert time.monotonic() - begun < GIVE_UP_S
        await asyncio.sleep(0.005)


async def test_a_write_is_in_force_in_the_other_process(tmp_path: Path) -> None:
    """Created, changed and deleted: the other's catalogue and the snapshot it decides by follow."""
    async with on_file(tmp_path / "p.db") as one, on_file(tmp_path / "p.db") as other:
        library = other.registry.authorize(OWNER, DEV_CONTAINER).state
        made = await tag(one, "a")

        def seen(etag: int) -> bool:
            found = other.catalog.get(access_to(other), made.instance_id)
            return found.etag == etag and library.publisher.snapshot.revision == etag

        await soon(lambda: seen(1))
        await one.catalog.revise(access_to(one), made.instance_id, lambda _: {"xdm:name": "b"})
        await soon(lambda: seen(2))
        await one.catalog.delete(access_to(one), made.instance_id)
        await soon(lambda: library.catalog.revision == 3 and not len(library.catalog))
        with pytest.raises(NotFound):
            other.catalog.get(access_to(other), made.instance_id)


def at_ninety(catalog: Catalog) -> bool:
    return catalog.revision == 90


async def test_both_write_and_nothing_is_lost(tmp_path: Path) -> None:
    """Each writes fifty tags of which ten have the same names: every name once, every refusal told."""
    async with on_file(tmp_path / "p.db") as one, on_file(tmp_path / "p.db") as other:

        async def fill(services: Services, mark: str) -> list[Any]:
            names = [f"{mark}{number}" for number in range(40)]
            names += [f"both{number}" for number in range(10)]
            return await asyncio.gather(*(tag(services, name) for name in names), return_exceptions=True)

        results = await asyncio.gather(fill(one, "a"), fill(other, "b"))
        refused = [error for both in results for error in both if isinstance(error, Exception)]
        assert len(refused) == 10
        assert all(isinstance(error, Conflict) for error in refused)
        for services in (one, other):
            catalog = access_to(services).state.catalog
            await soon(partial(at_ninety, catalog))
            assert len({each.name for each in catalog}) == 90
        assert (await one.store.counts(DEV_CONTAINER))[EntityKind.TAG] == 90


async def test_new_containers_and_tokens_are_known(tmp_path: Path) -> None:
    """What one process creates, the other serves; what it revokes, the other refuses."""
    async with on_file(tmp_path / "p.db") as one, on_file(tmp_path / "p.db") as other:
        text, stored, container = await one.tokens.create(
            organisation="new@AdobeOrg",
            sandbox="stage",
            permissions=frozenset({Permission.LIBRARY_READ}),
            label="x",
        )
        caller = await other.tokens.verify(text, client="c")
        assert caller.organisation == "new@AdobeOrg"
        await soon(lambda: other.registry.authorize(caller, container.id).state)
        assert other.registry.visible(caller) == [container]
        assert await one.tokens.revoke(stored.id)
        assert not await one.tokens.revoke(stored.id)
        begun = time.monotonic()
        while time.monotonic() - begun < GIVE_UP_S:
            try:
                await other.tokens.verify(text, client="c")
            except Unauthenticated:
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("a revoked token is still valid")


async def test_containers_of_others_do_not_exist() -> None:
    """Another organisation's or sandbox's is answered in the words for one that is not there (R28)."""
    async with open_services() as services:

        def caller(organisation: str, sandbox: str | None) -> Principal:
            return Principal(
                organisation=organisation,
                sandbox=sandbox,
                permissions=frozenset(Permission),
                user="u",
                client="c",
            )

        own = access_to(services).state.container
        for stranger in (
            caller("x", own.sandbox),
            caller(own.organisation, "x"),
            caller("x", None),
        ):
            assert services.registry.visible(stranger) == []
            with pytest.raises(NotFound) as theirs:
                services.registry.authorize(stranger, DEV_CONTAINER)
            with pytest.raises(NotFound) as nobodys:
                services.registry.authorize(stranger, "nobodys")
            assert theirs.value.detail.replace(DEV_CONTAINER, "nobodys") == nobodys.value.detail
            assert theirs.value.code == nobodys.value.code
        everywhere = caller(own.organisation, None)
        assert services.registry.authorize(everywhere, DEV_CONTAINER.upper()).state.container == own


@pytest.mark.parametrize("container", [DEV_CONTAINER, "nowhere"])
async def test_a_missing_permission_is_refused_before_the_container_is_looked_up(
    container: str,
) -> None:
    """`Forbidden` says nothing of whether the container exists; the other permissions do not help."""
    async with open_services() as services:
        for permission in set(Permission) - {Permission.ADMIN}:
            others = frozenset(Permission) - {permission, Permission.ADMIN}
            caller = replace(OWNER, permissions=others)
            with pytest.raises(Forbidden):
                services.registry.authorize(caller, container, permission)
            with pytest.raises(Forbidden):
                services.registry.authorize_sandbox(caller, None, permission)


class AwayStore(MemoryStore):
    """Cannot be asked for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[Exception] = []

    async def await_change(self) -> None:
        await asyncio.sleep(0.005)

    async def revisions(self) -> Any:
        if self.errors:
            raise self.errors.pop(0)
        return await super().revisions()


@pytest.mark.parametrize("error", [StoreUnavailable("away"), ZeroDivisionError("a bug")])
async def test_the_watch_outlives_what_goes_wrong(error: Exception) -> None:
    """A database that is away, or a bug, delays what others wrote and does not end the looking."""
    store = AwayStore()
    async with open_services(store) as one:
        other = ContainerRegistry(store, one.clock)
        await other.start()
        store.errors = [error] * 6
        await tag(one, "a")
        await soon(lambda: other.authorize(OWNER, DEV_CONTAINER).state.catalog.revision == 1)
        await other.stop()


@pytest.mark.parametrize("stuck", [0, 1])
async def test_one_container_that_fails_does_not_keep_others_back(stuck: int) -> None:
    """The others are brought up to date all the same, and the failure is told."""

    async def broken() -> None:
        raise ZeroDivisionError

    async with open_services() as services:
        second = await services.tokens.container("second@AdobeOrg", "prod")
        await services.registry.catch_up()
        owner = replace(OWNER, organisation="second@AdobeOrg")
        other = ContainerRegistry(services.store, services.clock)
        await other.catch_up()
        await tag(services, "a")
        await services.catalog.create(services.registry.authorize(owner, second.id), EntityKind.TAG, {"xdm:name": "b"})
        both = [
            other.authorize(OWNER, DEV_CONTAINER).state,
            other.authorize(owner, second.id).state,
        ]
        both[stuck].refresh = broken  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError):
            await other.catch_up()
        assert both[1 - stuck].catalog.revision == 1
