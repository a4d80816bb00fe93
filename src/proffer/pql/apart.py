"""A rule taken apart: what must all hold, each on its own, so that parts can be shared and indexed.

A rule is the conjunction of its parts. A *condition* is a part that looks at one path only and compares
it with constants, in whatever nesting of and, or and not: what it says depends on the value of that path
alone, so it can be answered from a table (`conditions`). Every other part is a function to be asked.

Exact: the rule holds if and only if every part does. A fault in any part makes the rule false, and the
parts that spend the allowance of work stay together in one, so that they spend the same allowance.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import Any
from weakref import WeakValueDictionary

from proffer.pql.checked import CheckedRule
from proffer.pql.compile import RULE_SPACE, load
from proffer.pql.conditions import ALONE, Line, constants, said_of, said_on
from proffer.pql.environment import Environment
from proffer.pql.nodes import (
    Binary,
    Call,
    Constant,
    Context,
    Field,
    Literal,
    Logic,
    Node,
    Not,
    Root,
    walk,
)
from proffer.pql.to_python import part_to_python, paths_to_python

_ORDERED = frozenset({"=", "!=", "<", "<=", ">", ">="})
_MEMBER = frozenset({"in", "notIn"})
_NULL_TESTS = frozenset({"isNull", "isNotNull"})
_KEPT = 4_096
"""Distinct parts and sets of paths whose functions are kept from one build to the next."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Condition:
    """Trees over one path that must all hold. The path has a name, equal conditions on it have equal keys.

    Keys are texts: they tell 1 from true and from 1.0, which trees do not.
    """

    key: str
    name: str
    path: Node
    trees: tuple[Node, ...]
    alone: tuple[bool, ...]
    """What it says of each of `ALONE`."""
    on: Mapping[Line, tuple[Any, ...]]
    """Its constants on each line that it has any on."""
    elsewhere: Mapping[Line, bool]
    """What it says of everything on a line where it has none."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A part that has to be asked. One that is written alike in two rules is the same object.

    `per_offer`: what it says may differ from offer to offer.
    """

    holds: Callable[[Environment], bool]
    per_offer: bool = False


@dataclass(frozen=True, slots=True)
class Apart:
    """A rule as the conditions and parts that it is the conjunction of. With neither it always holds."""

    conditions: tuple[Condition, ...]
    parts: tuple[Part, ...]


def take_apart(rule: CheckedRule) -> Apart:
    """The conditions and the other parts of a rule. Raises RecursionError where there is no room left."""
    conditions: list[Condition] = []
    parts: list[Part] = []
    spending: list[Node] = []
    for node in _conjuncts(rule.core):
        if isinstance(node, Literal) and node.value is True:
            continue
        if _only_path(node) is not None:
            if _spends(node):
                spending.append(node)
            else:
                _add_condition(node, conditions)
            continue
        source, spends = part_to_python(node)
        if spends:
            spending.append(node)
        else:
            parts.append(_part(source, _reads_offer(node)))
    if all(_only_path(node) is not None for node in spending):
        # They spend no more than the constants that a rule has room for: within any allowance.
        for node in spending:
            _add_condition(node, conditions)
    else:
        one = spending[0] if len(spending) == 1 else Logic("and", tuple(spending))
        parts.append(_part(part_to_python(one)[0], _reads_offer(one)))
    return together([Apart(tuple(conditions), tuple(parts))])


def together(rules: Sequence[Apart]) -> Apart:
    """Several rules that must all hold, as one: a condition for each path."""
    by_path: dict[str, dict[str, Condition]] = {}
    for one in (condition for rule in rules for condition in rule.conditions):
        by_path.setdefault(one.name, {})[one.key] = one
    conditions = []
    for name, known in by_path.items():
        alike = list(known.values())
        if len(alike) == 1:
            conditions += alike
            continue
        trees = tuple(tree for one in alike for tree in one.trees)
        conditions.append(_condition(" and ".join(sorted(known)), name, alike[0].path, trees))
    parts = dict.fromkeys(part for rule in rules for part in rule.parts)
    return Apart(tuple(conditions), tuple(parts))


def _add_condition(node: Node, conditions: list[Condition]) -> None:
    path = _only_path(node)
    assert path is not None
    name, key = intern(name_of(path)), intern(_written(node))
    conditions.append(_condition(key, name, _shared(name, path), (_bare(node),)))


@lru_cache(maxsize=_KEPT)
def _part(source: str, per_offer: bool) -> Part:
    return Part(load(source, "part", RULE_SPACE), per_offer)


Loader = Callable[[Environment], tuple[Any, ...]]


def loader(paths: Sequence[Node]) -> Loader:
    """A function that gives the values of these paths, each as a rule would see it. May raise."""
    return _loaded(paths_to_python(paths))


@lru_cache(maxsize=_KEPT)
def _loaded(source: str) -> Loader:
    return load(source, "paths", RULE_SPACE)


def name_of(path: Node) -> str:
    """A path as text: equal for equal paths, different for different ones."""
    steps: list[str] = []
    while isinstance(path, Field):
        steps.append(repr(path.name))
        path = path.of
    return f"{path!r}.{'.'.join(reversed(steps))}"


def _conjuncts(node: Node) -> Iterator[Node]:
    if isinstance(node, Logic) and node.sign == "and":
        for part in node.parts:
            yield from _conjuncts(part)
    else:
        yield node


def _reads_offer(node: Node) -> bool:
    return any(isinstance(below, Root) and below.name == "offer" for below in walk(node))


def _only_path(node: Node) -> Node | None:
    """The one path that a condition is about; None for what is no condition."""
    match node:
        case Logic(_, parts):
            paths = [_only_path(part) for part in parts]
            first = paths[0]
            return first if first is not None and all(path == first for path in paths) else None
        case Not(operand):
            return _only_path(operand)
        case Binary(sign, left, Literal(value)) if sign in _ORDERED and value is not None:
            return left if _is_path(left) else None
        case Binary(sign, left, Constant(list() as items)) if sign in _MEMBER:
            return left if _is_path(left) and all(map(_is_scalar, items)) else None
        case Call(name, (only,)) if name in _NULL_TESTS:
            return only if _is_path(only) else None
        case Field():
            return node if _is_path(node) else None
        case _:
            return None


_CONDITIONS: WeakValueDictionary[tuple[str, str], Condition] = WeakValueDictionary()


def _condition(key: str, name: str, path: Node, trees: tuple[Node, ...]) -> Condition:
    """The condition of this path and key: one for all rules that have it."""
    known = _CONDITIONS.get((name, key))
    if known is None:
        known = _CONDITIONS[name, key] = _made(key, name, path, trees)
    return known


def _made(key: str, name: str, path: Node, trees: tuple[Node, ...]) -> Condition:
    on = {line: found for line in Line if (found := _constants(trees, line))}
    return Condition(
        key=key,
        name=name,
        path=path,
        trees=trees,
        alone=tuple(all(said_of(tree, value) for tree in trees) for value in ALONE),
        on=on,
        elsewhere={
            line: all(said_on(tree, line, {}, 1) for tree in trees)
            for line in Line
            if line not in on
        },
    )


def _constants(trees: Iterable[Node], line: Line) -> tuple[Any, ...]:
    return tuple({one for tree in trees for one in constants(tree, line)})


@lru_cache(maxsize=_KEPT)
def _shared(_name: str, path: Node) -> Node:
    """One node for all equal paths: what is written of a path is kept once."""
    return path


def _bare(condition: Node) -> Node:
    """A condition without its path and without where it was written: what is kept takes less room."""
    match condition:
        case Logic(sign, parts):
            return Logic(sign, tuple(map(_bare, parts)))
        case Not(operand):
            return Not(_bare(operand))
        case Binary(sign, _, Literal(value)):
            return Binary(sign, _PATH, Literal(_interned(value)))
        case Binary(sign, _, Constant(values)):
            return Binary(sign, _PATH, Constant([_interned(value) for value in values]))
        case Call(name, _):
            return Call(name, (_PATH,))
        case _:
            return _PATH


def _interned(value: Any) -> Any:
    return intern(value) if isinstance(value, str) else value


_PATH = Field(Root(""), "")


def _spends(condition: Node) -> bool:
    """Whether it pays for looking through a list of constants, as all do but those of plain texts."""
    return any(
        isinstance(below, Constant) and not all(isinstance(one, str) for one in below.value)
        for below in walk(condition)
    )


def _written(condition: Node) -> str:
    """A condition as text, less its path."""
    match condition:
        case Logic(sign, parts):
            return f"({f' {sign} '.join(map(_written, parts))})"
        case Not(operand):
            return f"not({_written(operand)})"
        case Binary(sign, _, Literal(value) | Constant(value)):
            return f"{sign} {value!r}"
        case Call(name, _):
            return name
        case _:
            return "is true"


def _is_path(node: Node) -> bool:
    """A field of what the request brings: the same for every offer."""
    if not isinstance(node, Field):
        return False
    while isinstance(node, Field):
        node = node.of
    return isinstance(node, Context) or (isinstance(node, Root) and node.name != "offer")


def _is_scalar(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)
