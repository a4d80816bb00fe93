"""The field paths a rule reads, for profile loading and the read limits (PQL 3, 4.2)."""

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

_SAME_ITEMS = frozenset({"filter", "topN", "bottomN", "head", "distinct"})
"""Functions that return items of their array: a field of the result is one of the array."""


def reads_of(core: Node) -> frozenset[str]:
    """Return the field paths of a resolved tree, each with its root."""
    reader = _Reader()
    reader.use(core)
    return frozenset(reader.found)


def longest(reads: frozenset[str]) -> list[str]:
    """Return the paths that are not a prefix of another path, sorted."""
    return sorted(
        path for path in reads if not any(other.startswith(f"{path}.") for other in reads)
    )


class _Reader:
    def __init__(self) -> None:
        self.found: set[str] = set()
        self.ranges_over: dict[str, str | None] = {}

    def use(self, node: Node | None) -> None:
        """Record the path read by a node whose value is used directly."""
        if node is not None and (path := self.path(node)) is not None:
            self.found.add(path)

    def path(self, node: Node) -> str | None:
        """Return the path of a node, which may be extended; record the reads of other nodes."""
        match node:
            case Root(name):
                return name
            case Context(reference):
                return f"context:{reference}"
            case Name(name):
                return self.ranges_over.get(name)
            case Field(of, name):
                before = self.path(of)
                return None if before is None else f"{before}.{name}"
            case Filter(of, Lambda() as test):
                return self.over(of, test)
            case Call(_, (of, Lambda() as item, *rest)):
                before = self.over(of, item)
                for argument in rest:
                    self.use(argument)
                return self.after_call(node, before)
            case Call(_, (of, *rest)):
                for argument in rest:
                    self.use(argument)
                return self.after_call(node, self.path(of))
            case Let(name, value, body):
                self.ranges_over[name] = self.path(value)
                return self.path(body)
            case Quantifier(_, declarations):
                self.declare(declarations)
            case Select(declarations):
                return self.declare(declarations)
            case Aggregate(_, value, declarations):
                self.declare(declarations)
                self.use(value)
            case Chain(events, Lambda() as timestamp, steps):
                over = self.over(events, timestamp)
                for step in steps:
                    if isinstance(step.what, Lambda):
                        self.bind(step.what, over)
                    for below in children(step):
                        self.use(below.body if isinstance(below, Lambda) else below)
            case _:
                for below in children(node):
                    self.use(below)
        return None

    def over(self, of: Node, item: Lambda) -> str | None:
        before = self.path(of)
        self.bind(item, before)
        self.use(item.body)
        return before

    def bind(self, item: Lambda, path: str | None) -> None:
        for name in item.parameters:
            self.ranges_over[name] = path

    def after_call(self, node: Call, before: str | None) -> str | None:
        """Return the path of a call result: its array for item functions, else None."""
        if node.function in _SAME_ITEMS:
            return before
        if before is not None:
            self.found.add(before)
        if node.function == "inSegment":
            self.found.add("profile.segmentMembership")
        return None

    def declare(self, declarations: tuple[Declaration, ...]) -> str | None:
        first: str | None = None
        for at, declaration in enumerate(declarations):
            path = self.path(declaration.source)
            self.ranges_over[declaration.name] = path
            self.use(declaration.test)
            if path is not None:
                self.found.add(path)
            first = path if at == 0 else first
        return first
