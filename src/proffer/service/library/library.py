"""State of one open container: catalog and snapshot in memory, and a write queue.

Queued writes are validated in sequence, committed together and published together, one build per
group. A returned write is durable, checked against the database, and in force here (R42).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from proffer.errors import Busy, Conflict
from proffer.model.capping import OfferCaps
from proffer.model.catalog import Catalog, Draft
from proffer.model.ids import EntityKind
from proffer.model.instance import Container, Instance
from proffer.model.parse import offer_caps
from proffer.service.library.customer_rules import CustomerRules
from proffer.service.library.publisher import Publisher
from proffer.service.runtime.clock import Clock
from proffer.store.errors import StaleRevision
from proffer.store.ports import CapStore, CatalogStore
from proffer.telemetry import failure


class ContainerStore(CatalogStore, CapStore, Protocol):
    """The part of a store that a container needs: versions and cap limits."""


Change: TypeAlias = Callable[[Draft, int], Instance]
"""Returns the version to write, from the catalog overlay and the time; raises to refuse."""

MOST_TOGETHER = 64
_TRIES = 20


class ContainerState:
    """One open container: catalog, published snapshot and write queue, in step with the store."""

    def __init__(self, container: Container, store: ContainerStore, clock: Clock) -> None:
        self.container = container
        self.catalog = Catalog(container.id)
        self.changed: Callable[[], None] = lambda: None
        """Called after every change of the catalog."""
        self.publisher = Publisher(container.id)
        self.customers = CustomerRules()
        self.formula_faults: Counter[str] = Counter()
        self.content_faults: Counter[str] = Counter()
        self._store = store
        self._clock = clock
        self._waiting: list[tuple[Change, asyncio.Future[Instance]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._taking_in = asyncio.Lock()

    async def open(self) -> None:
        """Load the catalog from the store and publish it."""
        while True:
            revision, live = await self._store.live(self.container.id)
            caps = (caps_said(one) for one in live if one.kind is EntityKind.OFFER)
            try:
                await self._store.ensure_caps(self.container.id, revision, caps)
            except StaleRevision:
                continue  # a concurrent write was committed
            break
        self.catalog = Catalog.of(self.container.id, revision, live)
        self.changed()
        await self.publisher.publish(live, revision, self._clock())
        self.customers.take_in(live)

    async def refresh(self) -> None:
        """Apply what other processes have committed since."""
        await self._take_in(await self._store.since(self.container.id, self.catalog.revision))

    async def write(self, change: Change) -> Instance:
        """Queue a change; return when it is durable and in force. Raises if it was not made."""
        future: asyncio.Future[Instance] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, future))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        return await future

    async def drain(self) -> None:
        """Wait until the write queue is empty."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def history(self, instance_id: str) -> Sequence[Instance]:
        """Return every version of one object, oldest first."""
        return await self._store.history(self.container.id, instance_id)

    async def since(self, revision: int) -> Sequence[Instance]:
        """Return all versions above this revision, deletions included, in order."""
        return await self._store.since(self.container.id, revision)

    async def _take_in(self, versions: Sequence[Instance]) -> None:
        """Apply versions that are not applied yet; return when all of them are in force."""
        async with self._taking_in:
            # The poll for other processes' changes may have applied this commit already.
            fresh = [version for version in versions if version.revision > self.catalog.revision]
            for version in fresh:
                self.catalog.apply(version)
            if fresh:
                self.changed()
                self.customers.take_in(fresh)
                await self.publisher.publish(fresh, self.catalog.revision, self._clock())

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                together = self._waiting[:MOST_TOGETHER]
                del self._waiting[:MOST_TOGETHER]
                try:
                    await self._write_together(together)
                except Exception as error:  # noqa: BLE001 - every waiting caller must get the error
                    for _, future in together:
                        _fail(future, error)
        finally:
            self._writer = None

    async def _write_together(
        self, together: Sequence[tuple[Change, asyncio.Future[Instance]]]
    ) -> None:
        for _ in range(_TRIES):
            draft = Draft(self.catalog)
            accepted: list[tuple[Instance, asyncio.Future[Instance]]] = []
            refused: list[tuple[Exception, asyncio.Future[Instance]]] = []
            for change, future in together:
                if future.cancelled():
                    continue
                try:
                    version = change(draft, self._clock())
                except Exception as error:  # noqa: BLE001 - an error must not affect other changes
                    refused.append((error, future))
                else:
                    draft.add(version)
                    accepted.append((version, future))
            try:
                if accepted:
                    await self._store.commit(
                        self.container.id,
                        self.catalog.revision,
                        draft.versions,
                        [
                            caps_said(offer)
                            for offer in draft.versions
                            if offer.kind is EntityKind.OFFER
                        ],
                    )
            except StaleRevision:
                await self.refresh()
                continue
            except Conflict:
                if len(together) == 1:
                    raise
                # One change conflicts, and others may depend on it: write each one separately.
                for queued in together:
                    await self._write_alone(*queued)
                return
            await self._take_in(draft.versions)
            for version, future in accepted:
                if not future.done():
                    future.set_result(version)
            for refusal, future in refused:
                _fail(future, refusal)
            return
        raise Busy("other writers kept changing this container; try again", code="busy")

    async def _write_alone(self, change: Change, future: asyncio.Future[Instance]) -> None:
        try:
            await self._write_together([(change, future)])
        except Exception as error:  # noqa: BLE001 - the other changes are still to be written
            _fail(future, error)


def caps_said(offer: Instance) -> OfferCaps:
    """Return the cap limits of an offer; none if it cannot be parsed (it is not served then)."""
    try:
        return offer_caps(offer)
    except (LookupError, TypeError, ValueError) as error:
        failure(f"the limits of `{offer.id}` cannot be read", error)
        return OfferCaps(offer=offer.key, moment_us=offer.modified_us)


def _fail(future: asyncio.Future[Instance], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
