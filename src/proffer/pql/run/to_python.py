"""Code generator: checked rule to Python source, one function over an environment.

The source contains only generated names and `repr` of literals, never text of the rule, and is
deterministic. Each test is a fast case behind an exact type guard, with the shared operator of `values`
as the general case, so that the result always equals the interpreter's.

`python_paths` emits statements and loads fields; this module handles the nodes.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import partial
from typing import Any

from proffer.pql.checked import CheckedRule
from proffer.pql.functions.lists import entries
from proffer.pql.functions.registry import ValueKind
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
    ReadAs,
    Reading,
    Root,
    Select,
    Step,
    TimeTest,
    TimeWord,
    Within,
    without_reading,
)
from proffer.pql.values import occurs, reading, values
from proffer.pql.values.patterns import like
from proffer.pql.values.reading import is_plain_text
from proffer.pql.values.times import as_moment, make_date

_ORDER = {"<": "less", "<=": "at_most", ">": "greater", ">=": "at_least"}
_ARITHMETIC = {"+": "plus", "-": "minus", "*": "times", "/": "divided", "%": "modulo"}
_OPERATOR_FUNCTIONS = {"=": "equal", "!=": "differs", "in": "is_in", "notIn": "is_not_in", **_ORDER}
_READERS = {
    Reading.NUMBER: "read_number",
    Reading.TEXT: "read_text",
    Reading.BOOLEAN: "read_boolean",
    Reading.LOGICAL: "read_logical",
    Reading.TRUTH: "truth",
}
_IS_BOOL = "{0}.__class__ is bool"
_IS_READ = {
    Reading.NUMBER: "{0}.__class__ is int or {0}.__class__ is float",
    Reading.TEXT: "{0}.__class__ is str",
    Reading.BOOLEAN: _IS_BOOL,
    Reading.LOGICAL: _IS_BOOL,
    Reading.TRUTH: _IS_BOOL,
}
"""Tests that a value needs no reading: the usual case."""
_TEXT_TESTS = {
    "startsWith": "{x}.startswith({t})",
    "endsWith": "{x}.endswith({t})",
    "contains": "{t} in {x}",
    "doesNotStartWith": "not {x}.startswith({t})",
    "doesNotEndWith": "not {x}.endswith({t})",
    "doesNotContain": "{t} not in {x}",
    "equals": "{x} == {t}",
}

_SHARED_NAMES = (
    *_OPERATOR_FUNCTIONS.values(),
    *_ARITHMETIC.values(),
    "negated",
    "path",
    "field",
    "truth",
    "visit",
)
NAMESPACE: dict[str, Any] = {
    **{name: getattr(values, name) for name in _SHARED_NAMES},
    **{
        name: getattr(reading, name)
        for name in ("read_number", "read_numeric", "read_text", "read_boolean", "read_logical", "read_time")
    },
    **{name: getattr(occurs, name) for name in ("within", "beside", "between", "on", "period", "day_word")},
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
    if rule.kind is RuleKind.RULE:
        return part_to_python(rule.core)[0]
    writer = _PythonWriter()
    with writer.fault_guard():
        writer.write_return_score(rule.core)
    return _render_function(writer)


def part_to_python(node: Node) -> tuple[str, int]:
    """Return the source of `def rule(env)` for one conjunct. The second value is its number of charging loops."""
    writer = _PythonWriter()
    with writer.fault_guard():
        writer.write_return_truth(node)
    return _render_function(writer), writer.loop_count


def values_to_python(
    nodes: Sequence[Node],
    parameters: Sequence[str],
    write_statements: Callable[[Sequence[str]], Sequence[str]],
) -> str:
    """Return the source of `def rule(env, …)` over node values. The function may raise.

    `parameters`: names of further parameters. `write_statements`: returns the final statements, given
    the variables that hold the values. The nodes must not charge work.
    """
    writer = _PythonWriter()
    with writer.block("def rule(env):"):
        names = [writer.store(writer.value(node)) for node in nodes]
        for statement in write_statements(names):
            writer.write_line(statement)
    return _render_function(writer, parameters)


def steps_to_python(steps: Sequence[tuple[str, Node]], allowance: int) -> str:
    """Return the source of `def rule(env)`, which returns the step values. It may raise.

    The result is a tuple. A step may read earlier steps by name. All steps share the work limit.
    """
    writer = _PythonWriter()
    with writer.block("def rule(env):"):
        for name, node in steps:
            writer.write_line(f"{name} = {writer.value(node)}")
            if is_boolean(node):
                writer.boolean_names.add(name)
        writer.write_line(f"return ({''.join(f'{name}, ' for name, _ in steps)})")
    return _render_function(writer, allowance=allowance)


def residual_to_python(
    node: Node,
    argument_names: Sequence[Sequence[str]],
    boolean_names: Collection[str],
    allowance: int,
) -> str:
    """Return the source of `def rule(env, given0, given1…)` that computes the score. It may raise.

    Each argument is a tuple with one value per name in `argument_names`. `boolean_names`: those
    whose value is always a bool.
    """
    writer = _PythonWriter()
    writer.boolean_names.update(boolean_names)
    parameters = [f"given{number}" for number in range(len(argument_names))]
    with writer.block("def rule(env):"):
        for parameter, names in zip(parameters, argument_names, strict=True):
            if names:
                writer.write_line(f"{''.join(f'{name}, ' for name in names)}= {parameter}")
        writer.write_return_score(node)
    return _render_function(writer, parameters, allowance)


def _render_function(writer: "_PythonWriter", parameters: Sequence[str] = (), allowance: int = MAX_VISITS) -> str:
    if writer.loop_count:
        writer.lines.insert(1, f"    env.left = {allowance}")
    # Constants are parameter defaults: evaluated once, without entries in the shared namespace.
    writer.lines[0] = f"def rule({', '.join(['env', *parameters, *writer.constants])}):"
    return "".join(f"{line}\n" for line in writer.lines)


class _PythonWriter(PathWriter):
    """Emits statements and returns expressions; the statements an expression needs come first."""

    def __init__(self) -> None:
        super().__init__()
        self.boolean_names: set[str] = set()
        """Input names whose value is always a bool."""

    # --- functions and return statements

    @contextmanager
    def fault_guard(self) -> Iterator[None]:
        """Emit a function whose exceptions are passed to `failed`."""
        with self.block("def rule(env):"):
            with self.block("try:"):
                yield
            self.write_line("except Exception as fault: return failed(fault)")

    def write_return_truth(self, node: Node) -> None:
        """Emit statements that return the truth of a node; `and` and `or` return early."""
        match node:
            case Logic("and", (*parts, last)):
                for part in parts:
                    self.write_line(f"if not ({self.truth(part)}): return False")
                self.write_return_truth(last)
            case Logic(_, (*parts, last)):
                for part in parts:
                    self.write_line(f"if {self.truth(part)}: return True")
                self.write_return_truth(last)
            case _:
                self.write_line(f"return {self.truth(node)}")

    def write_return_score(self, node: Node) -> None:
        """Emit statements that return the value of a node as a score."""
        match node:
            case If(test, then, otherwise):
                with self.block(f"if {self.truth(test)}:"):
                    self.write_return_score(then)
                self.write_return_score(otherwise)
            case Let(name, value, body):
                self.write_line(f"{name} = {self.value(value)}")
                self.write_return_score(body)
            case _:
                self.write_line(f"return score({self.value(node)})")

    # --- truth

    def truth(self, node: Node) -> str:
        """Return an expression whose value is a bool."""
        if isinstance(node, ReadAs) and node.reading is Reading.BOOLEAN:
            name = self.store(self.value(node.of))
            return f"({name} if {_IS_BOOL.format(name)} else truth(read_boolean({name})))"
        expression = self.value(node)
        return expression if is_boolean(node) or expression in self.boolean_names else f"truth({expression})"

    def logic(self, node: Logic) -> str:
        """Join operands without statements into one expression; guard the others by `if`."""
        separator, result = f" {node.sign} ", ""
        operands = [f"({self.truth(node.parts[0])})"]
        for part in node.parts[1:]:
            body, expression = self.capture(partial(self.truth, part))
            if not body:
                operands.append(f"({expression})")
                continue
            result = self.store_in(result, separator.join(operands))
            self.write_line(f"if {result}:" if node.sign == "and" else f"if not {result}:")
            self.lines += body
            self.write_line(f"    {result} = {expression}")
            operands = [result]
        # A single operand left by folding must still be a bool.
        return separator.join(operands)

    # --- values

    def value(self, node: Node) -> str:
        """Return an expression for a node's value, to be used once."""
        return _WRITE_BY_NODE[type(node)](self, node)

    def list_of(self, node: ListOf) -> str:
        return f"[{', '.join([self.value(item) for item in node.items])}]"

    def object_of(self, node: ObjectOf) -> str:
        return f"{{{', '.join([f'{key!r}: {self.value(inner)}' for key, inner in node.entries])}}}"

    def constant(self, node: Constant) -> str:
        return self.add_constant(constant_to_python(node.value))

    def condition(self, node: If) -> str:
        result = self.new_name()
        with self.block(f"if {self.truth(node.test)}:"):
            self.write_line(f"{result} = {self.value(node.then)}")
        with self.block("else:"):
            self.write_line(f"{result} = {self.value(node.otherwise)}")
        return result

    def let(self, node: Let) -> str:
        self.write_line(f"{node.name} = {self.value(node.value)}")
        return self.value(node.body)

    def read_as(self, node: ReadAs) -> str:
        name = self.store(self.value(node.of))
        if node.reading is Reading.TIME:
            return f"read_time({name}, env.tz)"
        if node.reading is Reading.NUMERIC:
            return f"read_numeric({name})"
        return f"({name} if {_IS_READ[node.reading].format(name)} else {_READERS[node.reading]}({name}))"

    def binary(self, node: Binary) -> str:
        fast_expression = self.fast_binary(node)
        if fast_expression is not None:
            return fast_expression
        if node.sign in ("in", "notIn"):
            left, right = self.operand(node.left), self.operand(node.right)
            self.loop_count += 1
            return f"{_OPERATOR_FUNCTIONS[node.sign]}({left}, {right}, env)"
        if node.sign not in _OPERATOR_FUNCTIONS:
            left, right = self.operand(node.left), self.operand(node.right)
            return f"{_ARITHMETIC.get(node.sign, 'like')}({left}, {right})"
        (left, left_read), (right, right_read) = self.compared(node.left), self.compared(node.right)
        comparison = f"{_OPERATOR_FUNCTIONS[node.sign]}({left_read}, {right_read}, env.tz)"
        if left.isidentifier() and right.isidentifier():
            # Compare integers inline; call the operator for other values.
            sign = "==" if node.sign == "=" else node.sign
            return f"({left} {sign} {right} if {left}.__class__ is int and {right}.__class__ is int else {comparison})"
        return comparison

    def operand(self, node: Node) -> str:
        """Return an operand; nested operations become one statement each, not nested calls."""
        expression = self.value(node)
        return self.store(expression) if isinstance(node, Binary) else expression

    def compared(self, node: Node) -> tuple[str, str]:
        """Return an operand of a comparison as it is, if integers are read as themselves, and as it is read."""
        if isinstance(node, ReadAs) and node.reading is Reading.NUMBER:
            name = self.store(self.value(node.of))
            return name, f"read_number({name})"
        operand = self.operand(node)
        return operand, operand

    def fast_binary(self, node: Binary) -> str | None:
        """Return an inline test against constants, or None without a fast case."""
        match node:
            case Binary("=" | "!=" as sign, left, Literal(str() as text)) if is_plain_text(text) and reads_texts(left):
                name = self.store(self.value(without_reading(left)))
                return f"{name} == {text!r}" if sign == "=" else f"{name} is not None and {name} != {text!r}"
            case Binary("in" | "notIn" as sign, left, Constant(list() as items)) if is_plain_text_list(
                items
            ) and reads_texts(left):
                name = self.store(self.value(without_reading(left)))
                texts = "".join(f"{item!r}, " for item in items)
                return f"{name} in ({texts})" if sign == "in" else f"{name} is not None and {name} not in ({texts})"
            case Binary(sign, left, Literal(bool() as constant)):
                return self.fast_comparison(left, sign, constant, Reading.BOOLEAN) if sign in ("=", "!=") else None
            case Binary(sign, left, Literal(str() as text)) if sign in _OPERATOR_FUNCTIONS and as_moment(text) is None:
                return self.fast_comparison(left, sign, text, Reading.TEXT)
            case Binary(sign, left, Literal(int() | float() as number)) if sign in _OPERATOR_FUNCTIONS:
                return self.fast_comparison(left, sign, number, Reading.NUMBER)
            case _:
                return None

    def fast_comparison(self, node: Node, sign: str, constant: bool | float | str, kind: Reading) -> str:
        """Return a comparison with a constant, inline for values of its kind."""
        if isinstance(node, ReadAs) and node.reading is not kind:
            return f"{_OPERATOR_FUNCTIONS[sign]}({self.value(node)}, {constant!r}, env.tz)"
        name = self.store(self.value(without_reading(node)))
        read = f"{_READERS[kind]}({name})" if isinstance(node, ReadAs) else name
        inline_sign = "==" if sign == "=" else sign
        # isinstance would accept a bool as int; PQL does not.
        guard = _IS_READ[kind].format(name)
        operator_function = f"{_OPERATOR_FUNCTIONS[sign]}({read}, {constant!r}, env.tz)"
        return f"({name} {inline_sign} {constant!r} if {guard} else {operator_function})"

    # --- functions and items

    def call(self, node: Call) -> str:
        match node:
            case Call("isNull", (argument,)):
                return f"{self.store(self.value(argument))} is None"
            case Call("isNotNull", (argument,)):
                return f"{self.store(self.value(argument))} is not None"
            case Call("get", (of, Literal(str() as key))):
                return self.get(of, key)
            case Call(name, (left, Literal(str() as text), *flag)) if name in _TEXT_TESTS and _is_text_test(node):
                return self.text_test(name, left, text, ignore_case=flag == [Literal(False)])
            case Call(name, arguments) if not STDLIB[name].is_higher_order:
                self.loop_count += ValueKind.ARRAY in STDLIB[name].parameter_kinds
                return f"f_{name}({', '.join(['env', *[self.value(argument) for argument in arguments]])})"
            case Call(name, (of, Lambda() as item, *other_arguments)):
                items, keys = self.loop_over_items(of, item)
                values = [self.value(argument) for argument in other_arguments]
                return f"f_{name}({', '.join(['env', items, keys, *values])})"
            case Call(name, (of, *_)):
                items = self.store(f"list({self.visit(of)})")
                return f"f_{name}(env, {items}, {items})"
            case _:
                raise TypeError(node)

    def get(self, of: Node, key: str) -> str:
        name, result = self.store(self.value(of)), self.new_name()
        self.write_line(f"{result} = {name}.get({key!r}) if {name}.__class__ is dict else None")
        self.write_line(f"if {result} is None and {name} is not None: {result} = f_get(env, {name}, {key!r})")
        return result

    def text_test(self, name: str, subject_node: Node, text: str, *, ignore_case: bool) -> str:
        """Return an inline test of a text against a constant; case is folded at compile time."""
        subject = self.store(self.value(subject_node))
        compared_text = f"{subject}.lower()" if ignore_case else subject
        test = _TEXT_TESTS[name].format(x=compared_text, t=repr(text.lower() if ignore_case else text))
        return f"{subject}.__class__ is str and {test}"

    def visit(self, of: Node) -> str:
        self.loop_count += 1
        return f"visit(env, {self.value(of)})"

    def loop_over_items(self, of: Node, item: Lambda) -> tuple[str, str]:
        """Emit a loop over items; return the variables of the items and of the expression values."""
        keys = self.new_name()
        if len(item.parameters) == 2:
            names, items = self.new_name(), self.new_name()
            self.loop_count += 1
            self.write_line(f"{names}, {items} = entries({self.value(of)})")
            self.write_line(f"env.charge(len({names}))")
            head = f"for {', '.join(item.parameters)} in zip({names}, {items}):"
        else:
            items = self.store(f"list({self.visit(of)})")
            head = f"for {item.parameters[0]} in {items}:"
        self.write_line(f"{keys} = []")
        with self.block(head):
            self.write_line(f"{keys}.append({self.value(item.body)})")
        return items, keys

    def filter(self, node: Filter) -> str:
        assert isinstance(node.test, Lambda)
        if len(node.test.parameters) == 2:
            items, keys = self.loop_over_items(node.of, node.test)
            return f"f_filter(env, {items}, {keys})"
        result, variable = self.new_name(), node.test.parameters[0]
        source = self.visit(node.of)
        self.write_line(f"{result} = []")
        with self.block(f"for {variable} in {source}:"):
            self.write_line(f"if {self.truth(node.test.body)}: {result}.append({variable})")
        return result

    # --- declarations

    def quantifier(self, node: Quantifier) -> str:
        result = self.new_name()
        if node.kind == "all":
            self.write_line(f"{result} = True")
            with self.loop_over(node.declarations[0]):
                self.write_unless_qualified(node.declarations, f"{result} = False", "break")
            return result
        self.write_line(f"{result} = 0")
        with self.loop_over(node.declarations[0]):
            self.write_unless_qualified(node.declarations, "continue")
            self.write_line(f"{result} += 1")
            self.write_line(f"if {result} > 1: break" if node.kind == "one" else "break")
        return f"{result} == {0 if node.kind == 'none' else 1}"

    def select(self, node: Select) -> str:
        result = self.new_name()
        self.write_line(f"{result} = []")
        with self.loop_over(node.declarations[0]):
            self.write_unless_qualified(node.declarations, "continue")
            self.write_line(f"{result}.append({node.declarations[0].name})")
        return result

    def loop_over(self, declaration: Declaration) -> Any:
        return self.block(f"for {declaration.name} in {self.visit(declaration.source)}:")

    def write_unless_qualified(self, declarations: tuple[Declaration, ...], *otherwise: str) -> None:
        """Emit statements that run if the bound first variable does not qualify."""
        first, *inner = declarations
        if first.test is not None:
            self.write_if(f"not ({self.truth(first.test)})", *otherwise)
        if inner:
            is_met = self.new_name()
            self.write_line(f"{is_met} = False")
            with self.loop_over(inner[0]):
                self.write_unless_qualified(tuple(inner), "continue")
                self.write_line(f"{is_met} = True")
                self.write_line("break")
            self.write_if(f"not {is_met}", *otherwise)

    def write_if(self, test: str, *statements: str) -> None:
        self.write_line(f"if {test}: {'; '.join(statements)}")

    def aggregate(self, node: Aggregate) -> str:
        aggregated_values = self.new_name()
        self.write_line(f"{aggregated_values} = []")
        self.write_bindings(
            node.declarations,
            lambda: self.write_line(f"{aggregated_values}.append({self.value(node.value)})"),
        )
        return f"f_{node.function}(env, {aggregated_values}, {aggregated_values})"

    def write_bindings(self, declarations: tuple[Declaration, ...], write_body: Callable[[], None]) -> None:
        first, *inner = declarations
        with self.loop_over(first):
            if first.test is not None:
                self.write_if(f"not ({self.truth(first.test)})", "continue")
            if inner:
                self.write_bindings(tuple(inner), write_body)
            else:
                write_body()

    # --- time

    def time_word(self, node: TimeWord) -> str:
        return "env.now" if node.word == "now" else f"day_word(env, {DAY_WORDS[node.word]})"

    def occurs(self, node: Occurs) -> str:
        return self.time_test(self.value(node.subject), node.test)

    def time_test(self, subject: str, test: TimeTest) -> str:
        match test:
            case Within(sign, amount, unit, direction, anchor):
                test_arguments = f"{sign!r}, {amount!r}, {unit!r}, {direction == 'before'}"
                return f"within(env, {subject}, {test_arguments}, {self.value(anchor)})"
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
        events, timestamps = self.loop_over_items(node.events, node.timestamp)
        step_count, moment, event = self.new_name(), self.new_name(), self.new_name()
        self.write_line(f"{step_count} = 0")
        with self.block(f"for {moment}, {event} in in_time(env, {events}, {timestamps}):"):
            for position, step in enumerate(node.steps):
                with self.block(f"{'el' if position else ''}if {step_count} == {position}:"):
                    self.write_step(step, moment, event, step_count)
            self.write_line(f"if {step_count} == {len(node.steps)}: break")
        return f"{step_count} == {len(node.steps)}"

    def write_step(self, step: Step, moment: str, event: str, step_count: str) -> None:
        assert isinstance(step.what, Lambda)
        self.write_line(f"{step.what.parameters[0]} = {event}")
        with self.block(f"if {self.truth(step.what.body)}:"):
            if step.when is None:
                self.write_line(f"{step_count} += 1")
            else:
                self.write_line(f"if {self.time_test(moment, step.when)}: {step_count} += 1")


_WRITE_BY_NODE: dict[type[Node], Callable[[_PythonWriter, Any], str]] = {
    Literal: lambda _writer, node: repr(node.value),
    Root: _PythonWriter.load,
    Context: _PythonWriter.load,
    Name: _PythonWriter.load,
    Field: _PythonWriter.load,
    ReadAs: _PythonWriter.read_as,
    ListOf: _PythonWriter.list_of,
    ObjectOf: _PythonWriter.object_of,
    Constant: _PythonWriter.constant,
    Logic: _PythonWriter.logic,
    Not: lambda writer, node: f"not ({writer.truth(node.operand)})",
    Negate: lambda writer, node: f"negated({writer.value(node.operand)})",
    Binary: _PythonWriter.binary,
    If: _PythonWriter.condition,
    Let: _PythonWriter.let,
    Call: _PythonWriter.call,
    Filter: _PythonWriter.filter,
    Quantifier: _PythonWriter.quantifier,
    Select: _PythonWriter.select,
    Aggregate: _PythonWriter.aggregate,
    TimeWord: _PythonWriter.time_word,
    Period: lambda _writer, node: f"period(env, {node.which!r}, {node.unit!r})",
    Occurs: _PythonWriter.occurs,
    Chain: _PythonWriter.chain,
}


def constant_to_python(value: Any) -> str:
    """Return a constant as Python source."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(constant_to_python, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {constant_to_python(inner)}' for key, inner in value.items())}}}"
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
            return STDLIB[function].returns is ValueKind.BOOLEAN
        case _:
            return False


def is_plain_text_list(value: Any) -> bool:
    """Return whether a value is a list of plain texts; searching it is not charged."""
    return isinstance(value, list) and all(map(is_plain_text, value))


def reads_texts(node: Node) -> bool:
    """Return whether a node is read as text or as it is: only an equal text equals a plain text."""
    return not isinstance(node, ReadAs) or node.reading is Reading.TEXT


def _is_text_test(node: Call) -> bool:
    """Return whether a call tests against one constant text. It may have a constant flag."""
    _, constant_node, *flag = node.arguments
    is_allowed = node.function != "equals" or (
        isinstance(constant_node, Literal) and is_plain_text(constant_node.value)
    )
    return is_allowed and flag in ([], [Literal(True)], [Literal(False)])
