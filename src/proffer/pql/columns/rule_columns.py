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

from proffer.pql.checked import CheckedRule
from proffer.pql.columns.arrays import (
    ArrayCompiler,
    Booleans,
    NotNumbers,
    NumberKernel,
    NumericArray,
    Rows,
    Truth,
    TruthKernel,
    compare,
    parse_number_or_null,
    scalar_numbers,
)
from proffer.pql.columns.columns import Path, ProfileTable
from proffer.pql.compile import FORMULA_NAMESPACE, RULE_NAMESPACE, VALUE_NAMESPACE, load
from proffer.pql.functions.maps import MEMBERSHIP_FUNCTIONS
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
    ReadAs,
    Reading,
    Root,
    Select,
    children,
    map_children,
    walk,
)
from proffer.pql.values.environment import Environment
from proffer.pql.values.values import Value

_MEMBERSHIPS: Path = ("segmentMembership",)
_REASON_BY_NODE = {
    Filter: "a condition on the items of an array",
    Quantifier: "a quantifier reads the items of an array",
    Select: "`select` reads the items of an array",
    Aggregate: "an aggregate reads the items of an array",
    Chain: "a chain depends on the order of events",
}


@dataclass(frozen=True, slots=True)
class NoColumnForm:
    """The reason why a rule has no column form."""

    reason: str


@dataclass(slots=True)
class TableEvaluation:
    """State of one evaluation: the table, and the environment in which leaves are evaluated."""

    table: ProfileTable
    env: Environment
    variables: dict[str, Value] = field(default_factory=dict)
    uncertain: Truth = False


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """The column form of a rule. `paths`: the profile paths the table must contain."""

    paths: frozenset[Path]
    kernel: TruthKernel[TableEvaluation]

    def holds(self, table: ProfileTable, env: Environment) -> Booleans:
        """Return one bool per row. The profile of `env` is ignored."""
        return _as_booleans(self.kernel(_new_evaluation(table, env)), table)


@dataclass(frozen=True, slots=True)
class ColumnFormula:
    """The column form of a formula."""

    paths: frozenset[Path]
    kernel: NumberKernel[TableEvaluation]

    def scores(self, table: ProfileTable, env: Environment) -> NumericArray:
        """Return one score per row; rows that are not `valid` are faults."""
        numbers = self.kernel(_new_evaluation(table, env))
        values = np.broadcast_to(np.asarray(numbers.values, dtype=np.float64), table.rows)
        return NumericArray(
            values,
            _as_booleans(numbers.valid, table),
            _as_booleans(numbers.integral, table),
            numbers.max_abs,
        )


def _as_booleans(truths: Truth, table: ProfileTable) -> Booleans:
    return np.broadcast_to(np.asarray(truths, dtype=np.bool_), table.rows)


def _new_evaluation(table: ProfileTable, env: Environment) -> TableEvaluation:
    variables = dict(env.variables)
    leaf = Environment({}, env.now, env.context, env.events, env.offer, variables, env.tz, env.audience_ids)
    return TableEvaluation(table, leaf, variables)


def to_columns(rule: CheckedRule) -> ColumnRule | ColumnFormula | NoColumnForm:
    """Return the column form of a rule or formula. Without one, return the reason."""
    blocker = row_by_row_reason(rule.core)
    if blocker is not None:
        return NoColumnForm(blocker)
    paths = frozenset(_profile_paths(rule.core))
    if rule.kind is RuleKind.RULE:
        return ColumnRule(paths, _ColumnCompiler().compile_truth(rule.core))
    return ColumnFormula(paths, _compile_scores(rule.core))


def row_by_row_reason(core: Node) -> str | None:
    """Return the first reason against a column form; None if there is none."""
    for node in walk(core):
        reason = _REASON_BY_NODE.get(type(node))
        if reason is None and isinstance(node, Call):
            reason = STDLIB[node.function].row_by_row_reason
            reason = reason and f"`{node.function}`: {reason}"
        if reason is not None:
            return reason
    return "the whole profile is used as a value" if _uses_whole_profile(core) else None


class _ColumnCompiler(ArrayCompiler[TableEvaluation]):
    """Compiles nodes to kernels over the columns of a table."""

    def compile_number_leaf(self, node: Node, *, operand: bool) -> NumberKernel[TableEvaluation]:
        del operand  # texts are evaluated per distinct value
        names = _profile_path(node.of if isinstance(node, ReadAs) and node.reading is Reading.NUMBER else node)
        if names is not None:
            return lambda evaluation: evaluation.table.columns[names].numbers
        if _profile_paths(node):
            return _not_numbers
        # A value that is the same for every row, such as a field of the offer.
        leaf = _DistinctValueLeaf(node, RuleKind.FORMULA, VALUE_NAMESPACE)
        return lambda evaluation: scalar_numbers(parse_number_or_null(leaf.evaluate_distinct(evaluation)[0][0]))

    def compile_truth_leaf(self, node: Node) -> TruthKernel[TableEvaluation]:
        leaf = _DistinctValueLeaf(node, RuleKind.RULE, RULE_NAMESPACE)

        def evaluate(evaluation: TableEvaluation) -> Truth:
            answers, codes = leaf.evaluate_distinct(evaluation)
            return np.array(answers, dtype=np.bool_)[codes]

        return evaluate

    def compile_comparison(self, node: Node, sign: str, left: Node, right: Node) -> TruthKernel[TableEvaluation]:
        """Compare numeric columns; with other values, evaluate per distinct value."""
        left_kernel, right_kernel, leaf_kernel = (
            self.compile_numbers(left),
            self.compile_numbers(right),
            self.compile_truth_leaf(node),
        )

        def evaluate(evaluation: TableEvaluation) -> Truth:
            result = _evaluate_if_certain(
                evaluation, lambda: compare(sign, left_kernel(evaluation), right_kernel(evaluation))
            )
            return leaf_kernel(evaluation) if result is None else result

        return evaluate


def _not_numbers(_: TableEvaluation) -> NumericArray:
    raise NotNumbers


def _evaluate_if_certain(evaluation: TableEvaluation, evaluate: Callable[[], Any]) -> Any:
    """Evaluate over columns; None if a value is no number or an integer is too large."""
    outer_uncertain, evaluation.uncertain = evaluation.uncertain, False
    try:
        with np.errstate(all="ignore"):
            result = evaluate()
        return None if np.any(evaluation.uncertain) else result
    except NotNumbers:
        return None
    finally:
        evaluation.uncertain = outer_uncertain


def _compile_scores(node: Node) -> NumberKernel[TableEvaluation]:
    """Compile a score kernel: numeric columns if possible, else per distinct value."""
    kernel = _ColumnCompiler().compile_numbers(node)
    leaf = _DistinctValueLeaf(node, RuleKind.FORMULA, FORMULA_NAMESPACE)

    def score(evaluation: TableEvaluation) -> NumericArray:
        numbers: NumericArray | None = _evaluate_if_certain(evaluation, lambda: kernel(evaluation))
        if numbers is not None:
            return numbers
        answers, codes = leaf.evaluate_distinct(evaluation)
        valid = np.array([answer is not None for answer in answers], dtype=np.bool_)
        values = np.array([answer or 0.0 for answer in answers], dtype=np.float64)
        return NumericArray(values[codes], valid[codes], integral=False, max_abs=float("inf"))

    return score


# --- parts that are evaluated per distinct value


class _DistinctValueLeaf:
    """A rule part, evaluated once per distinct combination of path values."""

    def __init__(self, node: Node, kind: RuleKind, namespace: dict[str, Any]) -> None:
        self.paths = sorted(_profile_paths(node))
        self.root_by_path = {names: f"$column{at}" for at, names in enumerate(self.paths)}
        rule = CheckedRule(node, self.replace_paths(node), kind, frozenset())
        self.function = load(to_python(rule), "column", namespace)

    def replace_paths(self, node: Node) -> Node:
        """Return the node with paths replaced by variables."""
        names = _profile_path(node)
        return map_children(node, self.replace_paths) if names is None else Root(self.root_by_path[names])

    def evaluate_distinct(self, evaluation: TableEvaluation) -> tuple[list[Value], Rows]:
        """Return one result per distinct value combination, and one code per row."""
        columns = [evaluation.table.columns[names] for names in self.paths]
        if len(columns) == 1:
            return [self.evaluate(evaluation, [value]) for value in columns[0].values], columns[0].codes
        if not columns:
            return [self.evaluate(evaluation, [])], np.zeros(evaluation.table.rows, dtype=np.intp)
        distinct, codes = np.unique(np.stack([column.codes for column in columns]), axis=1, return_inverse=True)
        results = [
            self.evaluate(evaluation, [column.values[code] for column, code in zip(columns, row, strict=True)])
            for row in distinct.T.tolist()
        ]
        return results, codes.reshape(-1)

    def evaluate(self, evaluation: TableEvaluation, values: list[Value]) -> Value:
        for names, value in zip(self.paths, values, strict=True):
            evaluation.variables[self.root_by_path[names]] = value
            if names == _MEMBERSHIPS:
                evaluation.env.profile = {"segmentMembership": value}
        return self.function(evaluation.env)


def _profile_path(node: Node) -> Path | None:
    """Return the field names of a path from the profile; None for other nodes."""
    names: list[str] = []
    while isinstance(node, Field):
        names.append(node.name)
        node = node.of
    return tuple(reversed(names)) if isinstance(node, Root) and node.name == "profile" and names else None


def _uses_whole_profile(node: Node) -> bool:
    stack = [node]
    while stack:
        current = stack.pop()
        if current == Root("profile"):
            return True
        if _profile_path(current) is None:
            stack.extend(children(current))
    return False


def _profile_paths(node: Node) -> set[Path]:
    """Return the maximal profile paths below a node."""
    paths: set[Path] = set()
    stack = [node]
    while stack:
        current = stack.pop()
        names = _profile_path(current)
        if names is not None:
            paths.add(names)
            continue
        if isinstance(current, Call) and current.function in MEMBERSHIP_FUNCTIONS:
            paths.add(_MEMBERSHIPS)
        stack.extend(children(current))
    return paths
