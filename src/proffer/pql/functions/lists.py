"""Array functions: selection, aggregation and set operations (PQL 2.3, 2.5).

Sets compare by value without conversion: 3 and 3.0 are equal, 3 and "3" are not. Date-times are instants (R45).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from proffer.pql.functions.registry import Function, ValueKind, function
from proffer.pql.syntax.limits import MAX_VISITS
from proffer.pql.values.environment import Environment
from proffer.pql.values.values import (
    Value,
    as_key,
    as_number,
    equal,
    sort_key,
    to_text,
    truth,
)

Items = list[Value]


class MapEntry:
    """The result of `mapEntry`: one entry of the map that `map` builds."""

    __slots__ = ("key", "value")

    def __init__(self, key: str, value: Value) -> None:
        self.key = key
        self.value = value


def _higher_order(
    name: str,
    returns: ValueKind,
    doc: str,
    examples: Mapping[str, Any],
    body: Callable[..., Value],
    *,
    optional: bool,
    returns_items: bool = False,
) -> Function:
    """Declare a function of array items and one key per item."""
    return function(
        name,
        parameter_kinds=(ValueKind.ARRAY, ValueKind.ITEM),
        optional=int(optional),
        returns=returns,
        doc=doc,
        examples=examples,
        body=body,
        returns_items=returns_items,
    )


def _array_function(
    name: str,
    returns: ValueKind,
    doc: str,
    examples: Mapping[str, Any],
    body: Callable[..., Value],
    *,
    arrays: int = 1,
    returns_items: bool = False,
) -> Function:
    return function(
        name,
        parameter_kinds=(ValueKind.ARRAY,) * arrays,
        returns=returns,
        doc=doc,
        examples=examples,
        body=body,
        returns_items=returns_items,
        row_by_row_reason="arrays are evaluated row by row",
    )


_set_function = partial(_array_function, arrays=2)


def _map(_items: Items, keys: Items) -> Value:
    if keys and all(isinstance(key, MapEntry) for key in keys):
        return {entry.key: entry.value for entry in keys}
    return [None if isinstance(key, MapEntry) else key for key in keys]


def _group_by(items: Items, keys: Items) -> dict[str, Items]:
    """Group items by key; keys become texts, as in JSON; null keys are skipped."""
    groups: dict[str, Items] = {}
    for item, key in zip(items, keys, strict=True):
        text_key = to_text(key)
        if text_key is not None:
            groups.setdefault(text_key, []).append(item)
    return groups


def _distinct(items: Items) -> Items:
    seen: dict[Any, Value] = {}
    for item in items:
        seen.setdefault(as_key(item), item)
    return list(seen.values())


def _keys(items: Items) -> set[Any]:
    return {as_key(item) for item in items}


def _intersection(items: Items, other_items: Items) -> Items:
    other_keys = _keys(other_items)
    return [item for item in _distinct(items) if as_key(item) in other_keys]


def _select_ranked(items: Items, keys: Items, count: int, *, descending: bool) -> Items:
    """Return the first `count` items by key; ties keep their order, unsortable keys are skipped."""
    sortable_items = [
        (item_key, item) for item, key in zip(items, keys, strict=True) if (item_key := sort_key(key)) is not None
    ]
    sortable_items.sort(key=lambda pair: pair[0], reverse=descending)
    return [item for _, item in sortable_items[: max(0, count)]]


def _sum(_items: Items, keys: Items) -> int | float | None:
    numbers = [number for key in keys if (number := as_number(key)) is not None]
    return as_number(sum(numbers))


def _average(items: Items, keys: Items) -> float | None:
    count = sum(1 for key in keys if as_number(key) is not None)
    total = _sum(items, keys)
    return None if not count or total is None else as_number(total / count)


def _extreme(keys: Items, *, largest: bool) -> Value:
    sortable_keys = [(item_key, key) for key in keys if (item_key := sort_key(key)) is not None]
    if not sortable_keys:
        return None
    return (max if largest else min)(sortable_keys, key=lambda pair: pair[0])[1]


def _includes(env: Environment, items: Items, value: Value) -> bool:
    return value is not None and any(equal(value, item, env.tz) for item in items)


_ORDERS = "[30, 10, 20]"

FUNCTIONS = (
    _higher_order(
        "filter",
        ValueKind.ARRAY,
        "The items for which the condition is true, in order; the same as `array[condition]`.",
        {"[5, 21, 40].filter(n => n >= 21)": [21, 40]},
        lambda items, keys: [item for item, key in zip(items, keys, strict=True) if truth(key)],
        optional=False,
        returns_items=True,
    ),
    _higher_order(
        "map",
        ValueKind.ANY,
        "The value of the expression for each item, in order. Over a map the expression takes a key and a "
        "value and gives a `mapEntry`, and the result is a map.",
        {"[1, 2, 3].map(n => n * n)": [1, 4, 9]},
        _map,
        optional=False,
    ),
    _higher_order(
        "groupBy",
        ValueKind.MAP,
        "A map from each value of the expression, as text, to the items that have it.",
        {'[1, 2, 3].groupBy(n => n % 2).get("1")': [1, 3]},
        _group_by,
        optional=False,
    ),
    _higher_order(
        "count",
        ValueKind.INTEGER,
        "The number of items that are not null, or whose expression is not null; 0 for no array.",
        {"[4, 5].count()": 2, "[].count()": 0, "null.count()": 0},
        lambda _items, keys: sum(1 for key in keys if key is not None),
        optional=True,
    ),
    _higher_order(
        "sum",
        ValueKind.NUMBER,
        "The sum of the numbers, or of the expression for each item; 0 for none.",
        {f"{_ORDERS}.sum()": 60, "[1, null].sum()": 1, "[].sum()": 0},
        _sum,
        optional=True,
    ),
    _higher_order(
        "average",
        ValueKind.DOUBLE,
        "The mean of the numbers, or of the expression for each item; null for none.",
        {f"{_ORDERS}.average()": 20, "[].average()": None},
        _average,
        optional=True,
    ),
    _higher_order(
        "min",
        ValueKind.ANY,
        "The smallest number, text or time, or value of the expression; null for none.",
        {f"{_ORDERS}.min()": 10, '["b", "a"].min()': "a", "[].min()": None},
        lambda _items, keys: _extreme(keys, largest=False),
        optional=True,
    ),
    _higher_order(
        "max",
        ValueKind.ANY,
        "The greatest number, text or time, or value of the expression; null for none.",
        {f"{_ORDERS}.max()": 30},
        lambda _items, keys: _extreme(keys, largest=True),
        optional=True,
    ),
    function(
        "topN",
        parameter_kinds=(ValueKind.ARRAY, ValueKind.ITEM, ValueKind.INTEGER),
        returns=ValueKind.ARRAY,
        doc="The given number of items with the greatest values of the expression, greatest first.",
        examples={f"{_ORDERS}.topN(n => n, 2)": [30, 20]},
        body=lambda items, keys, count: _select_ranked(items, keys, count, descending=True),
        returns_items=True,
    ),
    function(
        "bottomN",
        parameter_kinds=(ValueKind.ARRAY, ValueKind.ITEM, ValueKind.INTEGER),
        returns=ValueKind.ARRAY,
        doc="The given number of items with the smallest values of the expression, smallest first.",
        examples={f"{_ORDERS}.bottomN(n => n, 2)": [10, 20]},
        body=lambda items, keys, count: _select_ranked(items, keys, count, descending=False),
        returns_items=True,
    ),
    _array_function(
        "head",
        ValueKind.ANY,
        "The first item; null for none.",
        {"[3, 4].head()": 3, "[].head()": None},
        lambda items: items[0] if items else None,
        returns_items=True,
    ),
    _array_function(
        "distinct",
        ValueKind.ARRAY,
        "The distinct items, in order of their first occurrence.",
        {"[1, 2, 1].distinct()": [1, 2]},
        _distinct,
        returns_items=True,
    ),
    _set_function(
        "intersects",
        ValueKind.BOOLEAN,
        "True when the arrays have an item in common.",
        {'["red", "pink"].intersects(["red"])': True, 'null.intersects(["red"])': False},
        lambda items, operand: not _keys(items).isdisjoint(_keys(operand)),
    ),
    _set_function(
        "intersection",
        ValueKind.ARRAY,
        "The distinct items that are in both arrays, in the order of the first.",
        {"[4, 3, 3, 1].intersection([3, 4])": [4, 3]},
        _intersection,
        returns_items=True,
    ),
    _set_function(
        "subsetOf",
        ValueKind.BOOLEAN,
        "True when every item is in the other array; the empty array is a subset of every array.",
        {"[1].subsetOf([1, 2])": True, "[].subsetOf([1])": True, "null.subsetOf([1])": False},
        lambda items, operand: _keys(items) <= _keys(operand),
    ),
    _set_function(
        "supersetOf",
        ValueKind.BOOLEAN,
        "True when the array has every item of the other.",
        {"[1, 2].supersetOf([1])": True, "[2].supersetOf([1])": False},
        lambda items, operand: _keys(items) >= _keys(operand),
    ),
    function(
        "includes",
        parameter_kinds=(ValueKind.ARRAY, ValueKind.ANY),
        returns=ValueKind.BOOLEAN,
        doc="True when an item equals the value, as `=` compares.",
        examples={'["red"].includes("red")': True, 'null.includes("red")': False},
        body=_includes,
        with_env=True,
        row_by_row_reason="arrays are evaluated row by row",
    ),
    _array_function(
        "countWithNull",
        ValueKind.INTEGER,
        "The number of items, including nulls.",
        {"countWithNull([4, null])": 2},
        len,
    ),
    _array_function(
        "distinctCountWithNull",
        ValueKind.INTEGER,
        "The number of distinct items; null counts as one.",
        {"distinctCountWithNull([10, 2, 10, null])": 3},
        lambda items: len(_keys(items)),
    ),
    _array_function(
        "countOnlyNull",
        ValueKind.INTEGER,
        "The number of items that are null.",
        {"countOnlyNull([4, null, 0])": 1},
        lambda items: sum(1 for item in items if item is None),
    ),
)


def entries(value: Value) -> tuple[Items, Items]:
    """Return the keys and the values of a map, for expressions that take both."""
    if not isinstance(value, Mapping) or len(value) > MAX_VISITS:
        return [], []
    return list(value.keys()), list(value.values())
