"""Customers in dictionaries: the unit of work of `MemoryStore` for `customer_merge.py`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import msgspec
from msgspec import structs

from proffer.errors import NotFound
from proffer.model.capping import CapSubjects
from proffer.model.counting import Counting, Owner, plan_counting, without_conflicts
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
from proffer.store.common.caps import subject_of
from proffer.store.memory.caps import SPACE, MemoryLedger


def copy_attributes(attributes: Attributes) -> Attributes:
    """Return a deep copy, as a JSON store would read it back."""
    result: Attributes = msgspec.json.decode(msgspec.json.encode(dict(attributes)))
    return result


@dataclass(slots=True)
class MemoryUnitOfWork:
    """A `CustomerUnitOfWork`, and all other data of one container's customers."""

    last_key: int = 0
    customers: dict[int, Customer] = field(default_factory=dict)
    holders: dict[IdentityKey, int] = field(default_factory=dict)
    fragments_by_key: dict[int, dict[tuple[str, IdentityKey], Fragment]] = field(default_factory=dict)
    events_by_key: dict[int, dict[str, ExperienceEvent]] = field(default_factory=dict)
    digests: dict[bytes, int] = field(default_factory=dict)
    checkpoints: dict[str, Checkpoint] = field(default_factory=dict)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    now_us: int = 0
    """Time of the last changes."""

    def holder(self, identity: IdentityKey) -> int | None:
        return self.holders.get(identity)

    def load(self, key: int) -> Customer:
        return self.customers[key]

    def fragments(self, key: int) -> Sequence[Fragment]:
        fragments = self.fragments_by_key.get(key, {}).values()
        return tuple(sorted(fragments, key=lambda fragment: fragment.source))

    def new_key(self) -> int:
        self.last_key += 1
        return self.last_key

    def add(self, customer: Customer) -> None:
        self.save(customer)

    def save(self, customer: Customer) -> None:
        membership = {
            audience: replace(record, columns=None if record.columns is None else copy_attributes(record.columns))
            for audience, record in customer.membership.items()
        }
        self.customers[customer.key] = structs.replace(
            customer, attributes=copy_attributes(customer.attributes), membership=membership
        )

    def save_membership(self, customers: Iterable[Customer]) -> None:
        for customer in customers:
            self.save(customer)

    def save_fragment(self, key: int, fragment: Fragment) -> None:
        source: FragmentSource = fragment.source
        fragments = self.fragments_by_key.setdefault(key, {})
        fragments[source.dataset, source.origin] = Fragment(source, copy_attributes(fragment.attributes))

    def remove_fragments(self, key: int) -> None:
        self.fragments_by_key.pop(key, None)

    def assign_identity(self, identity: IdentityKey, key: int) -> None:
        self.holders[identity] = key
        self.ledger.merge_counters((key, ""), subject_of(SPACE, identity), self.now_us)
        owner, _ = self.ledger.joined.pop(identity, (key, 0))
        if owner != key and owner not in self.customers:
            self.ledger.merge_owners(key, owner, self.now_us)

    def release_identity(self, identity: IdentityKey) -> None:
        self.holders.pop(identity, None)

    def merge_into(self, survivor: int, merged: int) -> None:
        self.fragments_by_key.setdefault(survivor, {}).update(self.fragments_by_key.get(merged, {}))
        events = self.events_by_key.setdefault(survivor, {})
        for key, event in self.events_by_key.get(merged, {}).items():
            events.setdefault(key, event)
        self.ledger.merge_owners(survivor, merged, self.now_us)
        self.remove(merged)

    def remove(self, key: int) -> int:
        del self.customers[key]
        self.fragments_by_key.pop(key, None)
        return len(self.events_by_key.pop(key, {}))

    def delete_counters(self, subject: int | IdentityKey) -> int:
        joined = self.ledger.joined
        if isinstance(subject, IdentityKey) and subject in joined:
            subject, _ = joined.pop(subject)
            if subject in self.customers:
                return 0  # the counters are that customer's
        for identity in self.ledger.identities_joined_to(subject) if isinstance(subject, int) else ():
            del joined[identity]
        return self.ledger.delete_counters(subject_of(SPACE, subject))

    def owners(self, identities: Iterable[IdentityKey]) -> dict[IdentityKey, Owner]:
        """Return the owners of these identities' counters."""
        owners: dict[IdentityKey, Owner] = {}
        for identity in identities:
            if identity in self.holders:
                owners[identity] = Owner(self.holders[identity], is_customer=True)
            elif identity in self.ledger.joined:
                key, _ = self.ledger.joined[identity]
                owners[identity] = Owner(key, key in self.customers)
        return owners

    def counting(self, identities: Sequence[IdentityKey]) -> Counting:
        """Return whose counters apply to a request with these identities."""
        plan = plan_counting(identities, self.owners(identities))
        linked = {
            key: self.ledger.identities_joined_to(key)
            | set(self.customers[key].identities if key in self.customers else ())
            for key in plan.joining_owners
        }
        return without_conflicts(plan, linked)

    def add_event(self, key: int, event: ExperienceEvent) -> bool:
        events = self.events_by_key.setdefault(key, {})
        if event.id in events:
            return False
        events[event.id] = replace(event, document=copy_attributes(event.document))
        return True

    def trim_events(self, key: int, max_events: int, since_us: int) -> None:
        recent = [event for event in _by_time(self.events_by_key.get(key, {}).values()) if event.stamped_us >= since_us]
        newest = recent[max(len(recent) - max_events, 0) :]
        self.events_by_key[key] = {event.id: event for event in newest}

    def events(self, key: int, since_us: int) -> Sequence[Attributes]:
        return self.events_of((key,), since_us)

    def events_of(self, keys: Iterable[int], since_us: int) -> Sequence[Attributes]:
        events = [
            event for key in keys for event in self.events_by_key.get(key, {}).values() if event.stamped_us >= since_us
        ]
        return tuple(event.document for event in _by_time(events)[-MAX_EVENTS:])

    def has_digest(self, digest: bytes) -> bool:
        return digest in self.digests

    def add_digest(self, digest: bytes, now_us: int) -> None:
        self.digests.setdefault(digest, now_us)

    def page(self, after: int, limit: int) -> Sequence[Customer]:
        keys = sorted(key for key in self.customers if key > after)
        return tuple(self.customers[key] for key in keys[:limit])


def _by_time(events: Iterable[ExperienceEvent]) -> list[ExperienceEvent]:
    return sorted(events, key=lambda event: (event.stamped_us, event.id))


class MemoryCustomers:
    """Customers of a `MemoryStore`."""

    def __init__(self) -> None:
        super().__init__()
        self._units_of_work: dict[str, MemoryUnitOfWork] = {}

    def _has_container(self, container_id: str) -> bool:
        raise NotImplementedError

    def _ledger_of(self, container_id: str) -> MemoryLedger:
        raise NotImplementedError

    def _unit_of_work(self, container_id: str) -> MemoryUnitOfWork:
        """Return the container's data for reading; empty where there is none."""
        ledger = self._ledger_of(container_id)
        return self._units_of_work.get(container_id) or MemoryUnitOfWork(ledger=ledger)

    def _writable_unit_of_work(self, container_id: str) -> MemoryUnitOfWork:
        if not self._has_container(container_id):
            raise NotFound(f"there is no container `{container_id}`", code="container-not-found")
        ledger = self._ledger_of(container_id)
        return self._units_of_work.setdefault(container_id, MemoryUnitOfWork(ledger=ledger))

    def _owners(self, container_id: str, identities: Sequence[IdentityKey]) -> dict[IdentityKey, Owner]:
        return self._unit_of_work(container_id).owners(identities)

    def _counting(self, container_id: str, identities: Sequence[IdentityKey]) -> Counting:
        return self._unit_of_work(container_id).counting(identities)

    def _new_owner(self, container_id: str) -> int:
        return self._writable_unit_of_work(container_id).new_key()

    async def customers(self, container_id: str, identities: Sequence[IdentityKey]) -> Sequence[Customer]:
        unit_of_work = self._unit_of_work(container_id)
        return tuple(unit_of_work.load(key) for key in rules.distinct_customers(unit_of_work.holder, identities))

    async def lookup_for_decision(self, container_id: str, identities: Sequence[IdentityKey]) -> CustomerLookup:
        counting = self._counting(container_id, identities)
        subjects = CapSubjects(counting.owners, counting.identities, tuple(identities))
        return CustomerLookup(await self.customers(container_id, identities), subjects)

    async def fragments(self, container_id: str, customer: Customer) -> Sequence[Fragment]:
        return rules.fragments_of(self._unit_of_work(container_id), customer)

    async def events(self, container_id: str, keys: Sequence[int], since_us: int) -> Sequence[Attributes]:
        return self._unit_of_work(container_id).events_of(keys, since_us)

    async def apply_changes(
        self,
        container_id: str,
        changes: Sequence[Change],
        *,
        now_us: int,
        qualify: MembershipEvaluator | None = None,
        limits: EventLimits = EVENT_LIMITS,
        checkpoint: Checkpoint | None = None,
    ) -> Sequence[ChangeResult]:
        unit_of_work = self._writable_unit_of_work(container_id)
        unit_of_work.now_us = now_us
        results = rules.apply_changes(unit_of_work, changes, now_us=now_us, qualify=qualify, limits=limits)
        if checkpoint is not None:
            unit_of_work.checkpoints[checkpoint.name] = checkpoint
        return results

    async def bulk_apply(
        self,
        container_id: str,
        records: Sequence[EncodedRecord],
        *,
        now_us: int,
        qualify: MembershipEvaluator | None = None,
        limits: EventLimits = EVENT_LIMITS,
        checkpoint: Checkpoint | None = None,
    ) -> Sequence[ChangeResult]:
        changes = [rules.decode_record(record) for record in records]
        return await self.apply_changes(
            container_id,
            changes,
            now_us=now_us,
            qualify=qualify,
            limits=limits,
            checkpoint=checkpoint,
        )

    async def page(self, container_id: str, after: int, limit: int) -> Sequence[Customer]:
        return self._unit_of_work(container_id).page(after, limit)

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
        unit_of_work = self._unit_of_work(container_id)
        customers = unit_of_work.page(after, limit)
        changed = rules.requalify(unit_of_work, customers, now_us=now_us, qualify=qualify, limits=limits)
        return (customers[-1].key if customers else None), changed

    async def customers_by_key(self, container_id: str, keys: Sequence[int]) -> Sequence[Customer]:
        customers = self._unit_of_work(container_id).customers
        return tuple(customers[key] for key in keys if key in customers)

    async def customer_count(self, container_id: str) -> tuple[int, int, int]:
        unit_of_work = self._unit_of_work(container_id)
        return len(unit_of_work.customers), 1, unit_of_work.last_key

    async def erase(self, container_id: str, identity: IdentityKey) -> ErasureResult | None:
        return rules.erase(self._unit_of_work(container_id), identity)

    async def checkpoint(self, container_id: str, name: str) -> Checkpoint | None:
        return self._unit_of_work(container_id).checkpoints.get(name)

    async def delete_checkpoint(self, container_id: str, name: str) -> None:
        self._unit_of_work(container_id).checkpoints.pop(name, None)

    async def untrimmed_identities(self, limit: int) -> Sequence[tuple[str, IdentityKey]]:
        del limit
        return ()  # no earlier version has stored anything here

    async def delete_untrimmed(self, identities: Sequence[tuple[str, IdentityKey]]) -> None:
        del identities

    async def purge_digests(self, before_us: int) -> int:
        forgotten = 0
        for unit_of_work in self._units_of_work.values():
            old = [digest for digest, taken_us in unit_of_work.digests.items() if taken_us < before_us]
            for digest in old:
                del unit_of_work.digests[digest]
            forgotten += len(old)
        return forgotten
