"""Type inference over a resolved tree, and type diagnostics.

A finding is an error if the types are certain: from literals, functions or the caller's schema.
Findings based on the built-in XDM tables are warnings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proffer.pql.check.schema import Schema
from proffer.pql.check.types import (
    ANY,
    BOOLEAN,
    DATE,
    INTEGER,
    MOMENT,
    NULL,
    NUMBER,
    TEXT,
    Array,
    MapOf,
    Shape,
    Structure,
    Type,
    comparable,
    fits,
    is_number,
    is_time,
    is_unknown,
    item_of,
    type_of_kind,
)
from proffer.pql.functions.registry import Function, Kind
from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.syntax.diagnostics import Diagnostic, Severity, did_you_mean
from proffer.pql.syntax.nodes import (
    Aggregate,
    Binary,
    Call,
    Chain,
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
    Quantifier,
    Root,
    Select,
    TimeWord,
    children,
)
from proffer.pql.syntax.source import Span
from proffer.pql.values import patterns
from proffer.pql.values.times import read_time
from proffer.pql.values.values import read_number

_HELP = {
    (Kind.TEXT, "number"): "compare numbers with >= and <",
    (Kind.TEXT, "array"): "use `includes`, or a condition in `[…]`",
    (Kind.ARRAY, "text"): "compare a single value with `=`, or use `in`",
}
_ARITHMETIC = frozenset("+-*/%")
_SAME_ITEMS = frozenset({"filter", "topN", "bottomN", "distinct", "intersection"})


@dataclass(frozen=True, slots=True)
class Known:
    """An inferred type, and whether it is certain."""

    type: Type
    certain: bool = True


_NOTHING = Known(ANY)


class Inference:
    """Infers types bottom up, visiting every node once; collects findings."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.findings: list[Diagnostic] = []
        self.variables: dict[str, Known] = {}
        self.unknown: set[str] = set()

    def known(self, node: Node) -> Known:
        """Infer the type of the value of a node."""
        infer = _BY_KIND.get(type(node))
        if infer is not None:
            return infer(self, node)
        for child in children(node):
            self.known(child)
        return _NOTHING

    def report(self, code: str, message: str, span: Span, help_: str | None, certain: bool) -> None:
        severity = Severity.ERROR if certain else Severity.WARNING
        self.findings.append(Diagnostic(code, message, help_, span, severity))

    # --- paths

    def root(self, node: Root) -> Known:
        return self.declared(node.name)

    def declared(self, root: str) -> Known:
        return Known(self.schema.roots.get(root, ANY), root in self.schema.strict)

    def context(self, node: Context) -> Known:
        return self.declared(f"@{node.reference}")

    def field(self, node: Field) -> Known:
        of = self.known(node.of)
        if isinstance(of.type, Array):
            inner = self.member(of.type.item, node, of.certain)
            return Known(
                Array(item=item_of(inner) if isinstance(inner, Array) else inner), of.certain
            )
        return Known(self.member(of.type, node, of.certain), of.certain)

    def member(self, of: Type, node: Field, certain: bool) -> Type:
        if isinstance(of, MapOf):
            return of.item
        if not isinstance(of, Structure):
            return ANY
        found = of.fields.get(node.name)
        if found is None and not node.name.startswith("_") and node.name not in self.unknown:
            self.unknown.add(node.name)
            help_ = did_you_mean(node.name, of.fields)
            self.report(
                "pql.unknown-field",
                f"there is no known field `{node.name}` here",
                node.span,
                help_,
                certain,
            )
        return found or ANY

    # --- operators

    def binary(self, node: Binary) -> Known:
        left, right = self.known(node.left), self.known(node.right)
        if node.sign in _ARITHMETIC:
            return self.arithmetic(node, left, right)
        if node.sign in ("in", "notIn"):
            self.membership(node, left, right)
        elif node.sign == "like":
            self.wants(Kind.TEXT, "like", node.left, left)
        else:
            self.comparison(node, left, right)
        return Known(BOOLEAN)

    def arithmetic(self, node: Binary, left: Known, right: Known) -> Known:
        for side, known in ((node.left, left), (node.right, right)):
            if (
                not is_unknown(known.type)
                and not is_number(known.type)
                and known.type.shape is not Shape.TEXT
            ):
                message = f"`{node.sign}` needs numbers, got {known.type}"
                self.report("pql.type", message, side.span, None, known.certain)
        whole = (
            left.type.shape is Shape.INTEGER
            and right.type.shape is Shape.INTEGER
            and node.sign != "/"
        )
        return Known(INTEGER if whole else NUMBER)

    def comparison(self, node: Binary, left: Known, right: Known) -> None:
        if not comparable(left.type, right.type):
            help_ = (
                "use `includes`, or `in`"
                if isinstance(left.type, Array) or isinstance(right.type, Array)
                else None
            )
            self.doubt(f"comparing {left.type} with {right.type} is never true", node, help_)
        elif node.sign not in ("=", "!=") and left.type.shape is Shape.BOOLEAN:
            self.doubt("a Boolean has no order", node, "compare with `=`")
        else:
            self.constant(left.type, node.left, node.right)
            self.constant(right.type, node.right, node.left)

    def constant(self, given: Type, subject: Node, other: Node) -> None:
        """Warn if a constant text can never equal the subject: no number, no date, unknown value."""
        if not isinstance(other, Literal) or not isinstance(other.value, str):
            return
        text = other.value
        if is_number(given) and read_number(text) is None:
            self.doubt(f"a number never equals {text!r}", other, None)
        elif is_time(given) and read_time(text) is None:
            self.doubt(f"{text!r} is not a date", other, "write dates as `date(2024, 12, 31)`")
        else:
            self.letter_case(given, subject, text, other)

    def letter_case(self, given: Type, subject: Node, text: str, span_of: Node) -> None:
        match subject:
            case Call("lowerCase", _) if text != text.lower():
                self.doubt(
                    "a text in lower case never equals one with capitals", span_of, None, "pql.case"
                )
            case Call("upperCase", _) if text != text.upper():
                self.doubt(
                    "a text in upper case never equals one with small letters",
                    span_of,
                    None,
                    "pql.case",
                )
            case _ if given.values and text not in given.values:
                folded = [value for value in given.values if value.lower() == text.lower()]
                if folded:
                    help_ = f"letter case matters: write `{folded[0]}`, or use `.equals(…, false)`"
                    self.doubt(f"this is never {text!r}", span_of, help_, "pql.case")
                else:
                    help_ = did_you_mean(text, given.values) or "known values: " + ", ".join(
                        given.values
                    )
                    self.doubt(f"this is never {text!r}", span_of, help_, "pql.enum")

    def doubt(
        self, message: str, at: Node, help_: str | None, code: str = "pql.never-true"
    ) -> None:
        self.report(code, message, at.span, help_, certain=False)

    def membership(self, node: Binary, left: Known, right: Known) -> None:
        if not is_unknown(right.type) and not isinstance(right.type, Array):
            message = f"`{node.sign}` needs an array on the right, got {right.type}"
            self.report(
                "pql.type", message, node.right.span, "write the values in `[…]`", right.certain
            )
        if isinstance(node.right, ListOf):
            for item in node.right.items:
                self.constant(left.type, node.left, item)

    def negate(self, node: Negate) -> Known:
        operand = self.known(node.operand)
        return self.arithmetic(Binary("-", node, node.operand), Known(INTEGER), operand)

    def condition(self, node: If) -> Known:
        self.known(node.test)
        then, otherwise = self.known(node.then), self.known(node.otherwise)
        if then.type == otherwise.type or otherwise.type is NULL:
            return Known(then.type, then.certain and otherwise.certain)
        numbers = is_number(then.type) and is_number(otherwise.type)
        return Known(NUMBER if numbers else ANY, then.certain and otherwise.certain)

    def boolean(self, node: Node) -> Known:
        for child in children(node):
            self.known(child)
        return Known(BOOLEAN)

    # --- functions and items

    def call(self, node: Call) -> Known:
        declared = STDLIB[node.function]
        of: Known = _NOTHING
        for at, argument in enumerate(node.arguments):
            kind = declared.kind_of(at)
            if isinstance(argument, Lambda):
                self.bind(argument, of)
                continue
            given = self.known(argument)
            self.wants(kind, declared.name, argument, given)
            of = given if at == 0 else of
        self.constant_arguments(declared, node, of)
        return Known(self.result(declared, node, of), of.certain)

    def result(self, declared: Function, node: Call, of: Known) -> Type:
        if declared.name in _SAME_ITEMS and isinstance(of.type, (Array, Structure)):
            return Array(item=item_of(of.type))
        if declared.name == "head":
            return item_of(of.type)
        if declared.name == "get" and len(node.arguments) == 2:
            key = node.arguments[1]
            if isinstance(of.type, MapOf):
                return of.type.item
            if isinstance(of.type, Structure) and isinstance(key, Literal):
                return of.type.fields.get(str(key.value), ANY)
        return type_of_kind(declared.returns)

    def wants(self, kind: Kind, name: str, node: Node, given: Known) -> None:
        if fits(kind, given.type):
            return
        help_ = _HELP.get((kind, str(given.type)))
        article = "an" if kind in (Kind.ARRAY, Kind.INTEGER) else "a"
        needed = "text" if kind is Kind.TEXT else f"{article} {kind.value}"
        self.report(
            "pql.type", f"{name} needs {needed}, got {given.type}", node.span, help_, given.certain
        )

    def constant_arguments(self, declared: Function, node: Call, of: Known) -> None:
        match node:
            case Call("matches" | "regexGroup" | "replaceAll", (_, Literal(str() as pattern), *_)):
                reason = patterns.why_not(pattern)
                if reason is not None:
                    span = node.arguments[1].span
                    self.report(
                        "pql.regex",
                        f"this is not a regular expression here: {reason}",
                        span,
                        None,
                        True,
                    )
            case Call("equals" | "notEqualTo", (subject, *others)) if (
                Literal(False) not in others[1:]
            ):
                for other in others:
                    self.constant(of.type, subject, other)
            case Call("date", (Literal(int()), Literal(int()), Literal(int()))):
                if (
                    declared.apply(
                        None, *[part.value for part in node.arguments if isinstance(part, Literal)]
                    )
                    is None
                ):
                    self.report("pql.date", "there is no such day", node.span, None, True)

    def filter(self, node: Filter) -> Known:
        of = self.known(node.of)
        self.wants(Kind.ARRAY, "a filter", node.of, of)
        assert isinstance(node.test, Lambda)
        self.bind(node.test, of)
        return Known(Array(item=item_of(of.type)), of.certain)

    def bind(self, item: Lambda, of: Known) -> Known:
        """Infer the type of an item expression over an array or map."""
        for name in item.parameters:
            self.variables[name] = (
                Known(item_of(of.type), of.certain) if len(item.parameters) == 1 else _NOTHING
            )
        return self.known(item.body)

    # --- binding forms

    def let(self, node: Let) -> Known:
        self.variables[node.name] = self.known(node.value)
        return self.known(node.body)

    def declare(self, declarations: tuple[Declaration, ...]) -> Known:
        first = _NOTHING
        for at, declaration in enumerate(declarations):
            of = self.known(declaration.source)
            self.wants(Kind.ARRAY, "`from`", declaration.source, of)
            bound = self.variables[declaration.name] = Known(item_of(of.type), of.certain)
            first = bound if at == 0 else first
            if declaration.test is not None:
                self.known(declaration.test)
        return first

    def quantifier(self, node: Quantifier) -> Known:
        self.declare(node.declarations)
        return Known(BOOLEAN)

    def select(self, node: Select) -> Known:
        first = self.declare(node.declarations)
        return Known(Array(item=first.type), first.certain)

    def aggregate(self, node: Aggregate) -> Known:
        self.declare(node.declarations)
        self.known(node.value)
        return Known(type_of_kind(STDLIB[node.function].returns))

    def chain(self, node: Chain) -> Known:
        of = self.known(node.events)
        assert isinstance(node.timestamp, Lambda)
        self.bind(node.timestamp, of)
        for step in node.steps:
            assert isinstance(step.what, Lambda)
            self.bind(step.what, of)
            if step.when is not None:
                self.known(step.when)
        return Known(BOOLEAN)

    def occurs(self, node: Occurs) -> Known:
        self.wants(Kind.TIME, "occurs", node.subject, self.known(node.subject))
        self.known(node.test)
        return Known(BOOLEAN)


def _literal(_inference: Inference, node: Literal) -> Known:
    return _LITERALS[type(node.value)]


def _list(inference: Inference, node: ListOf) -> Known:
    types = {inference.known(item).type for item in node.items}
    return Known(Array(item=types.pop() if len(types) == 1 else ANY))


_LITERALS: dict[type, Known] = {
    bool: Known(BOOLEAN),
    int: Known(INTEGER),
    float: Known(NUMBER),
    str: Known(TEXT),
    type(None): Known(NULL),
}

_BY_KIND: dict[type[Node], Callable[[Inference, Any], Known]] = {
    Literal: _literal,
    ListOf: _list,
    ObjectOf: lambda inference, node: (inference.boolean(node), Known(MapOf()))[1],
    Root: Inference.root,
    Context: Inference.context,
    Name: lambda inference, node: inference.variables.get(node.name, _NOTHING),
    Field: Inference.field,
    Binary: Inference.binary,
    Negate: Inference.negate,
    Logic: Inference.boolean,
    Not: Inference.boolean,
    If: Inference.condition,
    Call: Inference.call,
    Filter: Inference.filter,
    Let: Inference.let,
    Quantifier: Inference.quantifier,
    Select: Inference.select,
    Aggregate: Inference.aggregate,
    Chain: Inference.chain,
    TimeWord: lambda _inference, node: Known(MOMENT if node.word == "now" else DATE),
    Occurs: Inference.occurs,
}
