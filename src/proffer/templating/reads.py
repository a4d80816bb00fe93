"""Which fields a template reads, as rules say theirs: what has to be known of a customer to render it."""

from collections.abc import Iterator

from proffer.pql.check.reads import reads_of
from proffer.templating.compile import Template
from proffer.templating.expressions import ROOTS
from proffer.templating.nodes import Body, Each, Expression, If, Let, Show, Text, With


def reads_of_template(template: Template) -> frozenset[str]:
    """The field paths used, each with its root; a path stands for the whole value there.

    What is read through a name that the template gave (`let`, `each`, `with`) is part of the value
    that was named, so it is not listed again.
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
