"""Partial evaluation of formulas: per request, per offer, and a residual that needs both (PQL D-RANK).

Subexpressions that read only the offer are evaluated once per offer, at publish time; those that read only
the request, once per request; the residual, for every remaining candidate.

Exact: if none of the three raises, the score equals the formula's. Each gets a share of the work limit, so
if none exceeds its share, the whole formula would not exceed the limit. If one raises, the caller
evaluates the whole formula: the part may be in a branch that is not taken.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from proffer.pql.checked import CheckedRule
from proffer.pql.compile import FORMULA_NAMESPACE, load
from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.run.to_python import is_boolean, residual_to_python, steps_to_python
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
    map_children,
)
from proffer.pql.values.environment import Environment
from proffer.pql.values.identity import ObjectKey

Values = tuple[Any, ...]

WORK_SHARE = MAX_VISITS // 3
_REQUEST, _OFFER = "r", "o"
_VALUELESS_NODES = (Lambda, Declaration, TimeTest, Step)
_REQUEST_NODES = (Context, TimeWord, Period, Occurs, Chain)


@dataclass(frozen=True, slots=True, eq=False)
class SplitFormula:
    """The parts of a formula as functions. All but `eval_offer` may raise.

    `eval_residual` takes an environment (the offer may be missing) and the values of both parts.
    `residual` is its tree; it reads the parts by the names in `request_names` and `offer_names`.
    """

    eval_request: Callable[[Environment], Values]
    eval_residual: Callable[[Environment, Values, Values], int | float | None]
    residual: Node
    request_names: tuple[str, ...]
    offer_names: tuple[str, ...]
    boolean_names: frozenset[str]
    _eval_offer: Callable[[Environment], Values]

    def eval_offer(self, attributes: Mapping[str, Any]) -> Values | None:
        """Return the offer-only values; None on a fault: then evaluate the whole formula."""
        try:
            return self._eval_offer(Environment(None, 0, offer=attributes))
        except Exception:  # noqa: BLE001 - an offer may hold any value
            return None


def partial_eval(formula: CheckedRule) -> SplitFormula | None:
    """Split a formula; None if recursion is too deep. For environments in UTC only."""
    try:
        return _split_formula(formula.core)
    except RecursionError:
        return None


def _split_formula(core: Node) -> SplitFormula:
    extractor = _PartExtractor()
    residual = extractor.extract(core)
    request_steps, offer_steps = extractor.steps(_REQUEST), extractor.steps(_OFFER)
    request_names = tuple(name for name, _ in request_steps)
    offer_names = tuple(name for name, _ in offer_steps)
    source = residual_to_python(residual, (request_names, offer_names), extractor.boolean_names, WORK_SHARE)
    return SplitFormula(
        eval_request=_load_part(steps_to_python(request_steps, WORK_SHARE)),
        eval_residual=_load_part(source),
        residual=residual,
        request_names=request_names,
        offer_names=offer_names,
        boolean_names=frozenset(extractor.boolean_names),
        _eval_offer=_load_part(steps_to_python(offer_steps, WORK_SHARE)),
    )


def _load_part(source: str) -> Callable[..., Any]:
    return load(source, "part of a formula", FORMULA_NAMESPACE)


@dataclass(frozen=True, slots=True)
class _Dependencies:
    """What a tree reads: `sides` (request, offer) and free variables."""

    sides: frozenset[str]
    free_variables: frozenset[str]


class _PartExtractor:
    """Collects the parts of one formula; equal parts are one. Named by side and number."""

    def __init__(self) -> None:
        self.boolean_names: set[str] = set()
        self._parts_by_side: dict[str, dict[str, tuple[str, Node]]] = {_REQUEST: {}, _OFFER: {}}
        self._side_by_name: dict[str, str] = {}
        self._dependencies_by_node: dict[ObjectKey, _Dependencies] = {}

    def steps(self, side: str) -> list[tuple[str, Node]]:
        return list(self._parts_by_side[side].values())

    def extract(self, node: Node) -> Node:
        """Replace the largest subtrees that read one side only by their names."""
        dependencies = self.dependencies(node)
        if len(dependencies.sides) == 1 and not dependencies.free_variables and not isinstance(node, _VALUELESS_NODES):
            return self.add_part(next(iter(dependencies.sides)), node)
        if isinstance(node, Let):
            return self._extract_let(node)
        return map_children(node, self.extract)

    def _extract_let(self, node: Let) -> Node:
        """Substitute a variable whose value is a part. Its uses can then become parts."""
        value = self.extract(node.value)
        if isinstance(value, Literal | Constant) or self.is_part(value):
            return self.extract(_substitute(node.body, node.name, value))
        return replace(node, value=value, body=self.extract(node.body))

    def add_part(self, side: str, node: Node) -> Node:
        if self.is_part(node):
            return node
        # Key by repr, which distinguishes 1, true and 1.0; node equality does not.
        parts, key = self._parts_by_side[side], repr(node)
        if key not in parts:
            name = f"{side}{len(parts)}"
            parts[key] = (name, node)
            self._side_by_name[name] = side
            if is_boolean(node):
                self.boolean_names.add(name)
        return Name(parts[key][0])

    def is_part(self, node: Node) -> bool:
        return isinstance(node, Name) and node.name in self._side_by_name

    def dependencies(self, node: Node) -> _Dependencies:
        key = ObjectKey(node)  # hashing nodes by value would be quadratic in depth
        node_dependencies = self._dependencies_by_node.get(key)
        if node_dependencies is None:
            node_dependencies = self._dependencies_by_node[key] = self._compute_dependencies(node)
        return node_dependencies

    def _compute_dependencies(self, node: Node) -> _Dependencies:
        if isinstance(node, Name):
            side = self._side_by_name.get(node.name)
            return _Dependencies(frozenset(side or ()), frozenset(() if side else (node.name,)))
        child_dependencies = [self.dependencies(child) for child in children(node)]
        sides = frozenset().union(*(child.sides for child in child_dependencies))
        if isinstance(node, Root):
            sides |= {_OFFER if node.name == "offer" else _REQUEST}
        elif isinstance(node, _REQUEST_NODES) or (isinstance(node, Call) and not STDLIB[node.function].pure):
            sides |= {_REQUEST}
        free_variables = frozenset().union(*(child.free_variables for child in child_dependencies)) - frozenset(
            _bound_variables(node)
        )
        return _Dependencies(sides, free_variables)


def _bound_variables(node: Node) -> Iterable[str]:
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


def _substitute(node: Node, name: str, value: Node) -> Node:
    """Replace a variable by a value or the name of a part."""
    if isinstance(node, Name):
        return value if node.name == name else node
    return map_children(node, lambda child: _substitute(child, name, value))
