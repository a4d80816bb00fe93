"""The `occurs` operator: time comparisons (PQL D-DIR, D-EQUNIT, D-ON, D-BETWEEN, D-BEFORE, D-CAL).

A subject that is null or no valid time never occurs. Anchors are an instant, a day or a calendar
interval.
"""

from dataclasses import dataclass
from datetime import date, datetime, tzinfo

from proffer.pql.values import times
from proffer.pql.values.environment import Environment
from proffer.pql.values.values import Value


@dataclass(frozen=True, slots=True)
class TimeInterval:
    """A time interval; `end` is excluded."""

    start: datetime
    end: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


def period(env: Environment, which: str, unit: str) -> TimeInterval:
    """Return the interval of `this week`, `last month`, `next year`."""
    return TimeInterval(*times.period(which, unit, env.now, env.tz))


def day_word(env: Environment, days: int) -> date | None:
    """Return the day `days` from today: `today` 0, `yesterday` -1, `tomorrow` 1."""
    return times.today(env.now, env.tz, days)


def within(
    env: Environment,
    subject: Value,
    sign: str,
    amount: int,
    unit: str,
    is_before: bool,
    anchor: Value,
) -> bool:
    """Evaluate `<= 3 days before now`: side of the anchor, and distance against the amount.

    Months and longer units are complete as `age` counts them (R49). `<=` and `>` before an anchor subtract
    instead: 28 February is one month before 31 March, as well as at least one month. The clocks are those of
    the earlier time's own zone, else the later one's, else the evaluation's.
    """
    moment, start = times.as_instant(subject, env.tz), _boundary(env, anchor, end=not is_before)
    if moment is None or start is None or (moment > start if is_before else moment < start):
        return False
    months = times.MONTHS_PER_UNIT.get(unit)
    if months is not None:
        earlier, later = (subject, anchor) if is_before else (anchor, subject)
        zone = times.own_zone(earlier) or times.own_zone(later) or env.tz
        moment, start = times.wall_time(moment, zone), times.wall_time(start, zone)
        if moment is None or start is None:
            return False
        # Clocks that are put back may show an earlier time for a later instant.
        moment = min(moment, start) if is_before else max(moment, start)
        if is_before and sign in ("<=", ">"):
            subtracted = times.shift_months(start, -amount * months) or times.EARLIEST_WALL_TIME
            return (moment < subtracted) is (sign == ">")
    step = -1 if is_before else 1
    bound = _complete_bound(start, step * amount, unit, env.tz)
    is_complete = moment <= bound if is_before else moment >= bound
    match sign:
        case ">=":
            return is_complete
        case "<":
            return not is_complete
        case "=" | "!=":
            next_bound = _complete_bound(start, step * (amount + 1), unit, env.tz)
            is_next_complete = moment <= next_bound if is_before else moment >= next_bound
            return (is_complete and not is_next_complete) is (sign == "=")
        case _:
            return (moment < bound if is_before else moment > bound) is (sign == ">")


def _complete_bound(start: datetime, amount: int, unit: str, zone: tzinfo) -> datetime:
    """Return the nearest time at which the units are complete. `start` is naive for months and longer units."""
    months = times.MONTHS_PER_UNIT.get(unit)
    if months is None:
        return times.shift_within_range(start, amount, unit, zone)
    return times.shift_whole_months(start, amount * months)


def beside(env: Environment, subject: Value, is_before: bool, anchor: Value) -> bool:
    """Evaluate `before`/`after` an anchor: before its start; after the instant or from its end on."""
    moment, boundary = times.as_instant(subject, env.tz), _boundary(env, anchor, end=not is_before)
    if moment is None or boundary is None:
        return False
    if is_before:
        return moment < boundary
    return moment >= boundary if isinstance(anchor, TimeInterval) else moment > boundary


def between(env: Environment, subject: Value, low: Value, high: Value) -> bool:
    """Evaluate `between`, ends included; a day or interval as `high` is included as a whole."""
    moment, start = times.as_instant(subject, env.tz), _boundary(env, low, end=False)
    if moment is None or start is None or moment < start:
        return False
    interval = _as_interval(env, high)
    if interval is not None:
        return moment < interval.end
    end = times.as_instant(high, env.tz)
    return end is not None and moment <= end


def on(env: Environment, subject: Value, anchor: Value) -> bool:
    """Evaluate `on`: within the day or interval, otherwise equal to the instant."""
    moment = times.as_instant(subject, env.tz)
    if moment is None:
        return False
    interval = _as_interval(env, anchor)
    return moment in interval if interval is not None else moment == times.as_instant(anchor, env.tz)


def _as_interval(env: Environment, anchor: Value) -> TimeInterval | None:
    """Convert an interval or day to an interval; None for other anchors."""
    if isinstance(anchor, TimeInterval):
        return anchor
    time = times.as_time(anchor, env.tz)
    if time is None or isinstance(time, datetime):
        return None
    return TimeInterval(*times.day_bounds(time, env.tz))


def _boundary(env: Environment, anchor: Value, *, end: bool) -> datetime | None:
    if isinstance(anchor, TimeInterval):
        return anchor.end if end else anchor.start
    return times.as_instant(anchor, env.tz)


def in_segment(env: Environment, segment: str) -> bool:
    """Return whether the profile has a valid membership (PQL 4.5, D-SEG). Its status is realized or existing."""
    memberships = env.profile.get("segmentMembership") or env.profile.get("xdm:segmentMembership")
    if not isinstance(memberships, dict):
        return False
    return any(isinstance(entries, dict) and _is_member(env, entries.get(segment)) for entries in memberships.values())


def in_audience(env: Environment, audience: str) -> bool:
    """Return whether the profile has a valid membership of the audience with this id or name."""
    if in_segment(env, audience):
        return True
    audience_id = env.audience_ids.get(audience)
    return audience_id is not None and in_segment(env, audience_id)


def _is_member(env: Environment, entry: Value) -> bool:
    if not isinstance(entry, dict):
        return False
    status = entry.get("status", entry.get("xdm:status"))
    if status not in (None, "realized", "existing"):
        return False
    until = times.as_instant(entry.get("validUntil", entry.get("xdm:validUntil")), env.tz)
    return until is None or env.now <= until
