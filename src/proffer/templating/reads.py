"""Field paths that a template reads, in the form that rules use."""

from collections.abc import Iterator

from proffer.pql.check.reads import reads_of
from proffer.templating.compile import Template
from proffer.templating.expressions import ROOTS
from proffer.templating.nodes import (
    Body,
    EachBlock,
    IfBlock,
    LetTag,
    LiteralText,
    OutputTag,
    TemplateExpression,
    WithBlock,
)


def reads_of_template(template: Template) -> frozenset[str]:
    """Return the field paths read, each with its root. A path covers the whole value there.

    Reads through variables of the template (`let`, `each`, `with`) are parts of the bound value, so they
    are not listed again.
    """
    paths = {
        path for expression in expressions_of(template.body) for core in expression.choices for path in reads_of(core)
    }
    return frozenset(path for path in paths if _root(path) in ROOTS or path.startswith("context:"))


def _root(path: str) -> str:
    return path.partition(".")[0]


def expressions_of(body: Body) -> Iterator[TemplateExpression]:
    """Yield the expressions of a template's body, in order."""
    for node in body:
        match node:
            case LiteralText():
                pass
            case OutputTag(value) | LetTag(_, value):
                yield value
            case IfBlock(branches, otherwise):
                for test, inner in branches:
                    yield test
                    yield from expressions_of(inner)
                yield from expressions_of(otherwise)
            case EachBlock(value, _, inner, otherwise) | WithBlock(value, _, inner, otherwise):
                yield value
                yield from expressions_of(inner)
                yield from expressions_of(otherwise)
