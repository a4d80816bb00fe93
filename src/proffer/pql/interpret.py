"""The meaning of the language: a walk over the settled tree, written to be read rather than to be fast.

The other evaluators are raced against this one; where they differ, this one is right.
"""

from proffer.pql.checked import CheckedRule
from proffer.pql.environment import Environment
from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.nodes import (
    Binary,
    Call,
    Context,
    Field,
    ListOf,
    Literal,
    Logic,
    Negate,
    Node,
    Not,
    Root,
)
from proffer.pql.values import (
    Value,
    differs,
    divided,
    equal,
    field,
    is_in,
    is_not_in,
    minus,
    modulo,
    negated,
    order,
    plus,
    times,
    truth,
)

_ARITHMETIC = {"+": plus, "-": minus, "*": times, "/": divided, "%": modulo}


def interpret(rule: CheckedRule, env: Environment) -> Value:
    """The value of the rule. Raises `TooMuchWork` beyond the allowance, and nothing else."""
    return _Interpreter(env).value(rule.core)


class _Interpreter:
    def __init__(self, env: Environment) -> None:
        self.env = env

    def value(self, node: Node) -> Value:
        match node:
            case Literal(value):
                return value
            case Root(name):
                return self.env.root(name)
            case Context(reference):
                return self.env.context.get(reference)
            case Field(of, name):
                return field(self.value(of), name)
            case ListOf(items):
                return [self.value(item) for item in items]
            case Logic("and", parts):
                return all(self.holds(part) for part in parts)
            case Logic(_, parts):
                return any(self.holds(part) for part in parts)
            case Not(operand):
                return not self.holds(operand)
            case Negate(operand):
                return negated(self.value(operand))
            case Binary(sign, left, right):
                return self.binary(sign, self.value(left), self.value(right))
            case Call(function, arguments):
                return STDLIB[function].apply(
                    self.env, *[self.value(argument) for argument in arguments]
                )
            case _:
                raise TypeError(node)

    def holds(self, node: Node) -> bool:
        """The value in a Boolean place."""
        return truth(self.value(node))

    def binary(self, sign: str, left: Value, right: Value) -> Value:
        zone = self.env.tz
        match sign:
            case "=":
                return equal(left, right, zone)
            case "!=":
                return differs(left, right, zone)
            case "in":
                return is_in(left, right, zone)
            case "notIn":
                return is_not_in(left, right, zone)
            case "<" | "<=" | ">" | ">=":
                return order(sign, left, right, zone)
            case _:
                return _ARITHMETIC[sign](left, right)
