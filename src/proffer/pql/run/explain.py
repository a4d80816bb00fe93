"""Explain an evaluation: the value of every part of a rule, recorded by the interpreter."""

from contextlib import suppress
from dataclasses import dataclass

from proffer.pql.checked import CheckedRule
from proffer.pql.forms.printer import print_tree
from proffer.pql.run.interpret import Interpreter
from proffer.pql.syntax.limits import MAX_VISITS
from proffer.pql.syntax.nodes import (
    Constant,
    Context,
    Declaration,
    Field,
    Lambda,
    Literal,
    Name,
    Node,
    ReadAs,
    Root,
    Step,
    TimeTest,
    children,
)
from proffer.pql.values.environment import Environment, WorkLimitExceeded
from proffer.pql.values.identity import ObjectKey
from proffer.pql.values.values import Value


@dataclass(frozen=True, slots=True)
class ExplainStep:
    """One part of a rule. `values`: its values, one per evaluation (at most 20).

    Empty if the part was not evaluated, because an earlier part decided the result.
    """

    depth: int
    text: str
    values: tuple[Value, ...]


def explain(rule: CheckedRule, env: Environment) -> list[ExplainStep]:
    """Return the whole rule and its parts except literals, parents first. Never raises."""
    recorder = _RecordingInterpreter(env)
    env.left = MAX_VISITS
    with suppress(WorkLimitExceeded):  # return the values recorded so far
        recorder.value(rule.core)
    steps: list[ExplainStep] = []
    stack: list[tuple[Node, int]] = [(rule.core, 0)]
    while stack:
        node, depth = stack.pop()
        if isinstance(node, Literal | Constant) and node is not rule.core:
            continue
        if isinstance(node, Lambda | Declaration | Step | TimeTest | ReadAs):  # its parts stand for it
            stack.extend((child, depth) for child in reversed(list(children(node))))
            continue
        steps.append(ExplainStep(depth, print_tree(node), tuple(recorder.values_by_node.get(ObjectKey(node), ()))))
        if not _is_path(node):
            stack.extend((child, depth + 1) for child in reversed(list(children(node))))
    return steps


def _is_path(node: Node) -> bool:
    """Return whether a node is a root or variable with fields; its parts add nothing."""
    while isinstance(node, Field):
        node = node.of
    return isinstance(node, Root | Context | Name)


class _RecordingInterpreter(Interpreter):
    """Records the first values of every node, by identity: equal nodes may differ in value."""

    _MAX_VALUES = 20

    def __init__(self, env: Environment) -> None:
        super().__init__(env)
        self.values_by_node: dict[ObjectKey, list[Value]] = {}

    def value(self, node: Node) -> Value:
        node_value = super().value(node)
        values = self.values_by_node.setdefault(ObjectKey(node), [])
        if len(values) < self._MAX_VALUES:
            values.append(node_value)
        return node_value
