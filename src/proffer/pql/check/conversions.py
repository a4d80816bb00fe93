"""Warnings about comparisons that rely on a conversion, and about dates beside date-times (R44)."""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

from proffer.pql.check.declared import candidates_of, reading_of
from proffer.pql.check.inference import InferredType
from proffer.pql.check.types import ObservedType, Shape
from proffer.pql.forms.printer import print_scalar, print_tree
from proffer.pql.syntax.diagnostics import Diagnostic, Severity, TextFix
from proffer.pql.syntax.nodes import (
    Binary,
    Call,
    ListOf,
    Literal,
    Negate,
    Node,
    Reading,
    TimeWord,
    walk,
)
from proffer.pql.syntax.source import NO_SPAN, TextSpan
from proffer.pql.syntax.tokens import EXCHANGED_COMPARISONS
from proffer.pql.values.identity import ObjectKey
from proffer.pql.values.times import parse_time
from proffer.pql.values.values import is_number, parse_boolean, parse_json_number

_EQUALITY = frozenset({"=", "!=", "in", "notIn"})
_NAMES = {
    Reading.NUMBER: "a number",
    Reading.TEXT: "a text",
    Reading.BOOLEAN: "a Boolean",
    Reading.TIME: "a date",
}


class _OperandPair(NamedTuple):
    """Two sides and the sign between them, whatever the form: `=`, `in`, `equals`, `includes`…

    `span`: that of a comparison that is written by its sign alone.
    """

    sign: str
    left: Node
    right: Node
    span: TextSpan = NO_SPAN


def conversions(core: Node, types: Mapping[ObjectKey, InferredType], text: str) -> list[Diagnostic]:
    """Return the warnings for a resolved tree. `types`: those of its nodes; `text`: the rule's text."""
    checker = _ConversionChecker(types, text)
    return [
        finding
        for node in walk(core)
        for comparison in _comparisons(node)
        for finding in (checker.literal(comparison), checker.fields(comparison), checker.day(comparison))
        if finding is not None
    ]


def _comparisons(node: Node) -> Iterator[_OperandPair]:
    match node:
        case Binary(sign, left, right) if sign in EXCHANGED_COMPARISONS:
            yield _OperandPair(sign, left, right, node.span)
            yield _OperandPair(EXCHANGED_COMPARISONS[sign], right, left, node.span)
        case Binary("in" | "notIn" as sign, left, ListOf(items)):
            yield from (_OperandPair(sign, left, item) for item in items)
        case Binary("in" | "notIn" as sign, left, right):
            yield _OperandPair(sign, right, left)
        case Call("equals" | "notEqualTo", (subject, *_)):
            yield from (_OperandPair("=", subject, candidate) for candidate in candidates_of(node))
        case Call("includes", (array, item)):
            yield _OperandPair("in", array, item)


class _ConversionChecker:
    def __init__(self, types: Mapping[ObjectKey, InferredType], text: str) -> None:
        self.types = types
        self.text = text

    def reading(self, node: Node) -> Reading | None:
        return reading_of(self.types.get(ObjectKey(node)))

    def name(self, node: Node) -> str:
        start, end = node.span
        return self.text[start:end] if start >= 0 else print_tree(node)

    # --- literals of another type

    def literal(self, comparison: _OperandPair) -> Diagnostic | None:
        """Return a warning if a literal is converted to the declared type of the other side."""
        sign, subject, constant, _ = comparison
        value = _constant(constant)
        reading = None if value is None else self.reading(subject)
        if reading is None:
            return None
        written, name = self.name(constant), self.name(subject)
        match reading:
            case Reading.TEXT if is_number(value) and sign not in _EQUALITY:
                return _warning(f"`{name}` is a text: it is ordered as a number, where it is one", constant, None, None)
            case Reading.TEXT if not isinstance(value, str):
                converted = print_scalar(written if is_number(value) else str(value).lower())
                exclusion = f', not `"0{written}"`' if written.isdigit() and not written.startswith("0") else ""
                message = f"`{name}` is a text: {written} is compared as the text `{converted}`{exclusion}"
            case Reading.NUMBER if isinstance(value, str) and (number := parse_json_number(value)) is not None:
                converted = print_scalar(number)
                message = f"`{name}` is a number: {written} is compared as the number {converted}"
            case Reading.BOOLEAN if not isinstance(value, bool) and (logical := _as_boolean(value)) is not None:
                converted = print_scalar(logical)
                message = f"`{name}` is a Boolean: {written} is compared as {converted}"
            case _:
                return None
        return _warning(message, constant, f"write `{converted}`", converted)

    # --- fields of different types

    def fields(self, comparison: _OperandPair) -> Diagnostic | None:
        """Return a warning if two fields are declared with different types that are converted."""
        sign, left, right, _ = comparison
        readings = (self.reading(left), self.reading(right))
        if None in readings or left.span > right.span or readings[0] is readings[1] or sign in ("in", "notIn"):
            return None
        if Reading.TEXT not in readings:
            return None  # never comparable, which is reported already
        first, second = (_NAMES[reading] for reading in readings if reading is not None)
        type_name = next(_NAMES[reading] for reading in readings if reading not in (None, Reading.TEXT))
        message = (
            f"`{self.name(left)}` is {first} and `{self.name(right)}` {second}: "
            f"only a text that is {type_name} compares"
        )
        return _warning(message, left, None, None)

    # --- days and times of day

    def day(self, comparison: _OperandPair) -> Diagnostic | None:
        """Return a warning if a day is compared with a date-time so that the time of day matters."""
        sign, subject, day, span = comparison
        if sign not in ("=", "!=", "<=", ">", "in", "notIn") or not self.is_moment(subject) or not self.is_day(day):
            return None
        name, written = self.name(subject), self.name(day)
        within, following = f"{name} occurs on {written}", _next_day(day)
        replacement = f"not ({within})" if sign == "!=" else within
        help_ = f"for the whole day write `{replacement}`"
        if following is not None and sign in ("<=", ">"):
            replacement = f"{name} {'<' if sign == '<=' else '>='} {following}"
            help_ = f"to have the whole day on one side write `{replacement}`; for that day alone `{within}`"
        message = f"`{name}` has a time of day: beside it {written} is the start of that day"
        fixable = span != NO_SPAN and (sign in ("=", "!=") or following is not None)
        fix = TextFix(span, replacement) if fixable else None
        return Diagnostic("pql.conversion", message, help_, day.span, Severity.WARNING, fix)

    def is_moment(self, node: Node) -> bool:
        inferred = self.types.get(ObjectKey(node))
        if inferred is None:
            return False
        type_ = inferred.type
        return (type_.observed if isinstance(type_, ObservedType) else type_.shape) is Shape.MOMENT and not self.is_day(
            node
        )

    def is_day(self, node: Node) -> bool:
        match node:
            case TimeWord(word):
                return word != "now"
            case Call("date" | "toDate", _):
                return True
            case Literal(str() as text):
                time = parse_time(text)
                return type(time) is date
            case _:
                inferred = self.types.get(ObjectKey(node))
                return inferred is not None and inferred.declared and inferred.type.shape is Shape.DATE


def _next_day(day: Node) -> str | None:
    """Return the day after a constant day, as PQL."""
    match day:
        case Call("date", (Literal(int() as year), Literal(int() as month), Literal(int() as number))):
            try:
                following = date(year, month, number) + timedelta(days=1)
            except (ValueError, OverflowError):
                return None
            return f"date({following.year}, {following.month}, {following.day})"
        case TimeWord("today"):
            return "tomorrow"
        case _:
            return None


def _constant(node: Node) -> Any:
    """Return the value of a literal, negative numbers included; None for other nodes."""
    match node:
        case Literal(value):
            return value
        case Negate(Literal(value)) if is_number(value):
            return -value  # type: ignore[operator]
        case _:
            return None


def _as_boolean(value: Any) -> bool | None:
    if isinstance(value, str):
        return parse_boolean(value)
    return bool(value) if value in (0, 1) else None


def _warning(message: str, node: Node, help_: str | None, replacement: str | None) -> Diagnostic:
    fix = None if replacement is None or node.span == NO_SPAN else TextFix(node.span, replacement)
    return Diagnostic("pql.conversion", message, help_, node.span, Severity.WARNING, fix)
