"""Time values: a `date` is a day in the zone of the evaluation, a `datetime` an instant.

An instant whose `tzinfo` is the object `UTC` has no zone of its own: the clocks of the evaluation show it.
Any other `tzinfo` is the zone of the time, for whatever reads its parts; it compares as its instant.

Nothing here raises: invalid times and times outside the years 1 to 9999 are None. Only the arithmetic
of `occurs` clamps to that range instead, so that comparisons stay meaningful.
"""

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, TypeAlias

Time: TypeAlias = date | datetime

EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)
EARLIEST_WALL_TIME, LATEST_WALL_TIME = EARLIEST.replace(tzinfo=None), LATEST.replace(tzinfo=None)

_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}(?P<time>[Tt ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?P<zone>[Zz]|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII,
)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_FIXED_UNITS = {
    "millisecond": timedelta(milliseconds=1),
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}
MONTHS_PER_UNIT = {"month": 1, "year": 12, "decade": 120, "century": 1200, "millennium": 12000}


def parse_time(text: str) -> Time | None:
    """Parse an ISO 8601 date or date-time; None if invalid.

    A date-time is naive without a zone. An offset other than zero is kept as its zone.
    """
    return _parse_time(text) if len(text) < 40 else None  # the cache keeps no long texts


@lru_cache(maxsize=1024)
def _parse_time(text: str) -> Time | None:
    match_ = _ISO.fullmatch(text)
    if match_ is None:
        return None
    try:
        if match_["time"] is None:
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    return in_utc_range(moment)


def in_utc_range(moment: datetime) -> datetime | None:
    """Return the time; None if it is outside the years 1 to 9999 in UTC."""
    return None if moment.tzinfo is not None and _to_utc(moment) is None else moment


def as_moment(text: str) -> datetime | None:
    """Return the instant in UTC of a text that is a full RFC 3339 date-time, with a zone; else None."""
    if len(text) < 20 or text[4] != "-" or text[10] not in "Tt " or _MOMENT.fullmatch(text) is None:
        return None
    moment = parse_time(text)
    return _to_utc(moment) if isinstance(moment, datetime) else None


def as_zoned_time(value: Any, zone: tzinfo) -> Time | None:
    """Convert a date, date-time or ISO text to a date or a date-time, which keeps its zone; else None."""
    if isinstance(value, str):
        value = parse_time(value)
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else _to_utc(value.replace(tzinfo=zone))
    return value if isinstance(value, date) else None


def as_time(value: Any, zone: tzinfo) -> Time | None:
    """Convert a date, date-time or ISO text to a time to compare: a date, or a date-time in UTC; else None."""
    time = as_zoned_time(value, zone)
    return _to_utc(time) if isinstance(time, datetime) else time


def as_instant(value: Any, zone: tzinfo) -> datetime | None:
    """Convert a value to an instant in UTC; a day becomes its midnight."""
    time = as_time(value, zone)
    if time is None or isinstance(time, datetime):
        return time
    return _to_utc(datetime(time.year, time.month, time.day, tzinfo=zone))


def as_local(value: Any, zone: tzinfo) -> datetime | None:
    """Convert a value to a local time of its own zone, or of `zone` if it has none."""
    time = as_zoned_time(value, zone)
    if isinstance(time, datetime) and time.tzinfo is not UTC:
        return time
    instant = as_instant(time, zone)
    return None if instant is None else to_zone(instant, zone)


def own_zone(value: Any) -> tzinfo | None:
    """Return the zone that a date-time or ISO text carries; None for UTC and other values."""
    if isinstance(value, str):
        value = parse_time(value)
    zone = value.tzinfo if isinstance(value, datetime) else None
    return None if zone is UTC else zone


def _to_utc(moment: datetime) -> datetime | None:
    return moment if moment.tzinfo is UTC else to_zone(moment, UTC)


def to_zone(instant: datetime, zone: tzinfo) -> datetime | None:
    try:
        return instant.astimezone(zone)
    except (ValueError, OverflowError):
        return None


def settle(local: datetime | None) -> datetime | None:
    """Return a computed local time as clocks show it: one that they skip is moved behind the gap.

    None outside the years 1 to 9999.
    """
    instant = None if local is None else to_zone(local, UTC)
    return None if local is None or instant is None else to_zone(instant, local.tzinfo or UTC)


def wall_time(instant: datetime, zone: tzinfo) -> datetime | None:
    """Return what the clocks of the zone show, as a naive time."""
    local = to_zone(instant, zone)
    return None if local is None else local.replace(tzinfo=None)


def make_date(year: int, month: int, day: int) -> date | None:
    """Return a calendar day; None if it does not exist."""
    try:
        return date(year, month, day)
    except (ValueError, OverflowError):
        return None


def today(now: datetime, zone: tzinfo, days: int = 0) -> date | None:
    """Return the current day in the zone plus `days`."""
    try:
        return now.astimezone(zone).date() + timedelta(days=days)
    except (ValueError, OverflowError):
        return None


def shift(moment: datetime, amount: int, unit: str, zone: tzinfo) -> datetime | None:
    """Add units to a time: exact up to weeks, calendar months beyond (day clamped)."""
    try:
        if unit in _FIXED_UNITS:
            return (moment.astimezone(UTC) + amount * _FIXED_UNITS[unit]).astimezone(zone)
        return shift_months(moment.astimezone(zone), amount * MONTHS_PER_UNIT[unit])
    except (ValueError, OverflowError):
        return None


def shift_local(local: datetime, amount: int, unit: str) -> datetime | None:
    """Add units by the clocks of the time's zone: exact up to hours; a day may have 23 or 25 hours."""
    assert local.tzinfo is not None
    if unit != "day":
        return settle(shift(local, amount, unit, local.tzinfo))
    try:
        return settle(local + timedelta(days=amount))
    except OverflowError:
        return None


def shift_months(local: datetime, months: int) -> datetime | None:
    """Add months, clamped to the last day of the month; None outside years 1 to 9999."""
    year, month = divmod(local.year * 12 + local.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        return None
    for day in (local.day, 30, 29, 28):
        try:
            return local.replace(year=year, month=month + 1, day=min(day, local.day))
        except ValueError:
            continue
    return None


def whole_months(end: datetime, start: datetime) -> int:
    """Return the whole months between two local times, truncated towards zero (R49).

    A month is complete when its day and time are reached; where the month lacks that day, at the start of
    the first of the next.
    """
    if end < start:
        return -whole_months(start, end)
    months = (end.year - start.year) * 12 + end.month - start.month
    return months - ((end.day, end.time()) < (start.day, start.time()))


def shift_whole_months(naive: datetime, months: int) -> datetime:
    """Return the nearest naive time that is this number of whole months away, as `whole_months` counts.

    It is the earliest if `months` is positive, the latest if it is negative; clamped to the years 1 to 9999.
    """
    shifted = shift_months(naive, months)
    if shifted is None:
        return LATEST_WALL_TIME if months > 0 else EARLIEST_WALL_TIME
    if shifted.day == naive.day:
        return shifted
    first_of_next = floor(shifted, "day") + timedelta(days=1)
    return first_of_next if months > 0 else first_of_next - timedelta.resolution


def shift_within_range(moment: datetime, amount: int, unit: str, zone: tzinfo) -> datetime:
    """Like `shift`, but clamped to `EARLIEST` and `LATEST`."""
    shifted_moment = shift(moment, amount, unit, zone)
    return shifted_moment if shifted_moment is not None else (LATEST if amount > 0 else EARLIEST)


def floor(local: datetime, unit: str) -> datetime:
    """Return the start of the unit containing a local time; weeks start on Monday (PQL D-CAL)."""
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    match unit:
        case "millisecond":
            return local.replace(microsecond=local.microsecond // 1000 * 1000)
        case "second":
            return local.replace(microsecond=0)
        case "minute":
            return local.replace(second=0, microsecond=0)
        case "hour":
            return local.replace(minute=0, second=0, microsecond=0)
        case "day":
            return midnight
        case "week":
            return midnight - timedelta(days=midnight.weekday())
        case "month":
            return midnight.replace(day=1)
        case _:
            years = MONTHS_PER_UNIT[unit] // 12
            return midnight.replace(year=max(1, midnight.year // years * years), month=1, day=1)


def period(which: str, unit: str, now: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return start and end (excluded) of this, last or next unit."""
    try:
        start = floor(now.astimezone(zone), unit)
    except (ValueError, OverflowError):
        return EARLIEST, EARLIEST
    step = {"last": -1, "this": 0, "next": 1}[which]
    return _shift_calendar_units(start, step, unit, zone), _shift_calendar_units(start, step + 1, unit, zone)


def _shift_calendar_units(start: datetime, steps: int, unit: str, zone: tzinfo) -> datetime:
    """Add units by local time: a local day may have 23 or 25 hours."""
    if unit not in ("day", "week"):
        return shift_within_range(start, steps, unit, zone)
    try:
        local_time = start.replace(tzinfo=None) + steps * _FIXED_UNITS[unit]
        return local_time.replace(tzinfo=zone)
    except (ValueError, OverflowError):
        return LATEST if steps > 0 else EARLIEST


def day_bounds(day: date, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return start and end (excluded) of a day in the zone."""
    start = datetime(day.year, day.month, day.day, tzinfo=zone)
    return start, _shift_calendar_units(start, 1, "day", zone)
