"""Customers in dictionaries: the unit of work of `MemoryStore` for `customer_merge.py`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import msgspec
from msgspec import structs

from proffer.errors import NotFound
from proffer.model.customer import (
    EVENT_LIMITS,
    MAX_EVENTS,
    Attributes,
    Change,
    ChangeResult,
    Checkpoint,
    Customer,
    CustomerLookup,
    EncodedRecord,
    ErasureResult,
    EventLimits,
    ExperienceEvent,
    Fragment,
    FragmentSource,
    MembershipEvaluator,
)
from proffer.model.identity import IdentityKey
from proffer.store.common import customer_merge as rules
from proffer.store.common.caps import subject_text
from proffer.store.memory.caps import SPACE, MemoryLedger


def copied(attributes: Attributes) -> Attributes:
    """Return a deep copy, as a store that writes JSON would read it back."""
    made: Attributes = msgspec.json.decode(msgspec.json.encode(dict(attributes)))
    return made


@dataclass(slots=True)
class MemoryShelf:
    """A `CustomerUnitOfWork`, and all other data of one container's customers."""

    newest: int = 0
    kept: dict[int, Customer] = field(default_factory=dict)
    holders: dict[IdentityKey, int] = field(default_factory=dict)
    sources: dict[int, dict[tuple[str, IdentityKey], Fragment]] = field(default_factory=dict)
    happened: dict[int, dict[str, ExperienceEvent]] = field(default_factory=dict)
    digests: dict[bytes, int] = field(default_factory=dict)
    marks: dict[str, Checkpoint] = field(default_factory=dict)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    now_us: int = 0
    """Time of the last changes."""

    def holder(self, identity: IdentityKey) -> int | None:
        return self.holders.get(identity)

    def load(self, key: int) -> Customer:
        return self.kept[key]

    def fragments(self, key: int) -> Sequence[Fragment]:
        found = self.sources.get(key, {}).values()
        return tuple(sorted(found, key=lambda fragment: fragment.source))

    def new_key(self) -> int:
        self.newest += 1
        return self.newest

    def add(self, customer: Customer) -> None:
        self.save(customer)

    def save(self, customer: Customer) -> None:
        membership = {
            audience: replace(one, columns=None if one.columns is None else copied(one.columns))
            for audience, one in customer.membership.items()
        }
        self.kept[customer.key] = structs.replace(
            customer, attributes=copied(customer.attributes), membership=membership
        )

    def save_membership(self, customers: Iterable[Customer]) -> None:
        for customer in customers:
            self.save(customer)

    def save_fragment(self, key: int, fragment: Fragment) -> None:
        source: FragmentSource = fragment.source
        fragments = self.sources.setdefault(key, {})
        fragments[source.dataset, source.origin] = Fragment(source, copied(fragment.attributes))

    def own(self, identity: IdentityKey, key: int) -> None:
        self.holders[identity] = key
        self.ledger.fold((key, ""), (-SPACE, subject_text(identity)), self.now_us)

    def disown(self, identity: IdentityKey) -> None:
        self.holders.pop(identity, None)

    def absorb(self, survivor: int, gone: int) -> None:
        self.sources.setdefault(survivor, {}).update(self.sources.get(gone, {}))
        events = self.happened.setdefault(survivor, {})
        for key, event in self.happened.get(gone, {}).items():
            events.setdefault(key, event)
        self.ledger.fold((survivor, ""), (gone, ""), self.now_us)
        self.remove(gone)

    def remove(self, key: int) -> int:
        del self.kept[key]
        self.sources.pop(key, None)
        return len(self.happened.pop(key, {}))

    def forget_counted(self, whom: int | IdentityKey) -> int:
        if isinstance(whom, IdentityKey):
            return self.ledger.remove((-SPACE, subject_text(whom)))
        return self.ledger.remove((whom, ""))

    def add_event(self, key: int, event: ExperienceEvent) -> bool:
        events = self.happened.setdefault(key, {})
        if event.id in events:
            return False
        events[event.id] = replace(event, document=copied(event.document))
        return True

    def forget_events(self, key: int, most: int, since_us: int) -> None:
        young = [
            one
            for one in _in_order(self.happened.get(key, {}).values())
            if one.stamped_us >= since_us
        ]
        newest = young[max(len(young) - most, 0) :]
        self.happened[key] = {event.id: event for event in newest}

    def events(self, key: int, since_us: int) -> Sequence[Attributes]:
        return self.events_of((key,), since_us)

    def events_of(self, keys: Iterable[int], since_us: int) -> Sequence[Attributes]:
        found = [
            event
            for key in keys
            for event in self.happened.get(key, {}).values()
            if event.stamped_us >= since_us
        ]
        return tuple(event.document for event in _in_order(found)[-MAX_EVENTS:])

    def known(self, digest: bytes) -> bool:
        return digest in self.digests

    def remember(self, digest: bytes, now_us: int) -> None:
        self.digests.setdefault(digest, now_us)

    def page(self, after: int, limit: int) -> Sequence[Customer]:
        keys = sorted(key for key in self.kept if key > after)
        return tuple(self.kept[key] for key in keys[:limit])


def _in_order(events: Iterable[ExperienceEvent]) -> list[ExperienceEvent]:
    return sorted(events, key=lambda event: (event.stamped_us, event.id))


class MemoryCustomers:
    """Customers of a `MemoryStore`."""

    def __init__(self) -> None:
        super().__init__()
        self._shelves: dict[str, MemoryShelf] = {}

    def _has_container(self, container_id: str) -> bool:
        raise NotImplementedError

    def _ledger_of(self, container_id: str) -> MemoryLedger:
        raise NotImplementedError

    def _shelf(self, container_id: str) -> MemoryShelf:
        """Return the container's data for reading; empty where there is none."""
        ledger = self._ledger_of(container_id)
        return self._shelves.get(container_id) or MemoryShelf(ledger=ledger)

    def _own_shelf(self, container_id: str) -> MemoryShelf:
        if not self._has_container(container_id):
            raise NotFound(f"there is no container `{container_id}`", code="container-not-found")
        ledger = self._ledger_of(container_id)
        return self._shelves.setdefault(container_id, MemoryShelf(ledger=ledger))

    async def customers(
        self, container_id: str, identities: Sequence[IdentityKey]
    ) -> Sequence[Customer]:
        shelf = self._shelf(container_id)
        return tuple(shelf.load(key) for key in rules.distinct(shelf.holder, identities))

    async def whom(self, container_id: str, identities: Sequence[IdentityKey]) -> CustomerLookup:
        return CustomerLookup(await self.customers(container_id, identities))

    async def fragments(self, container_id: str, customer: Customer) -> Sequence[Fragment]:
        return rules.fragments_of(self._shelf(container_id), customer)

    async def events(
        self, container_id: str, keys: Sequence[int], since_us: int
    ) -> Sequence[Attributes]:
        return self._shelf(container_id).events_of(keys, since_us)

    async def take_in(
        self,
        container_id: str,
        changes: Sequence[Change],
        *,
        now_us: int,
        qualify: MembershipEvaluator | None = None,
        limits: EventLimits = EVENT_LIMITS,
        mark: Checkpoint | None = None,
    ) -> Sequence[ChangeResult]:
        shelf = self._own_shelf(container_id)
        shelf.now_us = now_us
        taken = rules.take_in(shelf, changes, now_us=now_us, qualify=qualify, limits=limits)
        if mark is not None:
            shelf.marks[mark.name] = mark
        return taken

    async def bring_in(
        self,
        container_id: str,
        records: Sequence[EncodedRecord],
        *,
        now_us: int,
        qualify: MembershipEvaluator | None = None,
        limits: EventLimits = EVENT_LIMITS,
        mark: Checkpoint | None = None,
    ) -> Sequence[ChangeResult]:
        changes = [rules.decoded(record) for record in records]
        return await self.take_in(
            container_id, changes, now_us=now_us, qualify=qualify, limits=limits, mark=mark
        )

    async def page(self, container_id: str, after: int, limit: int) -> Sequence[Customer]:
        return self._shelf(container_id).page(after, limit)

    async def requalify(
        self,
        container_id: str,
        after: int,
        limit: int,
        *,
        now_us: int,
        qualify: MembershipEvaluator,
        limits: EventLimits = EVENT_LIMITS,
    ) -> tuple[int | None, int]:
        shelf = self._shelf(container_id)
        found = shelf.page(after, limit)
        changed = rules.requalify(shelf, found, now_us=now_us, qualify=qualify, limits=limits)
        return (found[-1].key if found else None), changed

    async def sample(self, container_id: str, keys: Sequence[int]) -> Sequence[Customer]:
        kept = self._shelf(container_id).kept
        return tuple(kept[key] for key in keys if key in kept)

    async def customer_count(self, container_id: str) -> tuple[int, int, int]:
        shelf = self._shelf(container_id)
        return len(shelf.kept), 1, shelf.newest

    async def erase(self, container_id: str, identity: IdentityKey) -> ErasureResult | None:
        return rules.erase(self._shelf(container_id), identity)

    async def mark(self, container_id: str, name: str) -> Checkpoint | None:
        return self._shelf(container_id).marks.get(name)

    async def unmark(self, container_id: str, name: str) -> None:
        self._shelf(container_id).marks.pop(name, None)

    async def forget_digests(self, before_us: int) -> int:
        forgotten = 0
        for shelf in self._shelves.values():
            old = [digest for digest, taken_us in shelf.digests.items() if taken_us < before_us]
            for digest in old:
                del shelf.digests[digest]
            forgotten += len(old)
        return forgotten
