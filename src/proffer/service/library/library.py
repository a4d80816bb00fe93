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
from proffer.model.catalog import Catalog, CatalogOverlay
from proffer.model.ids import EntityKind
from proffer.model.instance import Container, Instance
from proffer.model.parse import offer_caps
from proffer.service.library.customer_rules import CustomerSchema
from proffer.service.library.publisher import Publisher
from proffer.service.runtime.clock import Clock
from proffer.store.errors import StaleRevision
from proffer.store.ports import CapStore, CatalogStore
from proffer.telemetry import log_failure


class ContainerStore(CatalogStore, CapStore, Protocol):
    """The part of a store that a container needs: versions and cap limits."""


CatalogChange: TypeAlias = Callable[[CatalogOverlay, int], Instance]
"""Returns the version to write, from the catalog overlay and the time; raises to refuse.

The current version means that there is nothing to write.
"""

MAX_GROUP = 64
_MAX_ATTEMPTS = 20


class ContainerState:
    """One open container: catalog, published snapshot and write queue, in step with the store."""

    def __init__(self, container: Container, store: ContainerStore, clock: Clock) -> None:
        self.container = container
        self.catalog = Catalog(container.id)
        self.on_change: Callable[[], None] = lambda: None
        """Called after every change of the catalog once it is open."""
        self.publisher = Publisher(container.id)
        self.customer_schema = CustomerSchema()
        self.formula_faults: Counter[str] = Counter()
        self.content_faults: Counter[str] = Counter()
        self.threshold_faults: Counter[str] = Counter()
        self._store = store
        self._clock = clock
        self._queue: list[tuple[CatalogChange, asyncio.Future[Instance]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._apply_lock = asyncio.Lock()

    async def open(self) -> None:
        """Load the catalog from the store and publish it."""
        while True:
            revision, live = await self._store.live(self.container.id)
            caps = (safe_offer_caps(instance) for instance in live if instance.kind is EntityKind.OFFER)
            try:
                await self._store.ensure_caps(self.container.id, revision, caps)
            except StaleRevision:
                continue  # a concurrent write was committed
            break
        await self.load(revision, live)

    async def load(self, revision: int, live: Sequence[Instance]) -> None:
        """Publish these objects as the catalog at a revision."""
        self.catalog = Catalog.of(self.container.id, revision, live)
        await self.publisher.publish(live, revision, self._clock())
        self.customer_schema.apply(live)

    async def refresh(self) -> None:
        """Apply what other processes have committed since."""
        await self._apply_versions(await self._store.since(self.container.id, self.catalog.revision))

    async def write(self, change: CatalogChange) -> Instance:
        """Queue a change; return when it is durable and in force. Raises if it was not made."""
        future: asyncio.Future[Instance] = asyncio.get_running_loop().create_future()
        self._queue.append((change, future))
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

    async def live_at(self, revision: int) -> Sequence[Instance] | None:
        """Return the objects as of this revision, in order of revision; None if there is no such revision.

        Objects that did not change since are those of the catalog, so that only the others take memory.
        """
        is_known = self.catalog.revision >= revision
        objects = {each.instance_id: each for each in self.catalog if each.revision < revision} if is_known else {}
        changed = await self._store.live_at(self.container.id, revision, changed_since=revision if is_known else 0)
        if changed is None:
            return None
        objects |= {each.instance_id: each for each in changed}
        return sorted(objects.values(), key=lambda each: each.revision)

    async def version_at(self, revision: int, key: str) -> Instance | None:
        """Return the newest version up to this revision of the object with this canonical id; None for none."""
        return await self._store.version_at(self.container.id, revision, key)

    async def since(self, revision: int) -> Sequence[Instance]:
        """Return all versions above this revision, deletions included, in order."""
        return await self._store.since(self.container.id, revision)

    async def _apply_versions(self, versions: Sequence[Instance]) -> None:
        """Apply versions that are not applied yet; return when all of them are in force."""
        async with self._apply_lock:
            # The poll for other processes' changes may have applied this commit already.
            new_versions = [version for version in versions if version.revision > self.catalog.revision]
            for version in new_versions:
                self.catalog.apply(version)
                if version.deleted:
                    for faults in (self.formula_faults, self.content_faults, self.threshold_faults):
                        faults.pop(version.key, None)
            if new_versions:
                self.on_change()
                self.customer_schema.apply(new_versions)
                await self.publisher.publish(new_versions, self.catalog.revision, self._clock())

    async def _write_all(self) -> None:
        try:
            while self._queue:
                group = self._queue[:MAX_GROUP]
                del self._queue[:MAX_GROUP]
                try:
                    await self._write_group(group)
                except Exception as error:  # noqa: BLE001 - every waiting caller must get the error
                    for _, future in group:
                        _fail(future, error)
        finally:
            self._writer = None

    async def _write_group(self, group: Sequence[tuple[CatalogChange, asyncio.Future[Instance]]]) -> None:
        for _ in range(_MAX_ATTEMPTS):
            draft = CatalogOverlay(self.catalog)
            accepted: list[tuple[Instance, asyncio.Future[Instance]]] = []
            refused: list[tuple[Exception, asyncio.Future[Instance]]] = []
            for change, future in group:
                if future.cancelled():
                    continue
                try:
                    version = change(draft, self._clock())
                except Exception as error:  # noqa: BLE001 - an error must not affect other changes
                    refused.append((error, future))
                else:
                    if version.revision == draft.next_revision:
                        draft.add(version)
                    accepted.append((version, future))
            try:
                if draft.versions:
                    await self._store.commit(
                        self.container.id,
                        self.catalog.revision,
                        draft.versions,
                        [safe_offer_caps(offer) for offer in draft.versions if offer.kind is EntityKind.OFFER],
                    )
            except StaleRevision:
                await self.refresh()
                continue
            except Conflict:
                if len(group) == 1:
                    raise
                # One change conflicts, and others may depend on it: write each one separately.
                for queued in group:
                    await self._write_alone(*queued)
                return
            await self._apply_versions(draft.versions)
            for version, future in accepted:
                if not future.done():
                    future.set_result(version)
            for refusal, future in refused:
                _fail(future, refusal)
            return
        raise Busy("concurrent writes kept changing this container; try again", code="busy")

    async def _write_alone(self, change: CatalogChange, future: asyncio.Future[Instance]) -> None:
        try:
            await self._write_group([(change, future)])
        except Exception as error:  # noqa: BLE001 - the other changes are still to be written
            _fail(future, error)


def safe_offer_caps(offer: Instance) -> OfferCaps:
    """Return the cap limits of an offer; none if it cannot be parsed (it is not served then)."""
    try:
        return offer_caps(offer)
    except (LookupError, TypeError, ValueError) as error:
        log_failure(f"the caps of `{offer.id}` cannot be read", error)
        return OfferCaps(offer=offer.key, moment_us=offer.modified_us)


def _fail(future: asyncio.Future[Instance], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
