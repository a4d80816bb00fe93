"""Services without a server, for tests."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from proffer.app import DEV_CONTAINER, DEV_ORGANISATION, DEV_SANDBOX, Services
from proffer.auth.principal import Permission, Principal
from proffer.model.ids import EntityKind, kind_of
from proffer.model.instance import Instance
from proffer.service.library.load import SECTIONS
from proffer.service.library.registry import AuthorizedContainer
from proffer.service.runtime.clock import Clock, wall_clock
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from proffer.store.sqlite.store import SqliteStore
from proffer.testing.builders import Document

OWNER = Principal(
    organisation=DEV_ORGANISATION,
    sandbox=DEV_SANDBOX,
    permissions=frozenset({Permission.ADMIN}),
    user="owner@AdobeID",
    client="tests",
)


@asynccontextmanager
async def open_services(store: Store | None = None, clock: Clock = wall_clock) -> AsyncIterator[Services]:
    """Start services with the dev container, over an in-memory store by default."""
    services = Services(store or MemoryStore(), clock)
    await services.start(dev=True)
    try:
        yield services
    finally:
        await services.stop()


@asynccontextmanager
async def on_file(path: Path) -> AsyncIterator[Services]:
    """Start services over the database at this path."""
    async with open_services(await SqliteStore.open(path, migrate=True, synchronous="OFF")) as services:
        yield services


def access_to(services: Services) -> AuthorizedContainer:
    """Return the dev container, authorized for its owner."""
    return services.registry.authorize(OWNER, DEV_CONTAINER)


async def create_library(services: Services, documents: Sequence[Document]) -> None:
    """Create these objects in the dev container; those that others refer to first."""
    for kind in SECTIONS.values():
        for document in documents:
            if kind_of(document["@id"]) is kind:
                await services.catalog.create(access_to(services), kind, document)


async def make(services: Services, kind: EntityKind, **members: Any) -> Instance:
    """Create an object; `__` in a member's name stands for `:`."""
    document = {name.replace("__", ":"): value for name, value in members.items()}
    return (await services.catalog.create(access_to(services), kind, document)).instance


async def tag(services: Services, name: str) -> Instance:
    return await make(services, EntityKind.TAG, xdm__name=name)
