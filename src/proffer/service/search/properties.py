"""Properties of instances: reading them by path, and filter conditions of listings."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import Any

from proffer.errors import Invalid, Violation
from proffer.model.ids import canonical
from proffer.model.instance import Instance, format_timestamp
from proffer.service.search.text import value_matcher
from proffer.validation import parse_timestamp_us

Path = tuple[str, ...]

PropertyReader = Callable[[Instance, Path], Sequence[Any]]
"""Returns the values at a path in an instance; interfaces with other spellings have their own."""

MAX_PATH_STEPS = 100


def parse_path(text: str) -> Path:
    """Parse a dot-separated path from the envelope's root. Raises `Invalid` for an empty step."""
    steps = tuple(text.strip().split("."))
    if not all(steps) or len(steps) > MAX_PATH_STEPS:
        finding = Violation(
            code="path",
            message=f"`{text[:100]}` is not the path of a property",
            help="Join member names with dots, as in `_instance.xdm:rank.xdm:priority`.",
        )
        raise Invalid.of([finding])
    return steps


_ENVELOPE: dict[Path, Callable[[Instance], Any]] = {
    ("instanceId",): lambda instance: instance.instance_id,
    ("productContexts",): lambda _: ["acp"],
    ("repo:etag",): lambda instance: instance.etag,
    ("repo:createdDate",): lambda instance: format_timestamp(instance.created_us),
    ("repo:lastModifiedDate",): lambda instance: format_timestamp(instance.modified_us),
    ("repo:createdBy",): lambda instance: instance.created_by.user,
    ("repo:lastModifiedBy",): lambda instance: instance.modified_by.user,
    ("repo:createdByClientId",): lambda instance: instance.created_by.client,
    ("repo:lastModifiedByClientId",): lambda instance: instance.modified_by.client,
}


def values_at(instance: Instance, path: Path) -> list[Any]:
    """Return the values at a path, in document order.

    Inside a list the path continues in each element, or in one if the step is its index. A list at the
    end is one value. If member names contain dots, the longest matching name is used.
    """
    reader = _ENVELOPE.get(path)
    if reader is not None:
        return [reader(instance)]
    if path[0] != "_instance":
        return []
    return list(_iter_values(instance.document, path[1:]))


def document_values(value: Any, path: Path) -> list[Any]:
    """Return the values at a path in a plain document. `values_at` does the same for instances."""
    return list(_iter_values(value, path))


def _iter_values(value: Any, steps: Path) -> Iterator[Any]:
    if not steps:
        yield value
    elif isinstance(value, list):
        if steps[0].isascii() and steps[0].isdigit() and len(steps[0]) < 10:
            yield from _iter_element_values(value, int(steps[0]), steps[1:])
        else:
            for element in value:
                yield from _iter_values(element, steps)
    elif isinstance(value, dict):
        for length in range(len(steps), 0, -1):
            name = ".".join(steps[:length])
            if name in value:
                yield from _iter_values(value[name], steps[length:])
                return


def _iter_element_values(elements: list[Any], index: int, steps: Path) -> Iterator[Any]:
    if index < len(elements):
        yield from _iter_values(elements[index], steps)


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition on a property: `exists`, `missing`, `==`, `!=`, `<`, `<=`, `>`, `>=` or `~`.

    `negated` inverts operators without an opposite operator.
    """

    path: Path
    op: str
    value: str = ""
    negated: bool = False


_OPERATOR = re.compile(r"==|!=|<=|>=|<|>|~")
_OPPOSITES = {"exists": "missing", "==": "!=", "!=": "=="}


def parse_property(text: str, *, negation: bool = False) -> Clause:
    """Parse a `property` parameter: `path OP value`, or a path alone for "exists".

    With `negation`, a leading `!` inverts the condition. Raises `Invalid` for an invalid path or
    regular expression.
    """
    inverted = negation and text.lstrip().startswith("!")
    if inverted:
        text = text.lstrip()[1:]
    operator = _OPERATOR.search(text)
    if operator is None:
        if "=" in text:
            finding = Violation(
                code="operator",
                message=f"`{text[:100]}` compares with a single `=`",
                help="Write `==`; the others are `!=`, `<`, `<=`, `>`, `>=` and `~`.",
            )
            raise Invalid.of([finding])
        clause = Clause(parse_path(text), "exists")
    else:
        clause = Clause(parse_path(text[: operator.start()]), operator[0], text[operator.end() :])
    if clause.op == "~":
        value_matcher(clause.value)  # raises `Invalid` for an invalid expression
    if not inverted:
        return clause
    if opposite := _OPPOSITES.get(clause.op):
        return Clause(clause.path, opposite, clause.value)
    return Clause(clause.path, clause.op, clause.value, negated=True)


def matcher(clause: Clause, read_values: PropertyReader = values_at) -> Callable[[Instance], bool]:
    """Return the condition as a predicate on instances, whose values `read_values` reads.

    The type of the stored value decides how the clause's text is compared: as number, boolean, time
    (if both are times), else as exact text. A list matches if any element does. `!=` holds if no value
    is equal, so also without values.
    """
    path, holds = clause.path, _predicate(clause)
    return lambda instance: holds(read_values(instance, path))


def document_matcher(clause: Clause) -> Callable[[Mapping[str, Any]], bool]:
    """Return the condition as a predicate on plain envelopes (containers)."""
    path, holds = clause.path, _predicate(clause)
    return lambda document: holds(list(_iter_values(document, path)))


def _predicate(clause: Clause) -> Callable[[Sequence[Any]], bool]:
    """Return the condition as a predicate on the values at its path."""
    negated = clause.negated
    if clause.op in ("exists", "missing"):
        expected = (clause.op == "exists") != negated
        return lambda values: bool(values) == expected
    test = _test(clause.op, clause.value)
    expected = (clause.op != "!=") != negated
    return lambda values: any(map(test, _scalars(values))) == expected


def _scalars(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from value
        else:
            yield value


_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


def _test(op: str, text: str) -> Callable[[Any], bool]:
    if op == "~":
        matches = value_matcher(text)
        return lambda value: isinstance(value, str) and matches(value)
    if op in _ORDERINGS:
        compare = _ORDERINGS[op]
        operand = _Operand(text)
        return lambda value: (pair := operand.pair_with(value)) is not None and compare(*pair)
    operand = _Operand(text)
    return operand.equals


class _Operand:
    """The text of a condition, parsed in advance as each comparable type."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._id = canonical(text)
        self._number = _number(text)
        self._moment = _moment(text)

    def equals(self, value: Any) -> bool:
        if value is None or isinstance(value, bool):
            return self._text == {None: "null", True: "true", False: "false"}[value]
        pair = self.pair_with(value)
        # Both spellings of an id are equal, whichever was stored.
        return pair is not None and (pair[0] == pair[1] or canonical(str(value)) == self._id)

    def pair_with(self, value: Any) -> tuple[Any, Any] | None:
        """Return the value and this operand as a comparable pair, or None."""
        if isinstance(value, bool):
            return None
        if isinstance(value, int | float):
            return None if self._number is None else (value, self._number)
        if not isinstance(value, str):
            return None
        if self._moment is not None and (moment := _moment(value)) is not None:
            return moment, self._moment
        return value, self._text


_NUMBER = re.compile(r"\s*([+-]?[0-9]{1,30})(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,4})?\s*")


def _number(text: str) -> int | float | None:
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    return int(match[1]) if match[2] is None and match[3] is None else float(text)


def _moment(text: str) -> int | None:
    try:
        return parse_timestamp_us(text)
    except ValueError:
        return None
