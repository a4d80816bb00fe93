"""Unit of work on preloaded rows, for the synchronous rules of `customer_merge.py`.

Changes are tracked here and written at the end in few statements (`customers_tx.py`). Access to events
that were not loaded raises `EventsNotLoaded`: they are loaded, and the rules run again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from proffer.model.customer import MAX_EVENTS, Attributes, Customer, ExperienceEvent, Fragment
from proffer.model.identity import IdentityKey
from proffer.store.postgres.counters import Recount
from proffer.store.sql import customer_statements as sql


class Depth(IntEnum):
    """How much of the customers' events was loaded: nothing, ids and times, or documents."""

    NOTHING = 0
    HEADS = 1
    WHOLE = 2


class NotRead(Exception):
    """The rules need events loaded to this depth."""

    def __init__(self, depth: Depth) -> None:
        super().__init__(depth.name)
        self.depth = depth


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """An event: its document if loaded or new, and its customer in the database."""

    stamped_us: int
    document: bytes | None
    origin: int | None
    """The customer of the stored row; None for a new event."""


SourceKey = tuple[str, IdentityKey]
Fragments = Mapping[int, Mapping[SourceKey, Fragment]]
Events = Mapping[int, Mapping[str, KeptEvent]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Rows read and locked by a transaction."""

    space: int
    holders: Mapping[IdentityKey, int] = field(default_factory=dict)
    customers: Mapping[int, Customer] = field(default_factory=dict)
    fragments: Fragments = field(default_factory=dict)
    events: Events = field(default_factory=dict)
    depth: Depth = Depth.NOTHING
    digests: frozenset[bytes] = frozenset()
    counted: int = 0
    """Number of counters of the customer being erased."""
    new_keys: Sequence[int] = ()


class LoadedShelf:
    """A `CustomerUnitOfWork`; its public attributes are the changes to write."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.holders: dict[IdentityKey, int | None] = dict(loaded.holders)
        self.customers = dict(loaded.customers)
        self.every_fragment = {key: dict(fragments) for key, fragments in loaded.fragments.items()}
        self.every_event = {key: dict(events) for key, events in loaded.events.items()}
        self.now_us = 0
        """Time of the changes."""
        self.added: dict[int, None] = {}
        self.saved: dict[int, None] = {}
        self.requalified: dict[int, None] = {}
        self.removed: dict[int, None] = {}
        self.owned: dict[IdentityKey, None] = {}
        self.recounted: list[Recount] = []
        self.forgotten: list[int | IdentityKey] = []
        self.remembered: dict[bytes, int] = {}
        self._new_keys: Iterator[int] = iter(loaded.new_keys)

    def holder(self, identity: IdentityKey) -> int | None:
        return self.holders.get(identity)

    def load(self, key: int) -> Customer:
        return self.customers[key]

    def fragments(self, key: int) -> Sequence[Fragment]:
        found = self.every_fragment.get(key, {}).values()
        return tuple(sorted(found, key=lambda fragment: fragment.source))

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
        self.every_fragment.setdefault(key, {})[source.dataset, source.origin] = fragment

    def own(self, identity: IdentityKey, key: int) -> None:
        if self.holders.get(identity) is None:
            self.recounted.append(Recount(key, identity))
        self.holders[identity] = key
        self.owned[identity] = None

    def disown(self, identity: IdentityKey) -> None:
        self.holders[identity] = None
        self.owned[identity] = None

    def absorb(self, survivor: int, gone: int) -> None:
        self.every_fragment.setdefault(survivor, {}).update(self.every_fragment.get(gone, {}))
        theirs = self._events_of(gone)
        self._events_of(survivor)
        self.every_event.setdefault(survivor, {})
        self.every_event[survivor] = {**theirs, **self.every_event[survivor]}
        self.recounted.append(Recount(survivor, gone))
        self.remove(gone)

    def remove(self, key: int) -> int:
        events = self._events_of(key)
        self.customers.pop(key)
        self.every_fragment.pop(key, None)
        self.every_event.pop(key, None)
        self.saved.pop(key, None)
        if key in self.added:
            del self.added[key]
        else:
            self.removed[key] = None
        return len(events)

    def forget_counted(self, whom: int | IdentityKey) -> int:
        self.forgotten.append(whom)
        return self.loaded.counted

    def add_event(self, key: int, event: ExperienceEvent) -> bool:
        if event.id in self._events_of(key):
            return False
        kept = KeptEvent(event.stamped_us, sql.encode_document(event.document), None)
        self.every_event.setdefault(key, {})[event.id] = kept
        return True

    def forget_events(self, key: int, most: int, since_us: int) -> None:
        young = [
            (one.stamped_us, name)
            for name, one in self._events_of(key).items()
            if one.stamped_us >= since_us
        ]
        young.sort()
        events = self.every_event.get(key, {})
        newest = young[max(len(young) - most, 0) :]
        self.every_event[key] = {name: events[name] for _, name in newest}

    def events(self, key: int, since_us: int) -> Sequence[Attributes]:
        found = sorted(
            (one.stamped_us, name, one.document)
            for name, one in self._events_of(key, Depth.WHOLE).items()
            if one.stamped_us >= since_us
        )
        return tuple(sql.decode_document(text or b"{}") for _, _, text in found[-MAX_EVENTS:])

    def known(self, digest: bytes) -> bool:
        return digest in self.loaded.digests or digest in self.remembered

    def remember(self, digest: bytes, now_us: int) -> None:
        self.remembered.setdefault(digest, now_us)

    def _events_of(self, key: int, depth: Depth = Depth.HEADS) -> Mapping[str, KeptEvent]:
        """Return a customer's events; raise EventsNotLoaded if a stored customer's are not loaded."""
        if self.loaded.depth < depth and key in self.loaded.customers:
            raise NotRead(depth)
        return self.every_event.get(key, {})


def moved(event: KeptEvent, key: int) -> bool:
    """Return whether the stored row of this event belongs to another customer."""
    return event.origin is not None and event.origin != key
