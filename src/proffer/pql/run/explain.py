"""Explain an evaluation: the value of every part of a rule, recorded by the interpreter."""

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
    """One part of a rule. `values`: its values, one per evaluation (at most 20).

    Empty if the part was not evaluated, because an earlier part decided the result.
    """

    depth: int
    text: str
    values: tuple[Value, ...]


def explain(rule: CheckedRule, env: Environment) -> list[Step]:
    """Return the parts of a rule except literals, parents first. Never raises."""
    watched = _Watched(env)
    env.left = MAX_VISITS
    with suppress(TooMuchWork):  # return the values recorded so far
        watched.value(rule.core)
    steps: list[Step] = []
    waiting: list[tuple[Node, int]] = [(rule.core, 0)]
    while waiting:
        node, depth = waiting.pop()
        if isinstance(node, Literal | Constant):
            continue
        if isinstance(node, Lambda):  # its body stands for it
            waiting.append((node.body, depth))
            continue
        steps.append(Step(depth, print_tree(node), tuple(watched.seen.get(Identity(node), ()))))
        if not _is_path(node):
            waiting.extend((child, depth + 1) for child in reversed(list(children(node))))
    return steps


def _is_path(node: Node) -> bool:
    """Return whether a node is a root or variable with fields; its parts add nothing."""
    while isinstance(node, Field):
        node = node.of
    return isinstance(node, Root | Context | Name)


class _Watched(Interpreter):
    """Records the first values of every node, by identity: equal nodes may differ in value."""

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
