"""Split rules into conjuncts that can be shared and indexed.

A *condition* compares one path with constants (see `predicates`) and can be looked up in an index. Every
other conjunct is a *residual*: a function to be evaluated. Most residuals can be indexed too, as a
`PredicateTree`, if enough offers share them.

The split is exact: the rule holds if and only if every conjunct holds. A fault in any conjunct makes the
rule false, and conjuncts that may exceed the work limit stay in one residual that shares the limit.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from proffer.pql.checked import CheckedRule
from proffer.pql.compile import RULE_SPACE, load
from proffer.pql.index.predicates import (
    MEMBER,
    Condition,
    Tests,
    condition_on,
    merged,
    path_of,
    spends,
    tests_of,
)
from proffer.pql.run.to_python import is_plain_list, part_to_python
from proffer.pql.syntax.nodes import Binary, Constant, Literal, Logic, Node, Root, walk
from proffer.pql.values.environment import Environment

Holds = Callable[[Environment], bool]
_KEPT = 4_096
"""Number of distinct residuals cached between builds."""


class Part:
    """A conjunct that must be evaluated. Equal sources share one instance.

    `reads_offer`: the result may differ per offer. `predicate_tree`: the same as predicates, if possible;
    evaluating their subjects may raise where the residual is a fault.
    """

    __slots__ = ("_holds", "per_offer", "tests")

    def __init__(self, holds: Holds | str, *, per_offer: bool, tests: Tests | None = None) -> None:
        """Create from a function or from its source."""
        self._holds = holds
        self.per_offer, self.tests = per_offer, tests

    @property
    def holds(self) -> Holds:
        """The function; loaded on first use, because many residuals are only used via the index."""
        if isinstance(self._holds, str):
            self._holds = load(self._holds, "part", RULE_SPACE)
        return self._holds


@dataclass(frozen=True, slots=True)
class Apart:
    """A rule as a conjunction of conditions and residuals. An empty one always holds."""

    conditions: tuple[Condition, ...]
    parts: tuple[Part, ...]


def take_apart(rule: CheckedRule) -> Apart:
    """Split a rule into conditions and residuals. Raises RecursionError on deep stacks."""
    found: list[Condition | Part] = []
    spending: list[Node] = []
    # Conjuncts whose work is bounded by the constants of the rule, which never exceeds the limit.
    modest: list[Condition | Part] = []
    boundless = False
    for node in _conjuncts(rule.core):
        if isinstance(node, Literal) and node.value is True:
            continue
        path = path_of(node)
        source, loops = ("", int(spends(node))) if path is not None else part_to_python(node)
        one = condition_on(path, node) if path is not None else _asked(source, node)
        if loops:
            spending.append(node)
            modest.append(one)
            boundless = boundless or (path is None and loops > _lists_of_constants(node))
        else:
            found.append(one)
    if boundless:
        whole = spending[0] if len(spending) == 1 else Logic("and", tuple(spending))
        found.append(_asked(part_to_python(whole)[0], whole, spends=True))
    else:
        found += modest
    return together(
        [
            Apart(
                tuple([one for one in found if isinstance(one, Condition)]),
                tuple([one for one in found if isinstance(one, Part)]),
            )
        ]
    )


def together(rules: Sequence[Apart]) -> Apart:
    """Combine conjunctions to one, with one condition per subject."""
    by_path: dict[str, list[Condition]] = {}
    for one in (condition for rule in rules for condition in rule.conditions):
        by_path.setdefault(one.name, []).append(one)
    parts = dict.fromkeys(part for rule in rules for part in rule.parts)
    return Apart(tuple(map(merged, by_path.values())), tuple(parts))


@dataclass(frozen=True, slots=True)
class _Written:
    """Source of a residual, and its node, which is equivalent for equal sources."""

    source: str
    node: Node = field(compare=False)


def _asked(source: str, node: Node, *, spends: bool = False) -> Part:
    return _part(_Written(source, node), _reads_offer(node), spends)


@lru_cache(maxsize=_KEPT)
def _part(written: _Written, per_offer: bool, spends: bool) -> Part:
    tests = None if per_offer or spends else tests_of(written.node)
    return Part(written.source, per_offer=per_offer, tests=tests)


def _lists_of_constants(node: Node) -> int:
    """Count the constant-list searches that are charged to the work limit."""
    return sum(
        isinstance(below, Binary)
        and below.sign in MEMBER
        and isinstance(below.right, Constant)
        and not is_plain_list(below.right.value)
        for below in walk(node)
    )


def _conjuncts(node: Node) -> Iterator[Node]:
    if isinstance(node, Logic) and node.sign == "and":
        for part in node.parts:
            yield from _conjuncts(part)
    else:
        yield node


def _reads_offer(node: Node) -> bool:
    return any(isinstance(below, Root) and below.name == "offer" for below in walk(node))
