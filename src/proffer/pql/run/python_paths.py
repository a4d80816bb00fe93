"""Code generation helpers: statements, blocks, and loading of field paths."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from proffer.pql.syntax.nodes import Context, Field, Name, Node, Root

_ENV_ROOTS = {"profile": "env.profile", "xEvent": "env.events", "offer": "env.offer"}
_PROFILE = ("", "profile")


class CodeWriter:
    """Emits source lines and tracks which paths are already in a variable."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.constants: list[str] = []
        self.depth = 0
        self.name_count = 0
        self.loop_count = 0
        # INVARIANT: these paths are loaded on every control path to this point of the source.
        self.variable_by_path: dict[tuple[str, ...], str] = {}

    def write_line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Emit an indented block. Paths loaded inside are not available after it."""
        self.write_line(head)
        outer_variables, self.variable_by_path = self.variable_by_path, dict(self.variable_by_path)
        self.depth += 1
        start = len(self.lines)
        yield
        if len(self.lines) == start:
            self.write_line("pass")
        self.depth -= 1
        self.variable_by_path = outer_variables

    def capture(self, write: Callable[[], str]) -> tuple[list[str], str]:
        """Return an expression and its statements, indented one level, without emitting them."""
        start, outer_variables = len(self.lines), dict(self.variable_by_path)
        self.depth += 1
        expression = write()
        self.depth -= 1
        body = self.lines[start:]
        del self.lines[start:]
        if body:
            self.variable_by_path = outer_variables
        return body, expression

    def new_name(self) -> str:
        self.name_count += 1
        return f"t{self.name_count}"

    def store(self, expression: str) -> str:
        """Store the expression in a variable and return its name. It can then be used twice."""
        if expression.isidentifier():
            return expression
        name = self.new_name()
        self.write_line(f"{name} = {expression}")
        return name

    def store_in(self, name: str, expression: str) -> str:
        """Assign the expression to a reassignable variable; return its name."""
        name = name or self.new_name()
        if expression != name:
            self.write_line(f"{name} = {expression}")
        return name

    def add_constant(self, expression: str) -> str:
        """Add a constant and return its name. It is evaluated once, when the source is loaded."""
        name = f"K{len(self.constants)}"
        self.constants.append(f"{name}={expression}")
        return name


class PathWriter(CodeWriter):
    """Loads each path once: dictionaries inline, all other values through `path`.

    The `xdm:` spelling of a field is looked up only if the plain name is missing.
    """

    def value(self, node: Node) -> str:
        raise NotImplementedError

    def load(self, node: Any) -> str:
        """Return the variable with a path's value, loading it if necessary."""
        names: list[str] = []
        while isinstance(node, Field):
            names.append(node.name)
            node = node.of
        names.reverse()
        base = self.load_base(node)
        if not names:
            return base
        variable = self.variable_by_path.get((base, *names))
        if variable is None:
            variable = self.variable_by_path[base, *names] = self.load_steps(base, names)
        return variable

    def load_base(self, node: Node) -> str:
        match node:
            case Root(name):
                return self.load_once((name,), _ENV_ROOTS.get(name) or f"env.variables.get({name!r})")
            case Context(reference):
                return self.load_once(("@", reference), f"env.context.get({reference!r})")
            case Name(name):
                return name
            case _:
                return self.store(self.value(node))

    def load_once(self, key: tuple[str, ...], expression: str) -> str:
        key = ("", *key)
        if key not in self.variable_by_path:
            self.variable_by_path[key] = self.store(expression)
        return self.variable_by_path[key]

    def load_steps(self, base: str, names: list[str]) -> str:
        container = base
        for position in range(len(names) - 1):
            container = self.load_step(base, container, names[: position + 1])
        last, name = names[-1], self.new_name()
        is_dict = self.is_profile(container)
        expression = f"{container}.get({last!r})"
        slow_path = f"path({base}, {', '.join(map(repr, names))})"
        if not is_dict:
            otherwise = f"{self.absent_guard(base, container, names)}{slow_path}"
            expression = f"{expression} if {container}.__class__ is dict else {otherwise}"
        self.write_line(f"{name} = {expression}")
        guard = "" if is_dict else f" and {container}.__class__ is dict"
        self.write_line(f"if {name} is None{guard}: {name} = {container}.get({f'xdm:{last}'!r})")
        return name

    def absent_guard(self, base: str, container: str, names: list[str]) -> str:
        """Return an inline guard for a missing object, the common case."""
        if len(names) == 2 and self.is_profile(base):
            return f"None if {container} is None and {f'xdm:{names[0]}'!r} not in {base} else "
        return f"None if {base} is None else "

    def load_step(self, base: str, container: str, names: list[str]) -> str:
        """Load an intermediate dictionary by the plain field name, else None."""
        key = ("raw", base, *names)
        if key not in self.variable_by_path:
            expression = f"{container}.get({names[-1]!r})"
            self.variable_by_path[key] = self.store(
                expression if self.is_profile(container) else f"{expression} if {container}.__class__ is dict else None"
            )
        return self.variable_by_path[key]

    def is_profile(self, name: str) -> bool:
        """Return whether a variable holds the profile, which is always a dictionary."""
        return name == self.variable_by_path.get(_PROFILE)
