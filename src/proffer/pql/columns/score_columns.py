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

from proffer.pql.arrays import (
    ArrayCompiler,
    Booleans,
    Doubles,
    NotNumbers,
    NumberKernel,
    Numbers,
    NumberTable,
    Rows,
    Truth,
    TruthKernel,
    compare,
    either,
    read_operand,
    read_plain,
    scalar,
    truth_at,
    uniform_truth,
)
from proffer.pql.compile import FORMULA_SPACE, load
from proffer.pql.index.partial_eval import SHARE, Split, Values
from proffer.pql.run.to_python import is_boolean, rest_to_python
from proffer.pql.syntax.nodes import Binary, If, Literal, Name, Negate, Node, walk
from proffer.pql.values.environment import Environment
from proffer.pql.values.values import truth

_STEP = 256
"""Number of values processed between two yields to the event loop."""

_VALUE_SPACE = {**FORMULA_SPACE, "score": lambda value: value}


@dataclass(slots=True)
class _Asking:
    """State of one evaluation: the rows evaluated, and which are uncertain so far."""

    environment: Environment
    request: Values
    rows: Rows
    doubt: Truth = False


# --- values of offers


@dataclass(slots=True)
class Column:
    """One offer-only value for all offers: as numbers, operands, truth values and texts.

    `operands`: like `numbers`, but numeric texts are converted. `code_by_text` is None unless all values
    are texts or null; `codes` has -1 for null.
    """

    values: list[Any]
    numbers: NumberTable
    operands: NumberTable
    truths: Booleans
    texts: dict[str, int] | None = None
    codes: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, dtype=np.int32))


def column_of(values: list[Any]) -> Generator[None, None, Column]:
    """Build a column in short steps."""
    plain: list[Doubles] = []
    operands: list[Doubles] = []
    truths: list[bool] = []
    for start in range(0, len(values), _STEP):
        some = values[start : start + _STEP]
        plain.append(np.array(list(map(read_plain, some)), dtype=np.float64))
        operands.append(np.array(list(map(read_operand, some)), dtype=np.float64))
        truths += map(truth, some)
        yield
    numbers = NumberTable.of_array(np.concatenate(plain))
    yield
    column = Column(
        values,
        numbers,
        NumberTable.of_array(np.concatenate(operands)),
        np.array(truths, dtype=np.bool_),
    )
    yield
    if all(value is None or value.__class__ is str for value in values):
        texts: dict[str, int] = {}
        codes = [-1 if one is None else texts.setdefault(one, len(texts)) for one in values]
        column.texts, column.codes = texts, np.array(codes, dtype=np.int32)
    return column


def _spread(table: NumberTable, asking: _Asking, rows: Rows) -> Numbers:
    """Return the numbers at `rows` of a table; mark the uncertain ones."""
    asking.doubt = either(asking.doubt, truth_at(table.doubt, rows))
    return table.at(rows)


# --- the residual of a formula


@dataclass(frozen=True, slots=True)
class Answers:
    """Scores per row: a fault if not `valid`; to be evaluated singly if `uncertain`."""

    values: Doubles
    known: Booleans
    whole: Booleans
    doubtful: Booleans


class Bulk:
    """The residual of one formula over the values of many offers."""

    __slots__ = ("_score", "_unable")

    def __init__(self, score: NumberKernel[_Asking], unable: Truth) -> None:
        self._score, self._unable = score, unable

    def listed(
        self, environment: Environment, request: Values, rows: Sequence[int]
    ) -> tuple[list[int | float | None], list[int]] | None:
        """Return scores (or None) per row, and the uncertain rows; None if not applicable."""
        try:
            found = self.scores(environment, request, np.array(rows, dtype=np.intp))
        except NotNumbers:
            return None
        whole = found.whole & found.known & ~found.doubtful
        scores: list[int | float | None]
        if whole.all():
            scores = found.values.astype(np.int64).tolist()
        else:
            scores = found.values.tolist()
            for at in whole.nonzero()[0].tolist():
                scores[at] = int(found.values[at])
        for at in (~found.known).nonzero()[0].tolist():
            scores[at] = None
        return scores, found.doubtful.nonzero()[0].tolist()

    def scores(self, environment: Environment, request: Values, rows: Rows) -> Answers:
        """Return the scores of these rows. Raises `NotNumbers` if the request is not numeric."""
        asking = _Asking(environment, request, rows)
        with np.errstate(all="ignore"):
            found = self._score(asking)
        count = len(rows)
        return Answers(
            np.broadcast_to(np.asarray(found.values, dtype=np.float64), count),
            np.broadcast_to(np.asarray(found.known), count),
            np.broadcast_to(np.asarray(found.whole), count),
            np.broadcast_to(np.asarray(either(asking.doubt, truth_at(self._unable, rows))), count),
        )


def bulk_of(split: Split, rows: Sequence[Values | None]) -> Generator[None, None, Bulk | None]:
    """Vectorise a formula over the offer values in `rows`, in short steps; None if too deep.

    An offer without values is always uncertain.
    """
    nothing = (None,) * len(split.by_offer)
    columns: dict[str, Column] = {}
    for at, name in enumerate(split.by_offer):
        columns[name] = yield from column_of([(row or nothing)[at] for row in rows])
        yield
    writer = _Writer(split, columns)
    try:
        kernel = writer.numbers(split.node)
    except RecursionError:
        return None
    for leaf in writer.leaves:
        yield from leaf.spread(len(rows), len(writer.leaves))
    return Bulk(kernel, uniform_truth([row is None for row in rows]))


class _Writer(ArrayCompiler[_Asking]):
    """Compiles the residual tree of one formula to kernels."""

    def __init__(self, split: Split, columns: dict[str, Column]) -> None:
        self.split = split
        self.columns = columns
        self.requested = {name: at for at, name in enumerate(split.by_request)}
        self.leaves: list[_Leaf] = []

    def number_part(self, node: Node, *, operand: bool) -> NumberKernel[_Asking]:
        match node:
            case Name(name) if name in self.requested:
                position = self.requested[name]
                read = read_operand if operand else read_plain
                return lambda asking: scalar(read(asking.request[position]))
            case Name(name) if name in self.columns:
                column = self.columns[name]
                table = column.operands if operand else column.numbers
                return lambda asking: _spread(table, asking, asking.rows)
            case _:
                return self.leaf(node).numbers(operand=operand)

    def truth_part(self, node: Node) -> TruthKernel[_Asking]:
        match node:
            case Name(name) if name in self.requested:
                position = self.requested[name]
                return lambda asking: truth(asking.request[position])
            case Name(name) if name in self.columns:
                truths = self.columns[name].truths
                return lambda asking: truths[asking.rows]
            case _:
                return self.leaf(node).truths

    def comparison(self, node: Node, sign: str, left: Node, right: Node) -> TruthKernel[_Asking]:
        texts = self.by_text(sign, left, right) or self.by_text(sign, right, left)
        if texts is not None:
            return _first_by(texts, self.leaf(node).truths)
        if not (self.is_numeric(left) and self.is_numeric(right)):
            return self.leaf(node).truths
        mine, yours = self.numbers(left), self.numbers(right)
        return lambda asking: compare(sign, mine(asking), yours(asking))

    def is_numeric(self, node: Node) -> bool:
        """Return whether an operand is numeric or null for all offers."""
        match node:
            case Name(name) if name in self.columns:
                return self.columns[name].numbers.doubt is False
            case Name(name):
                return name not in self.split.booleans
            case Literal(value):
                return value is None or read_plain(value)[1]
            case If(_, then, otherwise):
                return self.is_numeric(then) and self.is_numeric(otherwise)
            case Binary(_, _, _):
                return not is_boolean(node)
            case _:
                return isinstance(node, Negate)

    def by_text(self, sign: str, offers: Node, request: Node) -> "_TextKernel | None":
        """Compile `=` or `!=` of an offer text and a request text; None if not applicable."""
        if not (isinstance(offers, Name) and isinstance(request, Name) and sign in ("=", "!=")):
            return None
        column, position = self.columns.get(offers.name), self.requested.get(request.name)
        if column is None or column.texts is None or position is None:
            return None
        texts, codes = column.texts, column.codes

        def ask(asking: _Asking) -> Truth | None:
            value = asking.request[position]
            if value is None:
                return False
            if value.__class__ is not str:
                return None
            found, code = codes[asking.rows], texts.get(value, -2)
            return found == code if sign == "=" else (found != code) & (found != -1)

        return ask

    def leaf(self, node: Node) -> "_Leaf":
        names = {one.name for one in walk(node) if isinstance(one, Name)}
        leaf = _Leaf(node, self.split, {n: c for n, c in self.columns.items() if n in names})
        self.leaves.append(leaf)
        return leaf


_TextKernel: TypeAlias = Callable[[_Asking], Truth | None]


def _first_by(texts: _TextKernel, asked: TruthKernel[_Asking]) -> TruthKernel[_Asking]:
    def ask(asking: _Asking) -> Truth:
        found = texts(asking)
        return asked(asking) if found is None else found

    return ask


class _Leaf:
    """A part evaluated once per distinct combination of offer values."""

    def __init__(self, node: Node, split: Split, columns: dict[str, Column]) -> None:
        self.node, self.split, self.columns = node, split, columns
        self.distinct: list[Values] = []
        self.codes: Rows = np.zeros(0, dtype=np.intp)

    def spread(self, rows: int, leaves: int) -> Generator[None, None, None]:
        """Find the distinct combinations and load the function, with a share of the work limit."""
        source = rest_to_python(
            self.node,
            (self.split.by_request, tuple(self.columns)),
            self.split.booleans,
            SHARE // leaves,
        )
        self.ask = load(source, "part of a formula", _VALUE_SPACE)
        known: dict[str, int] = {}
        codes: list[int] = []
        columns = [column.values for column in self.columns.values()]
        together = list(zip(*columns, strict=True)) if columns else [()] * rows
        for number, values in enumerate(together):
            # Key by repr, which distinguishes 1, true and 1.0.
            code = known.setdefault(repr(values), len(known))
            if code == len(self.distinct):
                self.distinct.append(values)
            codes.append(code)
            if number % _STEP == 0:
                yield
        self.codes = np.array(codes, dtype=np.intp)

    def answers(self, asking: _Asking) -> tuple[list[Any], list[bool]]:
        """Return the result of each distinct combination, and which ones failed."""
        if len(self.distinct) * 2 > len(asking.rows):
            raise NotNumbers  # evaluating offer by offer is cheaper
        found: list[Any] = []
        failed: list[bool] = []
        ask: Any = self.ask
        for values in self.distinct:
            try:
                found.append(ask(asking.environment, asking.request, values))
                failed.append(False)
            except Exception:  # noqa: BLE001 - the whole formula decides whether it is a fault
                found.append(None)
                failed.append(True)
        return found, failed

    def doubt(self, asking: _Asking, failed: list[bool], codes: Rows) -> None:
        if any(failed):
            asking.doubt = either(asking.doubt, np.array(failed, dtype=np.bool_)[codes])

    def truths(self, asking: _Asking) -> Truth:
        found, failed = self.answers(asking)
        codes = self.codes[asking.rows]
        self.doubt(asking, failed, codes)
        return np.array(list(map(truth, found)), dtype=np.bool_)[codes]

    def numbers(self, *, operand: bool) -> NumberKernel[_Asking]:
        read = read_operand if operand else read_plain

        def ask(asking: _Asking) -> Numbers:
            found, failed = self.answers(asking)
            codes = self.codes[asking.rows]
            self.doubt(asking, failed, codes)
            return _spread(NumberTable.of(map(read, found)), asking, codes)

        return ask
