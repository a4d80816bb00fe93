"""Print a tree as canonical text, which parses to the same tree."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from proffer.pql.functions.stdlib import is_method
from proffer.pql.syntax.nodes import (
    Aggregate,
    Beside,
    Between,
    Binary,
    Call,
    Chain,
    Constant,
    Context,
    Declaration,
    Field,
    Filter,
    If,
    Lambda,
    Let,
    ListOf,
    Literal,
    Logic,
    Name,
    Negate,
    Node,
    Not,
    ObjectOf,
    Occurs,
    On,
    Parameter,
    Period,
    Quantifier,
    ReadAs,
    Root,
    Scalar,
    Select,
    Step,
    TimeWord,
    Up,
    Within,
)
from proffer.pql.syntax.tokens import AGGREGATES, QUANTIFIERS, RESERVED, TIME_WORDS, UNITS

# Precedence levels, lowest first. An operand of lower precedence than its context gets brackets.
_LOWEST, _OR, _AND, _NOT, _COMPARE, _ADD, _MULTIPLY, _UNARY, _POSTFIX = range(9)
_LEVEL = {"+": _ADD, "-": _ADD, "*": _MULTIPLY, "/": _MULTIPLY, "%": _MULTIPLY}

_IDENTIFIER = re.compile(r"[^\W\d]\w*\Z")
_KEYWORDS = frozenset(RESERVED | {*TIME_WORDS, *AGGREGATES, *QUANTIFIERS, "if", "let", "select", "chain"})
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_QUANTIFIER_WORD = {"some": "exists", "all": "forall", "none": "none", "one": "one"}


def print_tree(node: Node) -> str:
    """Return the canonical text of a tree. Only a parser's tree parses to itself again."""
    return _text(node, _LOWEST)


def _text(node: Node, min_level: int) -> str:
    node_text, level = _write(node)
    return f"({node_text})" if level < min_level else node_text


def _write(node: Node) -> tuple[str, int]:
    """Return the text of a node and its precedence level."""
    match node:
        case Literal(value, spelling):
            return spelling or print_scalar(value), _POSTFIX
        case ReadAs(of):
            return _write(of)
        case Constant(value):
            return _constant(value), _POSTFIX
        case Name(name) | Root(name):
            return print_name(name), _POSTFIX
        case Field(of, name):
            return f"{_text(of, _POSTFIX)}.{_field_name(name)}", _POSTFIX
        case Filter(of, test):
            return f"{_text(of, _POSTFIX)}[{_text(test, _LOWEST)}]", _POSTFIX
        case Call(function, arguments):
            return _call(function, arguments), _POSTFIX
        case Logic(sign, parts):
            part_level = _AND if sign == "or" else _NOT
            return f" {sign} ".join(_text(part, part_level) for part in parts), part_level - 1
        case Not(operand):
            return f"not {_text(operand, _NOT)}", _NOT
        case Negate(operand):
            return f"-{_text(operand, _UNARY)}", _UNARY
        case Binary(sign, left, right):
            level = _LEVEL.get(sign, _COMPARE)
            min_level = level if level != _COMPARE else _ADD
            return f"{_text(left, min_level)} {sign} {_text(right, level + 1)}", level
        case Occurs(subject, test):
            return f"{_text(subject, _ADD)} occurs {_time_test(test)}", _COMPARE
        case _:
            return _write_form(node)


def _write_form(node: Node) -> tuple[str, int]:
    match node:
        case If(test, then, otherwise):
            return f"if({_list((test, then, otherwise))})", _POSTFIX
        case ListOf(items):
            return f"[{_list(items)}]", _POSTFIX
        case ObjectOf(entries):
            entries_text = ", ".join(f"{print_scalar(key)}: {_text(value, _LOWEST)}" for key, value in entries)
            return f"{{{entries_text}}}", _POSTFIX
        case Parameter(position):
            return f"${position}", _POSTFIX
        case Context(reference):
            return f"@{{{reference}}}", _POSTFIX
        case Up(levels, name):
            return "^" * levels + _field_name(name), _POSTFIX
        case TimeWord(word):
            return word, _POSTFIX
        case Period(which, unit):
            return f"{which} {unit}", _POSTFIX
        case Lambda(parameters, body):
            names = ", ".join(print_name(name) for name in parameters)
            return (
                f"{f'({names})' if len(parameters) != 1 else names} => {_text(body, _LOWEST)}",
                _LOWEST,
            )
        case Let(name, value, body):
            return (
                f"let {print_name(name)} = {_text(value, _ADD)} in {_text(body, _LOWEST)}",
                _LOWEST,
            )
        case Quantifier(kind, declarations):
            return f"{_QUANTIFIER_WORD[kind]} {_declarations(declarations)}", _LOWEST
        case Select(declarations):
            return f"select {_declarations(declarations)}", _LOWEST
        case Aggregate(function, value, declarations):
            node_text = _text(value, _LOWEST) if _is_path(value) else f"({_text(value, _LOWEST)})"
            return f"{function} {node_text} over {_declarations(declarations)}", _LOWEST
        case Chain(events, timestamp, steps):
            node_text = ", ".join(_step(step) for step in steps)
            return f"chain({_list((events, timestamp))}, [{node_text}])", _POSTFIX
        case _:
            raise TypeError(node)


def _constant(value: Any) -> str:
    """Return a precomputed value as an expression of this value; a time as a text."""
    match value:
        case Mapping():
            return "{" + ", ".join(f"{print_scalar(key)}: {_constant(inner)}" for key, inner in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_constant, value)) + "]"
        case date() if not isinstance(value, datetime):
            return f"date({value.year}, {value.month}, {value.day})"
        case None | bool() | int() | float() | str():
            return print_scalar(value)
        case _:
            return print_scalar(str(value))


def _list(nodes: tuple[Node, ...]) -> str:
    return ", ".join(_text(node, _LOWEST) for node in nodes)


def _call(function: str, arguments: tuple[Node, ...]) -> str:
    if arguments and is_method(function):
        return f"{_text(arguments[0], _POSTFIX)}.{function}({_list(arguments[1:])})"
    return f"{function}({_list(arguments)})"


def _is_path(node: Node) -> bool:
    while isinstance(node, Field):
        node = node.of
    return isinstance(node, Name)


def _declarations(declarations: tuple[Declaration, ...]) -> str:
    return ", ".join(_declaration(declaration) for declaration in declarations)


def _declaration(node: Declaration) -> str:
    declaration_text = f"{print_name(node.name)} from {_text(node.source, _ADD)}"
    # Brackets, so that an open-ended condition does not absorb the next declaration.
    return f"{declaration_text} where {_text(node.test, _OR)}" if node.test else declaration_text


def _step(node: Step) -> str:
    when = f" WHEN({_time_test(node.when)})" if node.when else ""
    return f"{print_name(node.label)}: WHAT({_text(node.what, _LOWEST)}){when}"


def _time_test(node: Node) -> str:
    match node:
        case Within(sign, amount, unit, direction, anchor):
            word = unit if amount == 1 else UNITS[unit]
            return f"{sign} {amount} {word} {direction} {_text(anchor, _ADD)}"
        case Beside(direction, anchor):
            return f"{direction} {_text(anchor, _ADD)}"
        case Between(low, high):
            return f"between {_text(low, _ADD)} and {_text(high, _ADD)}"
        case On(anchor):
            anchor_text = _text(anchor, _ADD)
            return anchor_text if isinstance(anchor, (TimeWord, Period)) else f"on {anchor_text}"
        case _:
            raise TypeError(node)


def print_name(name: str) -> str:
    """Return a name, in backticks if it would parse as something else."""
    return f"`{name}`" if name.lower() in _KEYWORDS else _field_name(name)


def _field_name(name: str) -> str:
    return name if _IDENTIFIER.match(name) else f"`{name}`"


def print_scalar(value: Scalar) -> str:
    """Return a literal as text."""
    if isinstance(value, str):
        return '"' + "".join(_ESCAPES.get(char, char) for char in value) + '"'
    if isinstance(value, float):
        number_text = repr(value)
        mantissa, _, exponent = number_text.partition("e")
        return f"{mantissa}.0e{exponent}" if exponent and "." not in mantissa else number_text
    return (
        {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)
    )
