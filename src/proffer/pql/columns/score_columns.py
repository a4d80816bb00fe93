"""Vectorised residual of a partially evaluated formula, for many offers at once.

Comparisons, logic, conditionals and arithmetic of numbers run on NumPy doubles, bit-identical to Python:
integers stay below 2^53, with a flag per number whether it is one. Text equality uses codes. Any other
part is evaluated once per distinct combination of offer values, by its generated Python. Offers that
cannot be decided are *uncertain* and must be evaluated one by one; a request with other value types
raises `NotNumbers` and must be evaluated offer by offer.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from proffer.pql.columns.arrays import (
    ArrayCompiler,
    Booleans,
    Doubles,
    NotNumbers,
    NumberKernel,
    NumberTable,
    NumericArray,
    Rows,
    Truth,
    TruthKernel,
    compare,
    logical_or,
    parse_number_or_null,
    parse_operand,
    scalar_numbers,
    truth_at,
    uniform_truth,
)
from proffer.pql.compile import VALUE_NAMESPACE, load
from proffer.pql.index.partial_eval import WORK_SHARE, SplitFormula, Values
from proffer.pql.run.to_python import is_boolean, residual_to_python
from proffer.pql.syntax.nodes import Binary, If, Literal, Name, Negate, Node, walk
from proffer.pql.values.environment import Environment
from proffer.pql.values.times import as_moment
from proffer.pql.values.values import truth

_CHUNK_SIZE = 256
"""Number of values processed between two yields to the event loop."""


@dataclass(slots=True)
class _ScoreEvaluation:
    """State of one evaluation: the rows evaluated, and which are uncertain so far."""

    environment: Environment
    request_values: Values
    rows: Rows
    uncertain: Truth = False


# --- values of offers


@dataclass(slots=True)
class OfferColumn:
    """One offer-only value for all offers: as numbers, operands, truth values and texts.

    `operands`: like `numbers`, but texts are null. `code_by_text` is None unless all values
    are texts or null; `codes` has -1 for null.
    """

    values: list[Any]
    numbers: NumberTable
    operands: NumberTable
    truths: Booleans
    code_by_text: dict[str, int] | None = None
    codes: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, dtype=np.int32))


def build_column(values: list[Any]) -> Generator[None, None, OfferColumn]:
    """Build a column in short steps."""
    plain: list[Doubles] = []
    operands: list[Doubles] = []
    truths: list[bool] = []
    for start in range(0, len(values), _CHUNK_SIZE):
        chunk = values[start : start + _CHUNK_SIZE]
        plain.append(np.array(list(map(parse_number_or_null, chunk)), dtype=np.float64))
        operands.append(np.array(list(map(parse_operand, chunk)), dtype=np.float64))
        truths += map(truth, chunk)
        yield
    numbers = NumberTable.of_array(np.concatenate(plain))
    yield
    column = OfferColumn(
        values,
        numbers,
        NumberTable.of_array(np.concatenate(operands)),
        np.array(truths, dtype=np.bool_),
    )
    yield
    if all(value is None or value.__class__ is str for value in values):
        code_by_text: dict[str, int] = {}
        codes = [-1 if text is None else code_by_text.setdefault(text, len(code_by_text)) for text in values]
        column.code_by_text, column.codes = code_by_text, np.array(codes, dtype=np.int32)
    return column


def _numbers_at(table: NumberTable, evaluation: _ScoreEvaluation, rows: Rows) -> NumericArray:
    """Return the numbers at `rows` of a table; mark the uncertain ones."""
    evaluation.uncertain = logical_or(evaluation.uncertain, truth_at(table.uncertain, rows))
    return table.at(rows)


# --- the residual of a formula


@dataclass(frozen=True, slots=True)
class ScoreArrays:
    """Scores per row: a fault if not `valid`; to be evaluated singly if `uncertain`."""

    values: Doubles
    valid: Booleans
    integral: Booleans
    uncertain: Booleans


class VectorizedFormula:
    """The residual of one formula over the values of many offers."""

    __slots__ = ("_kernel", "_unsupported")

    def __init__(self, kernel: NumberKernel[_ScoreEvaluation], unsupported: Truth) -> None:
        self._kernel, self._unsupported = kernel, unsupported

    def score_list(
        self, environment: Environment, request_values: Values, rows: Sequence[int]
    ) -> tuple[list[int | float | None], list[int]] | None:
        """Return scores (or None) per row, and the uncertain rows; None if not applicable."""
        try:
            arrays = self.scores(environment, request_values, np.array(rows, dtype=np.intp))
        except NotNumbers:
            return None
        is_integer = arrays.integral & arrays.valid & ~arrays.uncertain
        scores: list[int | float | None]
        if is_integer.all():
            scores = arrays.values.astype(np.int64).tolist()
        else:
            scores = arrays.values.tolist()
            for row in is_integer.nonzero()[0].tolist():
                scores[row] = int(arrays.values[row])
        for row in (~arrays.valid).nonzero()[0].tolist():
            scores[row] = None
        return scores, arrays.uncertain.nonzero()[0].tolist()

    def scores(self, environment: Environment, request_values: Values, rows: Rows) -> ScoreArrays:
        """Return the scores of these rows. Raises `NotNumbers` if the request is not numeric."""
        evaluation = _ScoreEvaluation(environment, request_values, rows)
        with np.errstate(all="ignore"):
            numbers = self._kernel(evaluation)
        count = len(rows)
        return ScoreArrays(
            np.broadcast_to(np.asarray(numbers.values, dtype=np.float64), count),
            np.broadcast_to(np.asarray(numbers.valid), count),
            np.broadcast_to(np.asarray(numbers.integral), count),
            np.broadcast_to(
                np.asarray(logical_or(evaluation.uncertain, truth_at(self._unsupported, rows))),
                count,
            ),
        )


def vectorize(formula: SplitFormula, rows: Sequence[Values | None]) -> Generator[None, None, VectorizedFormula | None]:
    """Vectorise a formula over the offer values in `rows`, in short steps; None if too deep.

    An offer without values is always uncertain.
    """
    null_row = (None,) * len(formula.offer_names)
    columns: dict[str, OfferColumn] = {}
    for position, name in enumerate(formula.offer_names):
        columns[name] = yield from build_column([(row or null_row)[position] for row in rows])
        yield
    compiler = _FormulaCompiler(formula, columns)
    try:
        kernel = compiler.compile_numbers(formula.residual)
    except RecursionError:
        return None
    for leaf in compiler.leaves:
        yield from leaf.prepare(len(rows), len(compiler.leaves))
    return VectorizedFormula(kernel, uniform_truth([row is None for row in rows]))


class _FormulaCompiler(ArrayCompiler[_ScoreEvaluation]):
    """Compiles the residual tree of one formula to kernels."""

    def __init__(self, formula: SplitFormula, columns: dict[str, OfferColumn]) -> None:
        self.formula = formula
        self.columns = columns
        self.request_positions = {name: at for at, name in enumerate(formula.request_names)}
        self.leaves: list[_ScalarLeaf] = []

    def compile_number_leaf(self, node: Node, *, operand: bool) -> NumberKernel[_ScoreEvaluation]:
        match node:
            case Name(name) if name in self.request_positions:
                position = self.request_positions[name]
                parse = parse_operand if operand else parse_number_or_null
                return lambda evaluation: scalar_numbers(parse(evaluation.request_values[position]))
            case Name(name) if name in self.columns:
                column = self.columns[name]
                table = column.operands if operand else column.numbers
                return lambda evaluation: _numbers_at(table, evaluation, evaluation.rows)
            case _:
                return self.add_leaf(node).numbers(operand=operand)

    def compile_truth_leaf(self, node: Node) -> TruthKernel[_ScoreEvaluation]:
        match node:
            case Name(name) if name in self.request_positions:
                position = self.request_positions[name]
                return lambda evaluation: truth(evaluation.request_values[position])
            case Name(name) if name in self.columns:
                truths = self.columns[name].truths
                return lambda evaluation: truths[evaluation.rows]
            case _:
                return self.add_leaf(node).truths

    def compile_comparison(self, node: Node, sign: str, left: Node, right: Node) -> TruthKernel[_ScoreEvaluation]:
        text_kernel = self.compile_text_equality(sign, left, right) or self.compile_text_equality(sign, right, left)
        if text_kernel is not None:
            return _try_text_first(text_kernel, self.add_leaf(node).truths)
        if not (self.is_numeric(left) and self.is_numeric(right)):
            return self.add_leaf(node).truths
        left_kernel, right_kernel = self.compile_numbers(left), self.compile_numbers(right)
        return lambda evaluation: compare(sign, left_kernel(evaluation), right_kernel(evaluation))

    def is_numeric(self, node: Node) -> bool:
        """Return whether an operand is numeric or null for all offers."""
        match node:
            case Name(name) if name in self.columns:
                return self.columns[name].numbers.uncertain is False
            case Name(name):
                return name not in self.formula.boolean_names
            case Literal(value):
                return value is None or parse_number_or_null(value)[1]
            case If(_, then, otherwise):
                return self.is_numeric(then) and self.is_numeric(otherwise)
            case Binary(_, _, _):
                return not is_boolean(node)
            case _:
                return isinstance(node, Negate)

    def compile_text_equality(self, sign: str, offer_node: Node, request_node: Node) -> "_TextKernel | None":
        """Compile `=` or `!=` of an offer text and a request text; None if not applicable."""
        if not (isinstance(offer_node, Name) and isinstance(request_node, Name) and sign in ("=", "!=")):
            return None
        column, position = (
            self.columns.get(offer_node.name),
            self.request_positions.get(request_node.name),
        )
        if column is None or column.code_by_text is None or position is None:
            return None
        code_by_text, codes = column.code_by_text, column.codes

        def evaluate(evaluation: _ScoreEvaluation) -> Truth | None:
            value = evaluation.request_values[position]
            if value is None:
                return False
            if value.__class__ is not str or as_moment(value) is not None:
                return None
            row_codes, code = codes[evaluation.rows], code_by_text.get(value, -2)
            return row_codes == code if sign == "=" else (row_codes != code) & (row_codes != -1)

        return evaluate

    def add_leaf(self, node: Node) -> "_ScalarLeaf":
        names = {descendant.name for descendant in walk(node) if isinstance(descendant, Name)}
        leaf = _ScalarLeaf(node, self.formula, {n: c for n, c in self.columns.items() if n in names})
        self.leaves.append(leaf)
        return leaf


_TextKernel: TypeAlias = Callable[[_ScoreEvaluation], Truth | None]


def _try_text_first(
    text_kernel: _TextKernel, leaf_kernel: TruthKernel[_ScoreEvaluation]
) -> TruthKernel[_ScoreEvaluation]:
    def evaluate(evaluation: _ScoreEvaluation) -> Truth:
        result = text_kernel(evaluation)
        return leaf_kernel(evaluation) if result is None else result

    return evaluate


class _ScalarLeaf:
    """A part evaluated once per distinct combination of offer values."""

    def __init__(self, node: Node, formula: SplitFormula, columns: dict[str, OfferColumn]) -> None:
        self.node, self.formula, self.columns = node, formula, columns
        self.distinct: list[Values] = []
        self.codes: Rows = np.zeros(0, dtype=np.intp)

    def prepare(self, rows: int, leaf_count: int) -> Generator[None, None, None]:
        """Find the distinct combinations and load the function. It gets a share of the work limit."""
        source = residual_to_python(
            self.node,
            (self.formula.request_names, tuple(self.columns)),
            self.formula.boolean_names,
            WORK_SHARE // leaf_count,
        )
        self.function = load(source, "part of a formula", VALUE_NAMESPACE)
        code_by_key: dict[str, int] = {}
        codes: list[int] = []
        columns = [column.values for column in self.columns.values()]
        combinations = list(zip(*columns, strict=True)) if columns else [()] * rows
        for number, values in enumerate(combinations):
            # Key by repr, which distinguishes 1, true and 1.0.
            code = code_by_key.setdefault(repr(values), len(code_by_key))
            if code == len(self.distinct):
                self.distinct.append(values)
            codes.append(code)
            if number % _CHUNK_SIZE == 0:
                yield
        self.codes = np.array(codes, dtype=np.intp)

    def evaluate_distinct(self, evaluation: _ScoreEvaluation) -> tuple[list[Any], list[bool]]:
        """Return the result of each distinct combination, and which ones failed."""
        if len(self.distinct) * 2 > len(evaluation.rows):
            raise NotNumbers  # evaluating offer by offer is cheaper
        results: list[Any] = []
        failed: list[bool] = []
        function: Any = self.function
        for values in self.distinct:
            try:
                results.append(function(evaluation.environment, evaluation.request_values, values))
                failed.append(False)
            except Exception:  # noqa: BLE001 - the whole formula decides whether it is a fault
                results.append(None)
                failed.append(True)
        return results, failed

    def mark_uncertain(self, evaluation: _ScoreEvaluation, failed: list[bool], codes: Rows) -> None:
        if any(failed):
            evaluation.uncertain = logical_or(evaluation.uncertain, np.array(failed, dtype=np.bool_)[codes])

    def truths(self, evaluation: _ScoreEvaluation) -> Truth:
        results, failed = self.evaluate_distinct(evaluation)
        codes = self.codes[evaluation.rows]
        self.mark_uncertain(evaluation, failed, codes)
        return np.array(list(map(truth, results)), dtype=np.bool_)[codes]

    def numbers(self, *, operand: bool) -> NumberKernel[_ScoreEvaluation]:
        parse = parse_operand if operand else parse_number_or_null

        def evaluate(evaluation: _ScoreEvaluation) -> NumericArray:
            results, failed = self.evaluate_distinct(evaluation)
            codes = self.codes[evaluation.rows]
            self.mark_uncertain(evaluation, failed, codes)
            return _numbers_at(NumberTable.of(map(parse, results)), evaluation, codes)

        return evaluate
