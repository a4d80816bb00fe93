"""Column form of a checked rule: evaluates many profiles at once.

Logic and arithmetic run over whole columns. Any other part is evaluated once per distinct combination of
values, by its generated Python, and the results are spread over the rows, so the semantics are those of
the row form. Rules that need array items have no column form (`NoColumnForm` has the reason) and are
evaluated row by row.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from proffer.pql.arrays import (
    ArrayCompiler,
    Booleans,
    NotNumbers,
    NumberKernel,
    Numbers,
    Rows,
    Truth,
    TruthKernel,
    compare,
    read_plain,
    scalar,
)
from proffer.pql.checked import CheckedRule
from proffer.pql.columns.columns import Path, Table
from proffer.pql.compile import FORMULA_SPACE, RULE_SPACE, load
from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.run.to_python import to_python
from proffer.pql.syntax.limits import RuleKind
from proffer.pql.syntax.nodes import (
    Aggregate,
    Call,
    Chain,
    Field,
    Filter,
    Node,
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


@dataclass(frozen=True, slots=True)
class RowByRow:
    """The reason why a rule has no column form."""

    reason: str


@dataclass(slots=True)
class Batch:
    """State of one evaluation: the table, and the environment in which leaves are evaluated."""

    table: Table
    env: Environment
    variables: dict[str, Value] = field(default_factory=dict)
    doubt: Truth = False


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """The column form of a rule. `paths`: the profile paths the table must contain."""

    paths: frozenset[Path]
    answer: TruthKernel[Batch]

    def holds(self, table: Table, env: Environment) -> Booleans:
        """Return one bool per row. The profile of `env` is ignored."""
        return _array(self.answer(_batch(table, env)), table)


@dataclass(frozen=True, slots=True)
class ColumnFormula:
    """The column form of a formula."""

    paths: frozenset[Path]
    answer: NumberKernel[Batch]

    def scores(self, table: Table, env: Environment) -> Numbers:
        """Return one score per row; rows that are not `valid` are faults."""
        found = self.answer(_batch(table, env))
        values = np.broadcast_to(np.asarray(found.values, dtype=np.float64), table.rows)
        return Numbers(values, _array(found.known, table), _array(found.whole, table), found.most)


def _array(truths: Truth, table: Table) -> Booleans:
    return np.broadcast_to(np.asarray(truths, dtype=np.bool_), table.rows)


def _batch(table: Table, env: Environment) -> Batch:
    variables = dict(env.variables)
    leaf = Environment({}, env.now, env.context, env.events, env.offer, variables, env.tz)
    return Batch(table, leaf, variables)


def to_columns(rule: CheckedRule) -> ColumnRule | ColumnFormula | RowByRow:
    """Return the column form of a rule or formula, or the reason why it has none."""
    reason = why_row_by_row(rule.core)
    if reason is not None:
        return RowByRow(reason)
    paths = frozenset(_paths(rule.core))
    if rule.kind is RuleKind.RULE:
        return ColumnRule(paths, _ColumnCompiler().truth(rule.core))
    return ColumnFormula(paths, _scores(rule.core))


def why_row_by_row(core: Node) -> str | None:
    """Return the first reason against a column form; None if there is none."""
    for node in walk(core):
        reason = _NOT_IN_COLUMNS.get(type(node))
        if reason is None and isinstance(node, Call):
            reason = STDLIB[node.function].row_by_row
            reason = reason and f"`{node.function}`: {reason}"
        if reason is not None:
            return reason
    return "the whole profile is used as a value" if _uses_whole_profile(core) else None


class _ColumnCompiler(ArrayCompiler[Batch]):
    """Compiles nodes to kernels over the columns of a table."""

    def number_part(self, node: Node, *, operand: bool) -> NumberKernel[Batch]:
        del operand  # texts are evaluated per distinct value
        names = _path(node)
        if names is not None:
            return lambda batch: batch.table.columns[names].numbers
        if _paths(node):
            return _not_numbers
        # A value that is the same for every row, such as a field of the offer.
        leaf = _Leaf(node, RuleKind.FORMULA, _VALUE_SPACE)
        return lambda batch: scalar(read_plain(leaf.answers(batch)[0][0]))

    def truth_part(self, node: Node) -> TruthKernel[Batch]:
        leaf = _Leaf(node, RuleKind.RULE, RULE_SPACE)

        def evaluate(batch: Batch) -> Truth:
            answers, codes = leaf.answers(batch)
            return np.array(answers, dtype=np.bool_)[codes]

        return evaluate

    def comparison(self, node: Node, sign: str, left: Node, right: Node) -> TruthKernel[Batch]:
        """Compare numeric columns; with other values, evaluate per distinct value."""
        mine, yours, asked = self.numbers(left), self.numbers(right), self.truth_part(node)

        def evaluate(batch: Batch) -> Truth:
            found = _without_doubt(batch, lambda: compare(sign, mine(batch), yours(batch)))
            return asked(batch) if found is None else found

        return evaluate


def _not_numbers(_: Batch) -> Numbers:
    raise NotNumbers


def _without_doubt(batch: Batch, evaluate: Callable[[], Any]) -> Any:
    """Evaluate over columns; None if a value is no number or an integer is too large."""
    before, batch.doubt = batch.doubt, False
    try:
        with np.errstate(all="ignore"):
            found = evaluate()
        return None if np.any(batch.doubt) else found
    except NotNumbers:
        return None
    finally:
        batch.doubt = before


def _scores(node: Node) -> NumberKernel[Batch]:
    """Compile a score kernel: numeric columns if possible, else per distinct value."""
    kernel = _ColumnCompiler().numbers(node)
    leaf = _Leaf(node, RuleKind.FORMULA, FORMULA_SPACE)

    def score(batch: Batch) -> Numbers:
        found: Numbers | None = _without_doubt(batch, lambda: kernel(batch))
        if found is not None:
            return found
        answers, codes = leaf.answers(batch)
        known = np.array([answer is not None for answer in answers], dtype=np.bool_)
        values = np.array([answer or 0.0 for answer in answers], dtype=np.float64)
        return Numbers(values[codes], known[codes], whole=False, most=float("inf"))

    return score


# --- parts that are evaluated per distinct value

_VALUE_SPACE = {**FORMULA_SPACE, "score": lambda value: value}
"""The globals of a formula, but the result is any value."""


class _Leaf:
    """A part of a rule, evaluated once per distinct combination of path values."""

    def __init__(self, node: Node, kind: RuleKind, space: dict[str, Any]) -> None:
        self.paths = sorted(_paths(node))
        self.names = {names: f"$column{at}" for at, names in enumerate(self.paths)}
        rule = CheckedRule(node, self.replaced(node), kind, frozenset())
        self.ask = load(to_python(rule), "column", space)

    def replaced(self, node: Node) -> Node:
        """Return the node with paths replaced by variables."""
        names = _path(node)
        return rebuilt(node, self.replaced) if names is None else Root(self.names[names])

    def answers(self, batch: Batch) -> tuple[list[Value], Rows]:
        """Return the result per distinct combination of values, and the code per row."""
        columns = [batch.table.columns[names] for names in self.paths]
        if len(columns) == 1:
            return [self.answer(batch, [value]) for value in columns[0].values], columns[0].codes
        if not columns:
            return [self.answer(batch, [])], np.zeros(batch.table.rows, dtype=np.intp)
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
    """Return the field names of a path from the profile; None for other nodes."""
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
    """Return the maximal profile paths below a node."""
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
