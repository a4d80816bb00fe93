"""Frequency caps: limits of offers, and usage counts (spec 1.5.1, 9)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import TypeAlias

import msgspec
from msgspec import Struct

from proffer.model.identity import IdentityKey
from proffer.model.window import ALWAYS, TimeWindow

DAY_US = 86_400_000_000
RETENTION_AFTER_END_US = 40 * DAY_US
"""Time for which a counter is kept after its end, so that a clock jump of a month is harmless."""
LIFETIME_YEARS = 2
"""A counter that does not repeat ends with its offer, or this many years after the offer's start."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS_PER_CYCLE = 146_097
_SUNDAY = 3
"""1970-01-04, the first Sunday, in days since 1970-01-01."""


class CapScope(StrEnum):
    """Whether a limit counts all profiles together or each profile separately."""

    GLOBAL = "global"
    PROFILE = "profile"


class CapEntity(StrEnum):
    """Whether a limit sums all placements or counts each placement separately."""

    OFFER = "offer"
    PLACEMENT = "placement"


class CapEvent(StrEnum):
    """Event that increments a counter; `custom` events are selected by a rule."""

    DECISIONING = "decisioning"
    IMPRESSION = "impression"
    CLICK = "click"
    CUSTOM = "custom"


class RepeatUnit(StrEnum):
    """Unit of a repeat. A day begins at 00:00 UTC, a week on Sunday, a month on its first day."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Repeat:
    """Counters restart every `count` units, counted from the unit of the anchor."""

    unit: RepeatUnit
    count: int = 1

    def start(self, anchor_us: int, now_us: int) -> int:
        """Return the start of the period at `now_us`. It may be before the anchor."""
        return self._unit_start_us(self._period_unit(anchor_us, now_us))

    def end(self, anchor_us: int, now_us: int) -> int:
        """Return the end of the period at `now_us`: the start of the next."""
        return self._unit_start_us(self._period_unit(anchor_us, now_us) + self.count)

    def _period_unit(self, anchor_us: int, now_us: int) -> int:
        """Return the number of the unit in which the period began."""
        anchor = self._unit_at(anchor_us)
        return anchor + (self._unit_at(now_us) - anchor) // self.count * self.count

    def _unit_at(self, moment_us: int) -> int:
        days = moment_us // DAY_US
        if self.unit is RepeatUnit.DAY:
            return days
        if self.unit is RepeatUnit.WEEK:
            return (days - _SUNDAY) // 7
        date = _EPOCH + timedelta(days=days)
        return date.year * 12 + date.month - 1

    def _unit_start_us(self, unit: int) -> int:
        if self.unit is RepeatUnit.DAY:
            return unit * DAY_US
        if self.unit is RepeatUnit.WEEK:
            return (unit * 7 + _SUNDAY) * DAY_US
        year, month = divmod(unit, 12)
        return (datetime(year, month + 1, 1, tzinfo=UTC) - _EPOCH).days * DAY_US


CapKey = tuple[str, str, str]
"""Offer id, limit name, and placement (empty: all placements together)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapLimit:
    """At most `limit` events. `name` is unique within the offer (`globalCap`, `profileCap`, `1`…).

    `placements` are those in which it counts; empty means all. `custom_rule` is the PQL rule that
    selects custom events. A limit that is not `enabled` neither counts nor excludes, and one counts and
    excludes only within its `window`. `threshold`: a formula that gives the maximum instead of `limit`.
    """

    name: str
    limit: int
    scope: CapScope
    entity: CapEntity = CapEntity.OFFER
    placements: frozenset[str] = frozenset()
    events: frozenset[str] = field(default=frozenset({CapEvent.DECISIONING.value}))
    custom_rule: str | None = None
    repeat: Repeat | None = None
    enabled: bool = True
    window: TimeWindow = ALWAYS
    threshold: str | None = None

    def counts_in(self, placement: str) -> bool:
        """Return whether events in this placement count for this limit."""
        return not self.placements or placement in self.placements

    def counter_key(self, offer: str, placement: str) -> CapKey:
        """Return this limit's counter key for an offer in a placement."""
        return (offer, self.name, placement if self.entity is CapEntity.PLACEMENT else "")

    def period_start(self, anchor_us: int, now_us: int) -> int:
        """Return the start of the period at `now_us`; 0 without a repeat."""
        return 0 if self.repeat is None else self.repeat.start(anchor_us, now_us)

    @property
    def identity(self) -> tuple[object, ...]:
        """What the limit counts. Across edits, it is the same limit while this stays equal (R46)."""
        repeat = self.repeat
        return (
            self.scope.value,
            self.entity.value,
            sorted(self.placements),
            sorted(self.events),
            self.custom_rule,
            None if repeat is None else [repeat.unit.value, repeat.count],
        )


def match_limits(limits: Sequence[CapLimit], earlier: Sequence[CapLimit]) -> list[int | None]:
    """Return for each limit the position of the earlier one that it continues (R46).

    Only limits of equal identity match. Of several, a limit continues that of its name, else one that is
    equal in everything, else the first. An empty name is unknown.
    """
    matches: list[int | None] = [None] * len(limits)
    earlier_identities = [limit.identity for limit in earlier]
    for agrees in (_has_same_name, _differs_in_name_only, _always):
        for position, limit in enumerate(limits):
            if matches[position] is None:
                matches[position] = next(
                    (
                        number
                        for number, candidate in enumerate(earlier)
                        if number not in matches
                        and earlier_identities[number] == limit.identity
                        and agrees(limit, candidate)
                    ),
                    None,
                )
    return matches


def _has_same_name(limit: CapLimit, other: CapLimit) -> bool:
    return limit.name != "" and limit.name == other.name


def _differs_in_name_only(limit: CapLimit, other: CapLimit) -> bool:
    return replace(limit, name=other.name) == other


def _always(_limit: CapLimit, _other: CapLimit) -> bool:
    return True


class OfferLimits(tuple[tuple[str, CapLimit], ...]):
    """(offer id, limit) pairs. Decisions over the same offers share one instance."""

    @cached_property
    def profile_offers(self) -> frozenset[str]:
        """The offers with a per-profile limit."""
        return frozenset(offer for offer, limit in self if limit.scope is CapScope.PROFILE)

    @cached_property
    def offers(self) -> frozenset[str]:
        return frozenset(offer for offer, _ in self)


NO_LIMITS = OfferLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferCaps:
    """All limits of one offer version. Those that are enabled are in force once it is written.

    Without limits, none is in force any more. Periods are anchored when the offer is first `approved`.
    """

    offer: str
    limits: tuple[CapLimit, ...] = ()
    approved: bool = False
    start_us: int | None = None
    end_us: int | None = None
    moment_us: int = 0


def lifetime_end(start_us: int | None, end_us: int | None, now_us: int) -> int | None:
    """Return when a counter of a limit that does not repeat ends if it is incremented now (R47).

    With the offer, or at the first midnight two years after its start, and every two years from then on.
    None: never.
    """
    ends: list[int] = []
    if end_us is not None and now_us <= end_us:
        ends.append(end_us + 1)
    if start_us is not None:
        reset_us = -(-years_after(start_us, LIFETIME_YEARS) // DAY_US) * DAY_US
        while reset_us <= now_us:
            reset_us = years_after(reset_us, LIFETIME_YEARS)
        ends.append(reset_us)
    return min(ends, default=None)


def begins_anew(old_end_us: int | None, start_us: int | None, now_us: int) -> bool:
    """Return whether the counters of an offer end with its old end although it has new dates (R47).

    They do when it has ended, or when it now starts after its old end.
    """
    if old_end_us is None:
        return False
    return now_us > old_end_us or (start_us is not None and start_us > old_end_us)


@lru_cache(maxsize=65_536)
def years_after(moment_us: int, years: int) -> int:
    """Return the time `years` later; 29 February becomes 1 March in other years."""
    days, time_of_day = divmod(moment_us, DAY_US)
    # The calendar repeats every 400 years; so the result may be after the year 9999.
    cycles, day = divmod(days, _DAYS_PER_CYCLE)
    date = _EPOCH + timedelta(days=day)
    try:
        later = date.replace(year=date.year + years)
    except ValueError:
        later = date.replace(year=date.year + years, month=3, day=1)
    return (cycles * _DAYS_PER_CYCLE + (later - _EPOCH).days) * DAY_US + time_of_day


CounterRow: TypeAlias = tuple[int, str, int, int, int | None]
"""A stored counter of one subject: limit number, placement, period, count and end."""


class CapSubjects(Struct, frozen=True):
    """Whose counters apply to a request: those of owners, and of identities without one (R48).

    `requested` are all identities of the request, primary first. `counters` are the owners' counters if they
    were read with them; None if they still have to be read.
    """

    owners: tuple[int, ...] = ()
    identities: tuple[IdentityKey, ...] = ()
    requested: tuple[IdentityKey, ...] = ()
    counters: Sequence[CounterRow] | None = None


NO_SUBJECTS = CapSubjects()


class CapUsage(Struct, frozen=True):
    """Counts at the time of the decision, for the requested profile. Absent means 0."""

    counts: Mapping[CapKey, int] = msgspec.field(default_factory=dict)

    def with_counts(self, counts: Mapping[CapKey, int]) -> "CapUsage":
        """Return the usage with these counts where they are higher."""
        current = self.counts
        return CapUsage({**current, **{key: max(count, current.get(key, 0)) for key, count in counts.items()}})


NO_USAGE = CapUsage()


class DecisionRecorded(Struct, frozen=True, kw_only=True):
    """The decision is recorded: its event is durable and its offers are counted."""

    reserved_until_us: int | None = None


class CapRefusal(Struct, frozen=True, kw_only=True):
    """A limit is exhausted, so nothing was counted or stored. `counts` are the current counts.

    `revision` is that of the catalog whose limits applied; a caller with an older one must reload.
    """

    counts: Mapping[CapKey, int]
    revision: int


class ReservationState(StrEnum):
    """State of a reservation. Only a held one may be confirmed, released, or expire."""

    HELD = "held"
    CONFIRMED = "confirmed"
    RELEASED = "released"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """The reservation of one decision: its state and expiry time."""

    decision_id: str
    state: ReservationState
    expires_us: int

    def at(self, now_us: int) -> "Reservation":
        """Return the reservation at this time: a held one may have expired."""
        is_expired = self.state is ReservationState.HELD and self.expires_us <= now_us
        return replace(self, state=ReservationState.EXPIRED) if is_expired else self
