"""Reads of the event history (PQL 4.3, 7.4). The original product rejects them on saving."""

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


def event_window(core: Node, kind: RuleKind) -> list[Diagnostic]:
    """Return a diagnostic for every read of the event history.

    In a rule: a chain or a time window over events. In a formula: any search among events.
    """
    event_variables = _event_variables(core)
    return [
        Diagnostic("pql.look-back", f"{description} reads the event history", _HELP, node.span)
        for node in walk(core)
        if (description := _describe_history_read(node, kind, event_variables)) is not None
    ]


def _describe_history_read(node: Node, kind: RuleKind, event_variables: set[str]) -> str | None:
    if isinstance(node, Chain):
        return "`chain`"
    if isinstance(node, Occurs) and _comes_from_events(node.subject, event_variables):
        return "`occurs` on an event"
    if kind is RuleKind.RULE:
        return None
    if isinstance(node, _FORMULA_FORMS) and _comes_from_events(_searched_array(node), event_variables):
        return "a search of events"
    if isinstance(node, Call) and node.arguments and isinstance(node.arguments[-1], Lambda):
        return f"`{node.function}` of events" if _comes_from_events(node.arguments[0], event_variables) else None
    return None


def _searched_array(node: Node) -> Node:
    if isinstance(node, Filter):
        return node.of
    assert isinstance(node, (Aggregate, Quantifier, Select))
    return node.declarations[0].source


def _comes_from_events(node: Node, event_variables: set[str]) -> bool:
    """Return whether a value is derived from the events."""
    while True:
        match node:
            case Root("xEvent"):
                return True
            case Name(name):
                return name in event_variables
            case Field(of, _) | Filter(of, _) | Call(_, (of, *_)):
                node = of
            case Select(declarations):
                node = declarations[0].source
            case _:
                return False


def _event_variables(core: Node) -> set[str]:
    """Return the variables bound to events. Binders precede their uses, so one pass suffices."""
    variables: set[str] = set()
    for node in walk(core):
        match node:
            case Filter(of, Lambda(parameters, _)) | Call(_, (of, Lambda(parameters, _), *_)):
                new_variables = parameters if _comes_from_events(of, variables) else ()
            case Chain(events, Lambda(parameters, _), steps):
                step_parameters = [step.what.parameters for step in steps if isinstance(step.what, Lambda)]
                new_variables = sum(step_parameters, parameters) if _comes_from_events(events, variables) else ()
            case Let(name, value, _):
                new_variables = (name,) if _comes_from_events(value, variables) else ()
            case Quantifier(_, declarations) | Select(declarations) | Aggregate(_, _, declarations):
                new_variables = ()
                for declaration in declarations:
                    if _comes_from_events(declaration.source, variables | set(new_variables)):
                        new_variables = (*new_variables, declaration.name)
            case _:
                continue
        variables.update(new_variables)
    return variables
