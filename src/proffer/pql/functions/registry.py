"""Declarations of PQL functions, used by the checker, the evaluators and the docs.

A body is plain Python over arguments already converted to the declared kinds. If an argument is null or
of the wrong kind, the body is not called and the result is `on_null`: false for Boolean functions, empty
for array functions, else null (PQL 2, null column).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from proffer.pql.syntax.limits import MAX_TEXT
from proffer.pql.values.environment import Environment
from proffer.pql.values.times import as_local, as_time
from proffer.pql.values.values import Value, as_number, is_list, is_number, show_number

Body = Callable[..., Value]


class Kind(StrEnum):
    """Kind of value that a parameter accepts or a function returns."""

    ANY = "any value"
    TEXT = "text"
    PRINTABLE = "text or number"
    NUMBER = "number"
    INTEGER = "integer"
    DOUBLE = "double"
    BOOLEAN = "Boolean"
    TIME = "date"
    LOCAL = "date-time"
    ARRAY = "array"
    MAP = "map"
    ENTRY = "map entry"
    ITEM = "item expression"


def _text(value: Value, _env: Environment) -> str | None:
    return value if isinstance(value, str) else None


def _printable(value: Value, _env: Environment) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return show_number(value) if is_number(value) else _text(value, _env)


def _number(value: Value, _env: Environment) -> int | float | None:
    return as_number(value)


def _integer(value: Value, _env: Environment) -> int | None:
    number = as_number(value)
    return int(number) if number is not None and number == int(number) else None


def _array(value: Value, env: Environment) -> list[Value] | None:
    """Return the items of an array; charges them to the work limit."""
    if isinstance(value, Mapping):
        return [value]
    if not is_list(value):
        return None
    env.charge(len(value))
    return list(value)


_CONVERT: dict[Kind, Callable[[Value, Environment], Value]] = {
    Kind.TEXT: _text,
    Kind.PRINTABLE: _printable,
    Kind.NUMBER: _number,
    Kind.DOUBLE: _number,
    Kind.INTEGER: _integer,
    Kind.BOOLEAN: lambda value, _env: value if isinstance(value, bool) else None,
    Kind.TIME: lambda value, env: as_time(value, env.tz),
    Kind.LOCAL: lambda value, env: as_local(value, env.tz),
    Kind.ARRAY: _array,
    Kind.MAP: lambda value, _env: value if isinstance(value, Mapping) else None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One PQL function. `apply(env, *arguments)` computes it and raises only `WorkLimitExceeded`.

    `max_arguments` is None if the last parameter repeats. `is_higher_order`: takes an array and an item
    expression; `apply` gets the items and the value of the expression per item. `pure`: depends on its
    arguments only, so constant calls fold. `row_by_row_reason`: why there is no column form; None if
    there is one.
    """

    name: str
    family: str
    takes: tuple[Kind, ...]
    least: int
    most: int | None
    returns: Kind
    doc: str
    examples: Mapping[str, Any]
    apply: Callable[..., Value]
    on_null: Value
    by_item: bool
    pure: bool
    method: bool
    row_by_row: str | None

    def kind_of(self, position: int) -> Kind:
        """Return the kind of the argument at a position."""
        return self.takes[min(position, len(self.takes) - 1)] if self.takes else Kind.ANY

    @property
    def signature(self) -> str:
        """The call signature, for docs and messages."""
        shown = [kind.value for kind in self.takes]
        shown = [kind if at < self.least else f"{kind}?" for at, kind in enumerate(shown)]
        if self.most is None:
            shown[-1] = f"{shown[-1].removesuffix('?')}…"
        if self.method:
            return f"{shown[0]}.{self.name}({', '.join(shown[1:])})"
        return f"{self.name}({', '.join(shown)})"


def function(
    name: str,
    *,
    takes: tuple[Kind, ...],
    returns: Kind,
    doc: str,
    examples: Mapping[str, Any],
    body: Body,
    optional: int = 0,
    repeats: bool = False,
    with_env: bool = False,
    method: bool = True,
    pure: bool = True,
    row_by_row: str | None = None,
) -> Function:
    """Declare a function. `STDLIB` fills in the family.

    `optional`: number of trailing optional parameters. `repeats`: the last parameter may repeat.
    `with_env`: the body gets the environment first, and calls are not folded.
    """
    on_null = {Kind.BOOLEAN: False, Kind.ARRAY: []}.get(returns)
    by_item = Kind.ITEM in takes
    return Function(
        name=name,
        family="",
        takes=takes,
        least=len(takes) - optional,
        most=None if repeats else len(takes),
        returns=returns,
        doc=doc,
        examples=examples,
        apply=_checked(takes, body, on_null, with_env, returns),
        on_null=on_null,
        by_item=by_item,
        pure=pure and not with_env,
        method=method,
        row_by_row=row_by_row or ("arrays are evaluated row by row" if by_item else None),
    )


def _checked(
    takes: tuple[Kind, ...], body: Body, on_null: Value, with_env: bool, returns: Kind
) -> Callable[..., Value]:
    """Return the body wrapped in its argument conversions."""
    # Higher-order functions get items that are already visited and charged.
    ready_made = {Kind.ARRAY} if Kind.ITEM in takes else set()
    converters = [None if kind in ready_made else _CONVERT.get(kind) for kind in takes]
    last = converters[-1] if converters else None

    def apply(env: Environment, *arguments: Value) -> Value:
        ready = [env] if with_env else []
        for at, argument in enumerate(arguments):
            convert = converters[at] if at < len(converters) else last
            if convert is not None:
                argument = convert(argument, env)  # noqa: PLW2901 - converted in place
                if argument is None:
                    return [] if returns is Kind.ARRAY else on_null
            ready.append(argument)
        return body(*ready)

    def apply_text(env: Environment, *arguments: Value) -> Value:
        result = apply(env, *arguments)
        return None if isinstance(result, str) and len(result) > MAX_TEXT else result

    return apply_text if returns is Kind.TEXT else apply
