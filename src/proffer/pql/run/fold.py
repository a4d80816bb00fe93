"""Constant folding of resolved trees. Does not change any result (property: fold-is-silent).

Only the tree for the evaluators is folded; the parser's tree stays as written.
"""

from datetime import UTC, date, datetime
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
    rebuilt,
)
from proffer.pql.values.environment import Environment, TooMuchWork
from proffer.pql.values.times import read_time
from proffer.pql.values.values import truth

_NO_MOMENT = datetime(1970, 1, 1, tzinfo=UTC)
_FOLDABLE = (Binary, Call, Field, ListOf, Negate, ObjectOf)


def fold(node: Node) -> Node:
    """Return the tree with constant parts replaced by their values."""
    node = rebuilt(node, fold)
    match node:
        case Logic():
            return _logic(node)
        case Not(operand) if is_constant(operand):
            return Literal(not truth(constant(operand)), span=node.span)
        case If(test, then, otherwise) if is_constant(test):
            return then if truth(constant(test)) else otherwise
        case Call(function, arguments) if not STDLIB[function].pure or not all(
            map(is_constant, arguments)
        ):
            return node
        case Binary() if any(_may_be_local(side) for side in (node.left, node.right)):
            return node
        case _ if isinstance(node, _FOLDABLE) and all(map(is_constant, _parts(node))):
            return _worked_out(node)
        case _:
            return node


def is_constant(node: Node) -> bool:
    return isinstance(node, (Literal, Constant))


def constant(node: Node) -> Any:
    """Return the value of a constant node."""
    assert isinstance(node, (Literal, Constant))
    return node.value


def _parts(node: Node) -> list[Node]:
    match node:
        case Binary(_, left, right):
            return [left, right]
        case Call(_, arguments):
            return list(arguments)
        case Field(of, _):
            return [of]
        case ListOf(items):
            return list(items)
        case Negate(operand):
            return [operand]
        case ObjectOf(entries):
            return [value for _, value in entries]
        case _:
            return [node]


def _may_be_local(node: Node) -> bool:
    """Return whether a constant may be a time, whose comparison depends on the zone."""
    return is_constant(node) and _is_time(constant(node))


def _is_time(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_is_time(item) for item in value)
    return isinstance(value, (date, dict)) or (
        isinstance(value, str) and read_time(value) is not None
    )


def _worked_out(node: Node) -> Node:
    try:
        value = evaluate(node, Environment(None, _NO_MOMENT))
    except TooMuchWork:
        return node
    if value is None or isinstance(value, (bool, int, float, str)):
        return Literal(value, span=node.span)
    return Constant(value, span=node.span)


def _logic(node: Logic) -> Node:
    """Remove neutral operands of `and`/`or` and cut it after a deciding one."""
    decides = node.sign == "or"
    kept: list[Node] = []
    for part in node.parts:
        if not is_constant(part):
            kept.append(part)
        elif truth(constant(part)) is decides:
            if not kept:
                return Literal(decides, span=node.span)
            # Operands before it are still evaluated: they may exceed the work limit.
            kept.append(Literal(decides, span=part.span))
            break
    return (
        Logic(node.sign, tuple(kept), span=node.span)
        if kept
        else Literal(not decides, span=node.span)
    )
