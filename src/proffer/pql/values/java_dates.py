"""Java date patterns: the letters `yMdHhmsSaEDXZ`, quoted literals, other characters as is."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import lru_cache

from proffer.pql.values.times import in_utc_range

_PATTERN_PART = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|.", re.DOTALL)
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


@lru_cache(maxsize=256)
def _parse_pattern(pattern: str) -> tuple[tuple[str, int, str], ...] | None:
    """Return (letter, count, literal text) per part; None for an unsupported letter."""
    parts: list[tuple[str, int, str]] = []
    for part_match in _PATTERN_PART.finditer(pattern):
        letter = part_match[2]
        if letter is None:
            literal = part_match[0] if part_match[1] is None else part_match[1].replace("''", "'") or "'"
            parts.append(("", 0, literal))
        elif letter in _FORMATTERS:
            parts.append((letter, len(part_match[0]), ""))
        else:
            return None
    return tuple(parts)


def format_time(local: datetime, pattern: str) -> str | None:
    """Format a local time by a pattern; None for a pattern with unknown letters."""
    pieces = _parse_pattern(pattern)
    if pieces is None or len(pattern) > 200:
        return None
    return "".join(_FORMATTERS[letter](local, width) if letter else literal for letter, width, literal in pieces)


def format_clock(clock: time, pattern: str) -> str | None:
    """Format a time of day; None for a pattern that needs a day or a zone."""
    pieces = _parse_pattern(pattern)
    if pieces is None or any(letter not in _TIME_OF_DAY_LETTERS for letter, _, _ in pieces):
        return None
    return format_time(datetime.combine(date.min, clock), pattern)


def _year(local: datetime, width: int) -> str:
    return f"{local.year % 100:02}" if width == 2 else str(local.year).zfill(width)


def _month(local: datetime, width: int) -> str:
    if width <= 2:
        return str(local.month).zfill(width)
    name = _MONTHS[local.month - 1]
    return name[:3] if width == 3 else name


def _weekday(local: datetime, width: int) -> str:
    name = _DAYS[local.weekday()]
    return name[:3] if width <= 3 else name


def _offset(local: datetime, width: int) -> str:
    minutes = int((local.utcoffset() or timedelta()).total_seconds()) // 60
    sign, minutes = ("-" if minutes < 0 else "+"), abs(minutes)
    return f"{sign}{minutes // 60:02}{':' if width == 3 else ''}{minutes % 60:02}"


_FORMATTERS: dict[str, Callable[[datetime, int], str]] = {
    "y": _year,
    "M": _month,
    "d": lambda local, width: str(local.day).zfill(width),
    "H": lambda local, width: str(local.hour).zfill(width),
    "h": lambda local, width: str((local.hour - 1) % 12 + 1).zfill(width),
    "m": lambda local, width: str(local.minute).zfill(width),
    "s": lambda local, width: str(local.second).zfill(width),
    "S": lambda local, width: f"{local.microsecond:06}"[:width].ljust(width, "0"),
    "a": lambda local, _: "AM" if local.hour < 12 else "PM",
    "E": _weekday,
    "D": lambda local, width: str(local.timetuple().tm_yday).zfill(width),
    "X": lambda local, width: "Z" if not local.utcoffset() else _offset(local, width),
    "Z": lambda local, _: _offset(local, 0),
}

_TIME_OF_DAY_LETTERS = frozenset({"", *"HhmsSa"})

_REGEX_BY_LETTER = {
    "y": r"(?P<y>\d{4})",
    "M": r"(?P<M>\d{1,2})",
    "d": r"(?P<d>\d{1,2})",
    "H": r"(?P<H>\d{1,2})",
    "h": r"(?P<h>\d{1,2})",
    "m": r"(?P<m>\d{1,2})",
    "s": r"(?P<s>\d{1,2})",
    "S": r"(?P<S>\d{1,9})",
    "a": r"(?P<a>[AaPp][Mm])",
    "X": r"(?P<X>Z|[+-]\d{2}:?\d{2})",
    "Z": r"(?P<Z>[+-]\d{2}:?\d{2})",
}


@lru_cache(maxsize=256)
def _pattern_regex(pattern: str) -> re.Pattern[str] | None:
    pieces = _parse_pattern(pattern)
    if pieces is None or len(pattern) > 200:
        return None
    letters = [letter for letter, _, _ in pieces if letter]
    if len(set(letters)) < len(letters) or not set(letters) <= set(_REGEX_BY_LETTER):
        return None
    return re.compile(
        "".join(_REGEX_BY_LETTER[letter] if letter else re.escape(literal) for letter, _, literal in pieces),
        re.ASCII,
    )


def parse_with_pattern(text: str, pattern: str) -> date | datetime | None:
    """Parse a time by a pattern: a date without an hour letter, naive without a zone letter.

    An offset other than zero is kept as its zone.
    """
    regex = _pattern_regex(pattern)
    match_ = regex.fullmatch(text) if regex is not None and len(text) < 200 else None
    if match_ is None:
        return None
    text_by_letter = match_.groupdict()
    try:
        day = date(
            int(text_by_letter.get("y") or 1970),
            int(text_by_letter.get("M") or 1),
            int(text_by_letter.get("d") or 1),
        )
        if not text_by_letter.get("H") and not text_by_letter.get("h"):
            return day
        moment = datetime(  # noqa: DTZ001 - the zone is set below or by the caller
            day.year,
            day.month,
            day.day,
            _hour(text_by_letter),
            int(text_by_letter.get("m") or 0),
            int(text_by_letter.get("s") or 0),
            int((text_by_letter.get("S") or "0").ljust(6, "0")[:6]),
        )
        offset = text_by_letter.get("X") or text_by_letter.get("Z")
        return in_utc_range(moment if offset is None else moment.replace(tzinfo=_zone(offset)))
    except (ValueError, OverflowError):
        return None


def _hour(text_by_letter: dict[str, str | None]) -> int:
    if text_by_letter.get("H"):
        return int(text_by_letter["H"] or 0)
    return int(text_by_letter["h"] or 0) % 12 + (12 if (text_by_letter.get("a") or "").lower() == "pm" else 0)


def _zone(offset: str) -> timezone:
    if offset == "Z":
        return UTC
    sign = -1 if offset[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[-2:])))


def has_hour(pattern: str) -> bool:
    """Return whether a pattern contains an hour."""
    return any(letter in ("H", "h") for letter, _, _ in _parse_pattern(pattern) or ())
