"""Type inference over a resolved tree, and type diagnostics.

A finding is an error if the types are certain: from literals, functions or the caller's schema.
Findings based on the built-in XDM tables are warnings. A comparison that can never be made is an error
when the rule is saved.
"""

import re
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
    ArrayType,
    MapType,
    ObjectType,
    ObservedType,
    Shape,
    Type,
    fits,
    is_comparable,
    is_number,
    is_time,
    is_unknown,
    item_type,
    type_of_kind,
)
from proffer.pql.forms.printer import print_scalar
from proffer.pql.functions.registry import Function, ValueKind
from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.syntax.diagnostics import Diagnostic, Severity, TextFix, closest
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
    name_span,
)
from proffer.pql.syntax.source import NO_SPAN, TextSpan
from proffer.pql.values import patterns
from proffer.pql.values.identity import ObjectKey
from proffer.pql.values.times import parse_time
from proffer.pql.values.values import parse_boolean, parse_json_number

_HELP = {
    (ValueKind.TEXT, "number"): "compare numbers with >= and <",
    (ValueKind.TEXT, "array"): "use `includes`, or a condition in `[…]`",
    (ValueKind.ARRAY, "text"): "compare a single value with `=`, or use `in`",
}
_ARITHMETIC = frozenset("+-*/%")
_WITHOUT_FIELDS = frozenset({Shape.TEXT, Shape.INTEGER, Shape.NUMBER, Shape.BOOLEAN, Shape.DATE, Shape.MOMENT})
_BEFORE_TEXTS = frozenset({"=", "!=", "in", "notIn", "like"})
_MAX_PATH_DEPTH = 4
_MAX_SUGGESTIONS = 20
"""Similar names that are looked for in one rule: each takes time in proportion to the schema."""
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_CONDITIONS = {
    Shape.TEXT: 'a text is a condition that is true unless it is missing or "false"',
    Shape.INTEGER: "a number is a condition that is true unless it is missing, also for 0",
    Shape.NUMBER: "a number is a condition that is true unless it is missing, also for 0",
    Shape.DATE: "a date is a condition that is true unless it is missing",
    Shape.MOMENT: "a time is a condition that is true unless it is missing",
}


@dataclass(frozen=True, slots=True)
class InferredType:
    """An inferred type; whether it is certain; whether a schema declares it, so that values are read as it."""

    type: Type
    certain: bool = True
    declared: bool = False


_UNKNOWN = InferredType(ANY)


class Inference:
    """Infers types bottom up, visiting every node once; collects findings and the types of nodes.

    `text`: the rule's text, for the spans of names. `saving`: comparisons that can never be made are errors.
    """

    def __init__(self, schema: Schema, text: str = "", *, saving: bool = False) -> None:
        self.schema = schema
        self.text = text
        self.saving = saving
        self.findings: list[Diagnostic] = []
        self.types: dict[ObjectKey, InferredType] = {}
        self.variables: dict[str, InferredType] = {}
        self.reported_fields: set[str] = set()
        self.suggestion_count = 0

    def infer(self, node: Node) -> InferredType:
        """Infer the type of the value of a node."""
        infer_node = _INFER_BY_NODE.get(type(node))
        if infer_node is not None:
            inferred = self.types[ObjectKey(node)] = infer_node(self, node)
            return inferred
        for child in children(node):
            self.infer(child)
        return _UNKNOWN

    def report(
        self,
        code: str,
        message: str,
        span: TextSpan,
        help_: str | None,
        certain: bool,
        replacement: str | None = None,
    ) -> None:
        severity = Severity.ERROR if certain else Severity.WARNING
        fix = None if replacement is None or span == NO_SPAN else TextFix(span, replacement)
        self.findings.append(Diagnostic(code, message, help_, span, severity, fix))

    # --- paths

    def root(self, node: Root) -> InferredType:
        return self.root_type(node.name)

    def root_type(self, root: str) -> InferredType:
        return InferredType(self.schema.roots.get(root, ANY), root in self.schema.strict, declared=True)

    def context(self, node: Context) -> InferredType:
        return self.root_type(f"@{node.reference}")

    def field(self, node: Field) -> InferredType:
        of = self.infer(node.of)
        if isinstance(of.type, ArrayType):
            inner = self.member(of.type.item, node, of.certain)
            return InferredType(
                ArrayType(item=item_type(inner) if isinstance(inner, ArrayType) else inner),
                of.certain,
                of.declared,
            )
        return InferredType(self.member(of.type, node, of.certain), of.certain, of.declared)

    def member(self, of: Type, node: Field, certain: bool) -> Type:
        if isinstance(of, MapType):
            return of.item
        if not isinstance(of, ObjectType):
            self.check_scalar_member(of, node, certain)
            return ANY
        field_type = of.fields.get(node.name, of.other)
        if field_type is None and node.name not in self.reported_fields and self.reports_unknown(of, node, certain):
            self.reported_fields.add(node.name)
            match = (closest(node.name, of.fields) or _path_below(of, node.name)) if self.may_suggest() else None
            help_ = f"did you mean `{match}`?" if match else _function_help(node.name)
            message = f"unknown field `{node.name}`"
            is_plain = match is not None and all(name.isidentifier() for name in match.split("."))
            span = name_span(node, self.text)
            self.report("pql.unknown-field", message, span, help_, certain, match if is_plain else None)
        return field_type or ANY

    def check_scalar_member(self, of: Type, node: Field, certain: bool) -> None:
        """Report a field of a text, number, Boolean or time: none of them has fields."""
        if of.shape in _WITHOUT_FIELDS and node.name not in self.reported_fields:
            self.reported_fields.add(node.name)
            message = f"unknown field `{node.name}`: a {of} has no fields"
            span = name_span(node, self.text)
            self.report("pql.unknown-field", message, span, _function_help(node.name), certain)

    def may_suggest(self) -> bool:
        """Count a search for a similar name; return whether it is still allowed."""
        self.suggestion_count += 1
        return self.suggestion_count <= _MAX_SUGGESTIONS

    def reports_unknown(self, of: ObjectType, node: Field, certain: bool) -> bool:
        """Return whether a field that the object lacks is reported. Tenants declare nothing in the core."""
        if of.complete:
            return True
        return (certain or self.schema.reports_partial) and not node.name.startswith("_")

    # --- operators

    def binary(self, node: Binary) -> InferredType:
        left = self.infer(node.left)
        if node.sign in _BEFORE_TEXTS:
            for operand in node.right.items if isinstance(node.right, ListOf) else (node.right,):
                self.check_unquoted(operand)
        right = self.infer(node.right)
        if node.sign in _ARITHMETIC:
            return self.arithmetic(node, left, right)
        if node.sign in ("in", "notIn"):
            self.check_membership(node, left, right)
        elif node.sign == "like":
            self.require_kind(ValueKind.TEXT, "like", node.left, left)
        else:
            self.check_comparison(node, left, right)
        return InferredType(BOOLEAN)

    def check_unquoted(self, node: Node) -> None:
        """Report a single name that is no known field: probably a text without quotes."""
        if not isinstance(node, Field) or node.of.span != NO_SPAN:
            return
        of = self.infer(node.of)
        object_type = of.type
        if not isinstance(object_type, ObjectType) or node.name in object_type.fields or object_type.other:
            return
        if self.reports_unknown(object_type, node, of.certain) and node.name not in self.reported_fields:
            self.reported_fields.add(node.name)
            quoted = print_scalar(node.name)
            help_ = f"write `{quoted}` for the text"
            self.report("pql.unknown-field", f"unknown field `{node.name}`", node.span, help_, of.certain, quoted)

    def arithmetic(self, node: Binary, left: InferredType, right: InferredType) -> InferredType:
        for side, operand in ((node.left, left), (node.right, right)):
            if not is_unknown(operand.type) and not is_number(operand.type) and operand.type.shape is not Shape.TEXT:
                message = f"`{node.sign}` needs numbers, got {operand.type}"
                self.report("pql.type", message, side.span, None, operand.certain)
        if self.is_bare_date(node):
            return InferredType(DATE)
        is_integer = left.type.shape is Shape.INTEGER and right.type.shape is Shape.INTEGER and node.sign != "/"
        return InferredType(INTEGER if is_integer else NUMBER)

    def is_bare_date(self, node: Binary) -> bool:
        """Return whether a subtraction is probably a date, such as `2024-01-31`; report it."""
        text = self.text[node.span.start : node.span.end] if node.sign == "-" else ""
        day = _DATE.fullmatch(text)
        if day is None:
            return False
        written = f"date({int(day[1])}, {int(day[2])}, {int(day[3])})"
        message = f"`{text}` subtracts numbers; it is not a date"
        self.report("pql.date", message, node.span, f"write `{written}`", self.saving, written)
        return True

    def check_comparison(self, node: Binary, left: InferredType, right: InferredType) -> None:
        if Literal(None) in (node.left, node.right):
            self.check_null_comparison(node)
        elif not is_comparable(left.type, right.type):
            help_ = (
                "use `includes`, or `in`"
                if isinstance(left.type, ArrayType) or isinstance(right.type, ArrayType)
                else None
            )
            is_boolean = Shape.BOOLEAN in (left.type.shape, right.type.shape) and (left.declared or right.declared)
            if is_boolean and {node.left, node.right} & {Literal(0), Literal(1)}:  # a declared Boolean reads them (R44)
                return
            is_literal = isinstance(node.left, Literal) or isinstance(node.right, Literal)
            certain = self.saving and is_literal and not help_
            message = f"comparing {left.type} with {right.type} is never true"
            self.report("pql.never-true", message, node.span, help_, certain)
        elif node.sign not in ("=", "!=") and left.type.shape is Shape.BOOLEAN:
            self.warn("a Boolean cannot be ordered", node, "compare with `=`")
        else:
            self.check_constant(left.type, node.left, node.right, self.saving)
            self.check_constant(right.type, node.right, node.left, self.saving)

    def check_null_comparison(self, node: Binary) -> None:
        subject = node.left if node.right == Literal(None) else node.right
        test = "isNotNull" if node.sign == "!=" else "isNull"
        start, end = subject.span
        self.report(
            "pql.never-true",
            "a comparison with null is never true",
            node.span,
            f"use `.{test}()`",
            False,
            f"{self.text[start:end]}.{test}()" if isinstance(subject, Field) else None,
        )

    def check_constant(self, subject_type: Type, subject: Node, constant_node: Node, certain: bool = False) -> None:
        """Report a constant text that can never equal the subject: no number, no date, unknown value.

        `certain`: a text that cannot be read as the subject's type is an error.
        """
        if not isinstance(constant_node, Literal) or not isinstance(constant_node.value, str):
            return
        text, span = constant_node.value, constant_node.span
        if is_number(subject_type) and parse_json_number(text) is None:
            self.report("pql.never-true", f"a number never equals {text!r}", span, None, certain)
        elif subject_type.shape is Shape.BOOLEAN and parse_boolean(text) is None:
            help_ = "compare with `true` or `false`"
            self.report("pql.never-true", f"a Boolean never equals {text!r}", span, help_, certain)
        elif is_time(subject_type) and parse_time(text) is None:
            help_ = "write dates as `date(2024, 12, 31)`"
            self.report("pql.never-true", f"{text!r} is not a date", span, help_, certain)
        else:
            self.check_known_values(subject_type, subject, text, constant_node)

    def check_known_values(self, subject_type: Type, subject: Node, text: str, constant_node: Node) -> None:
        match subject:
            case Call("lowerCase", _) if text != text.lower():
                message = "a lower-case text never equals one with upper-case letters"
                self.warn(message, constant_node, None, "pql.case", print_scalar(text.lower()))
            case Call("upperCase", _) if text != text.upper():
                message = "an upper-case text never equals one with lower-case letters"
                self.warn(message, constant_node, None, "pql.case", print_scalar(text.upper()))
            case _ if subject_type.values and text not in subject_type.values:
                message = f"this is never {text!r}"
                same_letters = [value for value in subject_type.values if value.lower() == text.lower()]
                if same_letters:
                    help_ = f"letter case matters: write `{same_letters[0]}`, or use `.equals(…, false)`"
                    self.warn(message, constant_node, help_, "pql.case", print_scalar(same_letters[0]))
                    return
                similar = closest(text, subject_type.values) if self.may_suggest() else None
                known = "known values: " + ", ".join(subject_type.values)
                help_ = f"did you mean `{similar}`?" if similar else known
                self.warn(message, constant_node, help_, "pql.enum", print_scalar(similar) if similar else None)

    def warn(
        self,
        message: str,
        node: Node,
        help_: str | None,
        code: str = "pql.never-true",
        replacement: str | None = None,
    ) -> None:
        self.report(code, message, node.span, help_, certain=False, replacement=replacement)

    def check_condition(self, node: Node, inferred: InferredType) -> None:
        """Warn of a text, number or date that stands where a condition is expected (PQL D-TRUTH)."""
        type_ = inferred.type
        shape = type_.observed if isinstance(type_, ObservedType) else type_.shape
        if shape in _CONDITIONS:
            text = self.text[node.span.start : node.span.end]
            replacement = f"{text}.isNotNull()" if isinstance(node, Field) else None
            self.warn(
                _CONDITIONS[shape], node, "compare it with a value, or use `.isNotNull()`", "pql.condition", replacement
            )

    def check_number(self, node: Node, inferred: InferredType) -> None:
        """Warn of a formula whose value is a text, a Boolean or a time: it never gives a number."""
        type_ = inferred.type
        shape = type_.observed if isinstance(type_, ObservedType) else type_.shape
        if shape in _WITHOUT_FIELDS and shape not in (Shape.INTEGER, Shape.NUMBER):
            help_ = (
                "read a text with `stringToNumber`"
                if shape is Shape.TEXT
                else "choose with `if(test, then, otherwise)`"
            )
            self.warn(f"a formula gives a number, and this is a {shape.value}", node, help_, "pql.type")

    def check_membership(self, node: Binary, left: InferredType, right: InferredType) -> None:
        if not is_unknown(right.type) and not isinstance(right.type, ArrayType):
            message = f"`{node.sign}` needs an array on the right, got {right.type}"
            values = self.text[node.right.span.start : node.right.span.end]
            replacement = f"[{values}]" if isinstance(node.right, Literal) else None
            help_ = "write the values in `[…]`"
            self.report("pql.type", message, node.right.span, help_, right.certain, replacement)
        if isinstance(node.right, ListOf):
            for item in node.right.items:
                self.check_constant(left.type, node.left, item)

    def negate(self, node: Negate) -> InferredType:
        operand = self.infer(node.operand)
        return self.arithmetic(Binary("-", node, node.operand), InferredType(INTEGER), operand)

    def condition(self, node: If) -> InferredType:
        self.check_condition(node.test, self.infer(node.test))
        then, otherwise = self.infer(node.then), self.infer(node.otherwise)
        certain, declared = then.certain and otherwise.certain, then.declared or otherwise.declared
        if then.type == otherwise.type or otherwise.type is NULL:
            return InferredType(then.type, certain, declared)
        numbers = is_number(then.type) and is_number(otherwise.type)
        return InferredType(NUMBER if numbers else ANY, certain, declared)

    def boolean(self, node: Logic | Not) -> InferredType:
        for child in children(node):
            self.check_condition(child, self.infer(child))
        return InferredType(BOOLEAN)

    def object(self, node: ObjectOf) -> InferredType:
        for child in children(node):
            self.infer(child)
        return InferredType(MapType())

    # --- functions and items

    def call(self, node: Call) -> InferredType:
        function = STDLIB[node.function]
        first_type: InferredType = _UNKNOWN
        item_value = _UNKNOWN
        for position, argument in enumerate(node.arguments):
            kind = function.kind_of(position)
            if isinstance(argument, Lambda):
                item_value = self.bind(argument, first_type)
                continue
            argument_type = self.infer(argument)
            self.require_kind(kind, function.name, argument, argument_type)
            first_type = argument_type if position == 0 else first_type
        self.check_constant_arguments(function, node, first_type)
        if function.name == "map" and not isinstance(first_type.type, MapType):
            return InferredType(ArrayType(item=item_value.type), item_value.certain, item_value.declared)
        result_type = self.call_result_type(function, node, first_type)
        is_of_first = first_type.declared and (function.returns_items or function.name == "get")
        return InferredType(result_type, first_type.certain, is_of_first)

    def call_result_type(self, function: Function, node: Call, first_type: InferredType) -> Type:
        if function.returns_items:
            item = item_type(first_type.type)
            return ArrayType(item=item) if function.returns is ValueKind.ARRAY else item
        if function.name == "get" and len(node.arguments) == 2:
            key = node.arguments[1]
            if isinstance(first_type.type, MapType):
                return first_type.type.item
            if isinstance(first_type.type, ObjectType) and isinstance(key, Literal):
                return first_type.type.fields.get(str(key.value), first_type.type.other or ANY)
        return type_of_kind(function.returns)

    def require_kind(self, kind: ValueKind, name: str, node: Node, inferred: InferredType) -> None:
        if fits(kind, inferred.type):
            return
        help_ = _HELP.get((kind, str(inferred.type)))
        article = "an" if kind in (ValueKind.ARRAY, ValueKind.INTEGER) else "a"
        needed = "text" if kind is ValueKind.TEXT else f"{article} {kind.value}"
        self.report(
            "pql.type",
            f"{name} needs {needed}, got {inferred.type}",
            node.span,
            help_,
            inferred.certain,
        )

    def check_constant_arguments(self, function: Function, node: Call, first_type: InferredType) -> None:
        match node:
            case Call("matches" | "regexGroup" | "replaceAll", (_, Literal(str() as pattern), *_)):
                reason = patterns.pattern_error(pattern)
                if reason is not None:
                    span = node.arguments[1].span
                    self.report(
                        "pql.regex",
                        f"invalid regular expression: {reason}",
                        span,
                        None,
                        True,
                    )
            case Call("equals" | "notEqualTo", (subject, *candidates)) if Literal(False) not in candidates[1:]:
                for candidate in candidates:
                    self.check_constant(first_type.type, subject, candidate)
            case Call("date", (Literal(int()), Literal(int()), Literal(int()))):
                if (
                    function.apply(
                        None,
                        *[literal.value for literal in node.arguments if isinstance(literal, Literal)],
                    )
                    is None
                ):
                    self.report("pql.date", "this date does not exist", node.span, None, True)

    def filter(self, node: Filter) -> InferredType:
        of = self.infer(node.of)
        self.require_kind(ValueKind.ARRAY, "a filter", node.of, of)
        assert isinstance(node.test, Lambda)
        test = self.bind(node.test, of)
        if isinstance(node.test.body, Literal) and test.type.shape is Shape.INTEGER:
            message = "`[…]` contains a condition, not a position"
            self.warn(message, node.test.body, "use `.head()` for the first item", "pql.condition")
        else:
            self.check_condition(node.test.body, test)
        return InferredType(ArrayType(item=item_type(of.type)), of.certain, of.declared)

    def bind(self, item: Lambda, of: InferredType) -> InferredType:
        """Infer the type of an item expression over an array or map."""
        for name in item.parameters:
            self.variables[name] = (
                InferredType(item_type(of.type), of.certain, of.declared) if len(item.parameters) == 1 else _UNKNOWN
            )
        return self.infer(item.body)

    # --- binding forms

    def let(self, node: Let) -> InferredType:
        self.variables[node.name] = self.infer(node.value)
        return self.infer(node.body)

    def declare(self, declarations: tuple[Declaration, ...]) -> InferredType:
        first = _UNKNOWN
        for at, declaration in enumerate(declarations):
            of = self.infer(declaration.source)
            self.require_kind(ValueKind.ARRAY, "`from`", declaration.source, of)
            bound = self.variables[declaration.name] = InferredType(item_type(of.type), of.certain, of.declared)
            first = bound if at == 0 else first
            if declaration.test is not None:
                self.check_condition(declaration.test, self.infer(declaration.test))
        return first

    def quantifier(self, node: Quantifier) -> InferredType:
        self.declare(node.declarations)
        return InferredType(BOOLEAN)

    def select(self, node: Select) -> InferredType:
        first = self.declare(node.declarations)
        return InferredType(ArrayType(item=first.type), first.certain, first.declared)

    def aggregate(self, node: Aggregate) -> InferredType:
        self.declare(node.declarations)
        self.infer(node.value)
        return InferredType(type_of_kind(STDLIB[node.function].returns))

    def chain(self, node: Chain) -> InferredType:
        of = self.infer(node.events)
        assert isinstance(node.timestamp, Lambda)
        self.bind(node.timestamp, of)
        for step in node.steps:
            assert isinstance(step.what, Lambda)
            self.check_condition(step.what.body, self.bind(step.what, of))
            if step.when is not None:
                self.infer(step.when)
        return InferredType(BOOLEAN)

    def occurs(self, node: Occurs) -> InferredType:
        self.require_kind(ValueKind.TIME, "occurs", node.subject, self.infer(node.subject))
        self.infer(node.test)
        return InferredType(BOOLEAN)


def _function_help(name: str) -> str | None:
    return f"to call the function write `{name}(...)`" if name in STDLIB else None


def _path_below(of: ObjectType, name: str) -> str | None:
    """Return the path of the nearest field of this name inside the object's own objects, or None."""
    level: list[tuple[tuple[str, ...], Type]] = [((field,), type_) for field, type_ in of.fields.items()]
    for _ in range(_MAX_PATH_DEPTH):
        level = [
            ((*path, field), type_)
            for path, outer in level
            if isinstance(outer, ObjectType)
            for field, type_ in outer.fields.items()
        ]
        match = next((path for path, _ in level if path[-1] == name), None)
        if match is not None:
            return ".".join(match)
    return None


def _infer_literal(_inference: Inference, node: Literal) -> InferredType:
    return _LITERALS[type(node.value)]


def _infer_list(inference: Inference, node: ListOf) -> InferredType:
    types = {inference.infer(item).type for item in node.items}
    return InferredType(ArrayType(item=types.pop() if len(types) == 1 else ANY))


_LITERALS: dict[type, InferredType] = {
    bool: InferredType(BOOLEAN),
    int: InferredType(INTEGER),
    float: InferredType(NUMBER),
    str: InferredType(TEXT),
    type(None): InferredType(NULL),
}

_INFER_BY_NODE: dict[type[Node], Callable[[Inference, Any], InferredType]] = {
    Literal: _infer_literal,
    ListOf: _infer_list,
    ObjectOf: Inference.object,
    Root: Inference.root,
    Context: Inference.context,
    Name: lambda inference, node: inference.variables.get(node.name, _UNKNOWN),
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
    TimeWord: lambda _inference, node: InferredType(MOMENT if node.word == "now" else DATE),
    Occurs: Inference.occurs,
}
