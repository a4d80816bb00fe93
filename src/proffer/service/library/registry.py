"""All containers this process serves, by id, and the watch that keeps them in step with other processes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from proffer.auth.policy import sees
from proffer.auth.principal import Principal
from proffer.errors import NotFound, ProfferError
from proffer.model.ids import EntityKind
from proffer.model.instance import Container, Instance
from proffer.service.library.library import Library, LibraryStore
from proffer.service.runtime.clock import Clock
from proffer.service.runtime.database_status import Standing
from proffer.store.errors import StoreUnavailable
from proffer.telemetry import failure

DEFAULT_SANDBOX = "prod"


class Libraries:
    """The containers of one store. `find` is the only way to a container, so nobody meets one of another tenant."""

    def __init__(self, store: LibraryStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.standing = Standing(clock)
        self._looks: list[Callable[[], Awaitable[None]]] = []
        self._open: dict[str, Library] = {}
        self._found: tuple[Principal, str, Library] | None = None
        """What was found last: one request asks several times, and most come from one caller."""
        self.changes = 0
        """Rises whenever there is another library, or one has changed."""
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read every container and begin to watch for changes."""
        await self.catch_up()
        await self._store.catch_up(self._clock())
        self._watcher = asyncio.create_task(self._watch())

    def after_each_look(self, look: Callable[[], Awaitable[None]]) -> None:
        """Call this whenever the store has just answered."""
        self._looks.append(look)

    async def stop(self) -> None:
        """Finish the writes that wait, then stop watching."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
            self._watcher = None
        for library in self._open.values():
            await library.drain()
            library.publisher.close()

    async def catch_up(self) -> None:
        """Take in what the store has now: new containers, and what others wrote to those known."""
        revisions = await self._store.revisions()
        if revisions.keys() - self._open.keys():
            await self._open_new()
        errors: list[Exception] = []
        for container_id, revision in revisions.items():
            library = self._open.get(container_id)
            if library is not None and revision > library.catalog.revision:
                try:
                    await library.refresh()
                except Exception as error:  # noqa: BLE001 - the others are to be in step all the same
                    errors.append(error)
        if errors:
            raise errors[0]

    def _changed(self) -> None:
        self.changes += 1

    def find(self, principal: Principal, container_id: str) -> Library:
        """The container, if the caller may know that it exists; `NotFound` in the same words otherwise (R28)."""
        last = self._found
        if last is not None and last[0] is principal and last[1] is container_id:
            return last[2]
        library = self._open.get(container_id.lower())
        if library is None or not self._visible(principal, library.container):
            raise NotFound(
                f"there is no container `{container_id[:200]}`", code="container-not-found"
            )
        self._found = (principal, container_id, library)
        return library

    def of_sandbox(self, principal: Principal, named: str | None) -> Library:
        """The container of the caller's sandbox: the token's own, else the one `named`, else `prod`.

        A caller who may enter every sandbox and names one that is not there gets that of `prod`.
        """
        wanted = (principal.sandbox,) if principal.sandbox else (named, DEFAULT_SANDBOX)
        for sandbox in wanted:
            for library in self._open.values():
                container = library.container
                if container.sandbox == sandbox and self._visible(principal, container):
                    return library
        raise NotFound("there is no container for this sandbox", code="container-not-found")

    def datastream(self, key: str) -> tuple[Instance, Container] | None:
        """The datastream of this id, of whichever container; of several the oldest, so that none is taken over."""
        found = [
            (instance, library.container)
            for library in self._open.values()
            if (instance := library.catalog.of_kind(EntityKind.DATASTREAM).get(key)) is not None
        ]
        return min(found, key=lambda one: (one[0].created_us, one[1].id)) if found else None

    def container(self, container_id: str) -> Container | None:
        """The container of this id, for those who need not ask whether they may."""
        library = self._open.get(container_id)
        return library.container if library is not None else None

    def visible(self, principal: Principal) -> Sequence[Container]:
        """The containers the caller may know of, oldest first."""
        return sorted(
            (
                one.container
                for one in self._open.values()
                if self._visible(principal, one.container)
            ),
            key=lambda container: (container.created_us, container.id),
        )

    def every(self) -> Sequence[Library]:
        """All there are, for what the server does by itself."""
        return tuple(self._open.values())

    def in_force(self) -> Iterator[tuple[str, int, int | None]]:
        """Of each container its id, the revision in force, and since when (microseconds; None: from the start)."""
        for container_id, library in self._open.items():
            yield container_id, library.catalog.revision, library.publisher.published_us

    @staticmethod
    def _visible(principal: Principal, container: Container) -> bool:
        return sees(principal, container.organisation, container.sandbox)

    async def _open_new(self) -> None:
        for container in await self._store.containers():
            if container.id not in self._open:
                library = Library(container, self._store, self._clock)
                await library.open()
                library.changed = self._changed
                self._open.setdefault(container.id, library)
                self._changed()

    async def _watch(self) -> None:
        told = ""
        while True:
            await self._store.await_change()
            try:
                await self.catch_up()
                await self._store.catch_up(self._clock())
                for look in self._looks:
                    await look()
            except StoreUnavailable as error:
                self.standing.lost(error)
                continue  # it is away for now; the next look comes soon
            except ProfferError:
                continue
            except Exception as error:  # noqa: BLE001 - a watch that ends would leave us behind for ever
                if repr(error) != told:
                    failure("looking for what other processes wrote failed", error)
                    told = repr(error)
            else:
                told = ""
