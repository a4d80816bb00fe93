"""Expressions of templates: PQL, with `?:` for defaults of missing values.

An expression may read the customer (`profile`, and plain paths), the `offer`, the request's context
(`context`, `xEvent`, `@{…}`), and the variables of the template.
"""

from collections.abc import Collection

from proffer.pql.check.checker import CheckOptions, check, check_size
from proffer.pql.check.schema import Schema
from proffer.pql.syntax.diagnostics import Diagnostic, NotPql
from proffer.pql.syntax.limits import RuleKind
from proffer.pql.syntax.nodes import Call, walk
from proffer.pql.syntax.nodes import Node as PqlNode
from proffer.pql.syntax.parser import parse
from proffer.pql.syntax.source import SourceText, TextSpan
from proffer.templating.nodes import TemplateExpression
from proffer.templating.unsupported import (
    UNSUPPORTED_HELPERS,
    find_unsupported_helper,
    unsupported_message,
)

ROOTS = frozenset({"profile", "offer", "context", "xEvent"})
MAX_CHOICES = 10

ExpressionProblem = tuple[int, str, str]
"""Offset in the template, message, and hint how to fix it."""

_OPEN, _CLOSE = "([{", ")]}"


def parse_expression(
    text: str, at: int, names: Collection[str], schema: Schema
) -> tuple[TemplateExpression | None, list[ExpressionProblem]]:
    """Parse an expression. Returns it, or None and its problems. `at`: offset of the text in the template.

    Values are compared by the types that the schema declares.
    """
    parts = _split_choices(text)
    problems: list[ExpressionProblem] = []
    if len(parts) > MAX_CHOICES:
        return None, [(at, f"more than {MAX_CHOICES} defaults", f"use at most {MAX_CHOICES}")]
    choices: list[PqlNode] = []
    for offset, part in parts:
        node, diagnostics = _check_choice(part, ROOTS | set(names), schema)
        if node is not None:
            choices.append(node)
        problems += [
            (at + offset + max(diagnostic.span.start, 0), diagnostic.message, diagnostic.help or "")
            for diagnostic in diagnostics
        ]
    return (None if problems else TemplateExpression(tuple(choices))), problems


def _check_choice(text: str, roots: Collection[str], schema: Schema) -> tuple[PqlNode | None, list[Diagnostic]]:
    if not text.strip():
        empty_expression = Diagnostic("template", "the expression is empty", "write an expression, or remove the tag")
        return None, [empty_expression]
    if (helper := find_unsupported_helper(text)) is not None:
        begin = text.index(helper)
        span = TextSpan(begin, begin + len(helper))
        return None, [Diagnostic("template", *unsupported_message(helper), span)]
    source = SourceText(text)
    size_errors = check_size(source, RuleKind.FORMULA)
    if size_errors:
        return None, size_errors
    try:
        tree = parse(source)
    except NotPql as error:
        return None, list(error.diagnostics)
    except RecursionError:
        return None, [Diagnostic("template", "this expression is nested too deeply", "split it")]
    unsupported_calls = [
        Diagnostic("template", *unsupported_message(node.function), node.span)
        for node in walk(tree)
        if isinstance(node, Call) and node.function in UNSUPPORTED_HELPERS
    ]
    if unsupported_calls:
        return None, unsupported_calls
    # Not `saving`: content may read the event history.
    checked, diagnostics = check(tree, source, CheckOptions(kind=RuleKind.FORMULA, roots=roots, schema=schema))
    if checked is None:
        return None, [diagnostic for diagnostic in diagnostics if diagnostic.is_error]
    return checked.core, []


def _split_choices(text: str) -> list[tuple[int, str]]:
    """Split at `?:` outside of quotes and brackets. Returns (offset, text) of each part."""
    parts: list[tuple[int, str]] = []
    begin = at = depth = 0
    while at < len(text):
        character = text[at]
        if character in "\"'`":
            at = skip_quoted(text, at)
            continue
        depth += (character in _OPEN) - (character in _CLOSE)
        if depth <= 0 and text.startswith("?:", at):
            parts.append((begin, text[begin:at]))
            at += 2
            begin = at
            continue
        at += 1
    return [*parts, (begin, text[begin:])]


def skip_quoted(text: str, at: int) -> int:
    """Return the offset after the quoted string at `at`. If it is not closed, return the text length."""
    quote = text[at]
    at += 1
    while at < len(text):
        if text[at] == "\\" and quote != "`":
            at += 2
        elif text[at] == quote:
            return at + 1
        else:
            at += 1
    return len(text)
