"""How often an offer may be proposed: limits as marketers set them, and what has been used (spec 1.5.1, 9)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

import msgspec
from msgspec import Struct

from proffer.model.identity import IdentityKey

DAY_US = 86_400_000_000
KEPT_AFTER_END_US = 40 * DAY_US
"""So long after its end a counter is still known, so that a clock that jumps a month finds what it left."""
LIFETIME_YEARS = 2
"""A counter ends with its offer, or so many years after the offer's start."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SUNDAY = 3
"""1970-01-04, the first Sunday, in days since 1970-01-01."""


class CapScope(StrEnum):
    """Whether a limit counts everybody together or each profile for itself."""

    GLOBAL = "global"
    PROFILE = "profile"


class CapEntity(StrEnum):
    """Whether a limit sums all placements or counts each placement for itself."""

    OFFER = "offer"
    PLACEMENT = "placement"


class CapEvent(StrEnum):
    """What moves a counter: being proposed, being seen, being clicked, or an event that a rule picks out."""

    DECISIONING = "decisioning"
    IMPRESSION = "impression"
    CLICK = "click"
    CUSTOM = "custom"


class RepeatUnit(StrEnum):
    """A day begins at 00:00 UTC, a week on Sunday, a month on its first day."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Repeat:
    """Counting begins anew every `count` units, reckoned from the unit in which the limit was first in force."""

    unit: RepeatUnit
    count: int = 1

    def start(self, anchor_us: int, now_us: int) -> int:
        """When the period began that this moment is in; works for moments before the anchor too."""
        return self._moment(self._place(anchor_us, now_us))

    def end(self, anchor_us: int, now_us: int) -> int:
        """When that period ends: the first moment of the next."""
        return self._moment(self._place(anchor_us, now_us) + self.count)

    def _place(self, anchor_us: int, now_us: int) -> int:
        """The unit in which the period began, counted from the first there is."""
        anchor = self._unit(anchor_us)
        return anchor + (self._unit(now_us) - anchor) // self.count * self.count

    def _unit(self, moment_us: int) -> int:
        days = moment_us // DAY_US
        if self.unit is RepeatUnit.DAY:
            return days
        if self.unit is RepeatUnit.WEEK:
            return (days - _SUNDAY) // 7
        date = _EPOCH + timedelta(days=days)
        return date.year * 12 + date.month - 1

    def _moment(self, unit: int) -> int:
        if self.unit is RepeatUnit.DAY:
            return unit * DAY_US
        if self.unit is RepeatUnit.WEEK:
            return (unit * 7 + _SUNDAY) * DAY_US
        year, month = divmod(unit, 12)
        return (datetime(year, month + 1, 1, tzinfo=UTC) - _EPOCH).days * DAY_US


CapKey = tuple[str, str, str]
"""Offer id, name of the limit, and the placement counted for itself (empty: all together)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapLimit:
    """At most `limit` events. `name` tells the limits of one offer apart (`globalCap`, `profileCap`, `1`…).

    `placements` are those that it counts in; none named means all. `custom` is the rule, in PQL, that
    picks out custom events.
    """

    name: str
    limit: int
    scope: CapScope
    entity: CapEntity = CapEntity.OFFER
    placements: frozenset[str] = frozenset()
    events: frozenset[str] = field(default=frozenset({CapEvent.DECISIONING.value}))
    custom: str | None = None
    repeat: Repeat | None = None

    def counts_in(self, placement: str) -> bool:
        """True when what happens in this placement moves this limit's counter."""
        return not self.placements or placement in self.placements

    def counter(self, offer: str, placement: str) -> CapKey:
        """The counter that this limit reads for an offer in a placement."""
        return (offer, self.name, placement if self.entity is CapEntity.PLACEMENT else "")

    def window(self, anchor_us: int, now_us: int) -> int:
        """Which period is counted at this moment, by its first moment; 0 where counting never begins anew."""
        return 0 if self.repeat is None else self.repeat.start(anchor_us, now_us)

    @property
    def meaning(self) -> tuple[object, ...]:
        """All but how far it may count."""
        repeat = self.repeat
        return (
            self.name,
            self.scope.value,
            self.entity.value,
            sorted(self.placements),
            sorted(self.events),
            self.custom,
            None if repeat is None else [repeat.unit.value, repeat.count],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferCaps:
    """All limits of one version of an offer, as the transaction that writes it puts them in force.

    No limits: none is in force any more. Counting is anchored when the offer is first `approved`.
    """

    offer: str
    limits: tuple[CapLimit, ...] = ()
    approved: bool = False
    start_us: int | None = None
    end_us: int | None = None
    moment_us: int = 0


def lifetime_end(start_us: int | None, end_us: int | None, now_us: int) -> int | None:
    """When a counter that is moved now ends (spec 9): with its offer, or two years after the offer's start.

    An offer that is older has had that reset already, and the next is two years later. None: never.
    """
    ends: list[int] = []
    if end_us is not None and now_us <= end_us:
        ends.append(end_us + 1)
    if start_us is not None:
        years = LIFETIME_YEARS
        while (after := years_after(start_us, years)) <= now_us:
            years += LIFETIME_YEARS
        ends.append(after)
    return min(ends, default=None)


@lru_cache(maxsize=65_536)
def years_after(moment_us: int, years: int) -> int:
    """The same moment so many years later; of 29 February, that of 1 March where there is none."""
    days, rest = divmod(moment_us, DAY_US)
    date = _EPOCH + timedelta(days=days)
    try:
        later = date.replace(year=date.year + years)
    except ValueError:
        later = date.replace(year=date.year + years, month=3, day=1)
    return (later - _EPOCH).days * DAY_US + rest


Counted: TypeAlias = tuple[int, str, int, int, int | None]
"""A counter of one person as a store keeps it: its number, placement, period, count and end."""


class Subjects(Struct, frozen=True):
    """Whom a request reaches: customers, and its identities, the primary one first (R43).

    `held` is how many of the identities are known to belong to one of the customers. `counted` is how far
    the customers' counters had come when they were looked up, where that was read with them; None: it is
    still to be read.
    """

    customers: tuple[int, ...] = ()
    identities: tuple[IdentityKey, ...] = ()
    held: int = 0
    counted: Sequence[Counted] | None = None


NOBODY = Subjects()


class CapUsage(Struct, frozen=True):
    """What has been used at the moment of the decision, for the profile asked about. Absent means 0."""

    counts: Mapping[CapKey, int] = msgspec.field(default_factory=dict)

    def raised(self, counts: Mapping[CapKey, int]) -> "CapUsage":
        """With these counts, where they are higher."""
        known = self.counts
        return CapUsage(
            {**known, **{key: max(count, known.get(key, 0)) for key, count in counts.items()}}
        )


UNUSED = CapUsage()


class Recorded(Struct, frozen=True, kw_only=True):
    """The decision is on record: its event is durable and everything it gives is counted."""

    reserved_until_us: int | None = None


class Refused(Struct, frozen=True, kw_only=True):
    """Nothing was counted or kept: some limit leaves too little. `counts` is how far the limits are used.

    `revision` is that of the library whose limits stood in the way; a decider that knows less reads again.
    """

    counts: Mapping[CapKey, int]
    revision: int


class ReservationState(StrEnum):
    """Where a reservation stands: only one that is held may be confirmed, released, or expire."""

    HELD = "held"
    CONFIRMED = "confirmed"
    RELEASED = "released"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What is reserved by one decision, until when, and what became of it."""

    decision_id: str
    state: ReservationState
    expires_us: int
