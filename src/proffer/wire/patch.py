"""JSON Patch (RFC 6902) on plain documents.

Does not use the jsonpatch library: it compares as Python does (`true` equals 1), lets values of the patch
and the document share structure, accepts negative and padded indexes in places, and raises many kinds
of exceptions. Working around that would take more code than this module. Tests compare the two where
the library is right.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from proffer.errors import Invalid, Violation
from proffer.validation import (
    MAX_VIOLATIONS,
    AnyShape,
    ListShape,
    Member,
    ObjectShape,
    TextShape,
    json_path,
    validate,
)
from proffer.wire.codec import MAX_DEPTH

MAX_OPERATIONS = 1_000
MAX_BYTES = 4_000_000


def apply_patch(
    document: Any,
    operations: Any,
    *,
    lenient_replace: bool = False,
    max_bytes: int = MAX_BYTES,
) -> Any:
    """Return the patched document. It shares nothing with either argument.

    Raises `Invalid` if the patch is malformed (all violations are listed), if an operation or a `test`
    fails (the first is named by its index), or if the result is nested too deep. A document that is an
    object stays one. With `lenient_replace`, `replace` adds a missing member of an object. The document
    and all added and copied values together may have about `max_bytes`; removals are not deducted.
    """
    steps = _check_operations(operations)
    patcher = _Patcher(document, lenient_replace, max_bytes)
    for index, step in enumerate(steps):
        try:
            patcher.apply_operation(step)
        except _OperationError as error:
            violation = Violation(
                code=error.code,
                message=f"{error.message}, so this `{step['op']}` cannot be applied",
                path=json_path(index, error.member),
                help=error.help,
            )
            raise Invalid.of([violation]) from None
    return patcher.result()


def json_equal(first: Any, second: Any) -> bool:
    """Return whether two values are equal as JSON: 1 equals 1.0, not true; member order is ignored."""
    pairs = [(first, second)]
    while pairs:
        a, b = pairs.pop()
        if isinstance(a, dict):
            if not isinstance(b, dict) or a.keys() != b.keys():
                return False
            pairs += [(value, b[name]) for name, value in a.items()]
        elif isinstance(a, list):
            if not isinstance(b, list) or len(a) != len(b):
                return False
            pairs += zip(a, b, strict=True)
        elif isinstance(a, bool) != isinstance(b, bool) or a != b:
            return False
    return True


# The form of the patch, checked before the document is changed.

_OPS = ("add", "remove", "replace", "move", "copy", "test")
_POINTER = Member(
    TextShape(
        pattern=r"(?:/(?:[^~/]|~[01])*)*",
        help="Write a JSON pointer such as `/_instance/xdm:name`, with `~1` for `/` and `~0` for `~`.",
    ),
    required=True,
)
_OP = Member(TextShape(one_of=_OPS), required=True)
_VALUE = Member(AnyShape(), required=True)
_WITHOUT_VALUE = ObjectShape({"op": _OP, "path": _POINTER})
_WITH_VALUE = ObjectShape({"op": _OP, "path": _POINTER, "value": _VALUE})
_WITH_SOURCE = ObjectShape({"op": _OP, "path": _POINTER, "from": _POINTER})
_FORMS = {
    "add": _WITH_VALUE,
    "replace": _WITH_VALUE,
    "test": _WITH_VALUE,
    "move": _WITH_SOURCE,
    "copy": _WITH_SOURCE,
}
_LIST = ListShape(
    AnyShape(),
    max=MAX_OPERATIONS,
    help=f"Send a list of at most {MAX_OPERATIONS} operations, even for one operation.",
)


def _check_operations(operations: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(operations, list) or len(operations) > MAX_OPERATIONS:
        raise Invalid.of(validate(_LIST, operations)[:1])
    violations: list[Violation] = []
    for index, operation in enumerate(operations):
        name = operation.get("op") if isinstance(operation, dict) else None
        form = _FORMS.get(name, _WITHOUT_VALUE) if isinstance(name, str) else _WITHOUT_VALUE
        violations += (
            replace(violation, path=json_path(index) + (violation.path or "$")[1:])
            for violation in validate(form, operation)
        )
        if len(violations) >= MAX_VIOLATIONS:
            break
    if violations:
        raise Invalid.of(violations[:MAX_VIOLATIONS])
    return operations


# The operations, applied one after the other to a copy of the document.


class _OperationError(Exception):
    """One operation cannot be applied. `member` is the member of the operation at fault."""

    def __init__(self, code: str, message: str, help: str, member: str = "path") -> None:  # noqa: A002
        self.code = code
        self.message = message
        self.help = help
        self.member = member


class _Patcher:
    def __init__(self, document: Any, lenient_replace: bool, max_bytes: int) -> None:
        self._original = document
        self._lenient = lenient_replace
        self._max_bytes = max_bytes
        self._bytes = 0
        self._root = self._deep_copy(document, always=True)

    def apply_operation(self, step: Mapping[str, Any]) -> None:
        op, to = step["op"], step["path"]
        if op == "add":
            self._add(to, self._deep_copy(step["value"]))
        elif op == "remove":
            self._remove(to, "path")
        elif op == "replace":
            self._replace(to, self._deep_copy(step["value"]))
        elif op == "copy":
            self._add(to, self._deep_copy(_find(self._root, step["from"], "from")))
        elif op == "move":
            self._move(step["from"], to)
        elif not json_equal(_find(self._root, to, "path"), step["value"]):
            raise _OperationError(
                "test",
                f"The value at `{_truncate(to)}` is not the expected value",
                "Read the object again and repeat the change.",
            )

    def result(self) -> Any:
        depth = _depth(self._root)
        if depth > MAX_DEPTH and depth > _depth(self._original):
            violation = Violation(
                code="depth",
                message=f"The result is nested {depth} levels deep, more than {MAX_DEPTH}",
                path="$",
                help=f"Keep the document within {MAX_DEPTH} levels.",
            )
            raise Invalid.of([violation])
        return self._root

    def _add(self, pointer: str, value: Any) -> None:
        if not pointer:
            self._set_root(value)
            return
        parent, name = self._find_parent(pointer, "path")
        if isinstance(parent, dict):
            parent[name] = value
        elif name == "-":
            parent.append(value)
        else:
            parent.insert(_index(pointer, name, len(parent), "path"), value)

    def _replace(self, pointer: str, value: Any) -> None:
        if not pointer:
            self._set_root(value)
            return
        parent, name = self._find_parent(pointer, "path")
        if isinstance(parent, list):
            parent[_index(pointer, name, len(parent) - 1, "path")] = value
        elif name in parent or self._lenient:
            parent[name] = value
        else:
            raise _missing_error(pointer, "path")

    def _remove(self, pointer: str, member: str) -> Any:
        if not pointer:
            raise _OperationError("root", "The whole document cannot be removed", "Delete the object instead.", member)
        parent, name = self._find_parent(pointer, member)
        if isinstance(parent, list):
            return parent.pop(_index(pointer, name, len(parent) - 1, member))
        if name not in parent:
            raise _missing_error(pointer, member)
        return parent.pop(name)

    def _move(self, source: str, to: str) -> None:
        if to.startswith(source + "/"):
            raise _OperationError(
                "move",
                f"`{_truncate(to)}` is inside `{_truncate(source)}`",
                "Move it to a place outside itself.",
            )
        _find(self._root, source, "from")
        if to != source:
            self._add(to, self._remove(source, "from"))

    def _set_root(self, value: Any) -> None:
        if isinstance(self._root, dict) and not isinstance(value, dict):
            raise _OperationError(
                "root",
                "The whole document can only be replaced by an object",
                "Give an object, or the path of a member.",
            )
        self._root = value

    def _find_parent(self, pointer: str, member: str) -> tuple[Any, str]:
        """Return the parent of the pointer's target, and the name in it. The parent is a list or object."""
        parent, _, name = pointer.rpartition("/")
        parent_value = _find(self._root, parent, member)
        if not isinstance(parent_value, dict | list):
            raise _not_a_container_error(parent, member)
        return parent_value, _unescape(name)

    def _deep_copy(self, value: Any, *, always: bool = False) -> Any:
        """Return a deep copy, made without recursion and charged against `max_bytes`."""
        top = [value]
        pending: list[Any] = [top]
        while pending:
            parent = pending.pop()
            for name, child in parent.items() if isinstance(parent, dict) else enumerate(parent):
                self._bytes += _estimate_bytes(name) + _estimate_bytes(child)
                if isinstance(child, dict | list):
                    parent[name] = child_copy = child.copy()
                    pending.append(child_copy)
            if self._bytes > self._max_bytes and not always:
                raise _OperationError(
                    "range",
                    f"The document would grow beyond {self._max_bytes:,} bytes",
                    "Copy less, or split the content over several objects.",
                )
        return top[0]


def _estimate_bytes(value: Any) -> int:
    """Estimate the JSON bytes of a value without its nested values."""
    return len(value) + 3 if isinstance(value, str) else 4


def _depth(value: Any) -> int:
    depth = 0
    level = [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth


# Pointers.


def _find(root: Any, pointer: str, member: str) -> Any:
    value = root
    walked = 0
    for part in pointer.split("/")[1:]:
        walked += len(part) + 1
        if isinstance(value, dict):
            name = _unescape(part)
            if name not in value:
                raise _missing_error(pointer[:walked], member)
            value = value[name]
        elif isinstance(value, list):
            value = value[_index(pointer[:walked], part, len(value) - 1, member)]
        else:
            raise _not_a_container_error(pointer[: walked - len(part) - 1], member)
    return value


def _unescape(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


def _index(pointer: str, part: str, last: int, member: str) -> int:
    if part == "-":
        raise _OperationError(
            "index",
            f"`{_truncate(pointer)}` is the place after the last entry, which is empty",
            "Use `-` only to add at the end; name an existing entry by its index.",
            member,
        )
    if _INDEX.fullmatch(part) is None:
        raise _OperationError(
            "index",
            f"`{_truncate(pointer)}` does not end in a list index",
            "Count entries from 0, without sign or leading zeros.",
            member,
        )
    if int(part) > last:
        raise _OperationError(
            "index",
            f"`{_truncate(pointer)}` is beyond the end of the list",
            f"The highest index is {last}." if last >= 0 else "The list is empty.",
            member,
        )
    return int(part)


def _missing_error(pointer: str, member: str) -> _OperationError:
    remedy = "Add it first: `add` an empty list or object, or use `add` in place of `replace`."
    return _OperationError("missing", f"There is nothing at `{_truncate(pointer)}`", remedy, member)


def _not_a_container_error(pointer: str, member: str) -> _OperationError:
    message = f"The value at `{_truncate(pointer)}` is neither a list nor an object"
    return _OperationError("missing", message, "Use the path of a list or an object.", member)


def _truncate(pointer: str) -> str:
    return pointer if len(pointer) <= 200 else pointer[:200] + "…"
