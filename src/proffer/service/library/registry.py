"""Registry of open containers: authorization, and polling for changes of other processes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from msgspec import Struct

from proffer.auth.policy import can_see_container, require_permission
from proffer.auth.principal import Permission, Principal
from proffer.errors import NotFound, ProfferError
from proffer.model.ids import EntityKind
from proffer.model.instance import Container, Instance
from proffer.service.library.library import ContainerState, ContainerStore
from proffer.service.runtime.clock import Clock
from proffer.service.runtime.database_status import DatabaseStatus
from proffer.service.runtime.shared_run import SharedRun
from proffer.store.errors import StoreUnavailable
from proffer.telemetry import log_failure

DEFAULT_SANDBOX = "prod"
_MAX_WAIT_S = 2.0
"""How long a request waits for the store's revisions."""


class AuthorizedContainer(Struct, frozen=True):
    """An open container and the caller who may use it.

    `ContainerRegistry` makes it once per request, after all checks; services check nothing again.
    """

    principal: Principal
    state: ContainerState

    @property
    def id(self) -> str:
        return self.state.container.id


class ContainerRegistry:
    """The open containers of one store. Callers reach them through `authorize` alone."""

    def __init__(self, store: ContainerStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.database_status = DatabaseStatus(clock)
        self._poll_callbacks: list[Callable[[], Awaitable[None]]] = []
        self._open: dict[str, ContainerState] = {}
        self._opening = asyncio.Lock()
        self.changes = 0
        """Increases whenever a container is added or changes."""
        self._watcher: asyncio.Task[None] | None = None
        self._callbacks_run: asyncio.Task[None] | None = None
        self._last_callback_error = ""
        self._shared_catch_up = SharedRun(self._catch_up_with_caps)

    async def start(self) -> None:
        """Read every container and begin to watch for changes."""
        await self.catch_up()
        await self._store.catch_up(self._clock())
        self._watcher = asyncio.create_task(self._watch())

    def on_poll(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Register a callback for after a successful poll; one is awaited after another.

        Polls go on while callbacks run: they run again after the next poll when they are done.
        """
        self._poll_callbacks.append(callback)

    async def stop(self) -> None:
        """Stop polling, then finish the queued writes."""
        tasks = [task for task in (self._watcher, self._callbacks_run) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._watcher = self._callbacks_run = None
        await self._shared_catch_up.stop()
        for state in self._open.values():
            await state.drain()
            state.publisher.close()

    async def catch_up(self) -> None:
        """Open new containers and apply other processes' changes to the open ones."""
        revisions = await self._store.revisions()
        if revisions.keys() - self._open.keys():
            await self._open_new()
        errors: list[Exception] = []
        for container_id, revision in revisions.items():
            state = self._open.get(container_id)
            if state is not None and revision > state.catalog.revision:
                try:
                    await state.refresh()
                except Exception as error:  # noqa: BLE001 - the other containers must still be refreshed
                    errors.append(error)
        if errors:
            raise errors[0]

    async def see_all_writes(self) -> None:
        """Apply every write that any process committed before this call (R50).

        Concurrent callers share one read of the store. Raises `StoreUnavailable` at once during an
        outage, and after `_MAX_WAIT_S` seconds without a result.
        """
        if self.database_status.outage is not None:
            raise StoreUnavailable(self.database_status.outage)
        try:
            async with asyncio.timeout(_MAX_WAIT_S):
                await self._shared_catch_up.wait()
        except TimeoutError:
            raise StoreUnavailable(f"the database did not answer within {_MAX_WAIT_S:g} s") from None

    async def _catch_up_with_caps(self) -> None:
        changes = self.changes
        await self.catch_up()
        if self.changes != changes:
            await self._store.catch_up(self._clock())

    def _count_change(self) -> None:
        self.changes += 1

    def authorize(
        self, principal: Principal, container_id: str, permission: Permission | None = None
    ) -> AuthorizedContainer:
        """Return the container of this id for an authorized caller.

        Raises `Forbidden` without the permission, then `NotFound`: in the same words for a container
        that does not exist and for one of another tenant (R28).
        """
        if permission is not None:
            require_permission(principal, permission)
        state = self._open.get(container_id.lower())
        if state is None or not _is_visible(principal, state.container):
            raise NotFound(f"there is no container `{container_id[:200]}`", code="container-not-found")
        return AuthorizedContainer(principal, state)

    def authorize_sandbox(
        self, principal: Principal, sandbox: str | None, permission: Permission | None = None
    ) -> AuthorizedContainer:
        """Return the container of the caller's sandbox: the token's, else the one named, else `prod`.

        A caller of all sandboxes who names an unknown one gets `prod`. Raises as `authorize` does.
        """
        if permission is not None:
            require_permission(principal, permission)
        names = (principal.sandbox,) if principal.sandbox else (sandbox, DEFAULT_SANDBOX)
        for name in names:
            for state in self._open.values():
                if state.container.sandbox == name and _is_visible(principal, state.container):
                    return AuthorizedContainer(principal, state)
        raise NotFound("there is no container for this sandbox", code="container-not-found")

    def datastream(self, key: str) -> tuple[Instance, ContainerState] | None:
        """Return the datastream of this id and its container; the oldest of several."""
        datastreams = [
            (instance, state)
            for state in self._open.values()
            if (instance := state.catalog.of_kind(EntityKind.DATASTREAM).get(key)) is not None
        ]
        if not datastreams:
            return None
        return min(datastreams, key=lambda pair: (pair[0].created_us, pair[1].container.id))

    def get(self, container_id: str) -> ContainerState | None:
        """Return the container of this id without a check. Used for the server's own work."""
        return self._open.get(container_id)

    def visible(self, principal: Principal) -> Sequence[Container]:
        """Return the containers that the caller may see, oldest first."""
        containers = (state.container for state in self._open.values())
        return sorted(
            (container for container in containers if _is_visible(principal, container)),
            key=lambda container: (container.created_us, container.id),
        )

    def all_states(self) -> Sequence[ContainerState]:
        """Return all containers, for the server's own work."""
        return tuple(self._open.values())

    def published_revisions(self) -> Iterator[tuple[str, int, int | None]]:
        """Yield id, catalog revision and last publication (microseconds) of each container."""
        for container_id, state in self._open.items():
            yield container_id, state.catalog.revision, state.publisher.published_us

    async def _open_new(self) -> None:
        async with self._opening:
            for container in await self._store.containers():
                if container.id not in self._open:
                    state = ContainerState(container, self._store, self._clock)
                    await state.open()
                    state.on_change = self._count_change
                    self._open[container.id] = state
                    self._count_change()

    async def _watch(self) -> None:
        last_error = ""
        while True:
            await self._store.await_change()
            try:
                await self.catch_up()
                await self._store.catch_up(self._clock())
                if self._callbacks_run is None or self._callbacks_run.done():
                    self._callbacks_run = asyncio.create_task(self._run_callbacks())
            except StoreUnavailable as error:
                self.database_status.record_failure(error)
                continue  # unavailable for now; the next poll comes soon
            except ProfferError:
                continue
            except Exception as error:  # noqa: BLE001 - without the poll we would never catch up
                if repr(error) != last_error:
                    log_failure("polling for writes of other processes failed", error)
                    last_error = repr(error)
            else:
                last_error = ""

    async def _run_callbacks(self) -> None:
        try:
            for callback in self._poll_callbacks:
                await callback()
        except StoreUnavailable as error:
            self.database_status.record_failure(error)
        except ProfferError:
            return
        except Exception as error:  # noqa: BLE001 - they run again after the next poll
            if repr(error) != self._last_callback_error:
                log_failure("work after a poll failed", error)
            self._last_callback_error = repr(error)
        else:
            self._last_callback_error = ""


def _is_visible(principal: Principal, container: Container) -> bool:
    return can_see_container(principal, container.organisation, container.sandbox)
