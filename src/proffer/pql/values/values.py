"""Runtime values and operators: the semantics shared by all evaluators (PQL 5).

Values are JSON values (None, bool, int, float, str, list, dict), dates and datetimes. Any other object
is opaque: not null and equal to nothing. Nothing here raises, except `WorkLimitExceeded`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, tzinfo
from math import fmod, isfinite
from typing import Any

from proffer.pql.syntax.limits import MAX_COMPARED_DEPTH, MAX_INTEGER, MAX_VISITS
from proffer.pql.values.environment import Environment, WorkLimitExceeded
from proffer.pql.values.identity import ObjectKey
from proffer.pql.values.times import Time, as_instant, as_moment, as_time

Value = Any

_NUMBER = re.compile(r"[+-]?[0-9]{1,400}(?P<fraction>\.[0-9]{1,400})?(?P<exponent>[eE][+-]?[0-9]{1,4})?")
_JSON_NUMBER = re.compile(
    r"-?(?:0|[1-9][0-9]{0,399})(?P<fraction>\.[0-9]{1,400})?(?P<exponent>[eE][+-]?[0-9]{1,4})?", re.ASCII
)
_FIRST_OF_NUMBER = frozenset("-0123456789")
_BOOLEAN_WORDS = {"true": True, "false": False}


class _Unreadable:
    """The value of a field that cannot be read as its declared type; equal to nothing, but not null (R44)."""

    def __repr__(self) -> str:
        return "(not of its type)"


UNREADABLE: Any = _Unreadable()


# --- type tests and conversions


def is_list(value: Value) -> bool:
    return isinstance(value, (list, tuple))


def is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def parse_number(text: str) -> int | float | None:
    """Parse a number; None if the text is not a number."""
    return _parse(_NUMBER, text.strip())


def parse_json_number(text: str) -> int | float | None:
    """Parse a text that is one JSON number as a whole: no blanks, `+` or leading zeros; else None (R44)."""
    return _parse(_JSON_NUMBER, text) if text[:1] in _FIRST_OF_NUMBER else None


def _parse(pattern: re.Pattern[str], text: str) -> int | float | None:
    match_ = pattern.fullmatch(text) if len(text) < 1000 else None
    if match_ is None:
        return None
    if match_["fraction"] or match_["exponent"]:
        return float(match_[0])
    return int(match_[0])


def parse_boolean(text: str) -> bool | None:
    """Return the Boolean that a text spells, in any letter case; else None (R44)."""
    return _BOOLEAN_WORDS.get(text.lower()) if 4 <= len(text) <= 5 else None


def as_number(value: Value) -> int | float | None:
    """Return the value as a number for arithmetic: 64-bit integer or finite double; else None."""
    if not is_number(value):
        return None
    if isinstance(value, int):
        return value if -MAX_INTEGER <= value <= MAX_INTEGER else _as_double(value)
    return value if isfinite(value) else None


def _as_double(value: int) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def format_number(value: float) -> str:
    """Format a number as text."""
    try:
        return str(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return "Infinity"


def to_text(value: Value) -> str | None:
    """Convert a text, number or Boolean to text; None for other values."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return format_number(value) if is_number(value) else None


def truth(value: Value) -> bool:
    """Return the truth of a value (PQL D-TRUTH). The text `false`, in any letter case, is false (R44)."""
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, str):
        return len(value) != 5 or value.lower() != "false"
    if isinstance(value, (list, tuple, Mapping)):
        return len(value) > 0
    return True


# --- paths


def field(of: Value, name: str) -> Value:
    """Return a field of a value. `xdm:name` and `name` are the same field (PQL D-XDM)."""
    if isinstance(of, Mapping):
        value = of.get(name)
        return of.get(f"xdm:{name}") if value is None else value
    return list(_project(of, name)) if is_list(of) else None


def path(value: Value, *names: str) -> Value:
    """Return the value at a path of field names; null if missing."""
    for name in names:
        if value is None:
            return None
        value = field(value, name)
    return value


def _project(of: Sequence[Value], name: str) -> Iterator[Value]:
    """Yield the field of every item, flattened depth first; items without it are skipped."""
    for item in _flatten(of):
        value = field(item, name) if isinstance(item, Mapping) else None
        if is_list(value):
            yield from (inner for inner in _flatten(items(value)) if inner is not None)
        elif value is not None:
            yield value


def _flatten(of: Iterable[Value]) -> Iterator[Value]:
    """Yield the items of nested arrays, depth first. Not recursive."""
    remaining, stack = MAX_VISITS, [iter(of)]
    while stack:
        for item in stack[-1]:
            remaining -= 1
            if remaining < 0:
                raise WorkLimitExceeded
            if is_list(item):
                stack.append(iter(item))
                break
            yield item
        else:
            stack.pop()


def items(value: Value) -> Sequence[Value]:
    """Return the value as an array: an object becomes an array of one, other values empty."""
    if isinstance(value, (list, tuple)):
        return value
    return [value] if isinstance(value, Mapping) else ()


def visit(env: Environment, value: Value) -> Sequence[Value]:
    """Like `items`, and charge the items to the work limit."""
    visited_items = items(value)
    env.charge(len(visited_items))
    return visited_items


# --- comparison


def equal(left: Value, right: Value, zone: tzinfo) -> bool:
    """Evaluate `=`: false for null and for sides that are not comparable."""
    if left is None or right is None:
        return False
    if isinstance(left, (list, tuple, Mapping)):
        return _StructureComparison(zone).equal_structures(left, right, 0)
    pair = comparable(left, right, zone)
    return pair is not None and bool(pair[0] == pair[1])


def differs(left: Value, right: Value, zone: tzinfo) -> bool:
    """Evaluate `!=`: false if a side is null, true if the sides are not comparable."""
    return left is not None and right is not None and not equal(left, right, zone)


class _StructureComparison:
    """One deep comparison of arrays and maps.

    Shared substructures are compared at every occurrence, so the number of compared elements is limited
    as well as the depth.
    """

    def __init__(self, zone: tzinfo) -> None:
        self.zone = zone
        self.remaining = MAX_VISITS

    def equal_structures(self, left_value: Value, right_value: Value, depth: int) -> bool:
        if depth > MAX_COMPARED_DEPTH:
            return False
        if is_list(left_value) and is_list(right_value):
            return len(left_value) == len(right_value) and all(
                self.equal_elements(first, second, depth) for first, second in zip(left_value, right_value, strict=True)
            )
        if isinstance(left_value, Mapping) and isinstance(right_value, Mapping):
            return left_value.keys() == right_value.keys() and all(
                self.equal_elements(left_value[key], right_value[key], depth) for key in left_value
            )
        return False

    def equal_elements(self, left_value: Value, right_value: Value, depth: int) -> bool:
        """Compare two elements of a structure; here two nulls are equal."""
        self.remaining -= 1
        if self.remaining < 0:
            raise WorkLimitExceeded
        if left_value is None and right_value is None:
            return True
        if is_list(left_value) or isinstance(left_value, Mapping):
            return self.equal_structures(left_value, right_value, depth + 1)
        return equal(left_value, right_value, self.zone)


def order(sign: str, left: Value, right: Value, zone: tzinfo) -> bool:
    """Evaluate `<`, `<=`, `>`, `>=` on numbers, texts and times; false for anything else."""
    if left is None or right is None:
        return False
    pair = comparable(left, right, zone)
    if pair is None or isinstance(pair[0], bool):
        return False
    left_value, right_value = pair
    match sign:
        case "<":
            return bool(left_value < right_value)
        case "<=":
            return bool(left_value <= right_value)
        case ">":
            return bool(left_value > right_value)
        case _:
            return bool(left_value >= right_value)


def less(left: Value, right: Value, zone: tzinfo) -> bool:
    return order("<", left, right, zone)


def at_most(left: Value, right: Value, zone: tzinfo) -> bool:
    return order("<=", left, right, zone)


def greater(left: Value, right: Value, zone: tzinfo) -> bool:
    return order(">", left, right, zone)


def at_least(left: Value, right: Value, zone: tzinfo) -> bool:
    return order(">=", left, right, zone)


def comparable(left: Value, right: Value, zone: tzinfo) -> tuple[Value, Value] | None:
    """Return two scalars as values of one kind; None if they are not comparable (R44).

    The result is that of the other order, reversed. Neither side is null.
    """
    if isinstance(left, str) and isinstance(right, str):
        return _as_moments(left, right) or (left, right)
    if isinstance(left, date) or isinstance(right, date):
        return _as_instants(left, right, zone)
    if isinstance(left, bool) or isinstance(right, bool):
        return _as_booleans(left, right)
    return _as_numbers(left, right)


def _as_moments(left: str, right: str) -> tuple[Value, Value] | None:
    """Return two texts as instants if both are full date-times (R45)."""
    left_moment = as_moment(left)
    right_moment = None if left_moment is None else as_moment(right)
    return None if right_moment is None else (left_moment, right_moment)


def _as_booleans(left: Value, right: Value) -> tuple[Value, Value] | None:
    left, right = (parse_boolean(side) if isinstance(side, str) else side for side in (left, right))
    return (left, right) if isinstance(left, bool) and isinstance(right, bool) else None


def _as_numbers(left: Value, right: Value) -> tuple[Value, Value] | None:
    left, right = (parse_json_number(side) if isinstance(side, str) else side for side in (left, right))
    return (left, right) if is_number(left) and is_number(right) else None


def _as_instants(left: Value, right: Value, zone: tzinfo) -> tuple[Time, Time] | None:
    left_time, right_time = as_time(left, zone), as_time(right, zone)
    if left_time is None or right_time is None:
        return None
    if type(left_time) is type(right_time):
        return left_time, right_time
    first, second = as_instant(left_time, zone), as_instant(right_time, zone)
    return None if first is None or second is None else (first, second)


def is_in(value: Value, array: Value, env: Environment) -> bool:
    """Evaluate `in`: whether an element equals the value. Charges the elements."""
    if value is None or not is_list(array):
        return False
    env.charge(len(array))
    return any(equal(value, item, env.tz) for item in array)


def is_not_in(value: Value, array: Value, env: Environment) -> bool:
    """Evaluate `notIn`: false if a side is null, so it is not the negation of `in`."""
    return value is not None and is_list(array) and not is_in(value, array, env)


# --- arithmetic


def numeric_operands(left: Value, right: Value) -> tuple[int | float, int | float] | None:
    """Return both sides as numbers; None if one is no number. Texts are not converted (R44)."""
    left_number, right_number = as_number(left), as_number(right)
    return None if left_number is None or right_number is None else (left_number, right_number)


_SAFE_TERM, _SAFE_FACTOR = 1 << 61, 1 << 30
"""Integers within these bounds have sums and products within 64 bits: the fast path."""


def plus(left: Value, right: Value) -> int | float | None:
    if (
        left.__class__ is right.__class__ is int
        and -_SAFE_TERM < left < _SAFE_TERM
        and -_SAFE_TERM < right < _SAFE_TERM
    ):
        return left + right
    pair = numeric_operands(left, right)
    return None if pair is None else as_number(pair[0] + pair[1])


def minus(left: Value, right: Value) -> int | float | None:
    if (
        left.__class__ is right.__class__ is int
        and -_SAFE_TERM < left < _SAFE_TERM
        and -_SAFE_TERM < right < _SAFE_TERM
    ):
        return left - right
    pair = numeric_operands(left, right)
    return None if pair is None else as_number(pair[0] - pair[1])


def times(left: Value, right: Value) -> int | float | None:
    if (
        left.__class__ is right.__class__ is int
        and -_SAFE_FACTOR < left < _SAFE_FACTOR
        and -_SAFE_FACTOR < right < _SAFE_FACTOR
    ):
        return left * right
    pair = numeric_operands(left, right)
    return None if pair is None else as_number(pair[0] * pair[1])


def divided(left: Value, right: Value) -> float | None:
    """Evaluate `/`: true division; null if the divisor is zero (PQL D-DIV0)."""
    pair = numeric_operands(left, right)
    if pair is None or pair[1] == 0:
        return None
    quotient = float(pair[0]) / float(pair[1])
    return quotient if isfinite(quotient) else None


def modulo(left: Value, right: Value) -> int | float | None:
    """Evaluate `%`: the result has the sign of the dividend (PQL D-MOD)."""
    pair = numeric_operands(left, right)
    if pair is None or pair[1] == 0:
        return None
    dividend, divisor = pair
    if isinstance(dividend, int) and isinstance(divisor, int):
        remainder = abs(dividend) % abs(divisor)
        return -remainder if dividend < 0 else remainder
    return fmod(dividend, divisor)


def negated(value: Value) -> int | float | None:
    return minus(0, value)


# --- values as keys


class _UnequalKey:
    """Key of a value that equals nothing, such as one nested too deeply to compare."""


def as_key(value: Value) -> Any:
    """Return a hashable key: equal for equal values of one kind (3 and 3.0, but not 3 and "3").

    Full date-times, as text too, have the key of their instant (R45).
    """
    if isinstance(value, str):
        return as_moment(value) or value
    if isinstance(value, (list, tuple, Mapping, bool)):
        return _nested_key(value, 0, [MAX_VISITS])
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)  # times of one zone would compare by their clocks
    if isinstance(value, (int, float, date)) or value is None:
        return value
    if value is UNREADABLE:
        return _UnequalKey()
    return ObjectKey(value)


def _nested_key(value: Value, depth: int, remaining: list[int]) -> Any:
    remaining[0] -= 1
    if remaining[0] < 0:
        raise WorkLimitExceeded
    if isinstance(value, bool):
        return ("boolean", value)
    if depth > MAX_COMPARED_DEPTH:
        return _UnequalKey()
    if is_list(value):
        return ("array", *(_nested_key(item, depth + 1, remaining) for item in value))
    if isinstance(value, Mapping):
        return (
            "map",
            frozenset((str(key), _nested_key(inner, depth + 1, remaining)) for key, inner in value.items()),
        )
    return as_key(value)


def sort_key(value: Value) -> tuple[int, Any] | None:
    """Return a sort key: numbers, texts, days, instants, in this order; None for other values.

    A text that is a full date-time is an instant (R45).
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return (0, value) if value == value else None  # noqa: PLR0124 - NaN cannot be ordered
    if isinstance(value, str):
        moment = as_moment(value)
        return (1, value) if moment is None else (3, moment)
    if isinstance(value, datetime):
        return (3, value.astimezone(UTC)) if value.tzinfo else None
    return (2, value) if isinstance(value, date) else None
