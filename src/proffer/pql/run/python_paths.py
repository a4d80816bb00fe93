"""Code generation helpers: statements, blocks, and loading of field paths."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from proffer.pql.syntax.nodes import Context, Field, Name, Node, Root

_ENV_ROOTS = {"profile": "env.profile", "xEvent": "env.events", "offer": "env.offer"}
_PROFILE = ("", "profile")


class BlockWriter:
    """Emits source lines and tracks which paths are already in a variable."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.constants: list[str] = []
        self.depth = 0
        self.names = 0
        self.loops = 0
        # INVARIANT: these paths are loaded on every control path to this point of the source.
        self.loaded: dict[tuple[str, ...], str] = {}

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Emit an indented block. Paths loaded inside are not available after it."""
        self.line(head)
        before, self.loaded = self.loaded, dict(self.loaded)
        self.depth += 1
        start = len(self.lines)
        yield
        if len(self.lines) == start:
            self.line("pass")
        self.depth -= 1
        self.loaded = before

    def aside(self, write: Callable[[], str]) -> tuple[list[str], str]:
        """Return an expression and its statements, indented one level, without emitting them."""
        start, before = len(self.lines), dict(self.loaded)
        self.depth += 1
        expression = write()
        self.depth -= 1
        body = self.lines[start:]
        del self.lines[start:]
        if body:
            self.loaded = before
        return body, expression

    def name(self) -> str:
        self.names += 1
        return f"t{self.names}"

    def keep(self, expression: str) -> str:
        """Store the expression in a variable, so that it can be used twice; return its name."""
        if expression.isidentifier():
            return expression
        name = self.name()
        self.line(f"{name} = {expression}")
        return name

    def settle(self, name: str, expression: str) -> str:
        """Assign the expression to a reassignable variable; return its name."""
        name = name or self.name()
        if expression != name:
            self.line(f"{name} = {expression}")
        return name

    def bound_constant(self, expression: str) -> str:
        """Return the name of a constant that is evaluated once, when the source is loaded."""
        name = f"K{len(self.constants)}"
        self.constants.append(f"{name}={expression}")
        return name


class PathWriter(BlockWriter):
    """Loads each path once: dictionaries inline, all other values through `path`.

    The `xdm:` spelling of a field is looked up only if the plain name is missing.
    """

    def value(self, node: Node) -> str:
        raise NotImplementedError

    def load(self, node: Any) -> str:
        """Return the variable that holds the value of a path, loading it if necessary."""
        names: list[str] = []
        while isinstance(node, Field):
            names.append(node.name)
            node = node.of
        names.reverse()
        base = self.base(node)
        if not names:
            return base
        known = self.loaded.get((base, *names))
        if known is None:
            known = self.loaded[base, *names] = self.load_steps(base, names)
        return known

    def base(self, node: Node) -> str:
        match node:
            case Root(name):
                return self.once((name,), _ENV_ROOTS.get(name) or f"env.variables.get({name!r})")
            case Context(reference):
                return self.once(("@", reference), f"env.context.get({reference!r})")
            case Name(name):
                return name
            case _:
                return self.keep(self.value(node))

    def once(self, key: tuple[str, ...], expression: str) -> str:
        key = ("", *key)
        if key not in self.loaded:
            self.loaded[key] = self.keep(expression)
        return self.loaded[key]

    def load_steps(self, base: str, names: list[str]) -> str:
        here = base
        for at in range(len(names) - 1):
            here = self.raw_step(base, here, names[: at + 1])
        last, name = names[-1], self.name()
        certain = self.is_profile(here)
        got = f"{here}.get({last!r})"
        whole = f"path({base}, {', '.join(map(repr, names))})"
        if not certain:
            got = f"{got} if {here}.__class__ is dict else {self.absent(base, here, names)}{whole}"
        self.line(f"{name} = {got}")
        guard = "" if certain else f" and {here}.__class__ is dict"
        self.line(f"if {name} is None{guard}: {name} = {here}.get({f'xdm:{last}'!r})")
        return name

    def absent(self, base: str, here: str, names: list[str]) -> str:
        """Return an inline guard for a missing object, the common case."""
        if len(names) == 2 and self.is_profile(base):
            return f"None if {here} is None and {f'xdm:{names[0]}'!r} not in {base} else "
        return f"None if {base} is None else "

    def raw_step(self, base: str, here: str, names: list[str]) -> str:
        """Load an intermediate dictionary by the plain field name, else None."""
        key = ("raw", base, *names)
        if key not in self.loaded:
            got = f"{here}.get({names[-1]!r})"
            self.loaded[key] = self.keep(
                got if self.is_profile(here) else f"{got} if {here}.__class__ is dict else None"
            )
        return self.loaded[key]

    def is_profile(self, name: str) -> bool:
        """Return whether a variable holds the profile, which is always a dictionary."""
        return name == self.loaded.get(_PROFILE)
