"""Reference interpreter: a tree walk, written for readability rather than speed.

The other evaluators are tested against it; where results differ, this one is right.
"""

from collections.abc import Iterator
from typing import Any

from proffer.pql.checked import CheckedRule
from proffer.pql.functions.lists import entries
from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.syntax.limits import MAX_VISITS
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
    Period,
    Quantifier,
    ReadAs,
    Root,
    Select,
    TimeTest,
    TimeWord,
    Within,
)
from proffer.pql.values import occurs
from proffer.pql.values.environment import Environment
from proffer.pql.values.patterns import like
from proffer.pql.values.reading import read
from proffer.pql.values.times import as_instant
from proffer.pql.values.values import (
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
    visit,
)

_ARITHMETIC = {"+": plus, "-": minus, "*": times, "/": divided, "%": modulo}
DAY_WORDS = {"yesterday": -1, "today": 0, "tomorrow": 1}


def interpret(rule: CheckedRule, env: Environment) -> Value:
    """Return the value of a rule. Raises only `WorkLimitExceeded`."""
    env.left = MAX_VISITS
    return evaluate(rule.core, env)


def evaluate(core: Node, env: Environment) -> Value:
    """Return the value of a resolved tree."""
    return Interpreter(env).value(core)


class Interpreter:
    """One evaluation. Variable names are unique, so one dictionary holds all variables."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.variables: dict[str, Value] = {}

    def value(self, node: Node) -> Value:
        match node:
            case Literal(value) | Constant(value):
                return value
            case Root(name):
                return self.env.root(name)
            case Context(reference):
                return self.env.context.get(reference)
            case Name(name):
                return self.variables[name]
            case Field(of, name):
                return field(self.value(of), name)
            case ReadAs(of, _):
                return self.read(node, self.value(of))
            case ListOf(items):
                return [self.value(item) for item in items]
            case ObjectOf(pairs):
                return {key: self.value(inner) for key, inner in pairs}
            case Logic("and", parts):
                return all(self.holds(part) for part in parts)
            case Logic(_, parts):
                return any(self.holds(part) for part in parts)
            case Not(operand):
                return not self.holds(operand)
            case Negate(operand):
                return self.negate(node, self.value(operand))
            case Binary(_, left, right):
                return self.binary(node, self.value(left), self.value(right))
            case If(test, then, otherwise):
                return self.value(then if self.holds(test) else otherwise)
            case Let(name, value, body):
                self.variables[name] = self.value(value)
                return self.value(body)
            case TimeWord(word):
                return self.env.now if word == "now" else occurs.day_word(self.env, DAY_WORDS[word])
            case Period(which, unit):
                return occurs.period(self.env, which, unit)
            case Occurs(subject, test):
                return self.occurs(self.value(subject), test)
            case Call():
                return self.call(node)
            case Filter(of, Lambda() as test):
                source_items, tests = self.evaluate_each(of, test)
                return [item for item, holds in zip(source_items, tests, strict=True) if truth(holds)]
            case Quantifier(kind, declarations):
                return self.quantifier(kind, declarations)
            case Select(declarations):
                return list(self.qualifying_items(declarations))
            case Aggregate(_, value, declarations):
                values = [self.value(value) for _ in self.bindings(declarations)]
                return self.apply(node, values, values)
            case Chain():
                return self.chain(node)
            case _:
                raise TypeError(node)

    def holds(self, node: Node) -> bool:
        """Return the truth of the value of a node."""
        return truth(self.value(node))

    def read(self, node: ReadAs, value: Value) -> Value:
        return read(node.reading, value, self.env.tz)

    def negate(self, _node: Negate, value: Value) -> Value:
        return negated(value)

    def binary(self, node: Binary, left: Value, right: Value) -> Value:
        zone, sign = self.env.tz, node.sign
        match sign:
            case "=":
                return equal(left, right, zone)
            case "!=":
                return differs(left, right, zone)
            case "in":
                return is_in(left, right, self.env)
            case "notIn":
                return is_not_in(left, right, self.env)
            case "like":
                return like(left, right)
            case "<" | "<=" | ">" | ">=":
                return order(sign, left, right, zone)
            case _:
                return _ARITHMETIC[sign](left, right)

    # --- functions and items

    def call(self, node: Call) -> Value:
        if not STDLIB[node.function].is_higher_order:
            return self.apply(node, *[self.value(argument) for argument in node.arguments])
        of, *other_arguments = node.arguments
        if other_arguments and isinstance(other_arguments[0], Lambda):
            items, keys = self.evaluate_each(of, other_arguments[0])
            return self.apply(node, items, keys, *[self.value(argument) for argument in other_arguments[1:]])
        items = list(visit(self.env, self.value(of)))
        return self.apply(node, items, items)

    def apply(self, node: Call | Aggregate, *arguments: Any) -> Value:
        """Return the value of the node's function."""
        return STDLIB[node.function].apply(self.env, *arguments)

    def evaluate_each(self, of: Node, item: Lambda) -> tuple[list[Value], list[Value]]:
        """Return the items and the expression's value for each; with two parameters of map entries."""
        if len(item.parameters) == 2:
            keys, items = entries(self.value(of))
            self.env.charge(len(keys))
            return items, [self.evaluate_item(item, key, value) for key, value in zip(keys, items, strict=True)]
        items = list(visit(self.env, self.value(of)))
        return items, [self.evaluate_item(item, value) for value in items]

    def evaluate_item(self, item: Lambda, *values: Any) -> Value:
        self.variables.update(zip(item.parameters, values, strict=True))
        return self.value(item.body)

    # --- declarations

    def quantifier(self, kind: str, declarations: tuple[Declaration, ...]) -> bool:
        if kind == "all":
            return all(self.qualifies(declarations) for _ in self.bind_items(declarations[0]))
        count = 0
        for _ in self.qualifying_items(declarations):
            count += 1
            if kind != "one" or count > 1:
                break
        return count == {"some": 1, "none": 0, "one": 1}[kind]

    def qualifying_items(self, declarations: tuple[Declaration, ...]) -> Iterator[Value]:
        """Yield the first declaration's items that can satisfy all conditions (PQL 2.7)."""
        for item in self.bind_items(declarations[0]):
            if self.qualifies(declarations):
                yield item

    def qualifies(self, declarations: tuple[Declaration, ...]) -> bool:
        """Return whether the first variable qualifies and the others can be satisfied."""
        first, *inner = declarations
        if first.test is not None and not self.holds(first.test):
            return False
        return not inner or any(self.qualifies(tuple(inner)) for _ in self.bind_items(inner[0]))

    def bindings(self, declarations: tuple[Declaration, ...]) -> Iterator[None]:
        """Bind all variables in every way that satisfies all conditions."""
        first, *inner = declarations
        for _ in self.bind_items(first):
            if first.test is None or self.holds(first.test):
                if inner:
                    yield from self.bindings(tuple(inner))
                else:
                    yield

    def bind_items(self, declaration: Declaration) -> Iterator[Value]:
        """Yield the items of a declaration, binding each to the variable."""
        for item in visit(self.env, self.value(declaration.source)):
            self.variables[declaration.name] = item
            yield item

    # --- time

    def occurs(self, subject: Value, test: TimeTest) -> bool:
        env = self.env
        match test:
            case Within(sign, amount, unit, direction, anchor):
                return occurs.within(env, subject, sign, amount, unit, direction == "before", self.value(anchor))
            case Beside(direction, anchor):
                return occurs.beside(env, subject, direction == "before", self.value(anchor))
            case Between(low, high):
                return occurs.between(env, subject, self.value(low), self.value(high))
            case On(anchor):
                return occurs.on(env, subject, self.value(anchor))
            case _:
                raise TypeError(test)

    def chain(self, node: Chain) -> bool:
        """Return whether distinct events match the steps in time order (PQL D-CHAIN)."""
        assert isinstance(node.timestamp, Lambda)
        events, timestamps = self.evaluate_each(node.events, node.timestamp)
        open_steps = list(node.steps)
        for moment, event in in_time(self.env, events, timestamps):
            step = open_steps[0]
            assert isinstance(step.what, Lambda)
            if truth(self.evaluate_item(step.what, event)) and (step.when is None or self.occurs(moment, step.when)):
                open_steps.pop(0)
                if not open_steps:
                    return True
        return False


def in_time(env: Environment, events: list[Value], timestamps: list[Value]) -> list[tuple[Any, Value]]:
    """Return (time, event) pairs in stable time order; events without a time are dropped."""
    moments = [
        (moment, event)
        for event, timestamp in zip(events, timestamps, strict=True)
        if (moment := as_instant(timestamp, env.tz)) is not None
    ]
    return sorted(moments, key=lambda pair: pair[0])
