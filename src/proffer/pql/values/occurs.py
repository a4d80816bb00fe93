"""`occurs`: where a time lies in relation to others (PQL D-DIR, D-EQUNIT, D-ON, D-BETWEEN, D-BEFORE, D-CAL).

A time that is null or cannot be read never occurs. The rest of a test is a moment, a day or a stretch
of the calendar.
"""

from dataclasses import dataclass
from datetime import date, datetime

from proffer.pql.values import times
from proffer.pql.values.environment import Environment
from proffer.pql.values.values import Value


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time; the end is not in it."""

    start: datetime
    end: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


def period(env: Environment, which: str, unit: str) -> Stretch:
    """`this week`, `last month`, `next year`."""
    return Stretch(*times.period(which, unit, env.now, env.tz))


def day_word(env: Environment, days: int) -> date | None:
    """`today` is 0, `yesterday` -1, `tomorrow` 1."""
    return times.today(env.now, env.tz, days)


def within(
    env: Environment, subject: Value, sign: str, amount: int, unit: str, back: bool, anchor: Value
) -> bool:
    """`<= 3 days before now`: on that side of the anchor, and its distance compared with the amount."""
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
    """`before now`, `after this week`: before the start; after the moment, or at or after the end."""
    moment, edge = times.as_instant(subject, env.tz), _edge(env, anchor, end=not back)
    if moment is None or edge is None:
        return False
    if back:
        return moment < edge
    return moment >= edge if isinstance(anchor, Stretch) else moment > edge


def between(env: Environment, subject: Value, low: Value, high: Value) -> bool:
    """Both ends included; a day or a stretch as the upper end is included whole."""
    moment, start = times.as_instant(subject, env.tz), _edge(env, low, end=False)
    if moment is None or start is None or moment < start:
        return False
    whole = _stretch(env, high)
    if whole is not None:
        return moment < whole.end
    end = times.as_instant(high, env.tz)
    return end is not None and moment <= end


def on(env: Environment, subject: Value, anchor: Value) -> bool:
    """Anywhere in a day or stretch; the very instant otherwise."""
    moment = times.as_instant(subject, env.tz)
    if moment is None:
        return False
    whole = _stretch(env, anchor)
    return moment in whole if whole is not None else moment == times.as_instant(anchor, env.tz)


def _stretch(env: Environment, anchor: Value) -> Stretch | None:
    """The anchor as a stretch of time, if it is one or is a whole day."""
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
    """Whether the profile is in a segment now: realized or existing, and not past its end (PQL 4.5, D-SEG)."""
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
