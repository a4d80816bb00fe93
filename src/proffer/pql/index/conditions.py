"""Truth of a condition for every possible value, as bits over segments of an ordered domain.

The sorted constants of all conditions on a subject divide the numbers, and the texts, into segments: below
the first constant, equal to it, between the first and the second, and so on. A condition has the same
result for all values of a segment: bit `2i + 1` is constant number `i`, bit `2i` the gap below it.
Constants are coerced to the domain (PQL D-COERCE); one that cannot be coerced equals nothing there.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC
from enum import Enum
from typing import Any

from proffer.pql.syntax.nodes import Binary, Call, Constant, Field, Literal, Logic, Node, Not
from proffer.pql.values.environment import Environment
from proffer.pql.values.values import (
    differs,
    equal,
    is_in,
    is_not_in,
    order,
    read_number,
    show_number,
    truth,
)

ALONE: tuple[Any, ...] = (None, True, False, [], [None])
"""Representatives of values outside the domains: null, Booleans, empty and non-empty containers."""


class Line(Enum):
    """A domain of ordered values: numbers or texts."""

    NUMBER = "number"
    TEXT = "text"


def as_on(line: Line, constant: Any) -> Any:
    """Coerce a constant to the domain; None if it cannot be coerced."""
    if isinstance(constant, str):
        return constant if line is Line.TEXT else read_number(constant)
    if isinstance(constant, bool):
        return str(constant).lower() if line is Line.TEXT else None
    return show_number(constant) if line is Line.TEXT else constant


def constants(tree: Node, line: Line) -> Iterator[Any]:
    """Yield the constants of a condition, coerced to the domain."""
    match tree:
        case Logic(_, parts):
            for part in parts:
                yield from constants(part, line)
        case Not(operand):
            yield from constants(operand, line)
        case Binary(_, _, Literal(value)):
            yield from _there(value, line)
        case Binary(_, _, Constant(values)):
            for value in values:
                yield from _there(value, line)


def _there(value: Any, line: Line) -> Iterator[Any]:
    found = as_on(line, value)
    if found is not None:
        yield found


def said_on(tree: Node, line: Line, places: Mapping[Any, int], segments: int) -> int:
    """Return the bitset of segments where a condition holds. `rank_by_constant`: sorted ranks."""
    everywhere = (1 << segments) - 1

    def at(constant: Any) -> int:
        found = as_on(line, constant)
        return 0 if found is None else 1 << (2 * places[found] + 1)

    def said(node: Node) -> int:
        match node:
            case Logic("and", parts):
                found = everywhere
                for part in parts:
                    found &= said(part)
                return found
            case Logic(_, parts):
                found = 0
                for part in parts:
                    found |= said(part)
                return found
            case Not(operand):
                return everywhere ^ said(operand)
            case Binary("in" | "notIn" as sign, _, Constant(values)):
                found = 0
                for value in values:
                    found |= at(value)
                return found if sign == "in" else everywhere ^ found
            case Binary(sign, _, Literal(value)):
                return compared(sign, at(value))
            case Call("isNull", _):
                return 0
            case _:  # `isNotNull`, or the path itself as a condition: numbers and texts are true
                return everywhere

    def compared(sign: str, here: int) -> int:
        if sign == "!=":
            return everywhere ^ here
        if not here:
            return 0
        match sign:
            case "=":
                return here
            case "<":
                return here - 1
            case "<=":
                return here - 1 | here
            case ">":
                return everywhere ^ (here - 1 | here)
            case _:
                return everywhere ^ (here - 1)

    return said(tree)


_NOWHEN: Any = None


def said_of(tree: Node, value: Any) -> bool:
    """Return whether a condition holds for one value."""
    match tree:
        case Logic("and", parts):
            return all(said_of(part, value) for part in parts)
        case Logic(_, parts):
            return any(said_of(part, value) for part in parts)
        case Not(operand):
            return not said_of(operand, value)
        case Binary("in", _, Constant(values)):
            return is_in(value, values, _paid())
        case Binary("notIn", _, Constant(values)):
            return is_not_in(value, values, _paid())
        case Binary("=", _, Literal(constant)):
            return equal(value, constant, UTC)
        case Binary("!=", _, Literal(constant)):
            return differs(value, constant, UTC)
        case Binary(sign, _, Literal(constant)):
            return order(sign, value, constant, UTC)
        case Call(name, _):
            return (value is None) is (name == "isNull")
        case Field():
            return truth(value)
        case _:
            raise TypeError(tree)


def _paid() -> Environment:
    return Environment({}, _NOWHEN)
