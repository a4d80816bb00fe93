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
from proffer.pql.values.values import truth

Booleans: TypeAlias = npt.NDArray[np.bool_]
Doubles: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.intp]
Truth: TypeAlias = Any
"""One bool for all rows, or an array with one bool per row."""
ParsedNumber: TypeAlias = tuple[float, bool, bool, bool]
"""A double and three flags: valid (not null), integral, uncertain."""

_EXACT_LIMIT = 2.0**53
_SAFE_LIMIT = 2.0**52
_FINITE_LIMIT = 1e308

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "=": np.equal,
    "!=": np.not_equal,
}
_ARITHMETIC: dict[str, tuple[Callable[[Any, Any], Any], Callable[[float, float], float]]] = {
    "+": (np.add, lambda left, right: left + right),
    "-": (np.subtract, lambda left, right: left + right),
    "*": (np.multiply, lambda left, right: left * right),
    "/": (np.divide, lambda _left, _right: float("inf")),
    "%": (np.fmod, lambda left, _right: left),
}


@dataclass(frozen=True, slots=True)
class NumericArray:
    """Numbers or nulls: each field is one scalar for all rows, or one element per row.

    `valid`: not null. `integral`: an integer. `max_abs`: an upper bound of the absolute values.
    """

    values: Any
    valid: Truth
    integral: Truth
    max_abs: float


class NotNumbers(Exception):
    """Raised when an evaluation has values that no numeric array can hold."""


class Evaluation(Protocol):
    """The argument of kernels. `uncertain`: rows that must be evaluated one by one."""

    uncertain: Truth


Context = TypeVar("Context", bound=Evaluation)
NumberKernel: TypeAlias = Callable[[Context], NumericArray]
TruthKernel: TypeAlias = Callable[[Context], Truth]

ZERO = NumericArray(0.0, valid=True, integral=True, max_abs=0.0)


@dataclass(frozen=True, slots=True)
class NumberTable:
    """Values as numbers, with a mask of those an array cannot represent."""

    numbers: NumericArray
    uncertain: Truth

    @classmethod
    def of(cls, parsed_numbers: Iterable[ParsedNumber]) -> "NumberTable":
        """Return the table of these parsed numbers, in order."""
        return cls.of_array(np.array(list(parsed_numbers), dtype=np.float64))

    @classmethod
    def of_array(cls, parsed_numbers: Doubles) -> "NumberTable":
        """Return the table of an array with one parsed number per row."""
        valid, integral, uncertain = (parsed_numbers[:, at] != 0 for at in (1, 2, 3))
        # The `integral` flag of a null does not matter.
        integral_mask = True if integral[valid].all() else integral if integral.any() else False
        max_abs = float(np.abs(parsed_numbers[:, 0]).max(initial=0.0))
        numbers = NumericArray(
            parsed_numbers[:, 0].copy(),
            uniform_truth(valid),
            integral_mask,
            max_abs,
        )
        return cls(numbers, uniform_truth(uncertain))

    def at(self, rows: Rows) -> NumericArray:
        """Return the numbers of the values at these positions."""
        numbers = self.numbers
        return NumericArray(
            numbers.values[rows],
            truth_at(numbers.valid, rows),
            truth_at(numbers.integral, rows),
            numbers.max_abs,
        )


def parse_number_or_null(value: Any) -> ParsedNumber:
    """Parse a number or null; any other value is uncertain."""
    kind = value.__class__
    if kind is int and -_EXACT_LIMIT < value < _EXACT_LIMIT:
        return (float(value), True, True, False)
    if kind is float and isfinite(value):
        return (value, True, False, False)
    return (0.0, False, False, value is not None)


def parse_operand(value: Any) -> ParsedNumber:
    """Parse an operand of arithmetic, where a text counts as null."""
    return parse_number_or_null(None if value.__class__ is str else value)


def scalar_numbers(parsed_number: ParsedNumber) -> NumericArray:
    """Return one value for all rows. Raises `NotNumbers` if it is uncertain."""
    number, valid, integral, uncertain = parsed_number
    if uncertain:
        raise NotNumbers
    return NumericArray(number, valid, integral, abs(number))


def uniform_truth(truths: Any) -> Truth:
    """Return one bool where all rows agree, else the array."""
    array = np.asarray(truths, dtype=np.bool_)
    if array.all():
        return True
    return array if array.any() else False


def truth_at(truths: Truth, rows: Rows) -> Truth:
    """Return the mask at these rows."""
    return truths if isinstance(truths, bool) else truths[rows]


def logical_and(first: Truth, second: Truth) -> Truth:
    """Return the rows where both masks are true."""
    if first is True or second is False:
        return second
    return first if second is True or first is False else first & second


def logical_or(first: Truth, second: Truth) -> Truth:
    """Return the rows where at least one mask is true."""
    if first is False or second is True:
        return second
    return first if second is False or first is True else first | second


def logical_not(truths: Truth) -> Truth:
    """Return the rows where the mask is false."""
    return not truths if isinstance(truths, bool) else ~truths


def compare(sign: str, left: NumericArray, right: NumericArray) -> Truth:
    """Return the rows where neither side is null and the comparison holds."""
    valid = logical_and(left.valid, right.valid)
    return valid if valid is False else logical_and(valid, _COMPARE[sign](left.values, right.values))


class ArrayCompiler(ABC, Generic[Context]):
    """Compile a tree to kernels over arrays; subclasses provide the leaf values."""

    @abstractmethod
    def compile_number_leaf(self, node: Node, *, operand: bool) -> NumberKernel[Context]:
        """Compile a non-arithmetic node to a number kernel."""

    @abstractmethod
    def compile_truth_leaf(self, node: Node) -> TruthKernel[Context]:
        """Compile any node but logic and comparisons to a truth kernel."""

    @abstractmethod
    def compile_comparison(self, node: Node, sign: str, left: Node, right: Node) -> TruthKernel[Context]:
        """Compile a comparison of numbers or of other values."""

    def compile_numbers(self, node: Node, *, operand: bool = False) -> NumberKernel[Context]:
        """Compile a node to a number kernel; a text is null as an `operand` of arithmetic."""
        match node:
            case Literal(value) if not (parsed_number := parse_number_or_null(value))[3]:
                constant = scalar_numbers(parsed_number)
                return lambda _: constant
            case If(test, then, otherwise):
                return _compile_if(
                    self.compile_truth(test),
                    self.compile_numbers(then, operand=operand),
                    self.compile_numbers(otherwise, operand=operand),
                )
            case Binary("+" | "-" | "*" | "/" | "%" as sign, left, right):
                left_kernel, right_kernel = (
                    self.compile_numbers(left, operand=True),
                    self.compile_numbers(right, operand=True),
                )
                return _compile_arithmetic(sign, left_kernel, right_kernel)
            case Negate(inner):
                return _compile_arithmetic("-", lambda _: ZERO, self.compile_numbers(inner, operand=True))
            case _:
                return self.compile_number_leaf(node, operand=operand)

    def compile_truth(self, node: Node) -> TruthKernel[Context]:
        """Compile a node to a truth kernel."""
        match node:
            case Literal(value):
                constant = truth(value)
                return lambda _: constant
            case Logic(sign, parts):
                return _compile_logic(sign, [self.compile_truth(part) for part in parts])
            case Not(operand):
                kernel = self.compile_truth(operand)
                return lambda evaluation: logical_not(kernel(evaluation))
            case Binary(sign, left, right) if sign in _COMPARE:
                return self.compile_comparison(node, sign, left, right)
            case _:
                return self.compile_truth_leaf(node)


def _select(test: Truth, yes: Truth, no: Truth) -> Truth:
    return yes if isinstance(yes, bool) and yes is no else np.where(test, yes, no)


def _compile_logic(sign: str, parts: list[TruthKernel[Context]]) -> TruthKernel[Context]:
    combine, deciding_value = (logical_and, False) if sign == "and" else (logical_or, True)

    def evaluate(evaluation: Context) -> Truth:
        truths: Truth = not deciding_value
        for part in parts:
            truths = combine(truths, part(evaluation))
            if truths is deciding_value:  # every row is decided
                break
        return truths

    return evaluate


def _compile_if(
    test: TruthKernel[Context], then: NumberKernel[Context], otherwise: NumberKernel[Context]
) -> NumberKernel[Context]:
    def evaluate(evaluation: Context) -> NumericArray:
        condition = test(evaluation)
        if isinstance(condition, bool):
            return (then if condition else otherwise)(evaluation)
        outer_uncertain, evaluation.uncertain = evaluation.uncertain, False
        then_numbers = then(evaluation)
        then_uncertain, evaluation.uncertain = evaluation.uncertain, False
        otherwise_numbers = otherwise(evaluation)
        uncertain = _select(condition, then_uncertain, evaluation.uncertain)
        evaluation.uncertain = logical_or(outer_uncertain, uncertain)
        return NumericArray(
            np.where(condition, then_numbers.values, otherwise_numbers.values),
            _select(condition, then_numbers.valid, otherwise_numbers.valid),
            _select(condition, then_numbers.integral, otherwise_numbers.integral),
            max(then_numbers.max_abs, otherwise_numbers.max_abs),
        )

    return evaluate


def _compile_arithmetic(sign: str, left: NumberKernel[Context], right: NumberKernel[Context]) -> NumberKernel[Context]:
    operate, max_abs_of = _ARITHMETIC[sign]

    def evaluate(evaluation: Context) -> NumericArray:
        left_numbers, right_numbers = left(evaluation), right(evaluation)
        valid = logical_and(left_numbers.valid, right_numbers.valid)
        integral = False if sign == "/" else logical_and(left_numbers.integral, right_numbers.integral)
        values = operate(left_numbers.values, right_numbers.values)
        max_abs = max_abs_of(left_numbers.max_abs, right_numbers.max_abs)
        if max_abs != max_abs:  # noqa: PLR0124 - NaN: 0 times infinity
            max_abs = float("inf")
        if sign in "/%":
            valid = logical_and(valid, np.not_equal(right_numbers.values, 0.0))
        if sign in "*%" and integral is not False:  # no integer is -0
            values = values + 0.0 if integral is True else np.where(integral, values + 0.0, values)
        if integral is not False and not max_abs < _SAFE_LIMIT:
            large = logical_and(integral, np.abs(values) >= _EXACT_LIMIT)
            evaluation.uncertain = logical_or(evaluation.uncertain, logical_and(valid, large))
        if not max_abs < _FINITE_LIMIT:
            valid = logical_and(valid, np.isfinite(values))
        return NumericArray(values, valid, integral, max_abs)

    return evaluate
