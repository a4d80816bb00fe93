"""A checked rule to Python source: one function over an environment.

The source holds names of our own making and literals through `repr`, never a piece of the rule's text.
The same rule gives the same bytes. Each test is written as the fast case behind an exact guard, with the
shared operator (`values`) as the other case, so that the answer is always the interpreter's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from proffer.pql import values
from proffer.pql.checked import CheckedRule
from proffer.pql.functions.registry import Kind
from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.limits import RuleKind
from proffer.pql.nodes import (
    Binary,
    Call,
    Context,
    Field,
    ListOf,
    Literal,
    Logic,
    Name,
    Negate,
    Node,
    Not,
    Root,
)
from proffer.pql.values import read_number

_ORDER = {"<": "less", "<=": "at_most", ">": "greater", ">=": "at_least"}
_ARITHMETIC = {"+": "plus", "-": "minus", "*": "times", "/": "divided", "%": "modulo"}
_BOOLEAN_SIGNS = frozenset({"=", "!=", "in", "notIn", "like", *_ORDER})
_ENV_ROOTS = {"profile": "env.profile", "xEvent": "env.events", "offer": "env.offer"}

NAMESPACE: dict[str, Any] = {
    **{
        name: getattr(values, name)
        for name in (
            *_ORDER.values(),
            *_ARITHMETIC.values(),
            *("equal", "differs", "is_in", "is_not_in", "negated", "path", "field", "truth"),
        )
    },
    **{f"f_{name}": declared.apply for name, declared in STDLIB.items()},
}
"""What generated source may name, apart from its own variables."""


def to_python(rule: CheckedRule) -> str:
    """The source of `def rule(env)`: true or false for a rule, the score for a formula.

    Whatever is raised goes to `failed`, which whoever loads the source provides.
    """
    writer = _Writer()
    with writer.block("def rule(env):"):
        with writer.block("try:"):
            if rule.kind is RuleKind.RULE:
                writer.give_truth(rule.core)
            else:
                writer.line(f"return score({writer.value(rule.core)})")
        writer.line("except Exception as fault: return failed(fault)")
    return "".join(f"{line}\n" for line in writer.lines)


class _Writer:
    """Writes statements as it goes; an expression is returned once what it needs has been written."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 0
        self.names = 0
        # Paths whose value stands in a variable at this point of the source, on every way here.
        self.loaded: dict[tuple[str, ...], str] = {}

    # --- writing

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Statements under a head. What is loaded in there is not known to be loaded after it."""
        self.line(head)
        before, self.loaded = self.loaded, dict(self.loaded)
        self.depth += 1
        yield
        self.depth -= 1
        self.loaded = before

    def name(self) -> str:
        self.names += 1
        return f"t{self.names}"

    def keep(self, expression: str) -> str:
        """The expression as a name or literal, so that it can be used twice."""
        if expression.isidentifier():
            return expression
        name = self.name()
        self.line(f"{name} = {expression}")
        return name

    # --- truth

    def give_truth(self, node: Node) -> None:
        """Statements that return the truth of the node; false parts of an `and` return at once."""
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

    def truth(self, node: Node) -> str:
        """An expression that is True or False."""
        written = self.value(node)
        return written if is_boolean(node) else f"truth({written})"

    def logic(self, node: Logic) -> str:
        """Parts that need no statements join into one expression; others run only if they must."""
        word, known = f" {node.sign} ", ""
        joined = [f"({self.truth(node.parts[0])})"]
        for part in node.parts[1:]:
            body, expression = self.aside(part)
            if not body:
                joined.append(f"({expression})")
                continue
            known = self.settle(known, word.join(joined))
            self.line(f"if {known}:" if node.sign == "and" else f"if not {known}:")
            self.lines += body
            self.line(f"    {known} = {expression}")
            joined = [known]
        return word.join(joined)

    def settle(self, name: str, expression: str) -> str:
        """A variable that holds the expression and may be set again."""
        name = name or self.name()
        if expression != name:
            self.line(f"{name} = {expression}")
        return name

    def aside(self, node: Node) -> tuple[list[str], str]:
        """The statements for the truth of a node, one level further in, and its expression."""
        start, before = len(self.lines), dict(self.loaded)
        self.depth += 1
        expression = self.truth(node)
        self.depth -= 1
        body = self.lines[start:]
        del self.lines[start:]
        if body:
            self.loaded = before
        return body, expression

    # --- values

    def value(self, node: Node) -> str:
        """An expression for the value of a node, to be used once."""
        match node:
            case Literal(value):
                return repr(value)
            case Root() | Context() | Name() | Field():
                return self.load(node)
            case ListOf(items):
                return f"[{', '.join([self.value(item) for item in items])}]"
            case Logic():
                return self.logic(node)
            case Not(operand):
                return f"not ({self.truth(operand)})"
            case Negate(operand):
                return f"negated({self.value(operand)})"
            case Binary():
                return self.binary(node)
            case Call():
                return self.call(node)
            case _:
                raise TypeError(node)

    def binary(self, node: Binary) -> str:
        fast = self.fast_binary(node)
        if fast is not None:
            return fast
        left, right = self.value(node.left), self.value(node.right)
        match node.sign:
            case "=":
                return f"equal({left}, {right}, env.tz)"
            case "!=":
                return f"differs({left}, {right}, env.tz)"
            case "in":
                return f"is_in({left}, {right}, env.tz)"
            case "notIn":
                return f"is_not_in({left}, {right}, env.tz)"
            case sign if sign in _ORDER:
                return f"{_ORDER[sign]}({left}, {right}, env.tz)"
            case sign:
                return f"{_ARITHMETIC[sign]}({left}, {right})"

    def fast_binary(self, node: Binary) -> str | None:
        """A test against constants, where the type of the value decides."""
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
            case Binary("in" | "notIn" as sign, left, ListOf(items)) if all(
                map(_is_plain_text, items)
            ):
                name = self.keep(self.value(left))
                texts = "".join(f"{item.value!r}, " for item in items if isinstance(item, Literal))
                return (
                    f"{name} in ({texts})"
                    if sign == "in"
                    else f"{name} is not None and {name} not in ({texts})"
                )
            case _:
                return None

    def fast_number(self, node: Node, sign: str, slow: str, number: float) -> str:
        name = self.keep(self.value(node))
        # A Boolean is an int to isinstance, and not to the language.
        guard = f"{name}.__class__ is int or {name}.__class__ is float"
        return f"({name} {sign} {number!r} if {guard} else {slow}({name}, {number!r}, env.tz))"

    def call(self, node: Call) -> str:
        match node:
            case Call("isNull", (only,)):
                return f"{self.value(only)} is None"
            case Call("isNotNull", (only,)):
                return f"{self.value(only)} is not None"
            case Call("equals", (left, Literal(str() as text))) if is_plain(text):
                return f"{self.value(left)} == {text!r}"
            case Call("equals", (left, Literal(str() as text), Literal(False))) if is_plain(text):
                name = self.keep(self.value(left))
                return f"{name}.__class__ is str and {name}.lower() == {text.lower()!r}"
            case _:
                arguments = [self.value(argument) for argument in node.arguments]
                return f"f_{node.function}({', '.join(['env', *arguments])})"

    # --- paths

    def load(self, node: Node) -> str:
        """The variable that holds the value of a path, loaded the first time."""
        names: list[str] = []
        while isinstance(node, Field):
            names.append(node.name)
            node = node.of
        names.reverse()
        base = self.root(node)
        if not names:
            return base
        known = self.loaded.get((base, *names))
        if known is None:
            known = self.loaded[base, *names] = self.load_steps(base, names)
        return known

    def root(self, node: Node) -> str:
        match node:
            case Root(name):
                return self.once((name,), _ENV_ROOTS.get(name) or f"env.variables.get({name!r})")
            case Context(reference):
                return self.once(("@", reference), f"env.context.get({reference!r})")
            case Name(name):
                return name
            case _:
                return self.keep(self.value(node))

    def once(self, key: tuple[str, ...], expression: str) -> str:
        key = ("", *key)
        if key not in self.loaded:
            self.loaded[key] = self.keep(expression)
        return self.loaded[key]

    def load_steps(self, base: str, names: list[str]) -> str:
        """Dictionaries are stepped through in place; whatever else turns up goes by `path`.

        A field may also be spelled with the `xdm:` prefix, which is looked for only where it is missing.
        """
        here = base
        for at in range(len(names) - 1):
            here = self.raw_step(base, here, names[: at + 1])
        last, whole = names[-1], f"path({base}, {', '.join(map(repr, names))})"
        absent = (
            ""
            if here == base
            else f"None if {here} is None and {f'xdm:{names[0]}'!r} not in {base} else "
        )
        absent = absent if len(names) == 2 and base == self.loaded.get(("", "profile")) else ""
        name = self.name()
        if here == self.loaded.get(("", "profile")):
            self.line(f"{name} = {here}.get({last!r})")
            self.line(f"if {name} is None: {name} = {here}.get({f'xdm:{last}'!r})")
            return name
        self.line(f"{name} = {here}.get({last!r}) if {here}.__class__ is dict else {absent}{whole}")
        self.line(
            f"if {name} is None and {here}.__class__ is dict: {name} = {here}.get({f'xdm:{last}'!r})"
        )
        return name

    def raw_step(self, base: str, here: str, names: list[str]) -> str:
        """A step on the way: the dictionary there, if there is one under the plain name."""
        key = ("raw", base, *names)
        if key not in self.loaded:
            certain = here == self.loaded.get(("", "profile"))
            got = f"{here}.get({names[-1]!r})"
            self.loaded[key] = self.keep(
                got if certain else f"{got} if {here}.__class__ is dict else None"
            )
        return self.loaded[key]


def is_boolean(node: Node) -> bool:
    """Whether the value is always True or False."""
    match node:
        case Logic() | Not():
            return True
        case Binary(sign, _, _):
            return sign in _BOOLEAN_SIGNS
        case Literal(value):
            return isinstance(value, bool)
        case Call(function, _):
            return STDLIB[function].returns is Kind.BOOLEAN
        case _:
            return False


def is_plain(text: str) -> bool:
    """A text that only a text can equal: no number, Boolean or date is coerced to it or from it."""
    return read_number(text) is None and text not in ("true", "false") and not text[:4].isdigit()


def _is_plain_text(node: Node) -> bool:
    return isinstance(node, Literal) and isinstance(node.value, str) and is_plain(node.value)
