"""Partial evaluation of formulas: per request, per offer, and a residual that needs both (PQL D-RANK).

Subexpressions that read only the offer are evaluated once per offer, at publish time; those that read only
the request, once per request; the residual, for every remaining candidate.

Exact: if none of the three raises, the score equals the formula's. Each gets a share of the work limit, so
if none exceeds its share, the whole formula would not exceed the limit. If one raises, the caller
evaluates the whole formula: the part may be in a branch that is not taken.
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
    """The parts of a formula as functions. All but `eval_offer` may raise.

    `eval_residual` takes an environment (the offer may be missing) and the values of both parts.
    `residual` is its tree; it reads the parts by the names in `request_names` and `offer_names`.
    """

    of_request: Callable[[Environment], Values]
    rest: Callable[[Environment, Values, Values], int | float | None]
    node: Node
    by_request: tuple[str, ...]
    by_offer: tuple[str, ...]
    booleans: frozenset[str]
    _of_offer: Callable[[Environment], Values]

    def of_offer(self, attributes: Mapping[str, Any]) -> Values | None:
        """Return the offer-only values; None on a fault: then evaluate the whole formula."""
        try:
            return self._of_offer(Environment(None, _NO_MOMENT, offer=attributes))
        except Exception:  # noqa: BLE001 - an offer may hold any value
            return None


def split(formula: CheckedRule) -> Split | None:
    """Split a formula; None if recursion is too deep. For environments in UTC only."""
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
    """What a tree reads: `sides` (request, offer) and free variables."""

    sides: frozenset[str]
    free: frozenset[str]


class _Parts:
    """Collects the parts of one formula; equal parts are one. Named by side and number."""

    def __init__(self) -> None:
        self.booleans: set[str] = set()
        self._named: dict[str, dict[str, tuple[str, Node]]] = {_REQUEST: {}, _OFFER: {}}
        self._sides: dict[str, str] = {}
        self._reads_by_node: dict[Identity, _Reads] = {}

    def steps(self, side: str) -> list[tuple[str, Node]]:
        return list(self._named[side].values())

    def without(self, node: Node) -> Node:
        """Replace the largest subtrees that read one side only by their names."""
        reads = self.reads(node)
        if len(reads.sides) == 1 and not reads.free and not isinstance(node, _NO_VALUE):
            return self.part(next(iter(reads.sides)), node)
        if isinstance(node, Let):
            return self._let(node)
        return rebuilt(node, self.without)

    def _let(self, node: Let) -> Node:
        """Substitute a variable whose value is a part, so that its uses can become parts."""
        value = self.without(node.value)
        if isinstance(value, Literal | Constant) or self.is_part(value):
            return self.without(_put(node.body, node.name, value))
        return replace(node, value=value, body=self.without(node.body))

    def part(self, side: str, node: Node) -> Node:
        if self.is_part(node):
            return node
        # Key by repr, which distinguishes 1, true and 1.0; node equality does not.
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
        key = Identity(node)  # hashing nodes by value would be quadratic in depth
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
    """Return the variables bound by this node; their names are unique."""
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
    """Replace a variable by a value or the name of a part."""
    if isinstance(node, Name):
        return value if node.name == name else node
    return rebuilt(node, lambda below: _put(below, name, value))
