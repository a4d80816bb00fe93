"""A checked rule: its syntax tree, its resolved tree and the fields it reads."""

from dataclasses import dataclass

from proffer.pql.syntax.diagnostics import Diagnostic
from proffer.pql.syntax.limits import RuleKind
from proffer.pql.syntax.nodes import Node


@dataclass(frozen=True, slots=True)
class CheckedRule:
    """The immutable result of checking a rule.

    `tree`: the parser's tree. `core`: the same rule with all names resolved: no implicit context, no `^`,
    and a unique name for every variable. `reads`: the field paths used, each with its root:
    `profile.person.age`, `xEvent.eventType`, `context:<reference>.weather`.
    """

    tree: Node
    core: Node
    kind: RuleKind
    reads: frozenset[str]
    diagnostics: tuple[Diagnostic, ...] = ()
    type: str = "any value"
    """Name of the inferred type of the value."""
