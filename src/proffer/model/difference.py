"""Difference of two documents as a JSON Patch (RFC 6902)."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

Operation = dict[str, Any]


def difference(before: Any, after: Any) -> list[Operation]:
    """Return the operations that turn `before` into `after`; empty if they are equal.

    1 equals 1.0, `true` does not equal 1. An element inserted into or removed from a list is one
    operation if its neighbours did not change.
    """
    return list(_diff_values("", before, after))


def _diff_values(path: str, before: Any, after: Any) -> Iterator[Operation]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _diff_objects(path, before, after)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _diff_lists(path, before, after)
    elif not _json_equal(before, after):
        yield {"op": "replace", "path": path, "value": after}


def _diff_objects(path: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Operation]:
    for name in before:
        if name not in after:
            yield {"op": "remove", "path": _child_pointer(path, name)}
    for name, value in after.items():
        if name in before:
            yield from _diff_values(_child_pointer(path, name), before[name], value)
        else:
            yield {"op": "add", "path": _child_pointer(path, name), "value": value}


def _diff_lists(path: str, before: list[Any], after: list[Any]) -> Iterator[Operation]:
    shared = min(len(before), len(after))
    start = 0
    while start < shared and _json_equal(before[start], after[start]):
        start += 1
    end = 0
    while end < shared - start and _json_equal(before[-1 - end], after[-1 - end]):
        end += 1
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    for index, (old_element, new_element) in enumerate(zip(old, new, strict=False), start):
        yield from _diff_values(f"{path}/{index}", old_element, new_element)
    for index in reversed(range(len(new), len(old))):
        yield {"op": "remove", "path": f"{path}/{start + index}"}
    for index in range(len(old), len(new)):
        yield {"op": "add", "path": f"{path}/{start + index}", "value": new[index]}


def _json_equal(first: Any, second: Any) -> bool:
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_json_equal(first[name], second[name]) for name in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_json_equal, first, second))
    return isinstance(first, bool) == isinstance(second, bool) and bool(first == second)


def is_same_json(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Return whether both are the same JSON, regardless of member order; 1 is not `true`."""
    if first != second:
        return False
    return msgspec.json.encode(dict(first), order="sorted") == msgspec.json.encode(dict(second), order="sorted")


def _child_pointer(path: str, name: str) -> str:
    escaped = name.replace("~", "~0").replace("/", "~1")
    return f"{path}/{escaped}"
