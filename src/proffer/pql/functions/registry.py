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
from proffer.pql.values.values import Value, as_number, is_list, to_text

Body = Callable[..., Value]


class ValueKind(StrEnum):
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


_CONVERT: dict[ValueKind, Callable[[Value, Environment], Value]] = {
    ValueKind.TEXT: _text,
    ValueKind.PRINTABLE: lambda value, _env: to_text(value),
    ValueKind.NUMBER: _number,
    ValueKind.DOUBLE: _number,
    ValueKind.INTEGER: _integer,
    ValueKind.BOOLEAN: lambda value, _env: value if isinstance(value, bool) else None,
    ValueKind.TIME: lambda value, env: as_time(value, env.tz),
    ValueKind.LOCAL: lambda value, env: as_local(value, env.tz),
    ValueKind.ARRAY: _array,
    ValueKind.MAP: lambda value, _env: value if isinstance(value, Mapping) else None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One PQL function. `apply(env, *arguments)` computes it and raises only `WorkLimitExceeded`.

    `max_arguments` is None if the last parameter repeats. `is_higher_order`: takes an array and an item
    expression; `apply` gets the items and the value of the expression per item. `returns_items`: the result is
    an item or items of the first argument. `pure`: depends on its arguments only, so constant calls fold.
    `row_by_row_reason`: why there is no column form; None if there is one.
    """

    name: str
    family: str
    parameter_kinds: tuple[ValueKind, ...]
    min_arguments: int
    max_arguments: int | None
    returns: ValueKind
    doc: str
    examples: Mapping[str, Any]
    apply: Callable[..., Value]
    on_null: Value
    is_higher_order: bool
    returns_items: bool
    pure: bool
    method: bool
    row_by_row_reason: str | None

    def kind_of(self, position: int) -> ValueKind:
        """Return the kind of the argument at a position."""
        return (
            self.parameter_kinds[min(position, len(self.parameter_kinds) - 1)]
            if self.parameter_kinds
            else ValueKind.ANY
        )

    @property
    def signature(self) -> str:
        """The call signature, for docs and messages."""
        parameters = [kind.value for kind in self.parameter_kinds]
        parameters = [kind if position < self.min_arguments else f"{kind}?" for position, kind in enumerate(parameters)]
        if self.max_arguments is None:
            parameters[-1] = f"{parameters[-1].removesuffix('?')}…"
        if self.method:
            return f"{parameters[0]}.{self.name}({', '.join(parameters[1:])})"
        return f"{self.name}({', '.join(parameters)})"


def function(
    name: str,
    *,
    parameter_kinds: tuple[ValueKind, ...],
    returns: ValueKind,
    doc: str,
    examples: Mapping[str, Any],
    body: Body,
    optional: int = 0,
    repeats: bool = False,
    with_env: bool = False,
    method: bool = True,
    pure: bool = True,
    returns_items: bool = False,
    row_by_row_reason: str | None = None,
) -> Function:
    """Declare a function. `STDLIB` fills in the family.

    `optional`: number of trailing optional parameters. `repeats`: the last parameter may repeat.
    `with_env`: the body gets the environment first, and calls are not folded.
    """
    on_null = {ValueKind.BOOLEAN: False, ValueKind.ARRAY: []}.get(returns)
    is_higher_order = ValueKind.ITEM in parameter_kinds
    return Function(
        name=name,
        family="",
        parameter_kinds=parameter_kinds,
        min_arguments=len(parameter_kinds) - optional,
        max_arguments=None if repeats else len(parameter_kinds),
        returns=returns,
        doc=doc,
        examples=examples,
        apply=_with_conversions(parameter_kinds, body, on_null, with_env, returns),
        on_null=on_null,
        is_higher_order=is_higher_order,
        returns_items=returns_items,
        pure=pure and not with_env,
        method=method,
        row_by_row_reason=row_by_row_reason or ("arrays are evaluated row by row" if is_higher_order else None),
    )


def _with_conversions(
    parameter_kinds: tuple[ValueKind, ...],
    body: Body,
    on_null: Value,
    with_env: bool,
    returns: ValueKind,
) -> Callable[..., Value]:
    """Return the body wrapped in its argument conversions."""
    # Higher-order functions get items that are already visited and charged.
    unconverted_kinds = {ValueKind.ARRAY} if ValueKind.ITEM in parameter_kinds else set()
    converters = [None if kind in unconverted_kinds else _CONVERT.get(kind) for kind in parameter_kinds]
    last_converter = converters[-1] if converters else None

    def apply(env: Environment, *arguments: Value) -> Value:
        converted_arguments = [env] if with_env else []
        for position, argument in enumerate(arguments):
            convert = converters[position] if position < len(converters) else last_converter
            if convert is not None:
                argument = convert(argument, env)  # noqa: PLW2901 - converted in place
                if argument is None:
                    return [] if returns is ValueKind.ARRAY else on_null
            converted_arguments.append(argument)
        return body(*converted_arguments)

    def apply_text(env: Environment, *arguments: Value) -> Value:
        result = apply(env, *arguments)
        return None if isinstance(result, str) and len(result) > MAX_TEXT else result

    return apply_text if returns is ValueKind.TEXT else apply
