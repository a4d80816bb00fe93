"""Constant folding of resolved trees. Does not change any result (property: fold-is-silent).

Only the tree for the evaluators is folded; the parser's tree stays as written.
"""

from datetime import date
from typing import Any

from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.run.interpret import evaluate
from proffer.pql.syntax.nodes import (
    Binary,
    Call,
    Constant,
    Field,
    If,
    ListOf,
    Literal,
    Logic,
    Negate,
    Node,
    Not,
    ObjectOf,
    children,
    map_children,
)
from proffer.pql.values.environment import Environment, WorkLimitExceeded
from proffer.pql.values.times import parse_time
from proffer.pql.values.values import truth

_FOLDABLE = (Binary, Call, Field, ListOf, Negate, ObjectOf)


def fold(node: Node) -> Node:
    """Return the tree with constant parts replaced by their values."""
    node = map_children(node, fold)
    match node:
        case Logic():
            return _fold_logic(node)
        case Not(operand) if is_constant(operand):
            return Literal(not truth(constant(operand)), span=node.span)
        case If(test, then, otherwise) if is_constant(test):
            return then if truth(constant(test)) else otherwise
        case Call(function) if not STDLIB[function].pure:
            return node
        case Binary() if any(_depends_on_zone(side) for side in (node.left, node.right)):
            return node
        case _ if isinstance(node, _FOLDABLE) and all(map(is_constant, children(node))):
            return _evaluate_constant(node)
        case _:
            return node


def is_constant(node: Node) -> bool:
    return isinstance(node, (Literal, Constant))


def constant(node: Node) -> Any:
    """Return the value of a constant node."""
    assert isinstance(node, (Literal, Constant))
    return node.value


def _depends_on_zone(node: Node) -> bool:
    """Return whether a constant may be a time. The comparison of times depends on the zone."""
    return is_constant(node) and _contains_time(constant(node))


def _contains_time(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_contains_time(item) for item in value)
    return isinstance(value, (date, dict)) or (isinstance(value, str) and parse_time(value) is not None)


def _evaluate_constant(node: Node) -> Node:
    try:
        value = evaluate(node, Environment(None, 0))
    except WorkLimitExceeded:
        return node
    if value is None or isinstance(value, (bool, int, float, str)):
        return Literal(value, span=node.span)
    return Constant(value, span=node.span)


def _fold_logic(node: Logic) -> Node:
    """Remove neutral operands of `and`/`or` and cut it after a deciding one."""
    deciding_value = node.sign == "or"
    parts: list[Node] = []
    for part in node.parts:
        if not is_constant(part):
            parts.append(part)
        elif truth(constant(part)) is deciding_value:
            if not parts:
                return Literal(deciding_value, span=node.span)
            # Operands before it are still evaluated: they may exceed the work limit.
            parts.append(Literal(deciding_value, span=part.span))
            break
    return Logic(node.sign, tuple(parts), span=node.span) if parts else Literal(not deciding_value, span=node.span)
