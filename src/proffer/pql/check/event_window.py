"""Reads of the event history, which the original product rejects on saving (PQL 4.3, 7.4)."""

from proffer.pql.syntax.diagnostics import Diagnostic
from proffer.pql.syntax.limits import RuleKind
from proffer.pql.syntax.nodes import (
    Aggregate,
    Call,
    Chain,
    Field,
    Filter,
    Lambda,
    Let,
    Name,
    Node,
    Occurs,
    Quantifier,
    Root,
    Select,
    walk,
)

_HELP = "read the request's own event, a profile attribute or an audience instead"
_FORMULA_FORMS = (Aggregate, Quantifier, Select, Filter)


def look_back(core: Node, kind: RuleKind) -> list[Diagnostic]:
    """Return a diagnostic for every read of the event history.

    In a rule: a chain or a time window over events. In a formula: any search among events.
    """
    of_events = _event_variables(core)
    return [
        Diagnostic("pql.look-back", f"{what} looks back over event history", _HELP, node.span)
        for node in walk(core)
        if (what := _what(node, kind, of_events)) is not None
    ]


def _what(node: Node, kind: RuleKind, of_events: set[str]) -> str | None:
    if isinstance(node, Chain):
        return "`chain`"
    if isinstance(node, Occurs) and _is_events(node.subject, of_events):
        return "`occurs` on an event"
    if kind is RuleKind.RULE:
        return None
    if isinstance(node, _FORMULA_FORMS) and _is_events(_source(node), of_events):
        return "a search among events"
    if isinstance(node, Call) and node.arguments and isinstance(node.arguments[-1], Lambda):
        return f"`{node.function}` of events" if _is_events(node.arguments[0], of_events) else None
    return None


def _source(node: Node) -> Node:
    if isinstance(node, Filter):
        return node.of
    assert isinstance(node, (Aggregate, Quantifier, Select))
    return node.declarations[0].source


def _is_events(node: Node, of_events: set[str]) -> bool:
    """Return whether a value is derived from the events."""
    while True:
        match node:
            case Root("xEvent"):
                return True
            case Name(name):
                return name in of_events
            case Field(of, _) | Filter(of, _) | Call(_, (of, *_)):
                node = of
            case Select(declarations):
                node = declarations[0].source
            case _:
                return False


def _event_variables(core: Node) -> set[str]:
    """Return the variables bound to events. Binders precede their uses, so one pass suffices."""
    found: set[str] = set()
    for node in walk(core):
        match node:
            case Filter(of, Lambda(parameters, _)) | Call(_, (of, Lambda(parameters, _), *_)):
                bound = parameters if _is_events(of, found) else ()
            case Chain(events, Lambda(parameters, _), steps):
                inner = [step.what.parameters for step in steps if isinstance(step.what, Lambda)]
                bound = sum(inner, parameters) if _is_events(events, found) else ()
            case Let(name, value, _):
                bound = (name,) if _is_events(value, found) else ()
            case Quantifier(_, declarations) | Select(declarations) | Aggregate(_, _, declarations):
                bound = ()
                for declaration in declarations:
                    if _is_events(declaration.source, found | set(bound)):
                        bound = (*bound, declaration.name)
            case _:
                continue
        found.update(bound)
    return found
