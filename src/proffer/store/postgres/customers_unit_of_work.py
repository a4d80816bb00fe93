"""Unit of work on preloaded rows, for the synchronous rules of `customer_merge.py`.

Changes are tracked here and written at the end in few statements (`customers_tx.py`). Access to events
that were not loaded raises `EventsNotLoaded`: they are loaded, and the rules run again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from proffer.model.counting import Owner
from proffer.model.customer import MAX_EVENTS, Attributes, Customer, ExperienceEvent, Fragment
from proffer.model.identity import IdentityKey
from proffer.store.postgres.counters import CounterMerge
from proffer.store.sql import customer_statements as sql


class EventDepth(IntEnum):
    """How much of the customers' events was loaded: nothing, ids and times, or documents."""

    NOTHING = 0
    HEADS = 1
    WHOLE = 2


class EventsNotLoaded(Exception):
    """The rules need events loaded to this depth."""

    def __init__(self, depth: EventDepth) -> None:
        super().__init__(depth.name)
        self.depth = depth


@dataclass(frozen=True, slots=True)
class LoadedEvent:
    """An event: its document if loaded or new, and its customer in the database."""

    stamped_us: int
    document: bytes | None
    origin: int | None
    """The customer of the stored row; None for a new event."""


SourceKey = tuple[str, IdentityKey]
Fragments = Mapping[int, Mapping[SourceKey, Fragment]]
Events = Mapping[int, Mapping[str, LoadedEvent]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreloadedCustomers:
    """Rows read and locked by a transaction."""

    space: int
    holders: Mapping[IdentityKey, int] = field(default_factory=dict)
    joined: Mapping[IdentityKey, Owner] = field(default_factory=dict)
    """The counting owners of identities that nobody holds."""
    customers: Mapping[int, Customer] = field(default_factory=dict)
    fragments: Fragments = field(default_factory=dict)
    events: Events = field(default_factory=dict)
    depth: EventDepth = EventDepth.NOTHING
    digests: frozenset[bytes] = frozenset()
    counted: int = 0
    """Number of counters of the customer being erased."""
    new_keys: Sequence[int] = ()


class PreloadedUnitOfWork:
    """A `CustomerUnitOfWork`; its public attributes are the changes to write."""

    def __init__(self, preloaded: PreloadedCustomers) -> None:
        self.preloaded = preloaded
        self.holders: dict[IdentityKey, int | None] = dict(preloaded.holders)
        self.customers = dict(preloaded.customers)
        self.fragments_by_key = {key: dict(fragments) for key, fragments in preloaded.fragments.items()}
        self.events_by_key = {key: dict(events) for key, events in preloaded.events.items()}
        self.now_us = 0
        """Time of the changes."""
        self.added: dict[int, None] = {}
        self.saved: dict[int, None] = {}
        self.requalified: dict[int, None] = {}
        self.removed: dict[int, None] = {}
        self.owned: dict[IdentityKey, None] = {}
        self.ended_joins: dict[IdentityKey, Owner] = {}
        """Identities that no longer count for the owner they had joined."""
        self.without_fragments: dict[int, None] = {}
        """Customers whose stored fragments are deleted before others are written."""
        self.counter_merges: list[CounterMerge] = []
        self.deleted_subjects: list[int | IdentityKey] = []
        self.added_digests: dict[bytes, int] = {}
        self._new_keys: Iterator[int] = iter(preloaded.new_keys)

    def holder(self, identity: IdentityKey) -> int | None:
        return self.holders.get(identity)

    def load(self, key: int) -> Customer:
        return self.customers[key]

    def fragments(self, key: int) -> Sequence[Fragment]:
        fragments = self.fragments_by_key.get(key, {}).values()
        return tuple(sorted(fragments, key=lambda fragment: fragment.source))

    def new_key(self) -> int:
        return next(self._new_keys)

    def add(self, customer: Customer) -> None:
        self.customers[customer.key] = customer
        self.added[customer.key] = None

    def save(self, customer: Customer) -> None:
        self.customers[customer.key] = customer
        if customer.key not in self.added:
            self.saved[customer.key] = None

    def save_membership(self, customers: Iterable[Customer]) -> None:
        for customer in customers:
            self.customers[customer.key] = customer
            self.requalified[customer.key] = None

    def save_fragment(self, key: int, fragment: Fragment) -> None:
        source = fragment.source
        self.fragments_by_key.setdefault(key, {})[source.dataset, source.origin] = fragment

    def remove_fragments(self, key: int) -> None:
        self.fragments_by_key.pop(key, None)
        self.without_fragments[key] = None

    def assign_identity(self, identity: IdentityKey, key: int) -> None:
        if self.holders.get(identity) is None:
            self.counter_merges.append(CounterMerge(key, identity))
            owner = self._leave(identity)
            if owner is not None and not owner.is_customer:
                self.counter_merges.append(CounterMerge(key, owner.key))
        self.holders[identity] = key
        self.owned[identity] = None

    def release_identity(self, identity: IdentityKey) -> None:
        self.holders[identity] = None
        self.owned[identity] = None

    def merge_into(self, survivor: int, merged: int) -> None:
        self.fragments_by_key.setdefault(survivor, {}).update(self.fragments_by_key.get(merged, {}))
        merged_events = self._events_of(merged)
        self._events_of(survivor)
        self.events_by_key.setdefault(survivor, {})
        self.events_by_key[survivor] = {**merged_events, **self.events_by_key[survivor]}
        self.counter_merges.append(CounterMerge(survivor, merged))
        self.remove(merged)

    def remove(self, key: int) -> int:
        events = self._events_of(key)
        self.customers.pop(key)
        self.fragments_by_key.pop(key, None)
        self.events_by_key.pop(key, None)
        self.saved.pop(key, None)
        if key in self.added:
            del self.added[key]
        else:
            self.removed[key] = None
        return len(events)

    def _leave(self, identity: IdentityKey) -> Owner | None:
        """Undo the join of an identity; return the owner that it counted for."""
        owner = self.preloaded.joined.get(identity)
        if owner is not None:
            self.ended_joins[identity] = owner
        return owner

    def delete_counters(self, subject: int | IdentityKey) -> int:
        if isinstance(subject, IdentityKey) and (owner := self._leave(subject)) is not None:
            if owner.is_customer:
                return 0  # the counters are that customer's
            subject = owner.key
        self.deleted_subjects.append(subject)
        return self.preloaded.counted

    def add_event(self, key: int, event: ExperienceEvent) -> bool:
        if event.id in self._events_of(key):
            return False
        loaded_event = LoadedEvent(event.stamped_us, sql.encode_document(event.document), None)
        self.events_by_key.setdefault(key, {})[event.id] = loaded_event
        return True

    def trim_events(self, key: int, max_events: int, since_us: int) -> None:
        recent = [
            (event.stamped_us, name) for name, event in self._events_of(key).items() if event.stamped_us >= since_us
        ]
        recent.sort()
        events = self.events_by_key.get(key, {})
        newest = recent[max(len(recent) - max_events, 0) :]
        self.events_by_key[key] = {name: events[name] for _, name in newest}

    def events(self, key: int, since_us: int) -> Sequence[Attributes]:
        rows = sorted(
            (event.stamped_us, name, event.document)
            for name, event in self._events_of(key, EventDepth.WHOLE).items()
            if event.stamped_us >= since_us
        )
        return tuple(sql.decode_document(text or b"{}") for _, _, text in rows[-MAX_EVENTS:])

    def has_digest(self, digest: bytes) -> bool:
        return digest in self.preloaded.digests or digest in self.added_digests

    def add_digest(self, digest: bytes, now_us: int) -> None:
        self.added_digests.setdefault(digest, now_us)

    def _events_of(self, key: int, depth: EventDepth = EventDepth.HEADS) -> Mapping[str, LoadedEvent]:
        """Return a customer's events; raise EventsNotLoaded if a stored customer's are not loaded."""
        if self.preloaded.depth < depth and key in self.preloaded.customers:
            raise EventsNotLoaded(depth)
        return self.events_by_key.get(key, {})


def is_moved(event: LoadedEvent, key: int) -> bool:
    """Return whether the stored row of this event belongs to another customer."""
    return event.origin is not None and event.origin != key
