"""Difference of two documents as a JSON Patch (RFC 6902)."""

from collections.abc import Iterator
from typing import Any

Operation = dict[str, Any]


def difference(before: Any, after: Any) -> list[Operation]:
    """Return the operations that turn `before` into `after`; empty if they are equal.

    1 equals 1.0, `true` does not equal 1. An element inserted into or removed from a list is one
    operation if its neighbours did not change.
    """
    return list(_between("", before, after))


def _between(path: str, before: Any, after: Any) -> Iterator[Operation]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _members(path, before, after)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _elements(path, before, after)
    elif not _same(before, after):
        yield {"op": "replace", "path": path, "value": after}


def _members(path: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Operation]:
    for name in before:
        if name not in after:
            yield {"op": "remove", "path": _step(path, name)}
    for name, value in after.items():
        if name in before:
            yield from _between(_step(path, name), before[name], value)
        else:
            yield {"op": "add", "path": _step(path, name), "value": value}


def _elements(path: str, before: list[Any], after: list[Any]) -> Iterator[Operation]:
    shared = min(len(before), len(after))
    start = 0
    while start < shared and _same(before[start], after[start]):
        start += 1
    end = 0
    while end < shared - start and _same(before[-1 - end], after[-1 - end]):
        end += 1
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    for index, (one, other) in enumerate(zip(old, new, strict=False), start):
        yield from _between(f"{path}/{index}", one, other)
    for index in reversed(range(len(new), len(old))):
        yield {"op": "remove", "path": f"{path}/{start + index}"}
    for index in range(len(old), len(new)):
        yield {"op": "add", "path": f"{path}/{start + index}", "value": new[index]}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _step(path: str, name: str) -> str:
    escaped = name.replace("~", "~0").replace("/", "~1")
    return f"{path}/{escaped}"
