"""Syntax tree of templates, and their problems. Expressions are PQL."""

from dataclasses import dataclass
from typing import TypeAlias

from proffer.pql.syntax.nodes import Node as PqlNode


@dataclass(frozen=True, slots=True)
class TemplateProblem:
    """One mistake in a template. Line and column count from 1."""

    message: str
    line: int
    column: int
    help: str


@dataclass(frozen=True, slots=True)
class TemplateExpression:
    """An expression and its defaults, in order; the first that has a value counts."""

    choices: tuple[PqlNode, ...]


@dataclass(frozen=True, slots=True)
class LiteralText:
    """Literal text, written unchanged."""

    text: str


@dataclass(frozen=True, slots=True)
class OutputTag:
    """The value of an expression, escaped for the format unless `raw`."""

    value: TemplateExpression
    raw: bool = False


@dataclass(frozen=True, slots=True)
class IfBlock:
    """Render the first branch whose test is true, else `otherwise`."""

    branches: tuple[tuple[TemplateExpression, "Body"], ...]
    otherwise: "Body"


@dataclass(frozen=True, slots=True)
class EachBlock:
    """Render the body once per item, bound to `name`; `otherwise` if there is no item."""

    items: TemplateExpression
    name: str
    body: "Body"
    otherwise: "Body"


@dataclass(frozen=True, slots=True)
class WithBlock:
    """Render the body with a value bound to `name`; `otherwise` if the value is missing."""

    value: TemplateExpression
    name: str
    body: "Body"
    otherwise: "Body"


@dataclass(frozen=True, slots=True)
class LetTag:
    """Bind a value to a name until the end of the block."""

    name: str
    value: TemplateExpression


Node: TypeAlias = LiteralText | OutputTag | IfBlock | EachBlock | WithBlock | LetTag
Body: TypeAlias = tuple[Node, ...]
