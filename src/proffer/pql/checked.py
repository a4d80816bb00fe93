"""A rule that may be run: what was written, what it means, and what it reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from proffer.pql.syntax.diagnostics import Diagnostic
from proffer.pql.syntax.limits import RuleKind
from proffer.pql.syntax.nodes import Node


@dataclass(frozen=True, slots=True)
class CheckedRule:
    """The result of checking. Later phases read it and add nothing to it.

    `tree` is what the parser built. `core` says the same with every name settled: no implicit context,
    no `^`, and a name of its own for every variable. `reads` are the field paths used, each with its
    root: `profile.person.age`, `xEvent.eventType`, `context:<reference>.weather`.
    """

    tree: Node
    core: Node
    kind: RuleKind
    reads: frozenset[str]
    diagnostics: tuple[Diagnostic, ...] = ()
    binders: Mapping[str, str] = field(default_factory=dict)
    """Each variable of `core` to the name it was written with."""
    type: str = "any value"
    """What the value is, as far as it is known."""
