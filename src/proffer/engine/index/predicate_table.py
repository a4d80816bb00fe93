"""Field index: table from the value of one subject (path or expression) to offers."""

from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from math import ceil, floor, isfinite
from typing import Any

from proffer.engine.index.bitset import Bits, bits_of
from proffer.engine.index.delta_bitmaps import Changes, Steps
from proffer.pql.index.conditions import ALONE, Line, said_on
from proffer.pql.index.predicates import Condition

_STEP = 64
"""Conditions or segments processed between two yields."""

Known = list[tuple[Condition, list[int]]]
"""Conditions, each with the positions of the offers that require it."""


class Strange(Exception):
    """A value of a type that tables do not cover; rules must be evaluated whole."""


class Slot:
    """Lookup tables of one subject: value → bitset of offers whose condition holds.

    Offers without a condition always pass. There is a table per JSON type; that for numbers where all
    constants are texts, or the reverse, is built on first use.
    """

    __slots__ = ("_again", "_alone", "_numbers", "_size", "_texts")

    _numbers: "_Table | None"
    _texts: "_Table | None"

    def __init__(
        self,
        size: int,
        alone: list[Bits],
        numbers: "_Table | None",
        texts: "_Table | None",
        again: Callable[[], Known],
    ) -> None:
        """`bits_by_kind`: offers passing for each of `ALONE`. `recompute` returns the conditions."""
        self._size, self._again, self._alone = size, again, alone
        self._numbers, self._texts = numbers, texts

    def passing(self, value: Any) -> Bits:
        """Return the offers that pass; raise `UnindexableValue` for a non-JSON value."""
        kind = value.__class__
        if kind is str:
            if self._texts is None:
                self._texts = _finished(_table_of(Line.TEXT, self._size, self._again()))
            return self._texts[value]
        if kind is int or kind is float:
            if value != value:  # noqa: PLR0124 - NaN is not ordered
                raise Strange
            if self._numbers is None:
                self._numbers = _finished(_table_of(Line.NUMBER, self._size, self._again()))
            return self._numbers[value]
        null, true, false, empty, filled = self._alone
        if value is None:
            return null
        if kind is bool:
            return true if value else false
        if kind is dict or kind is list:
            return filled if value else empty
        raise Strange

    def by_text(self) -> tuple[Mapping[str, Bits], Bits] | None:
        """Return (text → bitset, default bitset); None if there is no such table."""
        return None if self._texts is None else self._texts.by_value()

    def by_integer(self) -> tuple[Sequence[int], Sequence[Bits]] | None:
        """Return the integers at which the bitset changes, and the bitsets between.

        None if there is no such table.
        """
        return None if self._numbers is None else self._numbers.by_integer()


def slot_of(size: int, known: Known, again: Callable[[], Known]) -> Generator[None, None, Slot]:
    """Build a field index in short steps. Each offer has at most one of the conditions."""
    here = bits_of(at for _, positions in known for at in positions)
    free = (1 << size) - 1 & ~here
    alone: list[Bits] = []
    for kind in range(len(ALONE)):
        yield
        alone.append(free | bits_of(_positions(known, kind)))
    numbers = texts = None
    if any(Line.NUMBER in condition.on for condition, _ in known):
        numbers = yield from _table_of(Line.NUMBER, size, known)
    else:
        texts = yield from _table_of(Line.TEXT, size, known)
    return Slot(size, alone, numbers, texts, again)


def _positions(known: Known, kind: int) -> Iterable[int]:
    return (at for condition, positions in known if condition.alone[kind] for at in positions)


def _finished(steps: "Generator[None, None, _Table]") -> "_Table":
    while True:
        try:
            next(steps)
        except StopIteration as done:
            table: _Table = done.value
            return table


def _table_of(line: Line, size: int, known: Known) -> "Generator[None, None, _Table]":
    """Build a table in short steps."""
    ordered = sorted({one for condition, _ in known for one in condition.on.get(line, ())})
    places = {one: at for at, one in enumerate(ordered)}
    segments = 2 * len(places) + 1
    everywhere = (1 << segments) - 1

    def said(condition: Condition) -> int:
        if line not in condition.on:
            return everywhere if condition.elsewhere[line] else 0
        bits = everywhere
        for tree in condition.trees:
            bits &= said_on(tree, line, places, segments)
        return bits

    found = Changes()
    for number, (condition, positions) in enumerate(known):
        found.add(said(condition), positions)
        if number % _STEP == 0:
            yield
    changes: dict[int, Bits] = {}
    for number, (at, change) in enumerate(found.by_number()):
        changes[at] = change
        if number % _STEP == 0:
            yield
    here = bits_of(at for _, positions in known for at in positions)
    yield
    first = found.first | (1 << size) - 1 & ~here
    yield
    steps = Steps(first, changes, segments, size)
    yield
    return _Table(ordered, steps, changes)


class _Table:
    """Bitsets by segment of an ordered domain; with equality only, by constant plus a default."""

    __slots__ = ("_by_value", "_constants", "_other", "_places", "_steps")

    _by_value: dict[Any, Bits] | None
    _places: dict[Any, int] | None

    def __init__(self, ordered: list[Any], steps: Steps, changes: Mapping[int, Bits]) -> None:
        self._steps, self._other = steps, steps[0]
        self._constants, self._places, self._by_value = ordered, None, None
        places = range(1, 2 * len(ordered), 2)
        if all(changes.get(at) == changes.get(at + 1) for at in places):
            if steps.written_out:
                self._by_value = {one: steps[at] for one, at in zip(ordered, places, strict=True)}
            else:
                self._places = {one: at for at, one in enumerate(ordered)}

    def by_value(self) -> tuple[Mapping[Any, Bits], Bits] | None:
        """Return (constant → bitset, default); None unless expanded, with equality only."""
        return None if self._by_value is None else (self._by_value, self._other)

    def by_integer(self) -> tuple[Sequence[int], Sequence[Bits]] | None:
        """Return the integer segment starts and bitsets; None unless expanded and finite."""
        if not (self._steps.written_out and all(map(isfinite, self._constants))):
            return None
        begins: list[int] = []
        rows = [self._steps[0]]
        for at, constant in enumerate(self._constants):
            # The segment of the constant itself contains an integer only if the constant is one.
            for segment, begin in ((2 * at + 1, ceil(constant)), (2 * at + 2, floor(constant) + 1)):
                if segment % 2 and begin != constant:
                    continue
                if begins and begins[-1] == begin:
                    begins.pop()
                    rows.pop()
                if self._steps[segment] is not rows[-1]:
                    begins.append(begin)
                    rows.append(self._steps[segment])
        return tuple(begins), tuple(rows)

    def __getitem__(self, value: Any) -> Bits:
        if self._by_value is not None:
            return self._by_value.get(value, self._other)
        if self._places is not None:
            place = self._places.get(value)
            return self._other if place is None else self._other ^ self._steps.change(2 * place + 1)
        at = bisect_left(self._constants, value)
        same = at < len(self._constants) and self._constants[at] == value
        return self._steps[2 * at + same]
