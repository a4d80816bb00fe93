"""Split rules into conjuncts that can be shared and indexed.

A *condition* compares one path with constants (see `predicates`) and can be looked up in an index. Every
other conjunct is a *residual*: a function to be evaluated. Most residuals can be indexed too, as a
`PredicateTree`, if enough offers share them.

The split is exact: the rule holds if and only if every conjunct holds. A fault in any conjunct makes the
rule false, and conjuncts that may exceed the work limit stay in one residual that shares the limit.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

from proffer.pql.checked import CheckedRule
from proffer.pql.compile import RULE_NAMESPACE, load
from proffer.pql.index.predicates import (
    MEMBERSHIP_SIGNS,
    Condition,
    PredicateTree,
    condition_on,
    conjoin_conditions,
    path_subject,
    predicate_tree_of,
    spends_work,
)
from proffer.pql.run.to_python import is_plain_text_list, part_to_python
from proffer.pql.syntax.nodes import Binary, Constant, Literal, Logic, Node, Root, walk
from proffer.pql.values.environment import Environment

Holds = Callable[[Environment], bool]


class Residual:
    """A conjunct that must be evaluated. Equal sources share one instance.

    `reads_offer`: the result may differ per offer. `predicate_tree`: the same as predicates, if possible;
    evaluating their subjects may raise where the residual is a fault.
    """

    __slots__ = ("__weakref__", "_holds", "predicate_tree", "reads_offer")

    def __init__(self, holds: Holds | str, *, reads_offer: bool, predicate_tree: PredicateTree | None = None) -> None:
        """Create from a function or from its source."""
        self._holds = holds
        self.reads_offer, self.predicate_tree = reads_offer, predicate_tree

    @property
    def holds(self) -> Holds:
        """The function; loaded on first use, because many residuals are only used via the index."""
        if isinstance(self._holds, str):
            self._holds = load(self._holds, "part", RULE_NAMESPACE)
        return self._holds


@dataclass(frozen=True, slots=True)
class Conjunction:
    """A rule as a conjunction of conditions and residuals. An empty one always holds."""

    conditions: tuple[Condition, ...]
    residuals: tuple[Residual, ...]


def conjuncts(rule: CheckedRule) -> Conjunction:
    """Split a rule into conditions and residuals. Raises RecursionError on deep stacks."""
    conjunct_list: list[Condition | Residual] = []
    spending_nodes: list[Node] = []
    # Conjuncts whose work is bounded by the constants of the rule, which never exceeds the limit.
    bounded_conjuncts: list[Condition | Residual] = []
    is_unbounded = False
    for node in _split_conjuncts(rule.core):
        if isinstance(node, Literal) and node.value is True:
            continue
        path = path_subject(node)
        source, loop_count = ("", int(spends_work(node))) if path is not None else part_to_python(node)
        conjunct = condition_on(path, node) if path is not None else _residual_of(source, node)
        if loop_count:
            spending_nodes.append(node)
            bounded_conjuncts.append(conjunct)
            is_unbounded = is_unbounded or (path is None and loop_count > _constant_list_count(node))
        else:
            conjunct_list.append(conjunct)
    if is_unbounded:
        combined_node = spending_nodes[0] if len(spending_nodes) == 1 else Logic("and", tuple(spending_nodes))
        conjunct_list.append(_residual_of(part_to_python(combined_node)[0], combined_node, spends_work=True))
    else:
        conjunct_list += bounded_conjuncts
    return conjoin(
        [
            Conjunction(
                tuple([conjunct for conjunct in conjunct_list if isinstance(conjunct, Condition)]),
                tuple([conjunct for conjunct in conjunct_list if isinstance(conjunct, Residual)]),
            )
        ]
    )


def conjoin(conjunctions: Sequence[Conjunction]) -> Conjunction:
    """Combine conjunctions to one, with one condition per subject."""
    conditions_by_subject: dict[str, list[Condition]] = {}
    for subject_condition in (condition for conjunction in conjunctions for condition in conjunction.conditions):
        conditions_by_subject.setdefault(subject_condition.name, []).append(subject_condition)
    residuals = dict.fromkeys(residual for conjunction in conjunctions for residual in conjunction.residuals)
    return Conjunction(tuple(map(conjoin_conditions, conditions_by_subject.values())), tuple(residuals))


_RESIDUALS: WeakValueDictionary[tuple[str, bool, bool], Residual] = WeakValueDictionary()


def _residual_of(source: str, node: Node, *, spends_work: bool = False) -> Residual:
    """Return the shared residual of this source. The nodes of equal sources are equivalent."""
    reads_offer = _reads_offer(node)
    residual = _RESIDUALS.get((source, reads_offer, spends_work))
    if residual is None:
        predicate_tree = None if reads_offer or spends_work else predicate_tree_of(node)
        residual = Residual(source, reads_offer=reads_offer, predicate_tree=predicate_tree)
        _RESIDUALS[source, reads_offer, spends_work] = residual
    return residual


def _constant_list_count(node: Node) -> int:
    """Count the constant-list searches that are charged to the work limit."""
    return sum(
        isinstance(descendant, Binary)
        and descendant.sign in MEMBERSHIP_SIGNS
        and isinstance(descendant.right, Constant)
        and not is_plain_text_list(descendant.right.value)
        for descendant in walk(node)
    )


def _split_conjuncts(node: Node) -> Iterator[Node]:
    if isinstance(node, Logic) and node.sign == "and":
        for part in node.parts:
            yield from _split_conjuncts(part)
    else:
        yield node


def _reads_offer(node: Node) -> bool:
    return any(isinstance(descendant, Root) and descendant.name == "offer" for descendant in walk(node))
