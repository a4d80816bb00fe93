"""The `occurs` operator: time comparisons (PQL D-DIR, D-EQUNIT, D-ON, D-BETWEEN, D-BEFORE, D-CAL).

A subject that is null or no valid time never occurs. Anchors are an instant, a day or a calendar
interval.
"""

from dataclasses import dataclass
from datetime import date, datetime

from proffer.pql.values import times
from proffer.pql.values.environment import Environment
from proffer.pql.values.values import Value


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time interval; `end` is excluded."""

    start: datetime
    end: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


def period(env: Environment, which: str, unit: str) -> Stretch:
    """Return the interval of `this week`, `last month`, `next year`."""
    return Stretch(*times.period(which, unit, env.now, env.tz))


def day_word(env: Environment, days: int) -> date | None:
    """Return the day `days` from today: `today` 0, `yesterday` -1, `tomorrow` 1."""
    return times.today(env.now, env.tz, days)


def within(
    env: Environment, subject: Value, sign: str, amount: int, unit: str, back: bool, anchor: Value
) -> bool:
    """Evaluate `<= 3 days before now`: side of the anchor, and distance against the amount."""
    moment, start = times.as_instant(subject, env.tz), _edge(env, anchor, end=not back)
    if moment is None or start is None or (moment > start if back else moment < start):
        return False
    way = -1 if back else 1
    bound = times.shift_within_range(start, way * amount, unit, env.tz)
    if sign in ("=", "!="):
        further = times.shift_within_range(start, way * (amount + 1), unit, env.tz)
        exactly = further < moment <= bound if back else bound <= moment < further
        return exactly if sign == "=" else not exactly
    near, far = (moment >= bound, moment < bound) if back else (moment <= bound, moment > bound)
    match sign:
        case "<=":
            return near
        case "<":
            return near and moment != bound
        case ">=":
            return far or moment == bound
        case _:
            return far


def beside(env: Environment, subject: Value, back: bool, anchor: Value) -> bool:
    """Evaluate `before`/`after` an anchor: before its start; after the instant or from its end on."""
    moment, edge = times.as_instant(subject, env.tz), _edge(env, anchor, end=not back)
    if moment is None or edge is None:
        return False
    if back:
        return moment < edge
    return moment >= edge if isinstance(anchor, Stretch) else moment > edge


def between(env: Environment, subject: Value, low: Value, high: Value) -> bool:
    """Evaluate `between`, ends included; a day or interval as `high` is included as a whole."""
    moment, start = times.as_instant(subject, env.tz), _edge(env, low, end=False)
    if moment is None or start is None or moment < start:
        return False
    whole = _stretch(env, high)
    if whole is not None:
        return moment < whole.end
    end = times.as_instant(high, env.tz)
    return end is not None and moment <= end


def on(env: Environment, subject: Value, anchor: Value) -> bool:
    """Evaluate `on`: within the day or interval, otherwise equal to the instant."""
    moment = times.as_instant(subject, env.tz)
    if moment is None:
        return False
    whole = _stretch(env, anchor)
    return moment in whole if whole is not None else moment == times.as_instant(anchor, env.tz)


def _stretch(env: Environment, anchor: Value) -> Stretch | None:
    """Convert an interval or day to an interval; None for other anchors."""
    if isinstance(anchor, Stretch):
        return anchor
    time = times.as_time(anchor, env.tz)
    if time is None or isinstance(time, datetime):
        return None
    return Stretch(*times.day_of(time, env.tz))


def _edge(env: Environment, anchor: Value, *, end: bool) -> datetime | None:
    if isinstance(anchor, Stretch):
        return anchor.end if end else anchor.start
    return times.as_instant(anchor, env.tz)


def in_segment(env: Environment, segment: str) -> bool:
    """Return whether the profile has a valid realized or existing membership (PQL 4.5, D-SEG)."""
    memberships = env.profile.get("segmentMembership") or env.profile.get("xdm:segmentMembership")
    if not isinstance(memberships, dict):
        return False
    return any(
        isinstance(entries, dict) and _is_member(env, entries.get(segment))
        for entries in memberships.values()
    )


def _is_member(env: Environment, entry: Value) -> bool:
    if not isinstance(entry, dict):
        return False
    status = entry.get("status", entry.get("xdm:status"))
    if status not in (None, "realized", "existing"):
        return False
    until = times.as_instant(entry.get("validUntil", entry.get("xdm:validUntil")), env.tz)
    return until is None or env.now <= until
