"""Field paths that a template reads, in the form that rules use."""

from collections.abc import Iterator

from proffer.pql.check.reads import reads_of
from proffer.templating.compile import Template
from proffer.templating.expressions import ROOTS
from proffer.templating.nodes import Body, Each, Expression, If, Let, Show, Text, With


def reads_of_template(template: Template) -> frozenset[str]:
    """Return the field paths read, each with its root. A path covers the whole value there.

    Reads through variables of the template (`let`, `each`, `with`) are parts of the bound value, so they
    are not listed again.
    """
    found = {
        path
        for expression in _expressions(template.body)
        for core in expression.choices
        for path in reads_of(core)
    }
    return frozenset(path for path in found if _root(path) in ROOTS or path.startswith("context:"))


def _root(path: str) -> str:
    return path.partition(".")[0]


def _expressions(body: Body) -> Iterator[Expression]:
    for node in body:
        match node:
            case Text():
                pass
            case Show(value) | Let(_, value):
                yield value
            case If(branches, otherwise):
                for test, inner in branches:
                    yield test
                    yield from _expressions(inner)
                yield from _expressions(otherwise)
            case Each(value, _, inner, otherwise) | With(value, _, inner, otherwise):
                yield value
                yield from _expressions(inner)
                yield from _expressions(otherwise)
