"""Expressions of templates: PQL, with `?:` for defaults of missing values.

An expression may read the customer (`profile`, and plain paths), the `offer`, the request's context
(`context`, `xEvent`, `@{…}`), and the variables of the template.
"""

from collections.abc import Collection

from proffer.pql.check.checker import Terms, check, check_size
from proffer.pql.syntax.diagnostics import Diagnostic, NotPql
from proffer.pql.syntax.lexer import tokenize
from proffer.pql.syntax.limits import RuleKind
from proffer.pql.syntax.nodes import Call, walk
from proffer.pql.syntax.nodes import Node as Core
from proffer.pql.syntax.parser import parse
from proffer.pql.syntax.source import Source, Span
from proffer.templating.nodes import Expression
from proffer.templating.unsupported import UNSUPPORTED, helper_in, message_of

ROOTS = frozenset({"profile", "offer", "context", "xEvent"})
MOST_CHOICES = 10

Mistake = tuple[int, str, str]
"""Offset in the template, message, and hint how to fix it."""

_OPEN, _CLOSE = "([{", ")]}"


def read_expression(
    text: str, at: int, names: Collection[str]
) -> tuple[Expression | None, list[Mistake]]:
    """Parse an expression. Returns it, or None and its problems. `at`: offset of the text in the template."""
    parts = _choices(text)
    mistakes: list[Mistake] = []
    if len(parts) > MOST_CHOICES:
        return None, [(at, f"more than {MOST_CHOICES} defaults", "name fewer")]
    cores: list[Core] = []
    for offset, part in parts:
        core, found = _core(part, ROOTS | set(names))
        if core is not None:
            cores.append(core)
        mistakes += [
            (at + offset + max(one.span.start, 0), one.message, one.help or "") for one in found
        ]
    return (None if mistakes else Expression(tuple(cores))), mistakes


def _core(text: str, roots: Collection[str]) -> tuple[Core | None, list[Diagnostic]]:
    if not text.strip():
        nothing = Diagnostic(
            "template", "there is no expression here", "write one, or leave out the marks"
        )
        return None, [nothing]
    if (helper := helper_in(text)) is not None:
        begin = text.index(helper)
        span = Span(begin, begin + len(helper))
        return None, [Diagnostic("template", *message_of(helper), span)]
    source = Source(text, "template")
    found = check_size(source, RuleKind.FORMULA)
    if found:
        return None, found
    try:
        tree = parse(source)
    except NotPql as refused:
        return None, tokenize(text)[1] or [refused.diagnostic]
    except RecursionError:
        return None, [Diagnostic("template", "this expression is nested too deep", "split it")]
    missing = [
        Diagnostic("template", *message_of(node.function), node.span)
        for node in walk(tree)
        if isinstance(node, Call) and node.function in UNSUPPORTED
    ]
    if missing:
        return None, missing
    # Not `saving`: content may read the event history.
    checked, findings = check(tree, source, Terms(kind=RuleKind.FORMULA, roots=roots))
    if checked is None:
        return None, [one for one in findings if one.is_error]
    return checked.core, []


def _choices(text: str) -> list[tuple[int, str]]:
    """Split at `?:` outside of quotes and brackets. Returns (offset, text) of each part."""
    parts: list[tuple[int, str]] = []
    begin = at = depth = 0
    while at < len(text):
        character = text[at]
        if character in "\"'`":
            at = after_quote(text, at)
            continue
        depth += (character in _OPEN) - (character in _CLOSE)
        if depth <= 0 and text.startswith("?:", at):
            parts.append((begin, text[begin:at]))
            at += 2
            begin = at
            continue
        at += 1
    return [*parts, (begin, text[begin:])]


def after_quote(text: str, at: int) -> int:
    """Return the offset after the quoted string at `at`, else the text length."""
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
