"""Field index: table from the value of one subject (path or expression) to offers."""

from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from math import ceil, floor, isfinite
from typing import Any

from proffer.engine.index.bitset import Bits, bits_of
from proffer.engine.index.delta_bitmaps import DeltaBitmaps, DeltaBuilder
from proffer.engine.steps import run_to_completion
from proffer.pql.index.conditions import UNORDERED_VALUES, OrderedDomain, evaluate_on
from proffer.pql.index.predicates import Condition
from proffer.pql.values.values import UNREADABLE

_STEP = 64
"""Conditions or segments processed between two yields."""

ConditionPositions = list[tuple[Condition, list[int]]]
"""Conditions, each with the positions of the offers that require it."""


class UnindexableValue(Exception):
    """A value of a type that tables do not cover; rules must be evaluated whole."""


class FieldIndex:
    """Lookup tables of one subject: value → bitset of offers whose condition holds.

    Offers without a condition always pass. There is a table per JSON type; that for numbers where the
    constants are texts, or the reverse, is built on first use. Values are read as the subject says.
    """

    __slots__ = ("_bits_by_kind", "_numbers", "_recompute", "_size", "_texts")

    _numbers: "_SegmentTable | None"
    _texts: "_SegmentTable | None"

    def __init__(
        self,
        size: int,
        bits_by_kind: list[Bits],
        numbers: "_SegmentTable | None",
        texts: "_SegmentTable | None",
        recompute: Callable[[], ConditionPositions],
    ) -> None:
        """`bits_by_kind`: offers passing for each of `UNORDERED_VALUES`. `recompute` returns the conditions."""
        self._size, self._recompute, self._bits_by_kind = size, recompute, bits_by_kind
        self._numbers, self._texts = numbers, texts

    def lookup(self, value: Any) -> Bits:
        """Return the offers that pass; raise `UnindexableValue` for a non-JSON value."""
        kind = value.__class__
        if kind is str:
            if self._texts is None:
                self._texts = run_to_completion(_build_table(OrderedDomain.TEXT, self._size, self._recompute()))
            return self._texts[value]
        if kind is int or kind is float:
            if value != value:  # noqa: PLR0124 - NaN is not ordered
                raise UnindexableValue
            if self._numbers is None:
                self._numbers = run_to_completion(_build_table(OrderedDomain.NUMBER, self._size, self._recompute()))
            return self._numbers[value]
        null, true, false, empty, filled, unreadable = self._bits_by_kind
        if value is None:
            return null
        if kind is bool:
            return true if value else false
        if kind is dict or kind is list:
            return filled if value else empty
        if value is UNREADABLE:
            return unreadable
        raise UnindexableValue

    def by_text(self) -> tuple[Mapping[str, Bits], Bits] | None:
        """Return (text → bitset, default bitset); None if there is no such table."""
        return None if self._texts is None else self._texts.by_value()

    def by_integer(self) -> tuple[Sequence[int], Sequence[Bits]] | None:
        """Return the integers at which the bitset changes, and the bitsets between.

        None if there is no such table.
        """
        return None if self._numbers is None else self._numbers.by_integer()


def build_field_index(
    size: int, conditions: ConditionPositions, recompute: Callable[[], ConditionPositions]
) -> Generator[None, None, FieldIndex]:
    """Build a field index in short steps. Each offer has at most one of the conditions."""
    constrained = bits_of(position for _, positions in conditions for position in positions)
    unconstrained = (1 << size) - 1 & ~constrained
    bits_by_kind: list[Bits] = []
    for kind in range(len(UNORDERED_VALUES)):
        yield
        bits_by_kind.append(unconstrained | bits_of(_positions(conditions, kind)))
    numbers = texts = None
    domains = {domain for condition, _ in conditions for domain in condition.constants_by_domain}
    if domains == {OrderedDomain.NUMBER}:
        numbers = yield from _build_table(OrderedDomain.NUMBER, size, conditions)
    else:  # a text constant that is a number is in both domains
        texts = yield from _build_table(OrderedDomain.TEXT, size, conditions)
    return FieldIndex(size, bits_by_kind, numbers, texts, recompute)


def _positions(conditions: ConditionPositions, kind: int) -> Iterable[int]:
    return (position for condition, positions in conditions if condition.on_unordered[kind] for position in positions)


def _build_table(
    domain: OrderedDomain, size: int, conditions: ConditionPositions
) -> "Generator[None, None, _SegmentTable]":
    """Build a table in short steps."""
    constants = sorted(
        {constant for condition, _ in conditions for constant in condition.constants_by_domain.get(domain, ())}
    )
    index_by_constant = {constant: index for index, constant in enumerate(constants)}
    segments = 2 * len(index_by_constant) + 1
    all_segments = (1 << segments) - 1

    def segments_of(condition: Condition) -> int:
        if domain not in condition.constants_by_domain:
            return all_segments if condition.default_by_domain[domain] else 0
        bits = all_segments
        for tree in condition.trees:
            bits &= evaluate_on(tree, domain, index_by_constant, segments)
        return bits

    builder = DeltaBuilder()
    for number, (condition, positions) in enumerate(conditions):
        builder.add(segments_of(condition), positions)
        if number % _STEP == 0:
            yield
    deltas: dict[int, Bits] = {}
    for number, (index, delta) in enumerate(builder.deltas()):
        deltas[index] = delta
        if number % _STEP == 0:
            yield
    constrained = bits_of(index for _, positions in conditions for index in positions)
    yield
    first = builder.first | (1 << size) - 1 & ~constrained
    yield
    bitmaps = DeltaBitmaps(first, deltas, segments, size)
    yield
    return _SegmentTable(constants, bitmaps, deltas)


class _SegmentTable:
    """Bitsets by segment of an ordered domain; with equality only, by constant plus a default."""

    __slots__ = ("_bitmaps", "_by_value", "_constants", "_default", "_index_by_constant")

    _by_value: dict[Any, Bits] | None
    _index_by_constant: dict[Any, int] | None

    def __init__(self, constants: list[Any], bitmaps: DeltaBitmaps, deltas: Mapping[int, Bits]) -> None:
        self._bitmaps, self._default = bitmaps, bitmaps[0]
        self._constants, self._index_by_constant, self._by_value = constants, None, None
        constant_segments = range(1, 2 * len(constants), 2)
        if all(deltas.get(index) == deltas.get(index + 1) for index in constant_segments):
            if bitmaps.is_expanded:
                self._by_value = {
                    constant: bitmaps[index] for constant, index in zip(constants, constant_segments, strict=True)
                }
            else:
                self._index_by_constant = {constant: index for index, constant in enumerate(constants)}

    def by_value(self) -> tuple[Mapping[Any, Bits], Bits] | None:
        """Return (constant → bitset, default); None unless expanded, with equality only."""
        return None if self._by_value is None else (self._by_value, self._default)

    def by_integer(self) -> tuple[Sequence[int], Sequence[Bits]] | None:
        """Return the integer segment starts and bitsets; None unless expanded and finite."""
        if not (self._bitmaps.is_expanded and all(map(isfinite, self._constants))):
            return None
        starts: list[int] = []
        rows = [self._bitmaps[0]]
        for index, constant in enumerate(self._constants):
            # The segment of the constant itself contains an integer only if the constant is one.
            for segment, start in (
                (2 * index + 1, ceil(constant)),
                (2 * index + 2, floor(constant) + 1),
            ):
                if segment % 2 and start != constant:
                    continue
                if starts and starts[-1] == start:
                    starts.pop()
                    rows.pop()
                if self._bitmaps[segment] is not rows[-1]:
                    starts.append(start)
                    rows.append(self._bitmaps[segment])
        return tuple(starts), tuple(rows)

    def __getitem__(self, value: Any) -> Bits:
        if self._by_value is not None:
            return self._by_value.get(value, self._default)
        if self._index_by_constant is not None:
            constant_index = self._index_by_constant.get(value)
            return (
                self._default if constant_index is None else self._default ^ self._bitmaps.delta(2 * constant_index + 1)
            )
        index = bisect_left(self._constants, value)
        same = index < len(self._constants) and self._constants[index] == value
        return self._bitmaps[2 * index + same]
