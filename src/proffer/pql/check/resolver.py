"""Name resolution: bare names, `^name`, `$1` and function calls (PQL 1.2).

The resolved tree has no implicit context: item expressions become lambdas, every variable gets a unique
name, and a bare field name becomes a field of its root or variable.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from proffer.pql.functions.registry import Function, ValueKind
from proffer.pql.functions.stdlib import STDLIB
from proffer.pql.syntax.diagnostics import Diagnostic, TextFix, closest
from proffer.pql.syntax.limits import MAX_CHAIN_STEPS, MAX_LOOPS
from proffer.pql.syntax.nodes import (
    Aggregate,
    Call,
    Chain,
    Declaration,
    Field,
    Filter,
    Lambda,
    Let,
    Literal,
    Logic,
    Name,
    Negate,
    Node,
    Parameter,
    Quantifier,
    Root,
    Select,
    Step,
    TimeWord,
    Up,
    map_children,
    name_span,
)
from proffer.pql.syntax.source import TextSpan

WELL_KNOWN_ROOTS = ("profile", "xEvent", "offer")
_NULL = Literal(None)
_FOREIGN_FUNCTIONS = {
    "exists": "isNotNull",
    "has": "isNotNull",
    "isdefined": "isNotNull",
    "len": "length",
    "lower": "lowerCase",
    "size": "count",
    "tolower": "lowerCase",
    "tolowercase": "lowerCase",
    "toupper": "upperCase",
    "touppercase": "upperCase",
    "upper": "upperCase",
    "year": "getYear",
}
"""Functions of other languages, in lower case, and what they are called here."""


@dataclass(frozen=True, slots=True)
class NameScope:
    """The names visible at one point of the tree. `contexts` are ordered outermost first."""

    variables: Mapping[str, str]
    contexts: tuple[Node, ...]
    loops: int = 0
    in_map_body: bool = False


@dataclass(slots=True)
class Resolver:
    """Resolves the names of one tree and collects the findings."""

    roots: Collection[str]
    text: str = ""
    """The text of the rule, for the spans of names."""
    findings: list[Diagnostic] = field(default_factory=list)
    variable_count: int = 0
    random_count: int = 0
    scope: NameScope = field(default_factory=lambda: NameScope({}, (Root("profile"),)))

    def resolve_all(self, tree: Node) -> Node:
        """Resolve a whole rule; a lambda at the top names the parameters."""
        if not isinstance(tree, Lambda):
            return self.resolve(tree)
        parameters = [self.parameter(index + 1, tree.span) for index in range(len(tree.parameters))]
        with self.bound_scope(tree.parameters, loops=0) as names:
            resolved = self.resolve(tree.body)
        parameter_by_name = dict(zip(names, parameters, strict=True))

        def substitute(node: Node) -> Node:
            return parameter_by_name.get(node.name, node) if isinstance(node, Name) else map_children(node, substitute)

        return substitute(resolved)

    def resolve(self, node: Node) -> Node:
        resolve = _RESOLVE_BY_NODE.get(type(node))
        return map_children(node, self.resolve) if resolve is None else resolve(self, node)

    def report(
        self, code: str, message: str, span: TextSpan, help_: str | None = None, fix: TextFix | None = None
    ) -> None:
        self.findings.append(Diagnostic(code, message, help_, span, fix=fix))

    def bind(self, names: tuple[str, ...], *, loops: int = 1, context: bool = False) -> tuple[str, ...]:
        """Bind variables from here on; with `context` the first becomes the implicit context."""
        unique_names = tuple(f"v{self.variable_count + index + 1}" for index in range(len(names)))
        self.variable_count += len(names)
        scope = self.scope
        if context:
            variables, contexts = scope.variables, (*scope.contexts, Name(unique_names[0]))
        else:
            variables, contexts = (
                {**scope.variables, **dict(zip(names, unique_names, strict=True))},
                scope.contexts,
            )
        self.scope = NameScope(variables, contexts, scope.loops + loops)
        return unique_names

    @contextmanager
    def bound_scope(
        self, names: tuple[str, ...], *, loops: int = 1, context: bool = False
    ) -> Iterator[tuple[str, ...]]:
        """Like `bind`, but for the duration of a `with` block."""
        outer = self.scope
        yield self.bind(names, loops=loops, context=context)
        self.scope = outer

    # --- names

    def name(self, node: Name) -> Node:
        if node.name in self.scope.variables:
            return Name(self.scope.variables[node.name], span=node.span)
        if node.name in self.roots:
            return Root(node.name, span=node.span)
        if node.name in WELL_KNOWN_ROOTS:
            help_ = f"write `profile.{node.name}` for a field of the profile"
            self.report("pql.unknown-root", f"`{node.name}` is not available here", node.span, help_)
        return Field(self.scope.contexts[-1], node.name, span=node.span)

    def up(self, node: Up) -> Node:
        if node.levels >= len(self.scope.contexts):
            return replace(_NULL, span=node.span)
        return Field(self.scope.contexts[-1 - node.levels], node.name, span=node.span)

    def parameter(self, position: int, span: TextSpan) -> Node:
        name = "profile" if position == 1 else f"${position}"
        if name not in self.roots:
            self.report("pql.unknown-root", f"this rule has no parameter `${position}`", span)
        return Root(name, span=span)

    def time_word(self, node: TimeWord) -> Node:
        return self.name(Name(node.word, span=node.span)) if node.word in self.scope.variables else node

    # --- calls and item expressions

    def call(self, node: Call) -> Node:
        function = STDLIB.get(node.function)
        if function is None:
            self.report_unknown_function(node)
            return Call(node.function, self.arguments(node.arguments), span=node.span)
        self.check_arity(function, node)
        if node.function == "random":
            self.random_count += 1
            return Call("random", (Literal(self.random_count),), span=node.span)
        if node.function == "mapEntry" and not self.scope.in_map_body:
            self.report("pql.type", "`mapEntry` is valid only in `map(…)`", node.span)
        if not function.is_higher_order:
            return Call(node.function, self.arguments(node.arguments), span=node.span)
        arguments = [
            self.item_lambda(argument, in_map_body=node.function == "map")
            if function.kind_of(position) is ValueKind.ITEM
            else self.argument(argument)
            for position, argument in enumerate(node.arguments)
        ]
        return Call(node.function, tuple(arguments), span=node.span)

    def report_unknown_function(self, node: Call) -> None:
        match = _FOREIGN_FUNCTIONS.get(node.function.lower()) or closest(node.function, STDLIB)
        span = name_span(node, self.text)
        self.report(
            "pql.unknown-function",
            f"there is no function `{node.function}`",
            span,
            f"did you mean `{match}`?" if match else None,
            TextFix(span, match) if match else None,
        )

    def arguments(self, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
        return tuple(self.argument(node) for node in nodes)

    def argument(self, node: Node) -> Node:
        if isinstance(node, Lambda):
            self.report("pql.type", "an item expression is not a value", node.span, "write a value instead")
            return _NULL
        return self.resolve(node)

    def check_arity(self, function: Function, node: Call) -> None:
        argument_count = len(node.arguments)
        if argument_count < function.min_arguments or (
            function.max_arguments is not None and argument_count > function.max_arguments
        ):
            plural = "" if argument_count == 1 else "s"
            message = f"`{function.name}` cannot be called with {argument_count} argument{plural}"
            self.report("pql.arity", message, name_span(node, self.text), f"call it as `{function.signature}`")

    def item_lambda(self, node: Node, *, in_map_body: bool = False) -> Lambda:
        """Resolve an expression evaluated per item; bare names in it are fields of the item."""
        self.check_loops(node)
        if isinstance(node, Lambda):
            if len(node.parameters) > 2:
                self.report(
                    "pql.arity",
                    "an item expression takes one item, or a key and a value",
                    node.span,
                )
            with self.bound_scope(node.parameters) as names:
                self.scope = replace(self.scope, in_map_body=in_map_body)
                return Lambda(names, self.resolve(node.body), span=node.span)
        with self.bound_scope(("item",), context=True) as names:
            self.scope = replace(self.scope, in_map_body=in_map_body)
            return Lambda(names, self.resolve(node), span=node.span)

    def check_loops(self, node: Node) -> None:
        if self.scope.loops == MAX_LOOPS:
            message = f"item expressions and quantifiers nest at most {MAX_LOOPS} deep"
            self.report("pql.too-deep", message, node.span)

    def filter(self, node: Filter) -> Node:
        return Filter(self.resolve(node.of), self.item_lambda(node.test), span=node.span)

    def misplaced_lambda(self, node: Lambda) -> Node:
        if (finding := constant_item(node, self.text)) is not None:
            self.findings.append(finding)
        else:
            help_ = "use it as an argument of `map`"
            self.report("pql.type", "an item expression is not a value", node.span, help_)
        return _NULL

    # --- binding forms

    def let(self, node: Let) -> Node:
        value = self.resolve(node.value)
        with self.bound_scope((node.name,), loops=0) as (name,):
            return Let(name, value, self.resolve(node.body), span=node.span)

    def resolve_declarations(
        self,
        declarations: tuple[Declaration, ...],
        finish: Callable[[tuple[Declaration, ...]], Node],
    ) -> Node:
        """Resolve declarations: each is visible in its own condition and everything after it."""
        outer = self.scope
        resolved_declarations: list[Declaration] = []
        for declaration in declarations:
            self.check_loops(declaration)
            source = self.resolve(declaration.source)
            (name,) = self.bind((declaration.name,))
            test = None if declaration.test is None else self.resolve(declaration.test)
            resolved_declarations.append(Declaration(name, source, test, span=declaration.span))
        result = finish(tuple(resolved_declarations))
        self.scope = outer
        return result

    def quantifier(self, node: Quantifier) -> Node:
        return self.resolve_declarations(
            node.declarations,
            lambda resolved_declarations: Quantifier(node.kind, resolved_declarations, span=node.span),
        )

    def select(self, node: Select) -> Node:
        return self.resolve_declarations(
            node.declarations,
            lambda resolved_declarations: Select(resolved_declarations, span=node.span),
        )

    def aggregate(self, node: Aggregate) -> Node:
        return self.resolve_declarations(
            node.declarations,
            lambda resolved_declarations: Aggregate(
                node.function, self.resolve(node.value), resolved_declarations, span=node.span
            ),
        )

    def chain(self, node: Chain) -> Node:
        if len(node.steps) > MAX_CHAIN_STEPS:
            self.report("pql.limit", f"a chain has at most {MAX_CHAIN_STEPS} steps", node.span)
        events = self.resolve(node.events)
        steps = tuple(
            Step(
                step.label,
                self.item_lambda(step.what),
                step.when and map_children(step.when, self.resolve),
                span=step.span,
            )
            for step in node.steps
        )
        return Chain(events, self.item_lambda(node.timestamp), steps, span=node.span)


def constant_item(node: Lambda, text: str) -> Diagnostic | None:
    """Return the error of `age => 18`, which looks like a comparison; None for other item expressions."""
    value = node.body.parts[0] if isinstance(node.body, Logic) else node.body
    value = value.operand if isinstance(value, Negate) else value
    start = text.find("=>", max(node.span.start, 0))
    if len(node.parameters) != 1 or not isinstance(value, Literal) or isinstance(value.value, bool | None) or start < 0:
        return None
    span = TextSpan(start, start + 2)
    return Diagnostic("pql.syntax", "`=>` is not a comparison", "use `>=`", span, fix=TextFix(span, ">="))


_RESOLVE_BY_NODE: dict[type[Node], Callable[..., Node]] = {
    Name: Resolver.name,
    Up: Resolver.up,
    Parameter: lambda self, node: self.parameter(node.position, node.span),
    TimeWord: Resolver.time_word,
    Call: Resolver.call,
    Filter: Resolver.filter,
    Lambda: Resolver.misplaced_lambda,
    Let: Resolver.let,
    Quantifier: Resolver.quantifier,
    Select: Resolver.select,
    Aggregate: Resolver.aggregate,
    Chain: Resolver.chain,
}
"""Node types that are a name or have a scope. In the others only the children are resolved."""
