"""A formula in three: a part per request, a part per offer, and the rest that needs both (PQL D-RANK).

What reads the offer alone is worked out once for each offer, when the library is published; what reads
the request alone once for each request; the rest is asked of every offer that is still alive.

Exact: where none of the three raises anything, the score is the formula's own. Each has its share of the
allowance of work, so that what none of them runs out of, the whole would not. Where one does raise, its
caller asks the whole: a part may stand in a branch that is not taken, and then is no fault.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from proffer.pql.checked import CheckedRule
from proffer.pql.compile import FORMULA_SPACE, load
from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.identity import Identity
from proffer.pql.run.to_python import is_boolean, rest_to_python, steps_to_python
from proffer.pql.syntax.limits import MAX_VISITS
from proffer.pql.syntax.nodes import (
    Aggregate,
    Call,
    Chain,
    Constant,
    Context,
    Declaration,
    Lambda,
    Let,
    Literal,
    Name,
    Node,
    Occurs,
    Period,
    Quantifier,
    Root,
    Select,
    Step,
    TimeTest,
    TimeWord,
    children,
    rebuilt,
)
from proffer.pql.values.environment import Environment

Values = tuple[Any, ...]

SHARE = MAX_VISITS // 3
_NO_MOMENT = datetime(1970, 1, 1, tzinfo=UTC)
_REQUEST, _OFFER = "r", "o"
_NO_VALUE = (Lambda, Declaration, TimeTest, Step)
_OF_THE_MOMENT = (Context, TimeWord, Period, Occurs, Chain)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The parts of a formula as functions. All but `of_offer` raise whatever turns up.

    `rest` takes an environment, which need not have the offer, and the values of both parts.
    `node` is the rest as a tree: it reads the parts under the names in `by_request` and `by_offer`.
    """

    of_request: Callable[[Environment], Values]
    rest: Callable[[Environment, Values, Values], int | float | None]
    node: Node
    by_request: tuple[str, ...]
    by_offer: tuple[str, ...]
    booleans: frozenset[str]
    _of_offer: Callable[[Environment], Values]

    def of_offer(self, attributes: Mapping[str, Any]) -> Values | None:
        """The values of the part per offer; None where it faults, and the whole has to be asked."""
        try:
            return self._of_offer(Environment(None, _NO_MOMENT, offer=attributes))
        except Exception:  # noqa: BLE001 - whatever an offer holds
            return None


def split(formula: CheckedRule) -> Split | None:
    """A formula in its parts; None where there is no room to write them. In an environment in UTC."""
    try:
        return _split(formula.core)
    except RecursionError:
        return None


def _split(core: Node) -> Split:
    parts = _Parts()
    rest = parts.without(core)
    of_request, of_offer = parts.steps(_REQUEST), parts.steps(_OFFER)
    by_request = tuple(name for name, _ in of_request)
    by_offer = tuple(name for name, _ in of_offer)
    source = rest_to_python(rest, (by_request, by_offer), parts.booleans, SHARE)
    return Split(
        of_request=_loaded(steps_to_python(of_request, SHARE)),
        rest=_loaded(source),
        node=rest,
        by_request=by_request,
        by_offer=by_offer,
        booleans=frozenset(parts.booleans),
        _of_offer=_loaded(steps_to_python(of_offer, SHARE)),
    )


def _loaded(source: str) -> Callable[..., Any]:
    return load(source, "part of a formula", FORMULA_SPACE)


@dataclass(frozen=True, slots=True)
class _Reads:
    """What a tree depends on: the sides of a decision, and variables bound above it."""

    sides: frozenset[str]
    free: frozenset[str]


class _Parts:
    """The parts of one formula, as they are found: equal ones are one. Named by side and number."""

    def __init__(self) -> None:
        self.booleans: set[str] = set()
        self._named: dict[str, dict[str, tuple[str, Node]]] = {_REQUEST: {}, _OFFER: {}}
        self._sides: dict[str, str] = {}
        self._reads_by_node: dict[Identity, _Reads] = {}

    def steps(self, side: str) -> list[tuple[str, Node]]:
        return list(self._named[side].values())

    def without(self, node: Node) -> Node:
        """The tree with the largest parts that read one side only replaced by their names."""
        reads = self.reads(node)
        if len(reads.sides) == 1 and not reads.free and not isinstance(node, _NO_VALUE):
            return self.part(next(iter(reads.sides)), node)
        if isinstance(node, Let):
            return self._let(node)
        return rebuilt(node, self.without)

    def _let(self, node: Let) -> Node:
        """A variable for what reads one side only is that part, and what reads it may be one too."""
        value = self.without(node.value)
        if isinstance(value, Literal | Constant) or self.is_part(value):
            return self.without(_put(node.body, node.name, value))
        return replace(node, value=value, body=self.without(node.body))

    def part(self, side: str, node: Node) -> Node:
        if self.is_part(node):
            return node
        # By text, which tells 1 from true and from 1.0, as trees do not.
        named, key = self._named[side], repr(node)
        if key not in named:
            name = f"{side}{len(named)}"
            named[key] = (name, node)
            self._sides[name] = side
            if is_boolean(node):
                self.booleans.add(name)
        return Name(named[key][0])

    def is_part(self, node: Node) -> bool:
        return isinstance(node, Name) and node.name in self._sides

    def reads(self, node: Node) -> _Reads:
        key = Identity(node)  # by value, a node would be hashed whole at every level
        reads = self._reads_by_node.get(key)
        if reads is None:
            reads = self._reads_by_node[key] = self._reads(node)
        return reads

    def _reads(self, node: Node) -> _Reads:
        if isinstance(node, Name):
            side = self._sides.get(node.name)
            return _Reads(frozenset(side or ()), frozenset(() if side else (node.name,)))
        below = [self.reads(child) for child in children(node)]
        sides = frozenset().union(*(one.sides for one in below))
        if isinstance(node, Root):
            sides |= {_OFFER if node.name == "offer" else _REQUEST}
        elif isinstance(node, _OF_THE_MOMENT) or (
            isinstance(node, Call) and not STDLIB[node.function].pure
        ):
            sides |= {_REQUEST}
        free = frozenset().union(*(one.free for one in below)) - frozenset(_bound_by(node))
        return _Reads(sides, free)


def _bound_by(node: Node) -> Iterable[str]:
    """The variables that stand for something below this node; each has a name of its own."""
    match node:
        case Let(name, _, _):
            return (name,)
        case Lambda(parameters, _):
            return parameters
        case Quantifier() | Select() | Aggregate():
            return [declaration.name for declaration in node.declarations]
        case _:
            return ()


def _put(node: Node, name: str, value: Node) -> Node:
    """The tree with a value, or the name of a part, in place of a variable."""
    if isinstance(node, Name):
        return value if node.name == name else node
    return rebuilt(node, lambda below: _put(below, name, value))
