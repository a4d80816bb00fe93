"""Lint: warn about conditions that are always true, never true, unreachable, or order versions as texts."""

import re
from dataclasses import dataclass

from proffer.pql.run.fold import constant, fold, is_constant
from proffer.pql.syntax.diagnostics import Diagnostic, Severity, TextFix
from proffer.pql.syntax.limits import RuleKind
from proffer.pql.syntax.nodes import (
    Binary,
    Context,
    Declaration,
    Field,
    Filter,
    If,
    Lambda,
    Literal,
    Logic,
    Name,
    Negate,
    Node,
    Not,
    Root,
    TimeWord,
    walk,
)
from proffer.pql.syntax.tokens import EXCHANGED_COMPARISONS
from proffer.pql.values.times import as_moment
from proffer.pql.values.values import truth

_READING_NODES = (Root, Name, Context, TimeWord)
_ORDER_SIGNS = frozenset({"<", "<=", ">", ">="})
_VERSION = re.compile(r"[vV]\d+(\.\d+)*([-+].+)?|\d+(\.\d+){2,}([-+].+)?|\d+(\.\d+)+[-+].+", re.ASCII)
_DAY = re.compile(r"\d{1,2}\.\d{1,2}\.\d{4}", re.ASCII)
_SHORT_VERSION = re.compile(r"\d+(\.\d+)*", re.ASCII)


def lint(core: Node, folded: Node, kind: RuleKind, text: str) -> list[Diagnostic]:
    """Return the lint warnings for a resolved tree, given its folded form and the text of its spans."""
    nodes = list(walk(core))
    warnings = [
        contradiction
        for node in nodes
        if isinstance(node, Logic) and node.sign == "and" and (contradiction := _contradiction(node)) is not None
    ]
    warnings += [
        warning
        for node in nodes
        if isinstance(node, Binary)
        and node.sign in _ORDER_SIGNS
        and (warning := _version_order(node, text)) is not None
    ]
    if folded is core:
        return warnings
    if kind is RuleKind.RULE and is_constant(folded) and not isinstance(core, Literal):
        return [_constant_condition(core, truth(constant(folded))), *warnings]
    for node in nodes:
        for condition in _conditions(node):
            if not _is_literal_condition(condition) and _is_independent(condition):
                warnings += _lint_constant_condition(node, condition)
    return warnings


def _is_independent(node: Node) -> bool:
    """Return whether a node has the same value for every request."""
    return not any(isinstance(part, _READING_NODES) for part in walk(node))


def _conditions(node: Node) -> tuple[Node, ...]:
    """Return the children of a node that are used as conditions."""
    match node:
        case Logic(_, parts):
            return parts
        case If(test, _, _) | Filter(_, Lambda(_, test)) | Declaration(_, _, Node() as test):
            return (test,)
        case _:
            return ()


def _lint_constant_condition(node: Node, condition: Node) -> list[Diagnostic]:
    """Return warnings for a condition without reads that folds to a constant."""
    folded = fold(condition)
    if not is_constant(folded):
        return []
    value = truth(constant(folded))
    if isinstance(node, If):
        message = f"this value is never used: the condition is always {_boolean_text(value)}"
        return [_warning("pql.unreachable", message, node.otherwise if value else node.then)]
    return [_constant_condition(condition, value)]


def _is_literal_condition(node: Node) -> bool:
    """Return whether a condition is an intended constant: `true` or `not true`."""
    return isinstance(node, Literal) or (isinstance(node, Not) and isinstance(node.operand, Literal))


def _constant_condition(node: Node, value: bool) -> Diagnostic:
    code = "pql.always-true" if value else "pql.never-true"
    return _warning(code, f"this condition is always {_boolean_text(value)}", node)


def _boolean_text(value: bool) -> str:
    return "true" if value else "false"


def _warning(code: str, message: str, node: Node) -> Diagnostic:
    return Diagnostic(code, message, None, node.span, Severity.WARNING)


def _version_order(node: Binary, text: str) -> Diagnostic | None:
    """Return a warning for an order comparison with a text that looks like a version."""
    for value, other in ((node.right, node.left), (node.left, node.right)):
        if not isinstance(value, Literal) or not isinstance(value.value, str):
            continue
        version = value.value
        names_version = isinstance(other, Field) and other.name.lower().endswith("version")
        is_version = _VERSION.fullmatch(version) is not None and _DAY.fullmatch(version) is None
        if is_version or (names_version and _SHORT_VERSION.fullmatch(version) is not None):
            left, right = (text[side.span.start : side.span.end] for side in (node.left, node.right))
            replacement = f"versionCompare({left}, {right}) {node.sign} 0"
            return Diagnostic(
                "pql.version-order",
                f'`{node.sign}` orders texts by character: "10.2.0" is before "9.0.0"',
                f"write `{replacement}`",
                node.span,
                Severity.WARNING,
                TextFix(node.span, replacement),
            )
    return None


# --- bounds that exclude each other


@dataclass(slots=True)
class _Bounds:
    """Numeric bounds that an `and` puts on one subject."""

    low: float = float("-inf")
    high: float = float("inf")
    open_low: bool = False
    open_high: bool = False

    def add(self, sign: str, value: float) -> None:
        if sign in (">", ">=", "=") and (value, sign == ">") > (self.low, self.open_low):
            self.low, self.open_low = value, sign == ">"
        if sign in ("<", "<=", "=") and (-value, sign == "<") > (-self.high, self.open_high):
            self.high, self.open_high = value, sign == "<"

    @property
    def empty(self) -> bool:
        return self.low > self.high or (self.low == self.high and (self.open_low or self.open_high))


def _contradiction(node: Logic) -> Diagnostic | None:
    """Return a warning for an operand that contradicts the operands before it."""
    bounds_by_subject: dict[Node, _Bounds] = {}
    text_by_subject: dict[Node, str] = {}
    for part in node.parts:
        if not isinstance(part, Binary) or part.sign not in {"=", *_ORDER_SIGNS}:
            continue
        subject, sign, value = part.left, part.sign, _scalar(part.right)
        if value is None:
            subject, sign, value = part.right, EXCHANGED_COMPARISONS[part.sign], _scalar(part.left)
        if isinstance(value, str) and as_moment(value) is not None:  # another text may be the same instant
            continue
        if isinstance(value, str) and sign == "=" and text_by_subject.setdefault(subject, value) != value:
            return _warning(
                "pql.never-true",
                f"this value cannot be both {text_by_subject[subject]!r} and {value!r}",
                part,
            )
        if isinstance(value, (int, float)):
            number_bounds = bounds_by_subject.setdefault(subject, _Bounds())
            number_bounds.add(sign, value)
            if number_bounds.empty:
                return _warning("pql.never-true", "this condition contradicts an earlier one", part)
    return None


def _scalar(node: Node) -> str | int | float | None:
    match node:
        case Literal(bool()):
            return None
        case Literal(str() | int() | float() as value):
            return value
        case Negate(Literal(int() | float() as value)) if not isinstance(value, bool):
            return -value
        case _:
            return None
