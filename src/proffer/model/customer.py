"""What is kept of a customer, and what changes it: records, events, audience membership.

A record belongs to a dataset. What records of one dataset say of one primary identity is a fragment; the
customer's attributes are its fragments merged (`model/merging.py`). Attributes are kept normalised:
no `xdm:` prefixes, no nulls.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import msgspec
from msgspec import Struct

from proffer.errors import ProfferError
from proffer.model.capping import Counted
from proffer.model.identity import IdentityKey

Attributes: TypeAlias = Mapping[str, Any]

MAX_EVENTS = 100
"""Experience events kept of one customer: the newest."""


class Status(StrEnum):
    """Where a customer stands with an audience: has just come in, is still in, has left."""

    REALIZED = "realized"
    EXISTING = "existing"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class Standing:
    """A customer's membership of one audience: since when, and the columns of an uploaded list."""

    status: Status
    since_us: int
    columns: Attributes | None = None


Membership: TypeAlias = Mapping[str, Standing]
"""By audience id."""


class Source(NamedTuple):
    """Where a fragment comes from, and the time of its newest record. Sorts by time: later ones win."""

    stamped_us: int
    dataset: str
    origin: IdentityKey


@dataclass(frozen=True, slots=True)
class Fragment:
    """What one source says."""

    source: Source
    attributes: Attributes


class Customer(Struct, frozen=True, kw_only=True):
    """One customer as kept. `attributes` are merged by timestamp order; identities are sorted."""

    key: int
    identities: tuple[IdentityKey, ...]
    sources: tuple[Source, ...] = ()
    attributes: Attributes = msgspec.field(default_factory=dict)
    membership: Membership = msgspec.field(default_factory=dict)
    modified_us: int = 0


class Whom(Struct, frozen=True):
    """Customers, and how far their counters have come; None where that was not read."""

    customers: Sequence[Customer]
    counted: Sequence[Counted] | None = None


NOBODY_KNOWN = Whom((), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Attributes of the one customer whom all these identities name; the first is the primary one.

    A member that is null removes the attribute. `digest` stands for id and content of a record that has
    an id: taking in the same one twice changes nothing.
    """

    identities: tuple[IdentityKey, ...]
    dataset: str
    stamped_us: int
    attributes: Attributes = field(default_factory=dict)
    digest: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One experience event of the customer whom these identities name. Known by its id."""

    identities: tuple[IdentityKey, ...]
    id: str
    stamped_us: int
    document: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Enlisting:
    """A line of an uploaded list: this customer is in the audience, with these columns."""

    identities: tuple[IdentityKey, ...]
    audience: str
    columns: Attributes
    stamped_us: int


EncodedRecord: TypeAlias = tuple[tuple[tuple[str, str], ...], str, int, bytes]
"""A `Record` without digest as plain values: identities, dataset, time, attributes as JSON without any null."""

Change: TypeAlias = Record | Event | Enlisting


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one change: the customer it belongs to, or why it was refused; `again` if it was known."""

    key: int | None
    again: bool = False
    refusal: ProfferError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """How much was removed of a person; `counters` say how often they were given capped offers.

    `decisions` and `feedback` are events that stay on record and no longer say whom they are about.
    """

    identities: tuple[IdentityKey, ...]
    attributes: int = 0
    events: int = 0
    audiences: int = 0
    counters: int = 0
    decisions: int = 0
    feedback: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Redacted:
    """How many events on record no longer say whom they are about: decisions, and feedback.

    `through` are the newest of each that were looked at: packs of decisions, and events, by number.
    """

    decisions: int
    feedback: int
    through: tuple[int, int] = field(default=(0, 0), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLimits:
    """How many events are kept of a customer, how long, and how large one may be."""

    most: int = MAX_EVENTS
    age_us: int = 365 * 86_400_000_000
    bytes_each: int = 65_536


EVENT_LIMITS = EventLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far an import has come, kept with what it wrote. `note` is the importer's own."""

    name: str
    note: bytes


Events: TypeAlias = Callable[[], Sequence[Attributes]]
Qualify: TypeAlias = Callable[[Customer, Events, int], Membership]
"""A customer, their events (asked for only if needed) and the moment to the membership they now have."""


@runtime_checkable
class Prepares(Protocol):
    """A `Qualify` that wants to see the customers of a page before it is asked about each of them."""

    def prepare(self, customers: Sequence[Customer], now_us: int) -> None: ...
