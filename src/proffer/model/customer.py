"""Stored customers and their changes: profile records, experience events, audience memberships.

A record belongs to a dataset. The records of one dataset about one primary identity form a fragment; the
customer's attributes are its merged fragments (`model/merging.py`). Attributes are stored normalised:
no `xdm:` prefixes, no nulls.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import msgspec
from msgspec import Struct

from proffer.errors import ProfferError
from proffer.model.capping import NO_SUBJECTS, CapSubjects
from proffer.model.identity import IdentityKey

Attributes: TypeAlias = Mapping[str, Any]

MAX_EVENTS = 100
"""Maximum number of experience events stored per customer; the newest are kept."""


class MembershipStatus(StrEnum):
    """State of an audience membership: entered, still a member, left."""

    REALIZED = "realized"
    EXISTING = "existing"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class AudienceMembership:
    """Membership of one audience: state, time of the last change, columns of an uploaded list."""

    status: MembershipStatus
    since_us: int
    columns: Attributes | None = None


Memberships: TypeAlias = Mapping[str, AudienceMembership]
"""Audience memberships by audience id."""


class FragmentSource(NamedTuple):
    """Source of a fragment, and the time of its newest record. Sorts by time: later ones win."""

    stamped_us: int
    dataset: str
    origin: IdentityKey


@dataclass(frozen=True, slots=True)
class Fragment:
    """The attributes from one source."""

    source: FragmentSource
    attributes: Attributes


class Customer(Struct, frozen=True, kw_only=True):
    """A stored customer. `attributes` are merged in timestamp order; identities are sorted."""

    key: int
    identities: tuple[IdentityKey, ...]
    sources: tuple[FragmentSource, ...] = ()
    attributes: Attributes = msgspec.field(default_factory=dict)
    membership: Memberships = msgspec.field(default_factory=dict)
    modified_us: int = 0


class CustomerLookup(Struct, frozen=True):
    """The customers of a request's identities, and whose counters apply to it."""

    customers: Sequence[Customer] = ()
    subjects: CapSubjects = NO_SUBJECTS


NO_CUSTOMERS = CustomerLookup()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRecord:
    """Attributes of the customer of these identities; the first identity is the primary one.

    A null member removes the attribute. `digest` is the hash of id and content of a record with an id:
    applying the same record twice changes nothing.
    """

    identities: tuple[IdentityKey, ...]
    dataset: str
    stamped_us: int
    attributes: Attributes = field(default_factory=dict)
    digest: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperienceEvent:
    """One experience event of the customer of these identities. `id` is unique."""

    identities: tuple[IdentityKey, ...]
    id: str
    stamped_us: int
    document: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipChange:
    """A row of an uploaded audience list: the customer is a member, with these columns."""

    identities: tuple[IdentityKey, ...]
    audience: str
    columns: Attributes
    stamped_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityTrim:
    """Replacement of a stored identity with blanks around its id: `(without, with)`."""

    identities: tuple[IdentityKey, IdentityKey]


EncodedRecord: TypeAlias = tuple[tuple[tuple[str, str], ...], str, int, bytes]
"""A `ProfileRecord` without digest: identities, dataset, time, attributes as JSON without nulls."""

Change: TypeAlias = ProfileRecord | ExperienceEvent | MembershipChange | IdentityTrim


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """Result of one change: the customer key, or the refusal. `is_duplicate`: it was applied before."""

    key: int | None
    is_duplicate: bool = False
    refusal: ProfferError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureResult:
    """Numbers of removed items of an erased customer. `counters` are those of capped offers.

    `decisions` and `feedback` are numbers of events that stay stored without their identities.
    """

    identities: tuple[IdentityKey, ...]
    attributes: int = 0
    events: int = 0
    audiences: int = 0
    counters: int = 0
    decisions: int = 0
    feedback: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RedactionResult:
    """Numbers of decision and feedback events that were stripped of their identities.

    `scanned_through`: numbers of the last scanned decision pack and feedback event.
    """

    decisions: int
    feedback: int
    scanned_through: tuple[int, int] = field(default=(0, 0), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLimits:
    """Limits of stored experience events: number per customer, age, and size of one."""

    max_events: int = MAX_EVENTS
    max_age_us: int = 365 * 86_400_000_000
    max_event_bytes: int = 65_536


EVENT_LIMITS = EventLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Progress of an import, stored together with what it wrote. `note` is opaque to the store."""

    name: str
    note: bytes


EventLoader: TypeAlias = Callable[[], Sequence[Attributes]]
MembershipEvaluator: TypeAlias = Callable[[Customer, EventLoader, int], Memberships]
"""Function of a customer, a loader of their events, and the time; returns the new memberships."""


@runtime_checkable
class PageEvaluator(Protocol):
    """A `MembershipEvaluator` given all customers of a page before each is evaluated."""

    def prepare(self, customers: Sequence[Customer], now_us: int) -> None: ...
