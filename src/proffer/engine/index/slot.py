"""One path of the request, and which offers its value lets pass."""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

from proffer.engine.index.bits import Bits
from proffer.engine.index.steps import Steps, changes_of
from proffer.pql.conditions import Line, constants, said_of, said_on
from proffer.pql.nodes import Node


class Strange(Exception):
    """A value of a kind that no table is kept for: the rules have to be asked themselves."""


class Slot:
    """The conditions of all offers on one path, as tables from a value to the offers that it lets pass.

    Those without a condition here always pass. A table is kept for every kind of value that JSON has.
    """

    __slots__ = ("_empty", "_false", "_filled", "_null", "_numbers", "_texts", "_true")

    def __init__(self, size: int, conditions: Iterable[tuple[tuple[Node, ...], Bits]]) -> None:
        """`conditions`: trees that must all hold, and the offers that they must hold for."""
        known = list(conditions)
        free = (1 << size) - 1
        for _, offers in known:
            free &= ~offers

        def passing(value: Any) -> Bits:
            found = free
            for trees, offers in known:
                if all(said_of(tree, value) for tree in trees):
                    found |= offers
            return found

        self._numbers = _Table(Line.NUMBER, size, free, known)
        self._texts = _Table(Line.TEXT, size, free, known)
        self._null, self._true, self._false = passing(None), passing(True), passing(False)
        self._empty, self._filled = passing([]), passing([None])

    def passing(self, value: Any) -> Bits:
        """The offers that pass. Raises `Strange` for a value that no JSON has."""
        kind = value.__class__
        if kind is str:
            return self._texts[value]
        if kind is int or kind is float:
            if value != value:  # noqa: PLR0124 - NaN has no place among numbers
                raise Strange
            return self._numbers[value]
        if value is None:
            return self._null
        if kind is bool:
            return self._true if value else self._false
        if kind is dict or kind is list:
            return self._filled if value else self._empty
        raise Strange


class _Table:
    """The offers that pass, by segment of a line. Where nothing is ordered, by constant and for all others."""

    __slots__ = ("_by_value", "_constants", "_other", "_places", "_steps")

    def __init__(
        self, line: Line, size: int, free: Bits, known: list[tuple[tuple[Node, ...], Bits]]
    ) -> None:
        found = {one for trees, _ in known for tree in trees for one in constants(tree, line)}
        ordered = sorted(found)
        places = {one: at for at, one in enumerate(ordered)}
        segments = 2 * len(places) + 1

        def said(trees: tuple[Node, ...]) -> int:
            bits = (1 << segments) - 1
            for tree in trees:
                bits &= said_on(tree, line, places, segments)
            return bits

        first, changes = changes_of((said(trees), offers) for trees, offers in known)
        self._other = first | free
        self._steps = Steps(self._other, changes, segments, size)
        self._constants, self._places, self._by_value = ordered, None, None
        if all(changes.get(at) == changes.get(at + 1) for at in range(1, segments, 2)):
            if self._steps.written_out:
                self._by_value = {one: self._steps[2 * at + 1] for one, at in places.items()}
            else:
                self._places = places

    _by_value: dict[Any, Bits] | None
    _places: dict[Any, int] | None

    def __getitem__(self, value: Any) -> Bits:
        if self._by_value is not None:
            return self._by_value.get(value, self._other)
        if self._places is not None:
            place = self._places.get(value)
            return self._other if place is None else self._other ^ self._steps.change(2 * place + 1)
        at = bisect_left(self._constants, value)
        same = at < len(self._constants) and self._constants[at] == value
        return self._steps[2 * at + same]
