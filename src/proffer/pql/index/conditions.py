"""Truth of a condition as bits over segments of an ordered domain. The segments cover every possible value.

The sorted constants of all conditions on a subject divide the numbers, and the texts, into segments: below
the first constant, equal to it, between the first and the second, and so on. A condition has the same
result for all values of a segment: bit `2i + 1` is constant number `i`, bit `2i` the gap below it.
A text constant that is a number belongs to both domains; a constant outside a domain equals nothing there.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC
from enum import Enum
from typing import Any

from proffer.pql.syntax.nodes import Binary, Call, Constant, Field, Literal, Logic, Node, Not
from proffer.pql.values.environment import Environment
from proffer.pql.values.values import (
    UNREADABLE,
    differs,
    equal,
    is_in,
    is_not_in,
    is_number,
    order,
    parse_json_number,
    truth,
)

UNORDERED_VALUES: tuple[Any, ...] = (None, True, False, [], [None], UNREADABLE)
"""Representatives of values outside the domains: null, Booleans, containers, and what is not of its type."""


class OrderedDomain(Enum):
    """A domain of ordered values: numbers or texts."""

    NUMBER = "number"
    TEXT = "text"


def convert_constant(domain: OrderedDomain, constant: Any) -> Any:
    """Convert a constant to what values of the domain are compared with; None if they are not comparable."""
    if isinstance(constant, str):
        return constant if domain is OrderedDomain.TEXT else parse_json_number(constant)
    return constant if domain is OrderedDomain.NUMBER and is_number(constant) else None


def constants(tree: Node, domain: OrderedDomain) -> Iterator[Any]:
    """Yield the constants of a condition, converted to the domain."""
    match tree:
        case Logic(_, parts):
            for part in parts:
                yield from constants(part, domain)
        case Not(operand):
            yield from constants(operand, domain)
        case Binary(_, _, Literal(value)):
            yield from _convertible(value, domain)
        case Binary(_, _, Constant(values)):
            for value in values:
                yield from _convertible(value, domain)


def _convertible(value: Any, domain: OrderedDomain) -> Iterator[Any]:
    constant = convert_constant(domain, value)
    if constant is not None:
        yield constant


def evaluate_on(tree: Node, domain: OrderedDomain, rank_by_constant: Mapping[Any, int], segment_count: int) -> int:
    """Return the bitset of segments where a condition holds. `rank_by_constant`: sorted ranks."""
    all_segments = (1 << segment_count) - 1

    def equality_bit(constant: Any) -> int:
        domain_constant = convert_constant(domain, constant)
        return 0 if domain_constant is None else 1 << (2 * rank_by_constant[domain_constant] + 1)

    match tree:
        case Logic("and", parts):
            bits = all_segments
            for part in parts:
                bits &= evaluate_on(part, domain, rank_by_constant, segment_count)
            return bits
        case Logic(_, parts):
            bits = 0
            for part in parts:
                bits |= evaluate_on(part, domain, rank_by_constant, segment_count)
            return bits
        case Not(operand):
            return all_segments ^ evaluate_on(operand, domain, rank_by_constant, segment_count)
        case Binary("in" | "notIn" as sign, _, Constant(values)):
            bits = 0
            for value in values:
                bits |= equality_bit(value)
            return bits if sign == "in" else all_segments ^ bits
        case Binary(sign, _, Literal(value)):
            return _comparison_bits(sign, equality_bit(value), all_segments)
        case Call("isNull", _):
            return 0
        case _:  # `isNotNull`, or the path itself as a condition: numbers and texts are true
            return all_segments


def _comparison_bits(sign: str, bit: int, all_segments: int) -> int:
    """Return the segments where a comparison with the constant of this segment holds; 0: of another domain."""
    if sign == "!=":
        return all_segments ^ bit
    if not bit:
        return 0
    match sign:
        case "=":
            return bit
        case "<":
            return bit - 1
        case "<=":
            return bit - 1 | bit
        case ">":
            return all_segments ^ (bit - 1 | bit)
        case _:
            return all_segments ^ (bit - 1)


_NO_TIME: Any = None


def holds_for(tree: Node, value: Any) -> bool:
    """Return whether a condition holds for one value."""
    match tree:
        case Logic("and", parts):
            return all(holds_for(part, value) for part in parts)
        case Logic(_, parts):
            return any(holds_for(part, value) for part in parts)
        case Not(operand):
            return not holds_for(operand, value)
        case Binary("in", _, Constant(values)):
            return is_in(value, values, _fresh_environment())
        case Binary("notIn", _, Constant(values)):
            return is_not_in(value, values, _fresh_environment())
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


def _fresh_environment() -> Environment:
    return Environment({}, _NO_TIME)
