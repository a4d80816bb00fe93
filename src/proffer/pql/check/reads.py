"""The field paths a rule reads. Used for profile loading and the read limits (PQL 3, 4.2)."""

from proffer.pql.functions.maps import MEMBERSHIP_FUNCTIONS
from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.syntax.nodes import (
    Aggregate,
    Call,
    Chain,
    Context,
    Declaration,
    Field,
    Filter,
    Lambda,
    Let,
    Name,
    Node,
    Quantifier,
    Root,
    Select,
    children,
)


def reads_of(core: Node) -> frozenset[str]:
    """Return the field paths of a resolved tree, each with its root."""
    collector = _ReadCollector()
    collector.add(core)
    return frozenset(collector.paths)


def longest_paths(reads: frozenset[str]) -> list[str]:
    """Return the paths that are not a prefix of another path, sorted."""
    return sorted(path for path in reads if not any(other_path.startswith(f"{path}.") for other_path in reads))


class _ReadCollector:
    def __init__(self) -> None:
        self.paths: set[str] = set()
        self.path_by_variable: dict[str, str | None] = {}

    def add(self, node: Node | None) -> None:
        """Record the path read by a node whose value is used directly."""
        if node is not None and (path := self.path_of(node)) is not None:
            self.paths.add(path)

    def path_of(self, node: Node) -> str | None:
        """Return the path of a node, which may be extended; record the reads of other nodes."""
        match node:
            case Root(name):
                return name
            case Context(reference):
                return f"context:{reference}"
            case Name(name):
                return self.path_by_variable.get(name)
            case Field(of, name):
                base_path = self.path_of(of)
                return None if base_path is None else f"{base_path}.{name}"
            case Filter(of, Lambda() as test):
                return self.add_item_expression(of, test)
            case Call(_, (of, Lambda() as item, *arguments)):
                base_path = self.add_item_expression(of, item)
                for argument in arguments:
                    self.add(argument)
                return self.call_result_path(node, base_path)
            case Call(_, (of, *arguments)):
                for argument in arguments:
                    self.add(argument)
                return self.call_result_path(node, self.path_of(of))
            case Let(name, value, body):
                self.path_by_variable[name] = self.path_of(value)
                return self.path_of(body)
            case Quantifier(_, declarations):
                self.declare(declarations)
            case Select(declarations):
                return self.declare(declarations)
            case Aggregate(_, value, declarations):
                self.declare(declarations)
                self.add(value)
            case Chain(events, Lambda() as timestamp, steps):
                events_path = self.add_item_expression(events, timestamp)
                for step in steps:
                    if isinstance(step.what, Lambda):
                        self.bind(step.what, events_path)
                    for child in children(step):
                        self.add(child.body if isinstance(child, Lambda) else child)
            case _:
                for child in children(node):
                    self.add(child)
        return None

    def add_item_expression(self, of: Node, item: Lambda) -> str | None:
        base_path = self.path_of(of)
        self.bind(item, base_path)
        self.add(item.body)
        return base_path

    def bind(self, item: Lambda, path: str | None) -> None:
        for name in item.parameters:
            self.path_by_variable[name] = path

    def call_result_path(self, node: Call, base_path: str | None) -> str | None:
        """Return the path of a call result: its array for item functions, else None."""
        function = STDLIB.get(node.function)
        if function is not None and function.returns_items:
            return base_path
        if base_path is not None:
            self.paths.add(base_path)
        if node.function in MEMBERSHIP_FUNCTIONS:
            self.paths.add("profile.segmentMembership")
        return None

    def declare(self, declarations: tuple[Declaration, ...]) -> str | None:
        first: str | None = None
        for at, declaration in enumerate(declarations):
            path = self.path_of(declaration.source)
            self.path_by_variable[declaration.name] = path
            self.add(declaration.test)
            if path is not None:
                self.paths.add(path)
            first = path if at == 0 else first
        return first
