"""Vectorised arithmetic, comparison and logic with PQL semantics, on NumPy arrays.

A value that is the same for every row is a scalar instead of an array. Integers are exact below 2^53;
rows whose integer result reaches that are marked uncertain and must be evaluated one by one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from proffer.pql.syntax.nodes import Binary, If, Literal, Logic, Negate, Node, Not
from proffer.pql.values.values import as_number, read_number, truth

Booleans: TypeAlias = npt.NDArray[np.bool_]
Doubles: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.intp]
Truth: TypeAlias = Any
"""One bool for all rows, or an array with one bool per row."""
Reading: TypeAlias = tuple[float, bool, bool, bool, bool]
"""A double and four flags: valid (not null), integral, uncertain, parsed from a text."""

_EXACT = 2.0**53
_SAFE = 2.0**52
_LARGEST = 1e308

_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "=": np.equal,
    "!=": np.not_equal,
}
_OPERATE: dict[str, tuple[Callable[[Any, Any], Any], Callable[[float, float], float]]] = {
    "+": (np.add, lambda left, right: left + right),
    "-": (np.subtract, lambda left, right: left + right),
    "*": (np.multiply, lambda left, right: left * right),
    "/": (np.divide, lambda _left, _right: float("inf")),
    "%": (np.fmod, lambda left, _right: left),
}


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers or nulls: each field is one scalar for all rows, or one element per row.

    `valid`: not null. `integral`: an integer. `from_text`: parsed from a text. `max_abs`: an upper bound
    of the absolute values.
    """

    values: Any
    known: Truth
    whole: Truth
    most: float
    text: Truth = False


class NotNumbers(Exception):
    """Raised when an evaluation has values that no numeric array can hold."""


class Evaluation(Protocol):
    """The argument of kernels. `uncertain`: rows that must be evaluated one by one."""

    doubt: Truth


Context = TypeVar("Context", bound=Evaluation)
NumberKernel: TypeAlias = Callable[[Context], Numbers]
TruthKernel: TypeAlias = Callable[[Context], Truth]

ZERO = Numbers(0.0, known=True, whole=True, most=0.0)


@dataclass(frozen=True, slots=True)
class NumberTable:
    """A list of values as numbers, with a mask of the values an array cannot represent."""

    numbers: Numbers
    doubt: Truth

    @classmethod
    def of(cls, readings: Iterable[Reading]) -> "NumberTable":
        """Return the table of these parsed numbers, in order."""
        return cls.of_array(np.array(list(readings), dtype=np.float64))

    @classmethod
    def of_array(cls, readings: Doubles) -> "NumberTable":
        """Return the table of an array with one parsed number per row."""
        known, whole, doubt, text = (readings[:, at] != 0 for at in (1, 2, 3, 4))
        # The `integral` flag of a null does not matter.
        uniform = True if whole[known].all() else whole if whole.any() else False
        most = float(np.abs(readings[:, 0]).max(initial=0.0))
        numbers = Numbers(
            readings[:, 0].copy(), uniform_truth(known), uniform, most, uniform_truth(text)
        )
        return cls(numbers, uniform_truth(doubt))

    def at(self, rows: Rows) -> Numbers:
        """Return the numbers of the values at these positions."""
        numbers = self.numbers
        return Numbers(
            numbers.values[rows],
            truth_at(numbers.known, rows),
            truth_at(numbers.whole, rows),
            numbers.most,
            truth_at(numbers.text, rows),
        )


def read_plain(value: Any) -> Reading:
    """Parse a number or null; any other value is uncertain."""
    kind = value.__class__
    if kind is int and -_EXACT < value < _EXACT:
        return (float(value), True, True, False, False)
    if kind is float and isfinite(value):
        return (value, True, False, False, False)
    return (0.0, False, False, value is not None, False)


def read_operand(value: Any) -> Reading:
    """Parse a number, null, or a text that spells a number."""
    if value.__class__ is not str:
        return read_plain(value)
    return (*read_plain(as_number(read_number(value)))[:4], True)


def scalar(reading: Reading) -> Numbers:
    """Return one value for all rows. Raises `NotNumbers` if it is uncertain."""
    number, known, whole, doubt, text = reading
    if doubt:
        raise NotNumbers
    return Numbers(number, known, whole, abs(number), text)


def uniform_truth(truths: Any) -> Truth:
    """Return one bool where all rows agree, else the array."""
    array = np.asarray(truths, dtype=np.bool_)
    if array.all():
        return True
    return array if array.any() else False


def truth_at(truths: Truth, rows: Rows) -> Truth:
    """Return the mask at these rows."""
    return truths if isinstance(truths, bool) else truths[rows]


def both(one: Truth, other: Truth) -> Truth:
    """Return the rows where both masks are true."""
    if one is True or other is False:
        return other
    return one if other is True or one is False else one & other


def either(one: Truth, other: Truth) -> Truth:
    """Return the rows where at least one mask is true."""
    if one is False or other is True:
        return other
    return one if other is False or one is True else one | other


def negate(truths: Truth) -> Truth:
    """Return the rows where the mask is false."""
    return not truths if isinstance(truths, bool) else ~truths


def compare(sign: str, left: Numbers, right: Numbers) -> Truth:
    """Return the rows where neither side is null and the comparison holds."""
    known = both(left.known, right.known)
    return known if known is False else both(known, _ORDER[sign](left.values, right.values))


class ArrayCompiler(ABC, Generic[Context]):
    """Compile a tree to kernels over arrays; subclasses provide the leaf values."""

    @abstractmethod
    def number_part(self, node: Node, *, operand: bool) -> NumberKernel[Context]:
        """Compile a non-arithmetic node to a number kernel."""

    @abstractmethod
    def truth_part(self, node: Node) -> TruthKernel[Context]:
        """Compile any node but logic and comparisons to a truth kernel."""

    @abstractmethod
    def comparison(self, node: Node, sign: str, left: Node, right: Node) -> TruthKernel[Context]:
        """Compile a comparison of numbers or of other values."""

    def numbers(self, node: Node, *, operand: bool = False) -> NumberKernel[Context]:
        """Compile a node to a number kernel; an arithmetic `operand` may be a text that spells one."""
        match node:
            case Literal(value) if not (reading := read_plain(value))[3]:
                constant = scalar(reading)
                return lambda _: constant
            case If(test, then, otherwise):
                return _choice(
                    self.truth(test),
                    self.numbers(then, operand=operand),
                    self.numbers(otherwise, operand=operand),
                )
            case Binary("+" | "-" | "*" | "/" | "%" as sign, left, right):
                mine, yours = self.numbers(left, operand=True), self.numbers(right, operand=True)
                return _arithmetic(sign, mine, yours)
            case Negate(inner):
                return _arithmetic("-", lambda _: ZERO, self.numbers(inner, operand=True))
            case _:
                return self.number_part(node, operand=operand)

    def truth(self, node: Node) -> TruthKernel[Context]:
        """Compile a node to a truth kernel."""
        match node:
            case Literal(value):
                constant = truth(value)
                return lambda _: constant
            case Logic(sign, parts):
                return _logic(sign, [self.truth(part) for part in parts])
            case Not(operand):
                kernel = self.truth(operand)
                return lambda evaluation: negate(kernel(evaluation))
            case Binary(sign, left, right) if sign in _ORDER:
                return self.comparison(node, sign, left, right)
            case _:
                return self.truth_part(node)


def _where(chosen: Truth, yes: Truth, no: Truth) -> Truth:
    return yes if isinstance(yes, bool) and yes is no else np.where(chosen, yes, no)


def _logic(sign: str, parts: list[TruthKernel[Context]]) -> TruthKernel[Context]:
    join, decides = (both, False) if sign == "and" else (either, True)

    def evaluate(evaluation: Context) -> Truth:
        truths: Truth = not decides
        for part in parts:
            truths = join(truths, part(evaluation))
            if truths is decides:  # every row is decided
                break
        return truths

    return evaluate


def _choice(
    test: TruthKernel[Context], then: NumberKernel[Context], otherwise: NumberKernel[Context]
) -> NumberKernel[Context]:
    def evaluate(evaluation: Context) -> Numbers:
        chosen = test(evaluation)
        if isinstance(chosen, bool):
            return (then if chosen else otherwise)(evaluation)
        before, evaluation.doubt = evaluation.doubt, False
        yes = then(evaluation)
        doubt_of_yes, evaluation.doubt = evaluation.doubt, False
        no = otherwise(evaluation)
        doubt = _where(chosen, doubt_of_yes, evaluation.doubt)
        evaluation.doubt = either(before, doubt)
        return Numbers(
            np.where(chosen, yes.values, no.values),
            _where(chosen, yes.known, no.known),
            _where(chosen, yes.whole, no.whole),
            max(yes.most, no.most),
            _where(chosen, yes.text, no.text),
        )

    return evaluate


def _arithmetic(
    sign: str, left: NumberKernel[Context], right: NumberKernel[Context]
) -> NumberKernel[Context]:
    operate, bound = _OPERATE[sign]

    def evaluate(evaluation: Context) -> Numbers:
        mine, yours = left(evaluation), right(evaluation)
        # A text is converted to a number only if the other operand is a number.
        known = both(both(mine.known, yours.known), negate(both(mine.text, yours.text)))
        whole = False if sign == "/" else both(mine.whole, yours.whole)
        values = operate(mine.values, yours.values)
        most = bound(mine.most, yours.most)
        if most != most:  # noqa: PLR0124 - NaN: 0 times infinity
            most = float("inf")
        if sign in "/%":
            known = both(known, np.not_equal(yours.values, 0.0))
        if sign in "*%" and whole is not False:  # no integer is -0
            values = values + 0.0 if whole is True else np.where(whole, values + 0.0, values)
        if whole is not False and not most < _SAFE:
            large = both(whole, np.abs(values) >= _EXACT)
            evaluation.doubt = either(evaluation.doubt, both(known, large))
        if not most < _LARGEST:
            known = both(known, np.isfinite(values))
        return Numbers(values, known, whole, most)

    return evaluate
