"""The rest of a split formula for many offers at once: what is arithmetic runs over whole arrays.

Comparisons, logic, choices and arithmetic of plain numbers are done by NumPy, on doubles, where it gives
what Python gives to the last bit: integers stay below 2^53, and whether a number is one is kept beside
it. Equality with a text is a table. Any other part is asked once for each distinct value of the offers,
by its generated Python. What this cannot decide of an offer is *in doubt*, and is asked of that offer
alone; a request whose values are of another kind (`NotInBulk`) is asked of every offer.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from proffer.pql.compile import FORMULA_SPACE, load
from proffer.pql.index.partial_eval import SHARE, Split, Values
from proffer.pql.run.to_python import is_boolean, rest_to_python
from proffer.pql.syntax.nodes import Binary, If, Literal, Logic, Name, Negate, Node, Not, walk
from proffer.pql.values.environment import Environment
from proffer.pql.values.values import as_number, read_number, truth

Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]
Truth: TypeAlias = Any
"""A bool, or an array of them, one for each offer that is asked about."""

_WHOLE = 2.0**53
_SAFE = 2.0**52
_LARGEST = 1e308
_STEP = 256
"""Values that are looked at before others get a turn."""

_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "=": np.equal,
    "!=": np.not_equal,
}
_VALUE_SPACE = {**FORMULA_SPACE, "score": lambda value: value}


class NotInBulk(Exception):
    """The values of this request are of a kind that arrays cannot do."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Plain numbers or nulls: each member is one for all offers, or an array with one for each.

    `whole` are integers, `text` were read from a text, `most` is no less than any of the values.
    """

    values: Any
    known: Truth
    whole: Truth
    most: float
    text: Truth = False


@dataclass(slots=True)
class _Asking:
    """One evaluation: whom it is about, by row, and of whom something is in doubt so far."""

    environment: Environment
    request: Values
    rows: Rows
    doubt: Truth = False


_NumberKernel: TypeAlias = Callable[[_Asking], Numbers]
_TruthKernel: TypeAlias = Callable[[_Asking], Truth]


# --- values of offers


@dataclass(frozen=True, slots=True)
class _Kept:
    """Numbers of all offers, or of what they have apart, and where there are none that arrays can hold."""

    numbers: Numbers
    doubt: Truth

    def of(self, asking: _Asking) -> Numbers:
        return self.at(asking, asking.rows)

    def at(self, asking: _Asking, rows: Rows) -> Numbers:
        """Those that stand at `rows`, for the offers asked about."""
        asking.doubt = _either(asking.doubt, _at(self.doubt, rows))
        one = self.numbers
        return Numbers(
            one.values[rows],
            _at(one.known, rows),
            _at(one.whole, rows),
            one.most,
            _at(one.text, rows),
        )


@dataclass(slots=True)
class Column:
    """One value of the part per offer, for all offers: as numbers, as operands, as truth, as texts.

    Operands of arithmetic are numbers, or texts that spell one.
    """

    values: list[Any]
    numbers: _Kept
    operands: _Kept
    truths: npt.NDArray[np.bool_]
    texts: dict[str, int] | None = None
    codes: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, dtype=np.int32))


def column_of(values: list[Any]) -> Generator[None, None, Column]:
    """A column, made in short steps."""
    plain: list[Doubles] = []
    operands: list[Doubles] = []
    truths: list[bool] = []
    for start in range(0, len(values), _STEP):
        some = values[start : start + _STEP]
        plain.append(np.array(list(map(_plain, some)), dtype=np.float64))
        operands.append(np.array(list(map(_operand, some)), dtype=np.float64))
        truths += map(truth, some)
        yield
    numbers = _kept(np.concatenate(plain))
    yield
    column = Column(
        values, numbers, _kept(np.concatenate(operands)), np.array(truths, dtype=np.bool_)
    )
    yield
    if all(value is None or value.__class__ is str for value in values):
        texts: dict[str, int] = {}
        codes = [-1 if one is None else texts.setdefault(one, len(texts)) for one in values]
        column.texts, column.codes = texts, np.array(codes, dtype=np.int32)
    return column


def _plain(value: Any) -> tuple[float, bool, bool, bool, bool]:
    """A value as a double: whether it is known, whole, in doubt, and read from a text."""
    kind = value.__class__
    if kind is int and -_WHOLE < value < _WHOLE:
        return (float(value), True, True, False, False)
    if kind is float and isfinite(value):
        return (value, True, False, False, False)
    return (0.0, False, False, value is not None, False)


def _operand(value: Any) -> tuple[float, bool, bool, bool, bool]:
    if value.__class__ is not str:
        return _plain(value)
    found = _plain(as_number(read_number(value)))
    return (*found[:4], True)


def _kept(found: Doubles) -> _Kept:
    """From what `_plain` and `_operand` say, a row a value."""
    array = found[:, 0].copy()
    matter, whole_ones, doubt, text = (found[:, at] != 0 for at in (1, 2, 3, 4))
    # Of a null it does not matter whether it is whole.
    alike: Truth = whole_ones
    if whole_ones[matter].all():
        alike = True
    elif not whole_ones[matter].any():
        alike = False
    numbers = Numbers(array, _alike(matter), alike, float(np.abs(array).max()), _alike(text))
    return _Kept(numbers, _alike(doubt))


def _alike(found: Any) -> Truth:
    """One for all where they are the same."""
    array = np.array(found, dtype=np.bool_)
    if array.all():
        return True
    return array if array.any() else False


def _at(all_of_them: Truth, rows: Rows) -> Truth:
    return all_of_them if isinstance(all_of_them, bool) else all_of_them[rows]


def _both(one: Truth, other: Truth) -> Truth:
    if one is True or other is False:
        return other
    return one if other is True or one is False else one & other


def _either(one: Truth, other: Truth) -> Truth:
    if one is False or other is True:
        return other
    return one if other is False or one is True else one | other


# --- the rest of a formula


@dataclass(frozen=True, slots=True)
class Answers:
    """Scores by row that was asked about: a fault where they are not `known`; who is `doubtful` is to be asked."""

    values: Doubles
    known: npt.NDArray[np.bool_]
    whole: npt.NDArray[np.bool_]
    doubtful: npt.NDArray[np.bool_]


class Bulk:
    """The rest of one formula over the values of many offers."""

    __slots__ = ("_score", "_unable")

    def __init__(self, score: _NumberKernel, unable: Truth) -> None:
        self._score, self._unable = score, unable

    def listed(
        self, environment: Environment, request: Values, rows: Sequence[int]
    ) -> tuple[list[int | float | None], list[int]] | None:
        """A score or None for each of these rows, and which of them are in doubt; None if it cannot be done."""
        try:
            found = self.scores(environment, request, np.array(rows, dtype=np.intp))
        except NotInBulk:
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
        """For these rows. Raises `NotInBulk` for a request that it cannot be done for."""
        asking = _Asking(environment, request, rows)
        with np.errstate(all="ignore"):
            found = self._score(asking)
        count = len(rows)
        return Answers(
            np.broadcast_to(np.asarray(found.values, dtype=np.float64), count),
            np.broadcast_to(np.asarray(found.known), count),
            np.broadcast_to(np.asarray(found.whole), count),
            np.broadcast_to(np.asarray(_either(asking.doubt, _at(self._unable, rows))), count),
        )


def bulk_of(split: Split, rows: Sequence[Values | None]) -> Generator[None, None, Bulk | None]:
    """A split formula over the parts of these offers, made in short steps; None where there is no room for it.

    An offer without parts is always in doubt.
    """
    nothing = (None,) * len(split.by_offer)
    columns: dict[str, Column] = {}
    for at, name in enumerate(split.by_offer):
        columns[name] = yield from column_of([(row or nothing)[at] for row in rows])
        yield
    writer = _Writer(split, columns)
    try:
        kernel = writer.numbers(split.node, operand=False)
    except RecursionError:
        return None
    for leaf in writer.leaves:
        yield from leaf.spread(len(rows), len(writer.leaves))
    return Bulk(kernel, _alike([row is None for row in rows]))


class _Writer:
    """Kernels for the parts of one tree."""

    def __init__(self, split: Split, columns: dict[str, Column]) -> None:
        self.split = split
        self.columns = columns
        self.requested = {name: at for at, name in enumerate(split.by_request)}
        self.leaves: list[_Leaf] = []

    # numbers

    def numbers(self, node: Node, *, operand: bool) -> _NumberKernel:
        """A kernel for a part as numbers; as an `operand` of arithmetic, it may be a text that spells one."""
        match node:
            case Literal(value) if value is None or _plain(value)[1]:
                one = _scalar(value, operand=False)
                return lambda _asking: one
            case Name(name) if name in self.requested:
                at = self.requested[name]
                return lambda asking: _scalar(asking.request[at], operand=operand)
            case Name(name) if name in self.columns:
                column = self.columns[name]
                return (column.operands if operand else column.numbers).of
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
                zero = _scalar(0, operand=False)
                return _arithmetic("-", lambda _asking: zero, self.numbers(inner, operand=True))
            case _:
                return self.leaf(node).numbers(operand=operand)

    # truth

    def truth(self, node: Node) -> _TruthKernel:
        match node:
            case Literal(value):
                said = truth(value)
                return lambda _asking: said
            case Name(name) if name in self.requested:
                at = self.requested[name]
                return lambda asking: truth(asking.request[at])
            case Name(name) if name in self.columns:
                truths = self.columns[name].truths
                return lambda asking: truths[asking.rows]
            case Logic(sign, parts):
                return _logic(sign, [self.truth(part) for part in parts])
            case Not(operand):
                inner = self.truth(operand)
                return lambda asking: _not(inner(asking))
            case Binary(sign, left, right) if sign in _ORDER:
                return self.comparison(node, sign, left, right)
            case _:
                return self.leaf(node).truths

    def comparison(self, node: Node, sign: str, left: Node, right: Node) -> _TruthKernel:
        texts = self.by_text(sign, left, right) or self.by_text(sign, right, left)
        if texts is not None:
            return _first_by(texts, self.leaf(node).truths)
        if not (self.is_numeric(left) and self.is_numeric(right)):
            return self.leaf(node).truths
        mine, yours = self.numbers(left, operand=False), self.numbers(right, operand=False)
        compare = _ORDER[sign]

        def ask(asking: _Asking) -> Truth:
            first, second = mine(asking), yours(asking)
            known = _both(first.known, second.known)
            return known if known is False else _both(known, compare(first.values, second.values))

        return ask

    def is_numeric(self, node: Node) -> bool:
        """Whether a side of a comparison is, as far as offers go, numbers or nulls."""
        match node:
            case Name(name) if name in self.columns:
                return self.columns[name].numbers.doubt is False
            case Name(name):
                return name not in self.split.booleans
            case Literal(value):
                return value is None or _plain(value)[1]
            case If(_, then, otherwise):
                return self.is_numeric(then) and self.is_numeric(otherwise)
            case Binary(_, _, _):
                return not is_boolean(node)
            case _:
                return isinstance(node, Negate)

    def by_text(self, sign: str, offers: Node, request: Node) -> "_TextKernel | None":
        """Equality of a text of the offers and one of the request, in either order."""
        if not (isinstance(offers, Name) and isinstance(request, Name) and sign in ("=", "!=")):
            return None
        column, at = self.columns.get(offers.name), self.requested.get(request.name)
        if column is None or column.texts is None or at is None:
            return None
        texts, codes = column.texts, column.codes

        def ask(asking: _Asking) -> Truth | None:
            value = asking.request[at]
            if value is None:
                return False
            if value.__class__ is not str:
                return None
            found, code = codes[asking.rows], texts.get(value, -2)
            return found == code if sign == "=" else (found != code) & (found != -1)

        return ask

    # the others

    def leaf(self, node: Node) -> "_Leaf":
        names = {one.name for one in walk(node) if isinstance(one, Name)}
        leaf = _Leaf(node, self.split, {n: c for n, c in self.columns.items() if n in names})
        self.leaves.append(leaf)
        return leaf


_TextKernel: TypeAlias = Callable[[_Asking], Truth | None]


def _first_by(texts: _TextKernel, asked: _TruthKernel) -> _TruthKernel:
    def ask(asking: _Asking) -> Truth:
        found = texts(asking)
        return asked(asking) if found is None else found

    return ask


def _scalar(value: Any, *, operand: bool) -> Numbers:
    number, known, whole, doubt, text = _operand(value) if operand else _plain(value)
    if doubt:
        raise NotInBulk
    return Numbers(number, known, whole, abs(number), text)


def _logic(sign: str, parts: list[_TruthKernel]) -> _TruthKernel:
    join, decides = (_both, False) if sign == "and" else (_either, True)

    def ask(asking: _Asking) -> Truth:
        said: Truth = not decides
        for part in parts:
            said = join(said, part(asking))
            if said is decides:
                break
        return said

    return ask


def _not(said: Truth) -> Truth:
    return not said if isinstance(said, bool) else ~said


def _choice(test: _TruthKernel, then: _NumberKernel, otherwise: _NumberKernel) -> _NumberKernel:
    def choose(asking: _Asking) -> Numbers:
        chosen = test(asking)
        if isinstance(chosen, bool):
            return (then if chosen else otherwise)(asking)
        before, asking.doubt = asking.doubt, False
        yes = then(asking)
        doubt_of_yes, asking.doubt = asking.doubt, False
        no = otherwise(asking)
        asking.doubt = _either(before, _where(chosen, doubt_of_yes, asking.doubt))
        return Numbers(
            np.where(chosen, yes.values, no.values),
            _where(chosen, yes.known, no.known),
            _where(chosen, yes.whole, no.whole),
            max(yes.most, no.most),
            _where(chosen, yes.text, no.text),
        )

    return choose


def _where(chosen: Truth, yes: Truth, no: Truth) -> Truth:
    return yes if isinstance(yes, bool) and yes is no else np.where(chosen, yes, no)


def _arithmetic(sign: str, left: _NumberKernel, right: _NumberKernel) -> _NumberKernel:
    operate, bound = _OPERATE[sign]

    def compute(asking: _Asking) -> Numbers:
        mine, yours = left(asking), right(asking)
        # A text counts as the number it spells beside a number, not beside another text.
        known = _both(_both(mine.known, yours.known), _not(_both(mine.text, yours.text)))
        whole = False if sign == "/" else _both(mine.whole, yours.whole)
        values = operate(mine.values, yours.values)
        most = bound(mine.most, yours.most)
        if most != most:  # noqa: PLR0124 - 0 times what has no bound
            most = float("inf")
        if sign in "/%":
            known = _both(known, np.not_equal(yours.values, 0.0))
        if sign in "*%" and whole is not False:  # no integer is -0
            values = values + 0.0 if whole is True else np.where(whole, values + 0.0, values)
        if whole is not False and not most < _SAFE:
            large = _both(whole, np.abs(values) >= _WHOLE)
            asking.doubt = _either(asking.doubt, _both(known, large))
        if not most < _LARGEST:
            known = _both(known, np.isfinite(values))
        return Numbers(values, known, whole, most)

    return compute


_OPERATE: dict[str, tuple[Callable[[Any, Any], Any], Callable[[float, float], float]]] = {
    "+": (np.add, lambda one, other: one + other),
    "-": (np.subtract, lambda one, other: one + other),
    "*": (np.multiply, lambda one, other: one * other),
    "/": (np.divide, lambda _one, _other: float("inf")),
    "%": (np.fmod, lambda one, _other: one),
}


class _Leaf:
    """A part that is asked once for each distinct combination of the values it reads of offers."""

    def __init__(self, node: Node, split: Split, columns: dict[str, Column]) -> None:
        self.node, self.split, self.columns = node, split, columns
        self.distinct: list[Values] = []
        self.codes: Rows = np.zeros(0, dtype=np.intp)

    def spread(self, rows: int, leaves: int) -> Generator[None, None, None]:
        """Tell distinct values apart, and write the function. It has its share of the allowance of work."""
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
            # By text, which tells 1 from true and from 1.0.
            code = known.setdefault(repr(values), len(known))
            if code == len(self.distinct):
                self.distinct.append(values)
            codes.append(code)
            if number % _STEP == 0:
                yield
        self.codes = np.array(codes, dtype=np.intp)

    def answers(self, asking: _Asking) -> tuple[list[Any], list[bool]]:
        """What it says of each distinct combination, and of which it fails to."""
        if len(self.distinct) * 2 > len(asking.rows):
            raise NotInBulk  # asked of every offer it costs less
        found: list[Any] = []
        failed: list[bool] = []
        ask: Any = self.ask
        for values in self.distinct:
            try:
                found.append(ask(asking.environment, asking.request, values))
                failed.append(False)
            except Exception:  # noqa: BLE001 - the whole formula says whether it is a fault
                found.append(None)
                failed.append(True)
        return found, failed

    def doubt(self, asking: _Asking, failed: list[bool], codes: Rows) -> None:
        if any(failed):
            asking.doubt = _either(asking.doubt, np.array(failed, dtype=np.bool_)[codes])

    def truths(self, asking: _Asking) -> Truth:
        found, failed = self.answers(asking)
        codes = self.codes[asking.rows]
        self.doubt(asking, failed, codes)
        return np.array(list(map(truth, found)), dtype=np.bool_)[codes]

    def numbers(self, *, operand: bool) -> _NumberKernel:
        read = _operand if operand else _plain

        def ask(asking: _Asking) -> Numbers:
            found, failed = self.answers(asking)
            codes = self.codes[asking.rows]
            self.doubt(asking, failed, codes)
            return _kept(np.array(list(map(read, found)), dtype=np.float64)).at(asking, codes)

        return ask
