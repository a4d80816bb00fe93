"""Syntax tree of templates, and their problems. Expressions are PQL."""

from dataclasses import dataclass
from typing import TypeAlias

from proffer.pql.syntax.nodes import Node as Core


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a template. Line and column count from 1."""

    message: str
    line: int
    column: int
    help: str


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression and its defaults, in order; the first that has a value counts."""

    choices: tuple[Core, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """Literal text, written unchanged."""

    text: str


@dataclass(frozen=True, slots=True)
class Show:
    """The value of an expression, escaped for the format unless `raw`."""

    value: Expression
    raw: bool = False


@dataclass(frozen=True, slots=True)
class If:
    """Render the first branch whose test is true, else `otherwise`."""

    branches: tuple[tuple[Expression, "Body"], ...]
    otherwise: "Body"


@dataclass(frozen=True, slots=True)
class Each:
    """Render the body once per item, bound to `name`; `otherwise` if there is no item."""

    items: Expression
    name: str
    body: "Body"
    otherwise: "Body"


@dataclass(frozen=True, slots=True)
class With:
    """Render the body with a value bound to `name`; `otherwise` if the value is missing."""

    value: Expression
    name: str
    body: "Body"
    otherwise: "Body"


@dataclass(frozen=True, slots=True)
class Let:
    """Bind a value to a name until the end of the block."""

    name: str
    value: Expression


Node: TypeAlias = Text | Show | If | Each | With | Let
Body: TypeAlias = tuple[Node, ...]
