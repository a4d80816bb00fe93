"""Values that an evaluation meets and that are not of the type that they are compared as, and times that need care.

The reference interpreter is observed while it evaluates; what it does not reach is not reported.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from enum import StrEnum
from typing import Any, NamedTuple

from proffer.pql.checked import CheckedRule
from proffer.pql.functions.registry import ValueKind
from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.run.interpret import Interpreter
from proffer.pql.syntax.limits import MAX_VISITS, RuleKind
from proffer.pql.syntax.nodes import (
    Aggregate,
    Binary,
    Call,
    Constant,
    Filter,
    Lambda,
    Literal,
    Negate,
    Node,
    Occurs,
    ReadAs,
    TimeTest,
    Within,
)
from proffer.pql.syntax.source import NO_SPAN, TextSpan
from proffer.pql.values.environment import Environment, WorkLimitExceeded
from proffer.pql.values.identity import ObjectKey
from proffer.pql.values.times import MONTHS_PER_UNIT, as_local, as_moment, own_zone
from proffer.pql.values.values import (
    UNREADABLE,
    Value,
    comparable,
    is_list,
    is_number,
    parse_boolean,
    parse_number,
    truth,
)


class EncounterKind(StrEnum):
    """What is met.

    `CONVERTED`: a value of another type, which is read as the type of the comparison or calculation.
    `INCOMPARABLE`: one that cannot be: `!=` and `notIn` are true, all other operators false.
    `ZONE`: date-times whose instants are ordered differently from their texts, or one that is read by its own clock.
    `MONTH_END`: a time on a day that some months lack, in whole months or years.
    """

    CONVERTED = "converted"
    INCOMPARABLE = "incomparable"
    ZONE = "zone"
    MONTH_END = "month-end"


@dataclass(frozen=True, slots=True)
class Encounter:
    """A value met by the part of a rule at `span`. `holds`: whether a comparison that cannot be made is true."""

    kind: EncounterKind
    span: TextSpan
    value: Value
    holds: bool


def encounters(rule: CheckedRule, env: Environment) -> list[Encounter]:
    """Return what an evaluation meets: the first value of each kind in each part of the rule. Never raises."""
    observer = _ObservingInterpreter(env)
    env.left = MAX_VISITS
    with suppress(WorkLimitExceeded):  # return what was met so far
        (observer.holds if rule.kind is RuleKind.RULE else observer.value)(rule.core)
    return list(observer.met.values())


_ARITHMETIC = frozenset("+-*/%")
_NEGATIVE = frozenset({"!=", "notIn"})
_NUMERIC = frozenset({ValueKind.NUMBER, ValueKind.INTEGER, ValueKind.DOUBLE})
_BY_INSTANT = frozenset(
    {
        "toTimeZone",
        "toUTC",
        "compareDates",
        "dateBetween",
        "isBefore",
        "isAfter",
        "diffInSeconds",
        "diffInMinutes",
        "diffInHours",
    }
)
"""Functions of times that read no clock."""
_WHOLE_MONTHS = frozenset({"ageInMonths", "diffInMonths"})
_WHOLE_YEARS = frozenset({"age", "ageInYears", "diffInYears"})
_SUMS = frozenset({"sum", "average"})
_ORDERED = frozenset({"min", "max", "topN", "bottomN"})
_SETS = frozenset({"distinct", "intersects", "subsetOf", "supersetOf", "intersection"})
_SAMPLE = 1_000
"""Most items of an array that are looked at."""


class _ObservingInterpreter(Interpreter):
    def __init__(self, env: Environment) -> None:
        super().__init__(env)
        self.met: dict[tuple[EncounterKind, TextSpan], Encounter] = {}
        self._stored_by_reading: dict[ObjectKey, Value] = {}
        self._occurs_by_test: dict[ObjectKey, Occurs] = {}
        self._item_conditions: set[ObjectKey] = set()

    def _add(self, kind: EncounterKind, node: Node, value: Value) -> None:
        span = node.of.span if isinstance(node, ReadAs) and node.span == NO_SPAN else node.span
        holds = (isinstance(node, Binary) and node.sign in _NEGATIVE) or (
            isinstance(node, Call) and node.function == "notEqualTo"
        )
        self.met.setdefault((kind, span), Encounter(kind, span, value, holds))

    # --- what the interpreter evaluates

    def value(self, node: Node) -> Value:
        match node:
            case Occurs(_, test):
                self._occurs_by_test[ObjectKey(test)] = node
            case Filter(_, test) | Call("filter", (_, test)):
                self._item_conditions.add(ObjectKey(test))
        return super().value(node)

    def read(self, node: ReadAs, value: Value) -> Value:
        self._stored_by_reading[ObjectKey(node)] = value
        return super().read(node, value)

    def holds(self, node: Node) -> bool:
        value = self.value(node)
        self._check_condition(node, value)
        return truth(value)

    def evaluate_item(self, item: Lambda, *values: Any) -> Value:
        value = super().evaluate_item(item, *values)
        if isinstance(item.body, ReadAs) or ObjectKey(item) in self._item_conditions:
            self._check_condition(item.body, value)
        return value

    def negate(self, node: Negate, value: Value) -> Value:
        self._check_numbers(node, self._stored(node.operand, value))
        return super().negate(node, value)

    def binary(self, node: Binary, left: Value, right: Value) -> Value:
        if node.sign in _ARITHMETIC:
            self._check_numbers(node, self._stored(node.left, left), self._stored(node.right, right))
        elif node.sign != "like" and not _are_alike(node, left, right):
            sides = self._side(node.left, left), self._side(node.right, right)
            self._check_comparison(node, *sides, is_membership=node.sign in ("in", "notIn"))
        return super().binary(node, left, right)

    def apply(self, node: Call | Aggregate, *arguments: Any) -> Value:
        if isinstance(node, Aggregate) or STDLIB[node.function].is_higher_order:
            self._check_items(node, arguments[1])
        else:
            sides = [self._side(*pair) for pair in zip(node.arguments, arguments, strict=True)]
            stored = [side.stored for side in sides]
            if node.function in ("equals", "notEqualTo"):
                has_flag = len(sides) > 2 and sides[-1].is_constant and isinstance(sides[-1].value, bool)
                for candidate in sides[1 : len(sides) - has_flag]:
                    self._check_comparison(node, sides[0], candidate)
            elif node.function == "includes":
                self._check_comparison(node, sides[1], sides[0], is_membership=True)
            elif node.function in _SETS:
                self._check_instants(node, [item for value in stored for item in _items(value)])
            elif node.function in _ORDERED or node.function in _SUMS:
                self._check_items(node, stored[0])
            else:
                self._check_arguments(node, stored)
        return super().apply(node, *arguments)

    def occurs(self, subject: Value, test: TimeTest) -> bool:
        node = self._occurs_by_test.get(ObjectKey(test))
        if node is not None and isinstance(test, Within) and test.unit in MONTHS_PER_UNIT:
            if own_zone(subject) is not None:
                self._add(EncounterKind.ZONE, node, subject)
            if test.direction == "before":
                self._check_month_end(node, subject, years=test.unit != "month")
        return super().occurs(subject, test)

    # --- checks

    def _stored(self, node: Node, value: Value) -> Value:
        """Return the value of a node as it is stored, before it is read as its declared type."""
        return self._stored_by_reading.get(ObjectKey(node), value)

    def _side(self, node: Node, value: Value) -> "_Side":
        return _Side(value, self._stored(node, value), isinstance(node, Literal | Constant))

    def _check_condition(self, node: Node, value: Value) -> None:
        """Check a value that stands alone, as a condition or the result of an item expression."""
        if not isinstance(node, ReadAs):
            if isinstance(value, str) and parse_boolean(value) is False:  # any other text is true
                self._add(EncounterKind.CONVERTED, node, value)
            return
        for side in self._side(node, value).items() if is_list(value) else [self._side(node, value)]:
            if side.value is UNREADABLE:
                self._add(EncounterKind.INCOMPARABLE, node, side.stored)
            elif side.is_converted:
                self._add(EncounterKind.CONVERTED, node, side.stored)

    def _check_numbers(self, node: Node, *stored: Value) -> None:
        for value in stored:
            if isinstance(value, str):
                self._add(EncounterKind.CONVERTED, node, value)

    def _check_arguments(self, node: Call, stored: list[Value]) -> None:
        function = STDLIB[node.function]
        for position, value in enumerate(stored):
            kind = function.kind_of(position)
            if kind in _NUMERIC:
                self._check_numbers(node, value)
            elif kind is ValueKind.LOCAL and node.function not in _BY_INSTANT and own_zone(value) is not None:
                self._add(EncounterKind.ZONE, node, value)
        if node.function in _WHOLE_MONTHS or node.function in _WHOLE_YEARS:
            times = [(moment, value) for value in stored if (moment := as_local(value, self.env.tz)) is not None]
            if times:
                _, earliest = min(times, key=lambda pair: pair[0])
                self._check_month_end(node, earliest, years=node.function in _WHOLE_YEARS)

    def _check_month_end(self, node: Node, value: Value, *, years: bool) -> None:
        local = as_local(value, self.env.tz)
        if local is not None and ((local.month, local.day) == (2, 29) if years else local.day > 28):
            self._add(EncounterKind.MONTH_END, node, value)

    def _check_items(self, node: Call | Aggregate, values: Value) -> None:
        """Check what a function adds up or orders. Values that are read as a type were checked one by one."""
        items = _items(values)
        texts = [item for item in items if isinstance(item, str)]
        if node.function in _SUMS:
            self._check_numbers(node, *texts)
        elif node.function in _ORDERED:
            if any(map(is_number, items)):
                self._check_numbers(node, *texts)
            self._check_numbers(node, *[text for text in texts if parse_number(text) is not None])
            moments = [(text, moment) for text in texts if (moment := as_moment(text)) is not None]
            is_mixed = bool(moments) and len(moments) < len(texts)
            if is_mixed or sorted(moments) != sorted(moments, key=lambda pair: pair[1]):
                self._add(EncounterKind.ZONE, node, moments[0][0])
            self._check_instants(node, texts)

    def _check_instants(self, node: Node, items: list[Value]) -> None:
        """Check for one instant in two spellings."""
        texts: dict[datetime, str] = {}
        for item in items:
            moment = as_moment(item) if isinstance(item, str) else None
            if moment is not None and texts.setdefault(moment, item) != item:
                self._add(EncounterKind.ZONE, node, item)

    def _check_comparison(self, node: Node, left: "_Side", right: "_Side", *, is_membership: bool = False) -> None:
        """Check two sides; with `is_membership` the left one is compared with each item of the right one."""
        if is_membership and is_list(right.value):
            for item in right.items():
                self._check_comparison(node, left, item)
            return
        if any(side.value is None or side.value == [] for side in (left, right)):
            return
        kind = _kind_of_comparison(left, right, self.env.tz)
        if kind is not None:
            sides = (right, left) if left.is_constant else (left, right)
            encountered = next((side for side in sides if side.value is UNREADABLE or side.is_converted), sides[0])
            self._add(kind, node, encountered.stored)


def _are_alike(node: Binary, left: Value, right: Value) -> bool:
    """Return whether two values are surely of one type, and no date-times. The most frequent case, and quick."""
    kind = left.__class__
    if kind is not right.__class__ or isinstance(node.left, ReadAs) or isinstance(node.right, ReadAs):
        return False
    return left[4:5] != "-" or right[4:5] != "-" if kind is str else kind in (int, float, bool)


class _Side(NamedTuple):
    """A side of a comparison: its value, and the value as it is stored, before it is read as its type."""

    value: Value
    stored: Value
    is_constant: bool

    @property
    def is_converted(self) -> bool:
        return not isinstance(self.value, date) and _type_of(self.value) != _type_of(self.stored)

    def items(self) -> Iterator["_Side"]:
        pairs = zip(_items(self.value), _items(self.stored), strict=False)
        return (_Side(value, stored, self.is_constant) for value, stored in pairs)


def _kind_of_comparison(left: _Side, right: _Side, zone: tzinfo) -> EncounterKind | None:
    """Return what a comparison of two values meets; neither is null or an empty array."""
    structured = [is_list(side.value) or isinstance(side.value, Mapping) for side in (left, right)]
    if all(structured):
        return None
    pair = None if any(structured) else comparable(left.value, right.value, zone)
    if pair is None:  # as for a value that cannot be read
        return EncounterKind.INCOMPARABLE
    if any(isinstance(side.stored, date) for side in (left, right)):
        return None
    if _type_of(left.stored) != _type_of(right.stored) or left.is_converted or right.is_converted:
        return EncounterKind.CONVERTED
    if isinstance(pair[0], str) and isinstance(left.stored, str) and left.stored != right.stored:
        # Beside a declared text a number literal is a text too.
        number = parse_number(left.stored)
        return EncounterKind.CONVERTED if number is not None and number == parse_number(right.stored) else None
    if isinstance(pair[0], datetime) and isinstance(left.stored, str):
        as_texts, as_instants = (
            (first == second, first < second) for first, second in ((left.stored, right.stored), pair)
        )
        return None if as_texts == as_instants else EncounterKind.ZONE
    return None


def _type_of(value: Value) -> str:
    match value:
        case bool():
            return "Boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case date():
            return "date"
        case _:
            return "other"


def _items(value: Value) -> list[Value]:
    return list(value[:_SAMPLE]) if is_list(value) else []
