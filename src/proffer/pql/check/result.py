"""The result of a rule: refuse constants, and values that can never be true or false."""

from proffer.pql.check.types import Shape, type_of_kind
from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.run.fold import constant, is_constant
from proffer.pql.syntax.diagnostics import Diagnostic
from proffer.pql.syntax.nodes import Aggregate, Binary, Call, If, Let, Literal, Negate, Node, Not, TimeWord
from proffer.pql.values.values import truth

_VALUE_NAMES = {
    Shape.TEXT: "text",
    Shape.INTEGER: "number",
    Shape.NUMBER: "number",
    Shape.DATE: "date",
    Shape.MOMENT: "date",
}


def check_result(core: Node, folded: Node) -> list[Diagnostic]:
    """Return an error for a rule that is the same for everybody, or that is not a condition.

    `true`, `false` and their negations are accepted, and so are fields, lists and maps (PQL D-TRUTH).
    """
    if (name := value_name(core)) is not None:
        help_ = "compare it with a value, or write `true` for everybody"
        return [Diagnostic("pql.condition", f"a rule is true or false, and this is always a {name}", help_, core.span)]
    if not is_constant(folded) or _is_boolean_literal(core):
        return []
    word = "true" if truth(constant(folded)) else "false"
    code = "pql.always-true" if word == "true" else "pql.never-true"
    return [Diagnostic(code, f"this rule is {word} for everybody", f"write a condition, or `{word}`", core.span)]


def _is_boolean_literal(node: Node) -> bool:
    while isinstance(node, Not):
        node = node.operand
    return isinstance(node, Literal) and isinstance(node.value, bool)


def value_name(node: Node) -> str | None:
    """Return text, number or date if the value can be nothing else, besides null."""
    match node:
        case Literal(bool() | None):
            return None
        case Literal(value):
            return "text" if isinstance(value, str) else "number"
        case Binary("+" | "-" | "*" | "/" | "%") | Negate():
            return "number"
        case TimeWord():
            return "date"
        case Call(function) | Aggregate(function):
            return _VALUE_NAMES.get(type_of_kind(STDLIB[function].returns).shape)
        case If(_, then, otherwise):
            name = value_name(then)
            return name if name == value_name(otherwise) else None
        case Let(_, _, body):
            return value_name(body)
        case _:
            return None
