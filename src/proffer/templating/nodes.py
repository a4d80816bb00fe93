"""The parts of a template, and what is wrong with one. Expressions in it are those of the rule language."""

from dataclasses import dataclass
from typing import TypeAlias

from proffer.pql.syntax.nodes import Node as Core


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake, and where it stands: line and column count from 1."""

    message: str
    line: int
    column: int
    help: str


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression, and what stands in for it, in order, where it gives nothing."""

    choices: tuple[Core, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """What is written as it stands."""

    text: str


@dataclass(frozen=True, slots=True)
class Show:
    """The value of an expression: escaped for the format, unless its author asked for it `raw`."""

    value: Expression
    raw: bool = False


@dataclass(frozen=True, slots=True)
class If:
    """The first branch whose test holds, else `otherwise`."""

    branches: tuple[tuple[Expression, "Body"], ...]
    otherwise: "Body"


@dataclass(frozen=True, slots=True)
class Each:
    """The body once for every item, under `name`; `otherwise` where there is none."""

    items: Expression
    name: str
    body: "Body"
    otherwise: "Body"


@dataclass(frozen=True, slots=True)
class With:
    """The body for one value, under `name`; `otherwise` where it is missing."""

    value: Expression
    name: str
    body: "Body"
    otherwise: "Body"


@dataclass(frozen=True, slots=True)
class Let:
    """From here to the end of the block, a value under a name."""

    name: str
    value: Expression


Node: TypeAlias = Text | Show | If | Each | With | Let
Body: TypeAlias = tuple[Node, ...]
