"""What each part of a rule came to for one environment: the interpreter, watched."""

from contextlib import suppress
from dataclasses import dataclass

from proffer.pql.checked import CheckedRule
from proffer.pql.forms.printer import print_tree
from proffer.pql.identity import Identity
from proffer.pql.run.interpret import Interpreter
from proffer.pql.syntax.limits import MAX_VISITS
from proffer.pql.syntax.nodes import (
    Constant,
    Context,
    Field,
    Lambda,
    Literal,
    Name,
    Node,
    Root,
    children,
)
from proffer.pql.values.environment import Environment, TooMuchWork
from proffer.pql.values.values import Value


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a rule. `values` holds what it came to, once for each time it was evaluated.

    None of it was needed where `values` is empty: an earlier part had settled the matter.
    """

    depth: int
    text: str
    values: tuple[Value, ...]


def explain(rule: CheckedRule, env: Environment) -> list[Step]:
    """Every part of the rule but its literals, from the whole to its leaves. Never raises."""
    watched = _Watched(env)
    env.left = MAX_VISITS
    with suppress(TooMuchWork):  # what was seen until then is shown
        watched.value(rule.core)
    steps: list[Step] = []
    waiting: list[tuple[Node, int]] = [(rule.core, 0)]
    while waiting:
        node, depth = waiting.pop()
        if isinstance(node, Literal | Constant):
            continue
        if isinstance(node, Lambda):  # what it gives is told of its body
            waiting.append((node.body, depth))
            continue
        steps.append(Step(depth, print_tree(node), tuple(watched.seen.get(Identity(node), ()))))
        if not _is_path(node):
            waiting.extend((child, depth + 1) for child in reversed(list(children(node))))
    return steps


def _is_path(node: Node) -> bool:
    """True for a root or variable and fields of it: its parts would only repeat the data."""
    while isinstance(node, Field):
        node = node.of
    return isinstance(node, Root | Context | Name)


class _Watched(Interpreter):
    """Records the first values of every node, by identity: equal nodes may come to different values."""

    _MOST = 20

    def __init__(self, env: Environment) -> None:
        super().__init__(env)
        self.seen: dict[Identity, list[Value]] = {}

    def value(self, node: Node) -> Value:
        found = super().value(node)
        values = self.seen.setdefault(Identity(node), [])
        if len(values) < self._MOST:
            values.append(found)
        return found
