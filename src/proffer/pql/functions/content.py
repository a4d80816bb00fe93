"""Functions for content: locale-specific formatting and short names for times (PQL 2.8, tier B).

Formulas may use them too. Locales are `en_GB`, `de_DE` and so on; unknown ones use `en_US`.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from zoneinfo import ZoneInfo

from proffer.pql.functions import dates
from proffer.pql.functions.registry import Function, ValueKind, function
from proffer.pql.values import times
from proffer.pql.values.environment import Environment
from proffer.pql.values.java_dates import format_clock, format_time, has_hour, parse_with_pattern
from proffer.pql.values.locales import (
    format_currency_for,
    format_number_for,
    format_percentage,
    format_precision,
)
from proffer.pql.values.values import Value, as_number

_CLOCK = re.compile(r"\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?", re.ASCII)


def _camel_case(text: str) -> str:
    words: list[str] = re.findall(r"[^\W_]+", text) or [""]
    first, *tail = words
    return first.lower() + "".join(word[:1].upper() + word[1:].lower() for word in tail)


def _query_parameter(url: str, name: str) -> str | None:
    try:
        return dict(reversed(parse_qsl(urlsplit(url).query, keep_blank_values=True))).get(name)
    except ValueError:
        return None


def _encode_url(text: str) -> str:
    return quote(text, safe="", errors="replace")


# --- declarations


def _text(name: str, kind: ValueKind, doc: str, example: str, expected: Value, body: Callable[..., Value]) -> Function:
    return function(
        name,
        parameter_kinds=(kind,),
        returns=ValueKind.TEXT,
        method=False,
        doc=doc,
        examples={f"{name}({example})": expected},
        body=body,
        with_env=kind is ValueKind.LOCAL,
    )


def _subtract(unit: str, example: str, expected: str) -> Function:
    """Declare `subtract…s`: days and longer units follow local time."""
    name = f"subtract{unit.capitalize()}s"
    return function(
        name,
        parameter_kinds=(ValueKind.LOCAL, ValueKind.INTEGER),
        returns=ValueKind.TIME,
        method=False,
        doc=f"The time minus a number of {unit}s." + (f" {dates.CLAMPED}" if unit in times.MONTHS_PER_UNIT else ""),
        examples={f"{name}({example})": expected},
        body=lambda _env, local, amount: times.shift_local(local, -amount, unit),
        with_env=True,
    )


def _to_zone(_env: Environment, local: datetime, zone: str) -> datetime | None:
    try:
        return local.astimezone(ZoneInfo(zone))
    except (ValueError, OSError, OverflowError, KeyError):  # unknown zone, or time out of range
        return None


def _format_time(env: Environment, value: Value, pattern: str) -> str | None:
    """Format a time, or a time of day as returned by `parseTime`."""
    local = times.as_local(value, env.tz)
    if local is not None:
        return format_time(local, pattern)
    clock = _read_clock(value) if isinstance(value, str) else None
    return None if clock is None else format_clock(clock, pattern)


def _read_clock(text: str) -> time | None:
    try:
        return time.fromisoformat(text) if _CLOCK.fullmatch(text) else None
    except ValueError:
        return None


def _parse_time(env: Environment, text: str, pattern: str | None = None) -> str | None:
    if pattern is None:
        clock = _read_clock(text)
        return None if clock is None else clock.isoformat()
    moment = parse_with_pattern(text, pattern) if has_hour(pattern) else None
    local = times.as_local(moment, env.tz)
    return None if local is None else local.time().isoformat()


def _difference(unit: str, example: str, expected: int) -> Function:
    """Declare `diff…`, the short name of `diffIn…`."""
    long, short = f"diffIn{unit}", f"diff{unit}"
    long_function = next(candidate for candidate in dates.FUNCTIONS if candidate.name == long)
    return replace(
        long_function,
        name=short,
        doc=f"{long_function.doc[:-1]}. Alias of `{long}`.",
        examples={f"{short}({example})": expected},
    )


def _parse_function(name: str, text: str, pattern: str, expected: str) -> Function:
    return function(
        name,
        parameter_kinds=(ValueKind.TEXT, ValueKind.TEXT),
        optional=1,
        returns=ValueKind.TIME,
        method=False,
        doc="The time parsed from a text by a Java pattern, or as ISO 8601 without one; null without a match.",
        examples={f'{name}("{text}", "{pattern}")': expected, f'{name}("{expected}")': expected},
        body=dates.string_to_date,
        with_env=True,
    )


def _day_boundary(name: str, doc: str, clock: time, expected: str) -> Function:
    return function(
        name,
        parameter_kinds=(ValueKind.LOCAL,),
        returns=ValueKind.TIME,
        method=False,
        doc=doc,
        examples={f'{name}("2026-03-18T14:30:00Z")': expected},
        body=lambda _env, local: times.settle(datetime.combine(local.date(), clock, local.tzinfo)),
        with_env=True,
    )


def _order(name: str, doc: str, holds: Callable[[datetime, datetime], bool]) -> Function:
    return function(
        name,
        parameter_kinds=(ValueKind.LOCAL, ValueKind.LOCAL),
        returns=ValueKind.BOOLEAN,
        method=False,
        doc=doc,
        examples={f'{name}("2024-12-01T00:00:00Z", "2024-12-03T00:00:00Z")': name == "isBefore"},
        body=lambda _env, first, second: holds(dates.instant_of(first), dates.instant_of(second)),
        with_env=True,
    )


FUNCTIONS = (
    _text(
        "camelCase",
        ValueKind.TEXT,
        "The words of the text in camel case, without separators.",
        '"next best offer"',
        "nextBestOffer",
        _camel_case,
    ),
    function(
        "formatNumber",
        parameter_kinds=(ValueKind.NUMBER, ValueKind.TEXT),
        optional=1,
        returns=ValueKind.TEXT,
        method=False,
        doc="The number in the format of a locale, with at most three decimals.",
        examples={
            'formatNumber(1234567.891, "en_US")': "1,234,567.891",
            'formatNumber(1234.5, "de_DE")': "1.234,5",
            'formatNumber(123456.789, "en_IN")': "1,23,456.789",
        },
        body=format_number_for,
    ),
    function(
        "formatCurrency",
        parameter_kinds=(ValueKind.NUMBER, ValueKind.TEXT),
        returns=ValueKind.TEXT,
        method=False,
        doc="The number as an amount in the currency and format of a locale.",
        examples={
            'formatCurrency(56, "en_GB")': "£56.00",
            'formatCurrency(1234.5, "de_DE")': "1.234,50\u00a0€",
        },
        body=format_currency_for,
    ),
    _text(
        "toPercentage",
        ValueKind.NUMBER,
        "The number as a whole percentage.",
        "0.25",
        "25%",
        format_percentage,
    ),
    function(
        "toPrecision",
        parameter_kinds=(ValueKind.NUMBER, ValueKind.INTEGER),
        returns=ValueKind.TEXT,
        method=False,
        doc="The number with a given number of significant digits.",
        examples={"toPrecision(45.2367, 4)": "45.24", "toPrecision(1234.5, 2)": "1200"},
        body=format_precision,
    ),
    function(
        "toLong",
        parameter_kinds=(ValueKind.NUMBER,),
        returns=ValueKind.INTEGER,
        method=False,
        doc="The number truncated to an integer. Alias of `toInt`.",
        examples={"toLong(2.9)": 2},
        body=lambda number: as_number(int(number)),
    ),
    function(
        "formatDateTime",
        parameter_kinds=(ValueKind.LOCAL, ValueKind.TEXT),
        returns=ValueKind.TEXT,
        method=False,
        doc="The time formatted by a Java pattern. Alias of `formatDate`.",
        examples={
            'formatDateTime("2026-03-18T14:30:00Z", "dd/MM/yyyy HH:mm")': "18/03/2026 14:30",
        },
        body=lambda _env, local, pattern: format_time(local, pattern),
        with_env=True,
    ),
    function(
        "formatTime",
        parameter_kinds=(ValueKind.ANY, ValueKind.TEXT),
        returns=ValueKind.TEXT,
        method=False,
        doc="A time, or a time of day such as `14:30`, as a Java pattern shows it; null where the pattern asks "
        "a time of day for its day or zone.",
        examples={
            'formatTime("2026-03-18T14:30:00Z", "HH:mm")': "14:30",
            'formatTime("14:30:00", "h:mm a")': "2:30 PM",
            'formatTime("14:30:00", "dd/MM HH:mm")': None,
        },
        body=_format_time,
        with_env=True,
    ),
    _parse_function("parseDate", "18/03/2026", "dd/MM/yyyy", "2026-03-18"),
    _parse_function("parseDateTime", "18/03/2026 14:30", "dd/MM/yyyy HH:mm", "2026-03-18T14:30:00Z"),
    function(
        "parseTime",
        parameter_kinds=(ValueKind.TEXT, ValueKind.TEXT),
        optional=1,
        returns=ValueKind.TEXT,
        method=False,
        doc="The time of day parsed from a text by a Java pattern, or as ISO 8601 without one; null without a match.",
        examples={
            'parseTime("2:30 PM", "h:mm a")': "14:30:00",
            'parseTime("14:30")': "14:30:00",
            'parseTime("18/03/2026", "dd/MM/yyyy")': None,
        },
        body=_parse_time,
        with_env=True,
    ),
    function(
        "toDate",
        parameter_kinds=(ValueKind.LOCAL,),
        returns=ValueKind.TIME,
        method=False,
        doc="The date of a time, as a date for calculations.",
        examples={
            'toDate("2026-03-18T14:30:00Z")': "2026-03-18",
            'toDate("2026-03-18T14:30:00Z") = date(2026, 3, 18)': True,
            'toDate("soon")': None,
        },
        body=lambda _env, local: local.date(),
        with_env=True,
    ),
    _text(
        "toTime",
        ValueKind.LOCAL,
        "The time of day with the zone, as text.",
        '"2026-03-18T14:30:00Z"',
        "14:30:00Z",
        lambda _env, local: local.isoformat(timespec="seconds")[11:].replace("+00:00", "Z"),
    ),
    _text(
        "toDateOnly",
        ValueKind.LOCAL,
        "The date of a time, as text.",
        '"2026-03-18T14:30:00Z"',
        "2026-03-18",
        lambda _env, local: local.date().isoformat(),
    ),
    _text(
        "toTimeOnly",
        ValueKind.LOCAL,
        "The time of day, as text.",
        '"2026-03-18T14:30:00Z"',
        "14:30:00",
        lambda _env, local: local.time().isoformat("seconds"),
    ),
    _text(
        "toDateTimeOnly",
        ValueKind.LOCAL,
        "The date and time without the zone, as text.",
        '"2026-03-18T14:30:00Z"',
        "2026-03-18T14:30:00",
        lambda _env, local: local.replace(tzinfo=None).isoformat(timespec="seconds"),
    ),
    function(
        "toTimeZone",
        parameter_kinds=(ValueKind.LOCAL, ValueKind.TEXT),
        returns=ValueKind.TIME,
        method=False,
        doc="The same instant by the clocks of a zone, for whatever reads or formats it; it compares as the instant. "
        "The zone has a name as in `Europe/Berlin`; null for an unknown one.",
        examples={
            'toTimeZone("2026-03-18T14:30:00Z", "Europe/Berlin")': "2026-03-18T15:30:00+01:00",
            'extractHours(toTimeZone("2026-03-18T14:30:00Z", "Europe/Berlin"))': 15,
        },
        body=_to_zone,
        with_env=True,
    ),
    _day_boundary("startOfDay", "The first moment of the day.", time(), "2026-03-18T00:00:00Z"),
    _day_boundary(
        "endOfDay", "The last microsecond of the day.", time.max.replace(fold=1), "2026-03-18T23:59:59.999999Z"
    ),
    _order(
        "isBefore",
        "True when the first time is before the second.",
        lambda first, second: first < second,
    ),
    _order(
        "isAfter",
        "True when the first time is after the second.",
        lambda first, second: first > second,
    ),
    _subtract("second", '"2024-11-01T00:00:30Z", 30', "2024-11-01T00:00:00Z"),
    _subtract("minute", '"2024-11-01T00:30:00Z", 30', "2024-11-01T00:00:00Z"),
    _subtract("hour", '"2024-11-01T12:00:00Z", 6', "2024-11-01T06:00:00Z"),
    _subtract("day", '"2024-11-03T00:00:00Z", 2', "2024-11-01T00:00:00Z"),
    _subtract("month", '"2024-11-30T00:00:00Z", 1', "2024-10-30T00:00:00Z"),
    _subtract("year", '"2024-11-01T00:00:00Z", 1', "2023-11-01T00:00:00Z"),
    _difference("Seconds", '"2024-11-01T00:01:00Z", "2024-11-01T00:00:00Z"', 60),
    _difference("Minutes", '"2024-11-01T01:00:59Z", "2024-11-01T00:00:00Z"', 60),
    _difference("Hours", '"2024-11-01T00:00:00Z", "2024-11-02T12:30:00Z"', -36),
    _difference("Days", '"2024-12-03", "2024-12-01"', 2),
    _difference("Months", '"2024-11-01", "2024-08-01"', 3),
    _difference("Years", '"2024-11-01", "2020-11-02"', 3),
    _text(
        "encodeUrl",
        ValueKind.TEXT,
        "The text percent-encoded for a URL.",
        '"a b&c"',
        "a%20b%26c",
        _encode_url,
    ),
    _text(
        "decodeUrl",
        ValueKind.TEXT,
        "The text decoded from percent-encoding.",
        '"a%20b"',
        "a b",
        lambda text: unquote(text, errors="replace"),
    ),
    function(
        "getUrlQueryParam",
        parameter_kinds=(ValueKind.TEXT, ValueKind.TEXT),
        returns=ValueKind.TEXT,
        method=False,
        doc="The first value of a parameter in the query of a URL.",
        examples={'getUrlQueryParam("https://example.org/?a=1&b=x", "b")': "x"},
        body=_query_parameter,
    ),
)
