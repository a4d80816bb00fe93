"""A checked rule to a column form: one answer for each of many profiles.

Logic and arithmetic run over whole columns. Any other part of a rule is asked once for each distinct
value it can see, by the generated Python of that part, and the answers are spread over the rows: so the
column form cannot mean anything else than the row form. What needs the items of arrays says why it
cannot be done here (`RowByRow`), and such rules are asked row by row.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from proffer.pql.checked import CheckedRule
from proffer.pql.columns.columns import EXACT, Booleans, Codes, Column, Numbers, Path, Table
from proffer.pql.compile import FORMULA_SPACE, RULE_SPACE, load
from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.run.to_python import to_python
from proffer.pql.syntax.limits import RuleKind
from proffer.pql.syntax.nodes import (
    Aggregate,
    Binary,
    Call,
    Chain,
    Field,
    Filter,
    If,
    Literal,
    Logic,
    Negate,
    Node,
    Not,
    Quantifier,
    Root,
    Select,
    children,
    rebuilt,
    walk,
)
from proffer.pql.values.environment import Environment
from proffer.pql.values.values import Value

_MEMBERSHIPS: Path = ("segmentMembership",)
_NOT_IN_COLUMNS = {
    Filter: "a condition on the items of an array",
    Quantifier: "a quantifier looks at the items of an array",
    Select: "`select` looks at the items of an array",
    Aggregate: "an aggregate looks at the items of an array",
    Chain: "a chain looks at the order of events",
}
_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "=": np.equal,
    "!=": np.not_equal,
}


@dataclass(frozen=True, slots=True)
class RowByRow:
    """A rule that has no column form, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """A table, what else an evaluation may know, and the leaf environment that stands for one value."""

    table: Table
    env: Environment
    variables: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """The column form of a rule. `paths` are the fields of the profile that a table must have."""

    paths: frozenset[Path]
    answer: Callable[[Batch], Booleans]

    def holds(self, table: Table, env: Environment) -> Booleans:
        """For each row, whether the rule holds for it. The profile of `env` is not looked at."""
        return self.answer(_batch(table, env))


@dataclass(frozen=True, slots=True)
class ColumnFormula:
    """The column form of a formula."""

    paths: frozenset[Path]
    answer: Callable[[Batch], Numbers]

    def scores(self, table: Table, env: Environment) -> Numbers:
        """For each row a score; where it is not `known`, a fault."""
        return self.answer(_batch(table, env))


def _batch(table: Table, env: Environment) -> Batch:
    variables = dict(env.variables)
    leaf = Environment({}, env.now, env.context, env.events, env.offer, variables, env.tz)
    return Batch(table, leaf, variables)


def to_columns(rule: CheckedRule) -> ColumnRule | ColumnFormula | RowByRow:
    """The column form of a rule or formula, or why it has none."""
    reason = why_row_by_row(rule.core)
    if reason is not None:
        return RowByRow(reason)
    paths = frozenset(_paths(rule.core))
    if rule.kind is RuleKind.RULE:
        return ColumnRule(paths, _truth(rule.core))
    return ColumnFormula(paths, _scores(rule.core))


def why_row_by_row(core: Node) -> str | None:
    """The first thing in a settled tree that columns cannot do."""
    for node in walk(core):
        reason = _NOT_IN_COLUMNS.get(type(node))
        if reason is None and isinstance(node, Call):
            reason = STDLIB[node.function].row_by_row
            reason = reason and f"`{node.function}`: {reason}"
        if reason is not None:
            return reason
    return "the whole profile is used as a value" if _uses_whole_profile(core) else None


# --- truth


def _truth(node: Node) -> Callable[[Batch], Booleans]:
    match node:
        case Logic(sign, parts):
            kernels = [_truth(part) for part in parts]
            join = np.logical_and if sign == "and" else np.logical_or
            return lambda batch: join.reduce([kernel(batch) for kernel in kernels])
        case Not(operand):
            kernel = _truth(operand)
            return lambda batch: ~kernel(batch)
        case Binary(sign, left, right) if sign in _ORDER:
            return _comparison(node, sign, _numbers(left), _numbers(right))
        case _:
            return _asked(node)


def _comparison(
    node: Node, sign: str, left: "_NumberKernel", right: "_NumberKernel"
) -> Callable[[Batch], Booleans]:
    """Numbers are compared as columns; with any other value about, the values are asked one by one."""
    asked = _asked(node)

    def compare(batch: Batch) -> Booleans:
        mine = left(batch)
        yours = None if mine is None else right(batch)
        if mine is None or yours is None:
            return asked(batch)
        found: Booleans = _ORDER[sign](mine.values, yours.values) & mine.known & yours.known
        return found

    return compare


def _asked(node: Node) -> Callable[[Batch], Booleans]:
    leaf = _Leaf(node, RuleKind.RULE, RULE_SPACE)

    def ask(batch: Batch) -> Booleans:
        answers, codes = leaf.answers(batch)
        return np.array(answers, dtype=np.bool_)[codes]

    return ask


# --- numbers

_NumberKernel = Callable[[Batch], Numbers | None]


def _scores(node: Node) -> Callable[[Batch], Numbers]:
    """A score for every row: by columns if all of it is numbers, else by asking each distinct value."""
    kernel, leaf = _numbers(node), _Leaf(node, RuleKind.FORMULA, FORMULA_SPACE)

    def score(batch: Batch) -> Numbers:
        found = kernel(batch)
        if found is not None:
            return found
        answers, codes = leaf.answers(batch)
        known = np.array([answer is not None for answer in answers], dtype=np.bool_)
        values = np.array(
            [0.0 if answer is None else answer for answer in answers], dtype=np.float64
        )
        return Numbers(values[codes], known[codes], whole=False)

    return score


def _numbers(node: Node) -> _NumberKernel:
    """A kernel that gives doubles, or None when a value turns up that is not a plain number or null."""
    match node:
        case Literal(int() | float() as value) if (
            not isinstance(value, bool) and abs(value) <= EXACT
        ):
            whole = isinstance(value, int)
            return lambda batch: _same(batch, float(value), whole)
        case Field() if (names := _path(node)) is not None:
            return lambda batch: batch.table.columns[names].numbers
        case If(test, then, otherwise):
            return _choice(_truth(test), _numbers(then), _numbers(otherwise))
        case Binary("+" | "-" | "*" | "/" | "%" as sign, left, right):
            return _arithmetic(sign, _numbers(left), _numbers(right))
        case Negate(operand):
            return _arithmetic("-", lambda batch: _same(batch, 0.0, whole=True), _numbers(operand))
        case _ if not _paths(node):
            return _constant_number(node)
        case _:
            return lambda _batch: None


def _same(batch: Batch, value: float, whole: bool) -> Numbers:
    rows = batch.table.rows
    return Numbers(np.full(rows, value), np.ones(rows, dtype=np.bool_), whole)


def _constant_number(node: Node) -> _NumberKernel:
    """A part that is the same for every row, such as a field of the offer."""
    leaf = _Leaf(node, RuleKind.FORMULA, _VALUE_SPACE)

    def number(batch: Batch) -> Numbers | None:
        (value,), _ = leaf.answers(batch)
        return Column.of([value] * batch.table.rows).numbers

    return number


def _choice(
    test: Callable[[Batch], Booleans], then: _NumberKernel, otherwise: _NumberKernel
) -> _NumberKernel:
    def choose(batch: Batch) -> Numbers | None:
        yes, no = then(batch), otherwise(batch)
        if yes is None or no is None:
            return None
        chosen = test(batch)
        values, known = (
            np.where(chosen, yes.values, no.values),
            np.where(chosen, yes.known, no.known),
        )
        return Numbers(values, known, yes.whole and no.whole)

    return choose


def _arithmetic(sign: str, left: _NumberKernel, right: _NumberKernel) -> _NumberKernel:
    def compute(batch: Batch) -> Numbers | None:
        mine = left(batch)
        yours = None if mine is None else right(batch)
        if mine is None or yours is None:
            return None
        known = mine.known & yours.known
        whole = mine.whole and yours.whole and sign != "/"
        with np.errstate(all="ignore"):
            values = _OPERATE[sign](mine.values, yours.values)
        if sign in "/%":
            known = known & (yours.values != 0)
        if whole and np.any(np.abs(values[known]) > EXACT):
            return None  # integers are exact, doubles of this size are not
        return Numbers(values, known & np.isfinite(values), whole)

    return compute


_OPERATE: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
}


# --- parts that are asked value by value

_VALUE_SPACE = {**FORMULA_SPACE, "score": lambda value: value}
"""As for a formula, but whatever the value is."""


class _Leaf:
    """A part of a rule as a function of the distinct values of the paths it reads."""

    def __init__(self, node: Node, kind: RuleKind, space: dict[str, Any]) -> None:
        self.paths = sorted(_paths(node))
        self.names = {names: f"$column{at}" for at, names in enumerate(self.paths)}
        rule = CheckedRule(node, self.replaced(node), kind, frozenset())
        self.ask = load(to_python(rule), "column", space)

    def replaced(self, node: Node) -> Node:
        """The same part over variables in place of paths."""
        names = _path(node)
        return rebuilt(node, self.replaced) if names is None else Root(self.names[names])

    def answers(self, batch: Batch) -> tuple[list[Value], Codes]:
        """What the part says for each distinct combination of values, and which one each row has."""
        columns = [batch.table.columns[names] for names in self.paths]
        if len(columns) == 1:
            return [self.answer(batch, [value]) for value in columns[0].values], columns[0].codes
        if not columns:
            return [self.answer(batch, [])], np.zeros(batch.table.rows, dtype=np.int64)
        distinct, codes = np.unique(
            np.stack([column.codes for column in columns]), axis=1, return_inverse=True
        )
        found = [
            self.answer(
                batch, [column.values[code] for column, code in zip(columns, row, strict=True)]
            )
            for row in distinct.T.tolist()
        ]
        return found, codes.reshape(-1)

    def answer(self, batch: Batch, values: list[Value]) -> Value:
        for names, value in zip(self.paths, values, strict=True):
            batch.variables[self.names[names]] = value
            if names == _MEMBERSHIPS:
                batch.env.profile = {"segmentMembership": value}
        return self.ask(batch.env)


def _path(node: Node) -> Path | None:
    """The names of a path from the profile."""
    names: list[str] = []
    while isinstance(node, Field):
        names.append(node.name)
        node = node.of
    return (
        tuple(reversed(names))
        if isinstance(node, Root) and node.name == "profile" and names
        else None
    )


def _uses_whole_profile(node: Node) -> bool:
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current == Root("profile"):
            return True
        if _path(current) is None:
            waiting.extend(children(current))
    return False


def _paths(node: Node) -> set[Path]:
    """All paths from the profile below a node, the whole of each."""
    found: set[Path] = set()
    waiting = [node]
    while waiting:
        current = waiting.pop()
        names = _path(current)
        if names is not None:
            found.add(names)
            continue
        if isinstance(current, Call) and current.function == "inSegment":
            found.add(_MEMBERSHIPS)
        waiting.extend(children(current))
    return found
