"""Extract single-subject predicates, so that one index answers them for many rules.

A *condition* compares one subject with constants, in any nesting of and, or and not: its result depends on
the value of the subject only (see `conditions`). A subject is a path, or an expression over the request
that is evaluated once for all rules: `a + b` in `a + b > 3`, or a whole test such as `a > b`. A
`PredicateTree` combines conditions by and and or.

A subject also says how its values are read, because the constants of a condition decide that: `a > 3` has
the subject `a` read as a number, so that the text "5" has the results of 5.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from sys import intern
from typing import Any
from weakref import WeakValueDictionary

from proffer.pql.functions.registry import ValueKind
from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.index.conditions import (
    UNORDERED_VALUES,
    OrderedDomain,
    constants,
    evaluate_on,
    holds_for,
)
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
    ReadAs,
    Reading,
    Root,
    walk,
)
from proffer.pql.values.times import as_moment

_COMPARISONS = frozenset({"=", "!=", "<", "<=", ">", ">="})
MEMBERSHIP_SIGNS = frozenset({"in", "notIn"})
_ARITHMETIC = frozenset({"+", "-", "*", "/", "%"})
_NULL_TESTS = frozenset({"isNull", "isNotNull"})
_SCALAR_KINDS = frozenset({ValueKind.NUMBER, ValueKind.INTEGER, ValueKind.DOUBLE, ValueKind.TEXT, ValueKind.BOOLEAN})


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Condition:
    """A conjunction of trees over one subject. Equal conditions on a subject have equal keys.

    Keys are texts, because they distinguish 1, true and 1.0; node equality does not.
    """

    key: str
    name: str
    subject: Node
    trees: tuple[Node, ...]
    on_unordered: tuple[bool, ...]
    """Result for each of `UNORDERED_VALUES`."""
    constants_by_domain: Mapping[OrderedDomain, tuple[Any, ...]]
    """Constants per domain; domains without constants are missing."""
    default_by_domain: Mapping[OrderedDomain, bool]
    """Result for all values of each domain without constants."""
    words: Any = field(default=None, init=False, repr=False)
    """What the trace says of the test, once it has; see `rule_tests`."""


@dataclass(frozen=True, slots=True)
class PredicateTree:
    """Conditions combined by and and or. `shape` is the combination by index: `(0 | (1 & 2))`.

    Trees with equal shape and equal subjects in the same order can share one composite index.
    """

    shape: str
    conditions: tuple[Condition, ...]

    @property
    def subject_names(self) -> tuple[str, ...]:
        """The subject names of the conditions."""
        return tuple([condition.name for condition in self.conditions])


def path_subject(node: Node) -> Node | None:
    """Return the single path a condition reads; None if it is no condition on a path."""
    return _subject_of(node, _is_request_path)


def subject_of_test(node: Node) -> Node | None:
    """Return the single subject of a test, a path or an expression; None if it compares no constants."""
    return _subject_of(node, _is_scalar_expression)


def condition_on(subject: Node, node: Node) -> Condition:
    """Return the condition of a node on this subject; equal conditions are one object."""
    name, key = intern(subject_name(subject)), intern(_text_without_subject(node, subject))
    return _condition(key, name, subject, (_without_subject(node, subject),))


def conjoin_conditions(conditions: Sequence[Condition]) -> Condition:
    """Combine conditions on one subject by and."""
    condition_by_key = {condition.key: condition for condition in conditions}
    distinct = list(condition_by_key.values())
    if len(distinct) == 1:
        return distinct[0]
    trees = tuple(tree for condition in distinct for tree in condition.trees)
    return _condition(" and ".join(sorted(condition_by_key)), distinct[0].name, distinct[0].subject, trees)


def subject_name(subject: Node) -> str:
    """Return a subject as text: equal texts if and only if equal subjects."""
    if isinstance(subject, ReadAs):
        return f"{subject.reading} {subject_name(subject.of)}"
    steps: list[str] = []
    while isinstance(subject, Field):
        steps.append(repr(subject.name))
        subject = subject.of
    return f"{subject!r}.{'.'.join(reversed(steps))}"


def spends_work(condition: Node) -> bool:
    """Return whether the condition charges a search of constants. All but texts do."""
    return any(
        isinstance(descendant, Constant) and not all(isinstance(constant, str) for constant in descendant.value)
        for descendant in walk(condition)
    )


def predicate_tree_of(node: Node) -> PredicateTree | None:
    """Return the predicate tree of a conjunct without offer reads and work; None if impossible."""
    tree = _tree(node, negated=False)
    if tree is None:
        return None
    leaves: list[Condition] = []
    return PredicateTree(_shape_of(tree, leaves), tuple(leaves))


# --- predicate trees


@dataclass(frozen=True, slots=True)
class _Junction:
    """`&` or `|` of conditions on different subjects, sorted by name."""

    sign: str
    parts: "tuple[_Tree, ...]"


_Tree = Condition | _Junction


def _tree(node: Node, *, negated: bool) -> _Tree | None:
    subject = _subject_of(node, _is_scalar_expression)
    if subject is not None:
        return condition_on(subject, Not(node) if negated else node)
    match node:
        case Not(operand):
            return _tree(operand, negated=not negated)
        case Logic(sign, parts):
            sign = "&" if (sign == "and") is not negated else "|"
            return _join(sign, [_tree(part, negated=negated) for part in parts])
        case _ if is_boolean(node):  # the test as a whole is the subject
            return condition_on(node, Not(node) if negated else node)
        case _:
            return None


def _join(sign: str, parts: Sequence[_Tree | None]) -> _Tree | None:
    """Combine parts by one sign; parts on one subject become one condition."""
    flat: list[_Tree] = []
    for part in parts:
        if part is None:
            return None
        is_same_sign = isinstance(part, _Junction) and part.sign == sign
        flat += part.parts if is_same_sign else (part,)  # type: ignore[union-attr]
    flat.sort(key=_sort_key)
    merged_parts: list[_Tree] = []
    for name, group in groupby(flat, key=_sort_key):
        same_subject = list(group)
        conditions = [tree for tree in same_subject if isinstance(tree, Condition)]
        if len(conditions) == len(same_subject):
            merged_parts.append(_disjoin_conditions(conditions) if sign == "|" else conjoin_conditions(conditions))
        else:
            assert not conditions, name
            merged_parts += same_subject
    return merged_parts[0] if len(merged_parts) == 1 else _Junction(sign, tuple(merged_parts))


def _disjoin_conditions(conditions: Sequence[Condition]) -> Condition:
    """Combine conditions on one subject by or."""
    condition_by_key = {item.key: item for item in conditions}
    distinct = list(condition_by_key.values())
    if len(distinct) == 1:
        return distinct[0]
    trees = tuple(item.trees[0] if len(item.trees) == 1 else Logic("and", item.trees) for item in distinct)
    key = f"({' or '.join(f'({item})' for item in sorted(condition_by_key))})"
    return _condition(key, distinct[0].name, distinct[0].subject, (Logic("or", trees),))


def _sort_key(tree: _Tree) -> str:
    if isinstance(tree, Condition):
        return tree.name
    return f"{tree.sign}({','.join(map(_sort_key, tree.parts))})"


def _shape_of(tree: _Tree, leaves: list[Condition]) -> str:
    if isinstance(tree, Condition):
        leaves.append(tree)
        return str(len(leaves) - 1)
    return f"({f' {tree.sign} '.join([_shape_of(part, leaves) for part in tree.parts])})"


# --- subjects


def _subject_of(node: Node, is_allowed: Callable[[Node], bool]) -> Node | None:
    """Return the single subject of a condition if `is_allowed`; None if it is no condition."""
    match node:
        case Logic(_, parts):
            return _common_subject([_subject_of(part, is_allowed) for part in parts])
        case Not(operand):
            return _subject_of(operand, is_allowed)
        case Binary(sign, left, Literal(value)) if sign in _COMPARISONS and value is not None:
            return _read_subject(left, [value], is_allowed)
        case Binary(sign, left, Constant(list() as items)) if sign in MEMBERSHIP_SIGNS:
            return _read_subject(left, items, is_allowed)
        case Call(name, (argument,)) if name in _NULL_TESTS:
            return argument if is_allowed(argument) else None
        case ReadAs(of, Reading.BOOLEAN) if _is_request_path(of):
            return node
        case Field() if is_allowed(node):
            return ReadAs(node, Reading.TRUTH)
        case _:
            return None


def _common_subject(subjects: Sequence[Node | None]) -> Node | None:
    """Return the one subject of the parts of a condition; a null test takes any reading of its path."""
    if None in subjects:
        return None
    # Compare names: node equality does not distinguish 1 and true.
    by_name = {subject_name(subject): subject for subject in subjects if subject is not None}
    readings = [subject for subject in by_name.values() if isinstance(subject, ReadAs)]
    if len(readings) == 1 and len(by_name) == 2 and subject_name(readings[0].of) in by_name:
        return readings[0] if readings[0].reading is not Reading.TRUTH else None
    return subjects[0] if len(by_name) == 1 else None


def _read_subject(left: Node, constants: Sequence[Any], is_allowed: Callable[[Node], bool]) -> Node | None:
    """Return the subject of a comparison with constants; None if its values are not read in one way."""
    kinds = set(map(_reading_of, constants))
    reading = kinds.pop() if len(kinds) == 1 else None
    if isinstance(left, ReadAs):
        return left if is_allowed(left.of) and reading is left.reading else None
    if not is_allowed(left) or (reading is None and constants):
        return None
    return left if reading is Reading.TEXT or reading is None else ReadAs(left, reading)


def _is_request_path(node: Node) -> bool:
    """Return whether a node is a path outside the offer."""
    if not isinstance(node, Field):
        return False
    while isinstance(node, Field):
        node = node.of
    return isinstance(node, Context) or (isinstance(node, Root) and node.name != "offer")


def _is_scalar_expression(node: Node) -> bool:
    """Return whether a node is a path or always gives a scalar."""
    match node:
        case Binary(sign, _, _):
            return sign in _ARITHMETIC
        case Negate():
            return True
        case Call(function, _):
            return STDLIB[function].returns in _SCALAR_KINDS
        case _:
            return _is_request_path(node)


def _reading_of(constant: Any) -> Reading | None:
    """Return how values are read beside a constant; None for constants that no table can hold."""
    match constant:
        case bool():
            return Reading.LOGICAL
        case int() | float():
            return Reading.NUMBER
        case str() if as_moment(constant) is None:  # date-times are not ordered as texts
            return Reading.TEXT
        case _:
            return None


# --- conditions


_CONDITIONS: WeakValueDictionary[tuple[str, str], Condition] = WeakValueDictionary()
_NEWEST: WeakValueDictionary[str, Condition] = WeakValueDictionary()
"""Subject name → newest condition; conditions share the subject of an earlier one."""


def _condition(key: str, name: str, subject: Node, trees: tuple[Node, ...]) -> Condition:
    """Return the shared condition of this subject and key, created if necessary."""
    condition = _CONDITIONS.get((name, key))
    if condition is None:
        earlier = _NEWEST.get(name)
        condition = _new_condition(key, name, subject if earlier is None else earlier.subject, trees)
        _CONDITIONS[name, key] = _NEWEST[name] = condition
    return condition


def _new_condition(key: str, name: str, subject: Node, trees: tuple[Node, ...]) -> Condition:
    constants_by_domain = {
        domain: domain_constants for domain in OrderedDomain if (domain_constants := _distinct_constants(trees, domain))
    }
    return Condition(
        key=key,
        name=name,
        subject=subject,
        trees=trees,
        on_unordered=tuple(all(holds_for(tree, value) for tree in trees) for value in UNORDERED_VALUES),
        constants_by_domain=constants_by_domain,
        default_by_domain={
            domain: all(evaluate_on(tree, domain, {}, 1) for tree in trees)
            for domain in OrderedDomain
            if domain not in constants_by_domain
        },
    )


def _distinct_constants(trees: Iterable[Node], domain: OrderedDomain) -> tuple[Any, ...]:
    return tuple({constant for tree in trees for constant in constants(tree, domain)})


def _is_subject(condition: Node, subject: Node) -> bool:
    return condition == subject or (isinstance(subject, ReadAs) and condition == subject.of)


def _without_subject(condition: Node, subject: Node) -> Node:
    """Copy a condition without subject and spans, to save memory."""
    if _is_subject(condition, subject):
        return _SUBJECT
    match condition:
        case Logic(sign, parts):
            return Logic(sign, tuple([_without_subject(part, subject) for part in parts]))
        case Not(operand):
            return Not(_without_subject(operand, subject))
        case Binary(sign, _, Literal(value)):
            return Binary(sign, _SUBJECT, Literal(_intern_text(value)))
        case Binary(sign, _, Constant(values)):
            return Binary(sign, _SUBJECT, Constant([_intern_text(value) for value in values]))
        case Call(name, _):
            return Call(name, (_SUBJECT,))
        case _:
            raise TypeError(condition)


def _intern_text(value: Any) -> Any:
    return intern(value) if isinstance(value, str) else value


_SUBJECT = Field(Root(""), "")


def _text_without_subject(condition: Node, subject: Node) -> str:
    """Return a condition as text, without its subject."""
    if _is_subject(condition, subject):
        return "is true"
    match condition:
        case Logic(sign, parts):
            return f"({f' {sign} '.join([_text_without_subject(part, subject) for part in parts])})"
        case Not(operand):
            return f"not({_text_without_subject(operand, subject)})"
        case Binary(sign, _, Literal(value) | Constant(value)):
            return f"{sign} {value!r}"
        case Call(name, _):
            return name
        case _:
            raise TypeError(condition)
