"""Date and time functions: construction, parts, arithmetic and differences (PQL 2.6, 2.8).

Parts and calendar units use the zone of the time, as set by `toTimeZone` or the offset of a text, else
the zone of the evaluation (PQL D-TZ).
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from proffer.pql.functions.registry import Function, ValueKind, function
from proffer.pql.values import times
from proffer.pql.values.environment import Environment
from proffer.pql.values.java_dates import format_time, parse_with_pattern
from proffer.pql.values.values import Value

_COMPLETE = (
    "Complete at the same day and time; if the month has no such day, at the start of the next month: "
    "for 29 February, on 1 March."
)
CLAMPED = "If the month has no such day, its last day."
_UTC_ZONE = ZoneInfo("UTC")
"""UTC as the zone of a time, unlike `UTC`."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _part(name: str, doc: str, example: str, expected: Value, extract: Callable[[datetime], int]) -> Function:
    """Declare a function of one part of a local time; only `getX` are methods."""
    return function(
        name,
        parameter_kinds=(ValueKind.LOCAL,),
        returns=ValueKind.INTEGER,
        doc=doc,
        examples={example: expected},
        body=lambda _env, local: extract(local),
        with_env=True,
        method=name.startswith("get"),
    )


def _current(name: str, doc: str, extract: Callable[[datetime], int]) -> Function:
    return function(
        name,
        parameter_kinds=(),
        returns=ValueKind.INTEGER,
        method=False,
        doc=doc,
        examples={f"{name}() > 0": True},
        body=lambda env: None if (now := times.to_zone(env.now, env.tz)) is None else extract(now),
        with_env=True,
    )


def _add(unit: str, example: str, expected: str) -> Function:
    """Declare `add…s`: days and longer units follow local time, shorter ones are exact."""
    name = f"add{unit.capitalize()}s"
    return function(
        name,
        parameter_kinds=(ValueKind.LOCAL, ValueKind.INTEGER),
        returns=ValueKind.TIME,
        method=False,
        doc=f"The time plus a number of {unit}s, which may be negative."
        + (f" {CLAMPED}" if unit in times.MONTHS_PER_UNIT else ""),
        examples={f"{name}({example})": expected},
        body=lambda _env, local, amount: times.shift_local(local, amount, unit),
        with_env=True,
    )


def _exact_difference(unit: str, seconds: int) -> Function:
    """Declare the difference of two instants."""
    name = f"diffIn{unit.capitalize()}s"
    return _diff(
        name,
        f"The whole {unit}s from the second time to the first, truncated towards zero.",
        lambda _env, end, start: int((instant_of(end) - instant_of(start)) / timedelta(seconds=seconds)),
        f'{name}("2024-11-01T17:19:51Z", "2024-11-01T17:19:51Z")',
        0,
    )


def _diff(
    name: str,
    doc: str,
    difference: Callable[[Environment, datetime, datetime], Value],
    example: str,
    expected: Value,
) -> Function:
    return function(
        name,
        parameter_kinds=(ValueKind.LOCAL, ValueKind.LOCAL),
        returns=ValueKind.INTEGER,
        method=False,
        doc=doc,
        examples={example: expected},
        body=difference,
        with_env=True,
    )


def instant_of(local: datetime) -> datetime:
    """Return a local time as an instant; times of one zone would compare by their clocks."""
    return local.astimezone(UTC)


def _by_calendar(count: Callable[[datetime, datetime], int]) -> Callable[[Environment, datetime, datetime], Value]:
    """Return a difference that is counted by the clocks of one zone.

    It is the start's own zone, else the end's own, else that of the evaluation.
    """

    def difference(env: Environment, end: datetime, start: datetime) -> int | None:
        zone = (end.tzinfo if start.tzinfo is env.tz else start.tzinfo) or env.tz
        end_by_clock, start_by_clock = times.wall_time(end, zone), times.wall_time(start, zone)
        return None if end_by_clock is None or start_by_clock is None else count(end_by_clock, start_by_clock)

    return difference


def _whole_days(end: datetime, start: datetime) -> int:
    return int((end - start) / timedelta(days=1))


_days_by_calendar = _by_calendar(_whole_days)


def _whole_years(end: datetime, start: datetime) -> int:
    return int(times.whole_months(end, start) / 12)


def _truncate(unit: str, example: str) -> Function:
    def body(_env: Environment, local: datetime) -> datetime | None:
        if unit == "quarter":
            return times.settle(times.floor(local, "month").replace(month=(local.month - 1) // 3 * 3 + 1))
        try:
            return times.settle(times.floor(local, unit))
        except OverflowError:
            return None

    name = f"truncateToStartOf{unit.capitalize()}"
    return function(
        name,
        parameter_kinds=(ValueKind.LOCAL,),
        returns=ValueKind.TIME,
        method=False,
        doc=f"The start of the {unit}" + ("; weeks start on Monday." if unit == "week" else "."),
        examples={f'{name}("2024-11-07T17:19:51Z")': example},
        body=body,
        with_env=True,
    )


def _set(name: str, part: str, doc: str, example: str, expected: str) -> Function:
    def body(_env: Environment, local: datetime, value: int) -> datetime | None:
        try:
            return times.settle(local.replace(day=value) if part == "day" else local.replace(hour=value))
        except (ValueError, OverflowError):
            return None

    return function(
        name,
        parameter_kinds=(ValueKind.LOCAL, ValueKind.INTEGER),
        returns=ValueKind.TIME,
        method=False,
        doc=doc,
        examples={example: expected},
        body=body,
        with_env=True,
    )


def _age(name: str, doc: str, count: Callable[[datetime, datetime], int]) -> Function:
    difference = _by_calendar(count)
    return function(
        name,
        parameter_kinds=(ValueKind.LOCAL,),
        returns=ValueKind.INTEGER,
        method=False,
        doc=doc,
        examples={f"{name}(now)": 0},
        body=lambda env, then: None if (now := times.to_zone(env.now, env.tz)) is None else difference(env, now, then),
        with_env=True,
    )


def string_to_date(env: Environment, text: str, pattern: str | None = None) -> Value:
    """Return the date or time of a text in ISO 8601, or by a Java pattern."""
    return times.as_zoned_time(text if pattern is None else parse_with_pattern(text, pattern), env.tz)


def _to_date_time(env: Environment, text: str) -> Value:
    time = times.as_zoned_time(text, env.tz)
    return time if isinstance(time, datetime) else times.as_instant(time, env.tz) or _EPOCH


def _compare(_env: Environment, first: datetime, second: datetime) -> int:
    first_instant, second_instant = instant_of(first), instant_of(second)
    return (first_instant > second_instant) - (first_instant < second_instant)


FUNCTIONS = (
    function(
        "date",
        parameter_kinds=(ValueKind.INTEGER, ValueKind.INTEGER, ValueKind.INTEGER),
        returns=ValueKind.TIME,
        method=False,
        doc="A day, from year, month and day; null if there is no such day.",
        examples={"date(2020, 3, 14)": "2020-03-14", "date(2023, 2, 28 + 1)": None},
        body=times.make_date,
    ),
    _current("currentMonth", "The current month, 1 to 12.", lambda now: now.month),
    _current("currentYear", "The current year.", lambda now: now.year),
    _current("currentDayOfMonth", "The current day of the month.", lambda now: now.day),
    _part("getMonth", "The month, 1 to 12.", '"1990-06-15".getMonth()', 6, lambda at: at.month),
    _part("getYear", "The year.", '"1990-06-15".getYear()', 1990, lambda at: at.year),
    _part(
        "getDayOfMonth",
        "The day of the month.",
        '"1990-06-15".getDayOfMonth()',
        15,
        lambda at: at.day,
    ),
    _part("dayOfMonth", "The day of the month.", 'dayOfMonth("2024-03-15")', 15, lambda at: at.day),
    _part(
        "dayOfWeek",
        "The day of the week: Monday is 1, Sunday 7.",
        'dayOfWeek("2024-11-18")',
        1,
        lambda at: at.isoweekday(),
    ),
    _part(
        "dayOfYear",
        "The day of the year, from 1.",
        'dayOfYear("2024-03-15")',
        75,
        lambda at: at.timetuple().tm_yday,
    ),
    _part(
        "weekOfYear",
        "The ISO week of the year.",
        'weekOfYear("2024-11-01")',
        44,
        lambda at: at.isocalendar()[1],
    ),
    _part("extractMonth", "The month, 1 to 12.", 'extractMonth("2024-11-01")', 11, lambda at: at.month),
    _part(
        "extractHours",
        "The hour, 0 to 23.",
        'extractHours("2024-11-01T17:19:51Z")',
        17,
        lambda at: at.hour,
    ),
    _part(
        "extractMinutes",
        "The minute.",
        'extractMinutes("2024-11-01T17:19:51Z")',
        19,
        lambda at: at.minute,
    ),
    _part(
        "extractSeconds",
        "The second.",
        'extractSeconds("2024-11-01T17:19:51Z")',
        51,
        lambda at: at.second,
    ),
    function(
        "stringToDate",
        parameter_kinds=(ValueKind.TEXT, ValueKind.TEXT),
        optional=1,
        returns=ValueKind.TIME,
        method=False,
        doc="The time parsed from a text in ISO 8601, or by a Java pattern such as `dd/MM/yyyy`.",
        examples={
            'stringToDate("2024-11-01T17:19:51Z")': "2024-11-01T17:19:51Z",
            'stringToDate("18/03/2026", "dd/MM/yyyy")': "2026-03-18",
            'stringToDate("soon")': None,
        },
        body=string_to_date,
        with_env=True,
    ),
    function(
        "toDateTime",
        parameter_kinds=(ValueKind.TEXT,),
        returns=ValueKind.TIME,
        method=False,
        doc="The time parsed from a text in ISO 8601; the start of 1970 if it is not a time.",
        examples={'toDateTime("x")': "1970-01-01T00:00:00Z"},
        body=_to_date_time,
        with_env=True,
    ),
    function(
        "formatDate",
        parameter_kinds=(ValueKind.LOCAL, ValueKind.TEXT),
        returns=ValueKind.TEXT,
        method=False,
        doc="The time formatted by a Java pattern, with English names, by the clocks of its zone.",
        examples={'formatDate("2026-03-18T14:30:00Z", "dd/MM/yyyy HH:mm")': "18/03/2026 14:30"},
        body=lambda _env, local, pattern: format_time(local, pattern),
        with_env=True,
    ),
    _add("second", '"2024-11-01T17:19:51Z", 9', "2024-11-01T17:20:00Z"),
    _add("minute", '"2024-11-01T17:19:51Z", 1', "2024-11-01T17:20:51Z"),
    _add("hour", '"2024-11-01T17:19:51Z", 1', "2024-11-01T18:19:51Z"),
    _add("day", '"2024-11-01T17:19:51Z", -1', "2024-10-31T17:19:51Z"),
    _add("month", '"2024-01-31", 1', "2024-02-29T00:00:00Z"),
    _add("year", '"2024-02-29", 1', "2025-02-28T00:00:00Z"),
    _age("age", f"The whole years from the time to now. {_COMPLETE}", _whole_years),
    _age("ageInYears", "The whole years from the time to now. Alias of `age`.", _whole_years),
    _age("ageInMonths", f"The whole months from the time to now. {_COMPLETE}", times.whole_months),
    _age("ageInDays", "The whole days from the time to now.", _whole_days),
    function(
        "compareDates",
        parameter_kinds=(ValueKind.LOCAL, ValueKind.LOCAL),
        returns=ValueKind.INTEGER,
        method=False,
        doc="-1 when the first time is before the second, 0 when they are the same, 1 when it is after.",
        examples={'compareDates("2024-12-02", "2024-12-03")': -1},
        body=_compare,
        with_env=True,
    ),
    function(
        "dateBetween",
        parameter_kinds=(ValueKind.LOCAL, ValueKind.LOCAL, ValueKind.LOCAL),
        returns=ValueKind.BOOLEAN,
        method=False,
        doc="True when the first time is between the other two, ends included.",
        examples={'dateBetween("2024-12-02", "2024-12-01", "2024-12-02")': True},
        body=lambda _env, at, low, high: instant_of(low) <= instant_of(at) <= instant_of(high),
        with_env=True,
    ),
    _diff(
        "dateDiff",
        "The whole days from the first time to the second, truncated towards zero.",
        lambda env, first, second: _days_by_calendar(env, second, first),
        'dateDiff("2024-12-01", "2024-12-03")',
        2,
    ),
    _exact_difference("second", 1),
    _exact_difference("minute", 60),
    _exact_difference("hour", 3600),
    _diff(
        "diffInDays",
        "The whole days from the second time to the first, truncated towards zero.",
        _days_by_calendar,
        'diffInDays("2024-11-03", "2024-11-01")',
        2,
    ),
    _diff(
        "diffInMonths",
        f"The whole months from the second time to the first, truncated towards zero. {_COMPLETE}",
        _by_calendar(times.whole_months),
        'diffInMonths("2024-11-01", "2024-08-01")',
        3,
    ),
    _diff(
        "diffInYears",
        f"The whole years from the second time to the first, truncated towards zero. {_COMPLETE}",
        _by_calendar(_whole_years),
        'diffInYears("2024-11-01", "2020-11-02")',
        3,
    ),
    _set(
        "setDays",
        "day",
        "The time with another day of the month; null if the month has no such day.",
        'setDays("2024-11-15T17:19:51Z", 1)',
        "2024-11-01T17:19:51Z",
    ),
    _set(
        "setHours",
        "hour",
        "The time with another hour; null outside 0 to 23.",
        'setHours("2024-11-15T17:19:51Z", 0)',
        "2024-11-15T00:19:51Z",
    ),
    _truncate("day", "2024-11-07T00:00:00Z"),
    _truncate("week", "2024-11-04T00:00:00Z"),
    _truncate("month", "2024-11-01T00:00:00Z"),
    _truncate("quarter", "2024-10-01T00:00:00Z"),
    _truncate("year", "2024-01-01T00:00:00Z"),
    function(
        "toUTC",
        parameter_kinds=(ValueKind.LOCAL,),
        returns=ValueKind.TIME,
        method=False,
        doc="The same instant in Coordinated Universal Time.",
        examples={'toUTC("2024-11-01T17:19:51+01:00")': "2024-11-01T16:19:51Z"},
        body=lambda _env, local: times.to_zone(local, _UTC_ZONE),
        with_env=True,
    ),
    function(
        "currentTimeInMillis",
        parameter_kinds=(),
        returns=ValueKind.INTEGER,
        method=False,
        doc="Milliseconds from the start of 1970 to now.",
        examples={"currentTimeInMillis() > 0": True},
        body=lambda env: int((env.now - _EPOCH) / timedelta(milliseconds=1)),
        with_env=True,
    ),
    function(
        "getCurrentZonedDateTime",
        parameter_kinds=(),
        returns=ValueKind.TIME,
        method=False,
        doc="The current time, in the zone of the evaluation.",
        examples={"getCurrentZonedDateTime() = now": True},
        body=lambda env: times.to_zone(env.now, env.tz),
        with_env=True,
    ),
)
