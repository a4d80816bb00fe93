"""Syntax tree nodes. Nodes are immutable and compare by value, regardless of their position.

The parser creates `Name` nodes as written. The resolver returns the same node types with every name
resolved to a `Root`, a `Field`, or a `Name` of a variable bound above it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, TypeAlias, TypeVar
from typing import Literal as OneOf

from proffer.pql.syntax.source import NO_SPAN, TextSpan

Scalar: TypeAlias = bool | int | float | str | None
Direction: TypeAlias = OneOf["before", "after", "from"]


@dataclass(frozen=True, slots=True)
class Node:
    """Base class of nodes. `span` is the source range; it is ignored by equality."""

    span: TextSpan = field(default=NO_SPAN, compare=False, repr=False, kw_only=True)


T = TypeVar("T", bound=Node)


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """null, a Boolean, a non-negative number, or a text.

    `spelling`: the number as written in the source, if it differs from its canonical text; else empty.
    """

    value: Scalar
    spelling: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Constant(Node):
    """A precomputed value: a day, an array or a map. Created by constant folding only."""

    value: Any


@dataclass(frozen=True, slots=True)
class ListOf(Node):
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ObjectOf(Node):
    entries: tuple[tuple[str, Node], ...]


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A bare name: variable, root, or field of the implicit context (PQL 1.2 rule 7)."""

    name: str


@dataclass(frozen=True, slots=True)
class Field(Node):
    """`of.name`. A missing field is null; on an array: the flat array of its items' fields."""

    of: Node
    name: str


class Reading(StrEnum):
    """How a value is read. The first four are the kinds of declared types (R44).

    `NUMERIC` leaves what is no number as it is, where items of an array are returned.
    `LOGICAL` is Boolean without the numbers 1 and 0, `TRUTH` the value as a condition: only indexes use them.
    """

    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "Boolean"
    TIME = "date"
    NUMERIC = "numeric"
    LOGICAL = "logical"
    TRUTH = "truth"


@dataclass(frozen=True, slots=True)
class ReadAs(Node):
    """A value read as its declared type. Created by the checker only."""

    of: Node
    reading: Reading


def without_reading(node: Node) -> Node:
    """Return the node whose value is read, if any, else the node itself."""
    return node.of if isinstance(node, ReadAs) else node


@dataclass(frozen=True, slots=True)
class Parameter(Node):
    """`$1` is the implicit first parameter, `$2` the second."""

    position: int


@dataclass(frozen=True, slots=True)
class Context(Node):
    """`@{reference}`: the context data of that type in the request."""

    reference: str


@dataclass(frozen=True, slots=True)
class Up(Node):
    """`^name`: a field of the implicit context `levels` item expressions further out."""

    levels: int
    name: str


@dataclass(frozen=True, slots=True)
class Root(Node):
    """A resolved root: `profile`, `xEvent`, `offer`, or another root of the rule."""

    name: str


@dataclass(frozen=True, slots=True)
class Lambda(Node):
    parameters: tuple[str, ...]
    body: Node


@dataclass(frozen=True, slots=True)
class Call(Node):
    """`function(arguments)`; `x.f(y)` is `f(x, y)`."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Filter(Node):
    """`of[test]`: the items that satisfy the test, in order."""

    of: Node
    test: Node


@dataclass(frozen=True, slots=True)
class Negate(Node):
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """A binary operation: arithmetic, comparison, `in`, `notIn` or `like`."""

    sign: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Logic(Node):
    """`and` or `or` over two or more operands; flat, as in pql/json."""

    sign: str
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not(Node):
    operand: Node


@dataclass(frozen=True, slots=True)
class If(Node):
    test: Node
    then: Node
    otherwise: Node


@dataclass(frozen=True, slots=True)
class Let(Node):
    name: str
    value: Node
    body: Node


@dataclass(frozen=True, slots=True)
class Declaration(Node):
    """`name from source where test` in a quantifier, select or aggregate."""

    name: str
    source: Node
    test: Node | None


@dataclass(frozen=True, slots=True)
class Quantifier(Node):
    """`kind` is some, all, none or one."""

    kind: str
    declarations: tuple[Declaration, ...]


@dataclass(frozen=True, slots=True)
class Select(Node):
    declarations: tuple[Declaration, ...]


@dataclass(frozen=True, slots=True)
class Aggregate(Node):
    """`sum X.price over X from …`."""

    function: str
    value: Node
    declarations: tuple[Declaration, ...]


@dataclass(frozen=True, slots=True)
class TimeWord(Node):
    """now, today, yesterday or tomorrow."""

    word: str


@dataclass(frozen=True, slots=True)
class Period(Node):
    """`this month`, `last week`, `next year`."""

    which: str
    unit: str


@dataclass(frozen=True, slots=True)
class TimeTest(Node):
    """Base class of the time conditions after `occurs` and in WHEN."""


@dataclass(frozen=True, slots=True)
class Within(TimeTest):
    """`<= 3 days before now`."""

    sign: str
    amount: int
    unit: str
    direction: Direction
    anchor: Node


@dataclass(frozen=True, slots=True)
class Beside(TimeTest):
    """`before now`, `after this week`."""

    direction: Direction
    anchor: Node


@dataclass(frozen=True, slots=True)
class Between(TimeTest):
    low: Node
    high: Node


@dataclass(frozen=True, slots=True)
class On(TimeTest):
    """`on date(2019, 12, 31)`, or just `today`."""

    anchor: Node


@dataclass(frozen=True, slots=True)
class Occurs(Node):
    subject: Node
    test: TimeTest


@dataclass(frozen=True, slots=True)
class Step(Node):
    """One step of a chain: `label: WHAT(what) WHEN(when)`."""

    label: str
    what: Node
    when: TimeTest | None


@dataclass(frozen=True, slots=True)
class Chain(Node):
    events: Node
    timestamp: Node
    steps: tuple[Step, ...]


def name_span(node: Field | Call, text: str) -> TextSpan:
    """Return where the name of a field or function stands in the rule's text; else the node's span."""
    if isinstance(node, Field):
        name, start = node.name, text.rfind(node.name, max(node.span.start, 0), max(node.span.end, 0))
    else:
        name, receiver = node.function, node.arguments[0] if node.arguments else None
        is_method = receiver is not None and receiver.span.start == node.span.start
        begin = receiver.span.end if receiver is not None and is_method else node.span.start
        start = text.find(name, max(begin, 0), max(node.span.end, 0))
    return TextSpan(start, start + len(name)) if start >= 0 and name else node.span


_CHILD_FIELDS: dict[type, tuple[str, ...]] = {}


def _child_fields(kind: type[Node]) -> tuple[str, ...]:
    """Return the fields of a node type that may hold nodes; cached."""
    names = _CHILD_FIELDS.get(kind)
    if names is None:
        names = _CHILD_FIELDS[kind] = _compute_child_fields(kind)
    return names


def _compute_child_fields(kind: type[Node]) -> tuple[str, ...]:
    scalar_types = (str, int, Scalar, Direction, Reading, tuple[str, ...])
    return tuple(
        node_field.name
        for node_field in fields(kind)
        if node_field.name != "span" and node_field.type not in scalar_types
    )


def children(node: Node) -> Iterator[Node]:
    """Yield the direct child nodes in source order."""
    for name in _child_fields(type(node)):
        value = getattr(node, name)
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            for item in value:
                inner = item[1] if isinstance(item, tuple) else item
                if isinstance(inner, Node):
                    yield inner


def walk(node: Node) -> Iterator[Node]:
    """Yield the node and all its descendants, parents first. Not recursive."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(reversed(list(children(current))))


def depth(node: Node) -> int:
    """Return the depth of the tree in nodes. Not recursive."""
    deepest, stack = 0, [(node, 1)]
    while stack:
        current, level = stack.pop()
        deepest = max(deepest, level)
        stack.extend((child, level + 1) for child in children(current))
    return deepest


def map_children(node: T, change: Callable[[Node], Node]) -> T:
    """Return a copy with `change` applied to every child; the node itself if none changed."""
    changes: dict[str, Any] = {}
    for name in _child_fields(type(node)):
        before = getattr(node, name)
        after = _map_value(before, change)
        if after is not before:
            changes[name] = after
    return replace(node, **changes) if changes else node


def _map_value(value: Any, change: Callable[[Node], Node]) -> Any:
    if isinstance(value, Node):
        return change(value)
    if isinstance(value, tuple) and value:
        after = tuple(_map_value(item, change) for item in value)
        return value if all(new is old for new, old in zip(after, value, strict=True)) else after
    return value
