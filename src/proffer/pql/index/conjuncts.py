"""A rule taken apart: what must all hold, each on its own, so that parts can be shared and indexed.

A rule is the conjunction of its parts. A *condition* is a part that looks at one path only and compares
it with constants (`subjects`): it can be answered from a table. Every other part is a function to be
asked, and most of those can be answered from tables too, where enough offers ask alike: as `Tests`.

Exact: the rule holds if and only if every part does. A fault in any part makes the rule false, and the
parts that spend the allowance of work stay together in one, so that they spend the same allowance.
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
"""Distinct parts that are kept from one build to the next."""


class Part:
    """A part that has to be asked. One that is written alike in two rules is the same object.

    `per_offer`: what it says may differ from offer to offer. `tests` is the same as tests, where it can
    be; their tables may raise where asking it is a fault.
    """

    __slots__ = ("_holds", "per_offer", "tests")

    def __init__(self, holds: Holds | str, *, per_offer: bool, tests: Tests | None = None) -> None:
        """From a function, or from its source."""
        self._holds = holds
        self.per_offer, self.tests = per_offer, tests

    @property
    def holds(self) -> Holds:
        """It becomes a function when it is first asked: many are only ever answered from tables."""
        if isinstance(self._holds, str):
            self._holds = load(self._holds, "part", RULE_SPACE)
        return self._holds


@dataclass(frozen=True, slots=True)
class Apart:
    """A rule as the conditions and parts that it is the conjunction of. With neither it always holds."""

    conditions: tuple[Condition, ...]
    parts: tuple[Part, ...]


def take_apart(rule: CheckedRule) -> Apart:
    """The conditions and the other parts of a rule. Raises RecursionError where there is no room left."""
    found: list[Condition | Part] = []
    spending: list[Node] = []
    # What spends no more than the constants that a rule has room for, which is within any allowance.
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
    """Several rules that must all hold, as one: a condition for each path."""
    by_path: dict[str, list[Condition]] = {}
    for one in (condition for rule in rules for condition in rule.conditions):
        by_path.setdefault(one.name, []).append(one)
    parts = dict.fromkeys(part for rule in rules for part in rule.parts)
    return Apart(tuple(map(merged, by_path.values())), tuple(parts))


@dataclass(frozen=True, slots=True)
class _Written:
    """A part as source, and the node that it was written from, which equal sources have alike."""

    source: str
    node: Node = field(compare=False)


def _asked(source: str, node: Node, *, spends: bool = False) -> Part:
    return _part(_Written(source, node), _reads_offer(node), spends)


@lru_cache(maxsize=_KEPT)
def _part(written: _Written, per_offer: bool, spends: bool) -> Part:
    tests = None if per_offer or spends else tests_of(written.node)
    return Part(written.source, per_offer=per_offer, tests=tests)


def _lists_of_constants(node: Node) -> int:
    """How often a part pays for looking through a list of constants."""
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
