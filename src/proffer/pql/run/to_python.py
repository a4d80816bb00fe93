"""Code generator: checked rule to Python source, one function over an environment.

The source contains only generated names and `repr` of literals, never text of the rule, and is
deterministic. Each test is a fast case behind an exact type guard, with the shared operator of `values`
as the general case, so that the result always equals the interpreter's.

`python_paths` emits statements and loads fields; this module handles the nodes.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import date
from functools import partial
from typing import Any

from proffer.pql.checked import CheckedRule
from proffer.pql.functions.lists import entries
from proffer.pql.functions.registry import Kind
from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.run.interpret import DAY_WORDS, in_time
from proffer.pql.run.python_paths import PathWriter
from proffer.pql.syntax.limits import MAX_VISITS, RuleKind
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
    Root,
    Select,
    Step,
    TimeTest,
    TimeWord,
    Within,
)
from proffer.pql.values import occurs, values
from proffer.pql.values.patterns import like
from proffer.pql.values.times import make_date
from proffer.pql.values.values import read_number

_ORDER = {"<": "less", "<=": "at_most", ">": "greater", ">=": "at_least"}
_ARITHMETIC = {"+": "plus", "-": "minus", "*": "times", "/": "divided", "%": "modulo"}
_CALLED = {"=": "equal", "!=": "differs", "in": "is_in", "notIn": "is_not_in", **_ORDER}
_TEXT_TESTS = {
    "startsWith": "{x}.startswith({t})",
    "endsWith": "{x}.endswith({t})",
    "contains": "{t} in {x}",
    "doesNotStartWith": "not {x}.startswith({t})",
    "doesNotEndWith": "not {x}.endswith({t})",
    "doesNotContain": "{t} not in {x}",
    "equals": "{x} == {t}",
}

_SHARED = (*_CALLED.values(), *_ARITHMETIC.values(), "negated", "path", "field", "truth", "visit")
NAMESPACE: dict[str, Any] = {
    **{name: getattr(values, name) for name in _SHARED},
    **{
        name: getattr(occurs, name)
        for name in ("within", "beside", "between", "on", "period", "day_word")
    },
    "entries": entries,
    "in_time": in_time,
    "like": like,
    "make_date": make_date,
    **{f"f_{name}": declared.apply for name, declared in STDLIB.items()},
}
"""The globals of generated source, apart from `score` and `failed`."""


def to_python(rule: CheckedRule) -> str:
    """Return the source of `def rule(env)`: a bool for a rule, the score for a formula.

    Exceptions are passed to `failed`, which is provided by the loader of the source.
    """
    writer = _Writer()
    with writer.block("def rule(env):"):
        with writer.block("try:"):
            if rule.kind is RuleKind.RULE:
                writer.give_truth(rule.core)
            else:
                writer.give_value(rule.core)
        writer.line("except Exception as fault: return failed(fault)")
    return _finished(writer)


def part_to_python(node: Node) -> tuple[str, int]:
    """Return the source of `def rule(env)` for one conjunct, and its number of charging loops."""
    writer = _Writer()
    with writer.block("def rule(env):"), writer.block("try:"):
        writer.give_truth(node)
    writer.lines.append("    except Exception as fault: return failed(fault)")
    return _finished(writer), writer.loops


def values_to_python(
    nodes: Sequence[Node], takes: Sequence[str], last: Callable[[Sequence[str]], Sequence[str]]
) -> str:
    """Return the source of `def rule(env, …)` over node values. The function may raise.

    `parameters`: names of further parameters. `write_statements`: returns the final statements, given
    the variables that hold the values. The nodes must not charge work.
    """
    writer = _Writer()
    with writer.block("def rule(env):"):
        names = [writer.keep(writer.value(node)) for node in nodes]
        for statement in last(names):
            writer.line(statement)
    return _finished(writer, takes)


def steps_to_python(steps: Sequence[tuple[str, Node]], allowance: int) -> str:
    """Return the source of `def rule(env)`, which returns the step values. It may raise.

    The result is a tuple. A step may read earlier steps by name. All steps share the work limit.
    """
    writer = _Writer()
    with writer.block("def rule(env):"):
        for name, node in steps:
            writer.line(f"{name} = {writer.value(node)}")
            if is_boolean(node):
                writer.booleans.add(name)
        writer.line(f"return ({''.join(f'{name}, ' for name, _ in steps)})")
    return _finished(writer, allowance=allowance)


def rest_to_python(
    node: Node, given: Sequence[Sequence[str]], booleans: Collection[str], allowance: int
) -> str:
    """Return the source of `def rule(env, given0, given1…)` that computes the score. It may raise.

    Each argument is a tuple with one value per name in `argument_names`. `booleans`: the names whose
    value is always a bool.
    """
    writer = _Writer()
    writer.booleans.update(booleans)
    takes = [f"given{number}" for number in range(len(given))]
    with writer.block("def rule(env):"):
        for taken, names in zip(takes, given, strict=True):
            if names:
                writer.line(f"{''.join(f'{name}, ' for name in names)}= {taken}")
        writer.give_value(node)
    return _finished(writer, takes, allowance)


def _finished(writer: "_Writer", takes: Sequence[str] = (), allowance: int = MAX_VISITS) -> str:
    if writer.loops:
        writer.lines.insert(1, f"    env.left = {allowance}")
    # Constants are parameter defaults: evaluated once, without entries in the shared namespace.
    writer.lines[0] = f"def rule({', '.join(['env', *takes, *writer.constants])}):"
    return "".join(f"{line}\n" for line in writer.lines)


class _Writer(PathWriter):
    """Emits statements and returns expressions; the statements an expression needs come first."""

    def __init__(self) -> None:
        super().__init__()
        self.booleans: set[str] = set()
        """Input names whose value is always a bool."""

    # --- return statements

    def give_truth(self, node: Node) -> None:
        """Emit statements that return the truth of a node; `and` and `or` return early."""
        match node:
            case Logic("and", (*parts, last)):
                for part in parts:
                    self.line(f"if not ({self.truth(part)}): return False")
                self.give_truth(last)
            case Logic(_, (*parts, last)):
                for part in parts:
                    self.line(f"if {self.truth(part)}: return True")
                self.give_truth(last)
            case _:
                self.line(f"return {self.truth(node)}")

    def give_value(self, node: Node) -> None:
        """Emit statements that return the value of a node as a score."""
        match node:
            case If(test, then, otherwise):
                with self.block(f"if {self.truth(test)}:"):
                    self.give_value(then)
                self.give_value(otherwise)
            case Let(name, value, body):
                self.line(f"{name} = {self.value(value)}")
                self.give_value(body)
            case _:
                self.line(f"return score({self.value(node)})")

    # --- truth

    def truth(self, node: Node) -> str:
        """Return an expression whose value is a bool."""
        written = self.value(node)
        return written if is_boolean(node) or written in self.booleans else f"truth({written})"

    def logic(self, node: Logic) -> str:
        """Join operands without statements into one expression; guard the others by `if`."""
        word, known = f" {node.sign} ", ""
        joined = [f"({self.truth(node.parts[0])})"]
        for part in node.parts[1:]:
            body, expression = self.aside(partial(self.truth, part))
            if not body:
                joined.append(f"({expression})")
                continue
            known = self.settle(known, word.join(joined))
            self.line(f"if {known}:" if node.sign == "and" else f"if not {known}:")
            self.lines += body
            self.line(f"    {known} = {expression}")
            joined = [known]
        # A single operand left by folding must still be a bool.
        return word.join(joined)

    # --- values

    def value(self, node: Node) -> str:
        """Return an expression for the value of a node, to be used once."""
        return _BY_KIND[type(node)](self, node)

    def list_of(self, node: ListOf) -> str:
        return f"[{', '.join([self.value(item) for item in node.items])}]"

    def object_of(self, node: ObjectOf) -> str:
        return f"{{{', '.join([f'{key!r}: {self.value(inner)}' for key, inner in node.entries])}}}"

    def constant(self, node: Constant) -> str:
        return self.bound_constant(as_python(node.value))

    def condition(self, node: If) -> str:
        result = self.name()
        with self.block(f"if {self.truth(node.test)}:"):
            self.line(f"{result} = {self.value(node.then)}")
        with self.block("else:"):
            self.line(f"{result} = {self.value(node.otherwise)}")
        return result

    def let(self, node: Let) -> str:
        self.line(f"{node.name} = {self.value(node.value)}")
        return self.value(node.body)

    def binary(self, node: Binary) -> str:
        fast = self.fast_binary(node)
        if fast is not None:
            return fast
        left, right = self.operand(node.left), self.operand(node.right)
        if node.sign in ("in", "notIn"):
            self.loops += 1
            return f"{_CALLED[node.sign]}({left}, {right}, env)"
        if node.sign in _CALLED and left.isidentifier() and right.isidentifier():
            # Compare integers inline; call the operator for other values.
            sign = "==" if node.sign == "=" else node.sign
            return (
                f"({left} {sign} {right} if {left}.__class__ is int and {right}.__class__ is int"
                f" else {_CALLED[node.sign]}({left}, {right}, env.tz))"
            )
        if node.sign in _CALLED:
            return f"{_CALLED[node.sign]}({left}, {right}, env.tz)"
        return f"{_ARITHMETIC.get(node.sign, 'like')}({left}, {right})"

    def operand(self, node: Node) -> str:
        """Return an operand; nested operations become one statement each, not nested calls."""
        written = self.value(node)
        return self.keep(written) if isinstance(node, Binary) else written

    def fast_binary(self, node: Binary) -> str | None:
        """Return an inline test against constants, or None if there is no fast case."""
        match node:
            case Binary("=" | "!=" as sign, left, Literal(str() as text)) if is_plain(text):
                name = self.keep(self.value(left))
                return (
                    f"{name} == {text!r}"
                    if sign == "="
                    else f"{name} is not None and {name} != {text!r}"
                )
            case Binary("=", left, Literal(int() | float() as number)) if not isinstance(
                number, bool
            ):
                return self.fast_number(left, "==", "equal", number)
            case Binary(
                "<" | "<=" | ">" | ">=" as sign, left, Literal(int() | float() as number)
            ) if not isinstance(number, bool):
                return self.fast_number(left, sign, _ORDER[sign], number)
            case Binary("in" | "notIn" as sign, left, Constant(list() as items)) if is_plain_list(
                items
            ):
                name = self.keep(self.value(left))
                texts = "".join(f"{item!r}, " for item in items)
                return (
                    f"{name} in ({texts})"
                    if sign == "in"
                    else f"{name} is not None and {name} not in ({texts})"
                )
            case _:
                return None

    def fast_number(self, node: Node, sign: str, slow: str, number: float) -> str:
        name = self.keep(self.value(node))
        # isinstance would accept a bool as int; PQL does not.
        guard = f"{name}.__class__ is int or {name}.__class__ is float"
        return f"({name} {sign} {number!r} if {guard} else {slow}({name}, {number!r}, env.tz))"

    # --- functions and items

    def call(self, node: Call) -> str:
        match node:
            case Call("isNull", (only,)):
                return f"{self.keep(self.value(only))} is None"
            case Call("isNotNull", (only,)):
                return f"{self.keep(self.value(only))} is not None"
            case Call("get", (of, Literal(str() as key))):
                return self.get(of, key)
            case Call(name, (left, Literal(str() as text), *flag)) if (
                name in _TEXT_TESTS and _is_text_test(node)
            ):
                return self.text_test(name, left, text, folds=flag == [Literal(False)])
            case Call(name, arguments) if not STDLIB[name].by_item:
                self.loops += Kind.ARRAY in STDLIB[name].takes
                return f"f_{name}({', '.join(['env', *[self.value(argument) for argument in arguments]])})"
            case Call(name, (of, Lambda() as item, *rest)):
                items, keys = self.each(of, item)
                return f"f_{name}({', '.join(['env', items, keys, *[self.value(argument) for argument in rest]])})"
            case Call(name, (of, *_)):
                items = self.keep(f"list({self.visit(of)})")
                return f"f_{name}(env, {items}, {items})"
            case _:
                raise TypeError(node)

    def get(self, of: Node, key: str) -> str:
        name, got = self.keep(self.value(of)), self.name()
        self.line(f"{got} = {name}.get({key!r}) if {name}.__class__ is dict else None")
        self.line(f"if {got} is None and {name} is not None: {got} = f_get(env, {name}, {key!r})")
        return got

    def text_test(self, name: str, left: Node, text: str, *, folds: bool) -> str:
        """Return an inline test of a text against a constant; case is folded at compile time."""
        subject = self.keep(self.value(left))
        folded = f"{subject}.lower()" if folds else subject
        test = _TEXT_TESTS[name].format(x=folded, t=repr(text.lower() if folds else text))
        return f"{subject}.__class__ is str and {test}"

    def visit(self, of: Node) -> str:
        self.loops += 1
        return f"visit(env, {self.value(of)})"

    def each(self, of: Node, item: Lambda) -> tuple[str, str]:
        """Emit a loop over items; return the variables of the items and of the expression values."""
        keys = self.name()
        if len(item.parameters) == 2:
            names, items = self.name(), self.name()
            self.loops += 1
            self.line(f"{names}, {items} = entries({self.value(of)})")
            self.line(f"env.charge(len({names}))")
            head = f"for {', '.join(item.parameters)} in zip({names}, {items}):"
        else:
            items = self.keep(f"list({self.visit(of)})")
            head = f"for {item.parameters[0]} in {items}:"
        self.line(f"{keys} = []")
        with self.block(head):
            self.line(f"{keys}.append({self.value(item.body)})")
        return items, keys

    def filter(self, node: Filter) -> str:
        assert isinstance(node.test, Lambda)
        if len(node.test.parameters) == 2:
            items, keys = self.each(node.of, node.test)
            return f"f_filter(env, {items}, {keys})"
        found, variable = self.name(), node.test.parameters[0]
        source = self.visit(node.of)
        self.line(f"{found} = []")
        with self.block(f"for {variable} in {source}:"):
            self.line(f"if {self.truth(node.test.body)}: {found}.append({variable})")
        return found

    # --- declarations

    def quantifier(self, node: Quantifier) -> str:
        result = self.name()
        if node.kind == "all":
            self.line(f"{result} = True")
            with self.over(node.declarations[0]):
                self.unless_qualified(node.declarations, f"{result} = False", "break")
            return result
        self.line(f"{result} = 0")
        with self.over(node.declarations[0]):
            self.unless_qualified(node.declarations, "continue")
            self.line(f"{result} += 1")
            self.line(f"if {result} > 1: break" if node.kind == "one" else "break")
        return f"{result} == {0 if node.kind == 'none' else 1}"

    def select(self, node: Select) -> str:
        result = self.name()
        self.line(f"{result} = []")
        with self.over(node.declarations[0]):
            self.unless_qualified(node.declarations, "continue")
            self.line(f"{result}.append({node.declarations[0].name})")
        return result

    def over(self, declaration: Declaration) -> Any:
        return self.block(f"for {declaration.name} in {self.visit(declaration.source)}:")

    def unless_qualified(self, declarations: tuple[Declaration, ...], *otherwise: str) -> None:
        """Emit statements that run if the first variable, as bound, does not qualify."""
        first, *rest = declarations
        if first.test is not None:
            self.when(f"not ({self.truth(first.test)})", *otherwise)
        if rest:
            met = self.name()
            self.line(f"{met} = False")
            with self.over(rest[0]):
                self.unless_qualified(tuple(rest), "continue")
                self.line(f"{met} = True")
                self.line("break")
            self.when(f"not {met}", *otherwise)

    def when(self, test: str, *statements: str) -> None:
        self.line(f"if {test}: {'; '.join(statements)}")

    def aggregate(self, node: Aggregate) -> str:
        found = self.name()
        self.line(f"{found} = []")
        self.bindings(
            node.declarations, lambda: self.line(f"{found}.append({self.value(node.value)})")
        )
        return f"f_{node.function}(env, {found}, {found})"

    def bindings(self, declarations: tuple[Declaration, ...], write: Callable[[], None]) -> None:
        first, *rest = declarations
        with self.over(first):
            if first.test is not None:
                self.when(f"not ({self.truth(first.test)})", "continue")
            if rest:
                self.bindings(tuple(rest), write)
            else:
                write()

    # --- time

    def time_word(self, node: TimeWord) -> str:
        return "env.now" if node.word == "now" else f"day_word(env, {DAY_WORDS[node.word]})"

    def occurs(self, node: Occurs) -> str:
        return self.time_test(self.value(node.subject), node.test)

    def time_test(self, subject: str, test: TimeTest) -> str:
        match test:
            case Within(sign, amount, unit, direction, anchor):
                how = f"{sign!r}, {amount!r}, {unit!r}, {direction == 'before'}"
                return f"within(env, {subject}, {how}, {self.value(anchor)})"
            case Beside(direction, anchor):
                return f"beside(env, {subject}, {direction == 'before'}, {self.value(anchor)})"
            case Between(low, high):
                return f"between(env, {subject}, {self.value(low)}, {self.value(high)})"
            case On(anchor):
                return f"on(env, {subject}, {self.value(anchor)})"
            case _:
                raise TypeError(test)

    def chain(self, node: Chain) -> str:
        assert isinstance(node.timestamp, Lambda)
        events, stamps = self.each(node.events, node.timestamp)
        done, moment, event = self.name(), self.name(), self.name()
        self.line(f"{done} = 0")
        with self.block(f"for {moment}, {event} in in_time(env, {events}, {stamps}):"):
            for at, step in enumerate(node.steps):
                with self.block(f"{'el' if at else ''}if {done} == {at}:"):
                    self.step(step, moment, event, done)
            self.line(f"if {done} == {len(node.steps)}: break")
        return f"{done} == {len(node.steps)}"

    def step(self, step: Step, moment: str, event: str, done: str) -> None:
        assert isinstance(step.what, Lambda)
        self.line(f"{step.what.parameters[0]} = {event}")
        with self.block(f"if {self.truth(step.what.body)}:"):
            if step.when is None:
                self.line(f"{done} += 1")
            else:
                self.line(f"if {self.time_test(moment, step.when)}: {done} += 1")


_BY_KIND: dict[type[Node], Callable[[_Writer, Any], str]] = {
    Literal: lambda _writer, node: repr(node.value),
    Root: _Writer.load,
    Context: _Writer.load,
    Name: _Writer.load,
    Field: _Writer.load,
    ListOf: _Writer.list_of,
    ObjectOf: _Writer.object_of,
    Constant: _Writer.constant,
    Logic: _Writer.logic,
    Not: lambda writer, node: f"not ({writer.truth(node.operand)})",
    Negate: lambda writer, node: f"negated({writer.value(node.operand)})",
    Binary: _Writer.binary,
    If: _Writer.condition,
    Let: _Writer.let,
    Call: _Writer.call,
    Filter: _Writer.filter,
    Quantifier: _Writer.quantifier,
    Select: _Writer.select,
    Aggregate: _Writer.aggregate,
    TimeWord: _Writer.time_word,
    Period: lambda _writer, node: f"period(env, {node.which!r}, {node.unit!r})",
    Occurs: _Writer.occurs,
    Chain: _Writer.chain,
}


def as_python(value: Any) -> str:
    """Return a constant as Python source."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(as_python, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {as_python(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, date):
        return f"make_date({value.year}, {value.month}, {value.day})"
    return repr(value)


def is_boolean(node: Node) -> bool:
    """Return whether the value of a node is always a bool."""
    match node:
        case Logic() | Not() | Occurs() | Quantifier() | Chain():
            return True
        case Binary(sign, _, _):
            return sign not in _ARITHMETIC
        case Literal(value):
            return isinstance(value, bool)
        case Call(function, _):
            return STDLIB[function].returns is Kind.BOOLEAN
        case _:
            return False


def is_plain(text: str) -> bool:
    """Return whether only a text can equal this text: it spells no number, Boolean or date."""
    return read_number(text) is None and text not in ("true", "false") and not text[:4].isdigit()


def is_plain_list(value: Any) -> bool:
    """Return whether a value is a list of such texts; searching it is not charged."""
    return isinstance(value, list) and all(map(_is_plain_text, value))


def _is_plain_text(value: Any) -> bool:
    return isinstance(value, str) and is_plain(value)


def _is_text_test(node: Call) -> bool:
    """Return whether a call tests against one constant text, without or with a constant flag."""
    _, other, *flag = node.arguments
    plain = node.function != "equals" or (
        isinstance(other, Literal) and _is_plain_text(other.value)
    )
    return plain and flag in ([], [Literal(True)], [Literal(False)])
