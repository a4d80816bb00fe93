"""Extract single-subject predicates, so that one index answers them for many rules.

A *condition* compares one subject with constants, in any nesting of and, or and not: its result depends on
the value of the subject only (see `conditions`). A subject is a path, or an expression over the request
that is evaluated once for all rules: `a + b` in `a + b > 3`, or a whole test such as `a > b`. A
`PredicateTree` combines conditions by and and or.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from sys import intern
from typing import Any
from weakref import WeakValueDictionary

from proffer.pql.functions.registry import Kind
from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.index.conditions import ALONE, Line, constants, said_of, said_on
from proffer.pql.run.to_python import is_boolean
from proffer.pql.syntax.nodes import (
    Binary,
    Call,
    Constant,
    Context,
    Field,
    Literal,
    Logic,
    Negate,
    Node,
    Not,
    Root,
    walk,
)

_ORDERED = frozenset({"=", "!=", "<", "<=", ">", ">="})
MEMBER = frozenset({"in", "notIn"})
_ARITHMETIC = frozenset({"+", "-", "*", "/", "%"})
_NULL_TESTS = frozenset({"isNull", "isNotNull"})
_SIMPLE = frozenset({Kind.NUMBER, Kind.INTEGER, Kind.DOUBLE, Kind.TEXT, Kind.BOOLEAN})
_KEPT = 4_096
"""Number of distinct subjects cached between builds."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Condition:
    """A conjunction of trees over one subject. Equal conditions on a subject have equal keys.

    Keys are texts, because they distinguish 1, true and 1.0; node equality does not.
    """

    key: str
    name: str
    subject: Node
    trees: tuple[Node, ...]
    alone: tuple[bool, ...]
    """Result for each of `UNORDERED_VALUES`."""
    on: Mapping[Line, tuple[Any, ...]]
    """Constants per domain; domains without constants are missing."""
    elsewhere: Mapping[Line, bool]
    """Result for all values of each domain without constants."""


@dataclass(frozen=True, slots=True)
class Tests:
    """Conditions combined by and and or. `shape` is the combination by index: `(0 | (1 & 2))`.

    Trees with equal shape and equal subjects in the same order can share one composite index.
    """

    shape: str
    conditions: tuple[Condition, ...]

    @property
    def subjects(self) -> tuple[str, ...]:
        """The subject names of the conditions."""
        return tuple([one.name for one in self.conditions])


def path_of(node: Node) -> Node | None:
    """Return the single path a condition reads; None if it is no condition on a path."""
    return _subject_of(node, _path)


def condition_on(subject: Node, node: Node) -> Condition:
    """Return the condition of a node on this subject; equal conditions are one object."""
    name, key = intern(name_of(subject)), intern(_written(node, subject))
    return _condition(key, name, _shared(name, subject), (_bare(node, subject),))


def merged(conditions: Sequence[Condition]) -> Condition:
    """Combine conditions on one subject by and."""
    known = {one.key: one for one in conditions}
    alike = list(known.values())
    if len(alike) == 1:
        return alike[0]
    trees = tuple(tree for one in alike for tree in one.trees)
    return _condition(" and ".join(sorted(known)), alike[0].name, alike[0].subject, trees)


def name_of(subject: Node) -> str:
    """Return a subject as text: equal texts if and only if equal subjects."""
    steps: list[str] = []
    while isinstance(subject, Field):
        steps.append(repr(subject.name))
        subject = subject.of
    return f"{subject!r}.{'.'.join(reversed(steps))}"


def spends(condition: Node) -> bool:
    """Return whether the condition charges a search of constants (all but texts do)."""
    return any(
        isinstance(below, Constant) and not all(isinstance(one, str) for one in below.value)
        for below in walk(condition)
    )


def tests_of(node: Node) -> Tests | None:
    """Return the predicate tree of a conjunct without offer reads and work; None if impossible."""
    found = _tree(node, negated=False)
    if found is None:
        return None
    leaves: list[Condition] = []
    return Tests(_numbered(found, leaves), tuple(leaves))


# --- predicate trees


@dataclass(frozen=True, slots=True)
class _Junction:
    """`&` or `|` of conditions on different subjects, sorted by name."""

    sign: str
    parts: "tuple[_Tree, ...]"


_Tree = Condition | _Junction


def _tree(node: Node, *, negated: bool) -> _Tree | None:
    subject = _subject_of(node, _expression)
    if subject is not None:
        return condition_on(subject, Not(node) if negated else node)
    match node:
        case Not(operand):
            return _tree(operand, negated=not negated)
        case Logic(sign, parts):
            sign = "&" if (sign == "and") is not negated else "|"
            return _joined(sign, [_tree(part, negated=negated) for part in parts])
        case _ if is_boolean(node):  # the test as a whole is the subject
            return condition_on(node, Not(node) if negated else node)
        case _:
            return None


def _joined(sign: str, parts: Sequence[_Tree | None]) -> _Tree | None:
    """Combine parts by one sign; parts on one subject become one condition."""
    flat: list[_Tree] = []
    for part in parts:
        if part is None:
            return None
        alike = isinstance(part, _Junction) and part.sign == sign
        flat += part.parts if alike else (part,)  # type: ignore[union-attr]
    flat.sort(key=_sorted_by)
    found: list[_Tree] = []
    for name, group in groupby(flat, key=_sorted_by):
        known = list(group)
        conditions = [one for one in known if isinstance(one, Condition)]
        if len(conditions) == len(known):
            found.append(_either(conditions) if sign == "|" else merged(conditions))
        else:
            assert not conditions, name
            found += known
    return found[0] if len(found) == 1 else _Junction(sign, tuple(found))


def _either(conditions: Sequence[Condition]) -> Condition:
    """Combine conditions on one subject by or."""
    known = {one.key: one for one in conditions}
    alike = list(known.values())
    if len(alike) == 1:
        return alike[0]
    trees = tuple(one.trees[0] if len(one.trees) == 1 else Logic("and", one.trees) for one in alike)
    key = f"({' or '.join(f'({one})' for one in sorted(known))})"
    return _condition(key, alike[0].name, alike[0].subject, (Logic("or", trees),))


def _sorted_by(tree: _Tree) -> str:
    if isinstance(tree, Condition):
        return tree.name
    return f"{tree.sign}({','.join(map(_sorted_by, tree.parts))})"


def _numbered(tree: _Tree, leaves: list[Condition]) -> str:
    if isinstance(tree, Condition):
        leaves.append(tree)
        return str(len(leaves) - 1)
    return f"({f' {tree.sign} '.join([_numbered(part, leaves) for part in tree.parts])})"


# --- subjects


def _subject_of(node: Node, allowed: Callable[[Node], bool]) -> Node | None:
    """Return the single subject of a condition if `is_allowed`; None if it is no condition."""
    match node:
        case Logic(_, parts):
            subjects = [_subject_of(part, allowed) for part in parts]
            first = subjects[0]
            if first is None or None in subjects:
                return None
            # Compare names: node equality does not distinguish 1 and true.
            return first if len({name_of(one) for one in subjects if one}) == 1 else None
        case Not(operand):
            return _subject_of(operand, allowed)
        case Binary(sign, left, Literal(value)) if sign in _ORDERED and value is not None:
            return left if allowed(left) else None
        case Binary(sign, left, Constant(list() as items)) if sign in MEMBER:
            return left if allowed(left) and all(map(_is_scalar, items)) else None
        case Call(name, (only,)) if name in _NULL_TESTS:
            return only if allowed(only) else None
        case Field():
            return node if allowed(node) else None
        case _:
            return None


def _path(node: Node) -> bool:
    """Return whether a node is a path outside the offer."""
    if not isinstance(node, Field):
        return False
    while isinstance(node, Field):
        node = node.of
    return isinstance(node, Context) or (isinstance(node, Root) and node.name != "offer")


def _expression(node: Node) -> bool:
    """Return whether a node is a path or always gives a scalar."""
    match node:
        case Binary(sign, _, _):
            return sign in _ARITHMETIC
        case Negate():
            return True
        case Call(function, _):
            return STDLIB[function].returns in _SIMPLE
        case _:
            return _path(node)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)


# --- conditions


_CONDITIONS: WeakValueDictionary[tuple[str, str], Condition] = WeakValueDictionary()


def _condition(key: str, name: str, subject: Node, trees: tuple[Node, ...]) -> Condition:
    """Return the shared condition of this subject and key, creating it if necessary."""
    known = _CONDITIONS.get((name, key))
    if known is None:
        known = _CONDITIONS[name, key] = _made(key, name, subject, trees)
    return known


def _made(key: str, name: str, subject: Node, trees: tuple[Node, ...]) -> Condition:
    on = {line: found for line in Line if (found := _constants(trees, line))}
    return Condition(
        key=key,
        name=name,
        subject=subject,
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


_SUBJECTS: dict[str, Node] = {}


def _shared(name: str, subject: Node) -> Node:
    """Return one shared node for equal subjects."""
    if len(_SUBJECTS) >= _KEPT:
        _SUBJECTS.clear()
    return _SUBJECTS.setdefault(name, subject)


def _bare(condition: Node, subject: Node) -> Node:
    """Copy a condition without subject and spans, to save memory."""
    if condition == subject:
        return _SUBJECT
    match condition:
        case Logic(sign, parts):
            return Logic(sign, tuple([_bare(part, subject) for part in parts]))
        case Not(operand):
            return Not(_bare(operand, subject))
        case Binary(sign, _, Literal(value)):
            return Binary(sign, _SUBJECT, Literal(_interned(value)))
        case Binary(sign, _, Constant(values)):
            return Binary(sign, _SUBJECT, Constant([_interned(value) for value in values]))
        case Call(name, _):
            return Call(name, (_SUBJECT,))
        case _:
            raise TypeError(condition)


def _interned(value: Any) -> Any:
    return intern(value) if isinstance(value, str) else value


_SUBJECT = Field(Root(""), "")


def _written(condition: Node, subject: Node) -> str:
    """Return a condition as text, without its subject."""
    if condition == subject:
        return "is true"
    match condition:
        case Logic(sign, parts):
            return f"({f' {sign} '.join([_written(part, subject) for part in parts])})"
        case Not(operand):
            return f"not({_written(operand, subject)})"
        case Binary(sign, _, Literal(value) | Constant(value)):
            return f"{sign} {value!r}"
        case Call(name, _):
            return name
        case _:
            raise TypeError(condition)
