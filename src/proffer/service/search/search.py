"""List and filter a library: in memory, so the meaning is the same for every store.

parse_property ─┐
parse_order ────┼─► SearchQuery ─► run_search ─► Page
parse_limit ────┘   filter, then the rows after the cursor, then the first `limit` of them
"""

import asyncio
import re
import time
from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from proffer.errors import Invalid, Violation
from proffer.model.ids import EntityKind, canonical
from proffer.model.instance import Instance
from proffer.service.search.order import (
    OrderKey,
    SortKey,
    parse_order,
    read_cursor,
    sort_key,
    total_order,
    write_cursor,
)
from proffer.service.search.properties import (
    Clause,
    Path,
    PropertyReader,
    matcher,
    parse_path,
    parse_property,
    values_at,
)
from proffer.service.search.text import name_matcher, parse_terms, words_of

DEFAULT_LIMIT = 50
MAX_LIMIT = 1_000
MAX_CLAUSES = 100
BACKWARDS = "<"
"""Cursor prefix: the page that ends before this row instead of the one that begins after it."""
_SLICE_SECONDS = 0.0015

_Test = Callable[[Instance], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """A search: all given conditions must hold.

    `ids` are `@id`s in either spelling. `name` is exact, with wildcards `*` and `?`. `text` is a query
    of terms: any must match, or all with `text_any` false; in any text of the document, or in those at
    `fields`. `start` is a `next_start` or `previous_start` of another page under the same order.
    `read_values` reads the properties of an instance.
    """

    kind: EntityKind | None = None
    ids: Sequence[str] = ()
    name: str | None = None
    clauses: Sequence[Clause] = ()
    text: str | None = None
    text_any: bool = True
    fields: Sequence[Path] = ()
    order: Sequence[OrderKey] = ()
    limit: int = DEFAULT_LIMIT
    start: str | None = None
    read_values: PropertyReader = values_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a listing.

    `total` counts the matching rows from this page on, `matching` all of them. `next_start` is
    None on the last page, `previous_start` on the first. `order` is the order that was used,
    including `instanceId` as tie-break.
    """

    results: Sequence[Instance]
    total: int
    matching: int
    next_start: str | None
    previous_start: str | None
    order: Sequence[OrderKey]


def run_search(search: SearchQuery, instances: Iterable[Instance]) -> Page:
    """Return a page. Raises `Invalid` for an invalid search, `Malformed` for a bad cursor."""
    scan = _Scan(search)
    for instance in instances:
        scan.add(instance)
    return scan.page()


async def run_search_sliced(search: SearchQuery, instances: Iterable[Instance]) -> Page:
    """As `run_search`, yielding to the event loop every `_SLICE_SECONDS`.

    The instances must not change meanwhile.
    """
    scan = _Scan(search)
    until = time.perf_counter() + _SLICE_SECONDS
    for instance in instances:
        scan.add(instance)
        if time.perf_counter() >= until:
            await asyncio.sleep(0)
            until = time.perf_counter() + _SLICE_SECONDS
    return scan.page()


def parse_limit(text: str | None) -> int:
    """Parse a `limit` parameter, capped at `MAX_LIMIT`.

    Raises `Invalid` unless it is a whole number above zero.
    """
    if text is None:
        return DEFAULT_LIMIT
    digits = text.strip()
    if re.fullmatch("[0-9]+", digits) is None:
        raise _bad_limit(text)
    return _limit(int(digits.lstrip("0")[:6] or "0"))  # six digits are enough to exceed the limit


def parse_fields(texts: Iterable[str]) -> list[Path]:
    """Parse `field` parameters, each with one or more paths separated by commas."""
    return [parse_path(part) for text in texts for part in text.split(",") if part.strip()]


class _Scan:
    """A running search: keeps the rows of the page, in order, among the instances seen so far.

    Forwards, these are the first rows after the cursor; backwards, the last rows before it.
    """

    def __init__(self, search: SearchQuery) -> None:
        self._tests = _tests(search)
        self._order = total_order(search.order)
        self._key = sort_key(self._order, search.read_values)
        start = search.start or ""
        self._backwards = start.startswith(BACKWARDS)
        cursor = start.removeprefix(BACKWARDS)
        self._cursor = read_cursor(self._order, cursor) if start else None
        self._limit = _limit(search.limit)
        self._rows: list[tuple[SortKey, Instance]] = []
        self._total = 0
        self._matching = 0

    def add(self, instance: Instance) -> None:
        if not all(test(instance) for test in self._tests):
            return
        self._matching += 1
        key = self._key(instance)
        if not self._is_in_range(key):
            return
        self._total += 1
        rows = self._rows
        worst = 0 if self._backwards else -1
        if len(rows) < self._limit:
            insort(rows, (key, instance), key=_row_key)
        elif rows[0][0] < key if self._backwards else key < rows[-1][0]:
            rows.pop(worst)
            insort(rows, (key, instance), key=_row_key)

    def _is_in_range(self, key: SortKey) -> bool:
        if self._cursor is None:
            return True
        return key < self._cursor if self._backwards else self._cursor < key

    def page(self) -> Page:
        onwards = self._total > len(self._rows)
        behind = self._matching > self._total
        earlier, later = (onwards, behind) if self._backwards else (behind, onwards)
        return Page(
            results=[instance for _, instance in self._rows],
            total=self._total,
            matching=self._matching,
            next_start=self._cursor_at(-1) if later and self._rows else None,
            previous_start=BACKWARDS + self._cursor_at(0) if earlier and self._rows else None,
            order=self._order,
        )

    def _cursor_at(self, row: int) -> str:
        return write_cursor(self._order, self._rows[row][0])


def _row_key(row: tuple[SortKey, Instance]) -> SortKey:
    return row[0]


def _limit(limit: int) -> int:
    if limit < 1:
        raise _bad_limit(str(limit))
    return min(limit, MAX_LIMIT)


def _bad_limit(text: str) -> Invalid:
    finding = Violation(
        code="limit",
        message=f"`limit` is `{text[:40]}`, not a whole number above 0",
        help=f"Leave it out for {DEFAULT_LIMIT} entries a page, or give 1 to {MAX_LIMIT}.",
    )
    return Invalid.of([finding])


def _tests(search: SearchQuery) -> list[_Test]:
    """Return the tests of an instance, cheap ones first."""
    if len(search.clauses) > MAX_CLAUSES:
        finding = Violation(
            code="property",
            message=f"{len(search.clauses)} conditions are more than {MAX_CLAUSES}",
            help="Split the search.",
        )
        raise Invalid.of([finding])
    tests: list[_Test] = [lambda instance: not instance.deleted]
    if search.kind is not None:
        kind = search.kind
        tests.append(lambda instance: instance.kind is kind)
    if search.ids:
        keys = frozenset(map(canonical, search.ids))
        tests.append(lambda instance: instance.key in keys)
    if search.name is not None:
        tests.append(_name_test(search.name))
    tests += [matcher(clause, search.read_values) for clause in search.clauses]
    if search.text is not None and search.text.strip():
        tests.append(_text_test(search.text, search.text_any, search.fields))
    return tests


def _name_test(pattern: str) -> _Test:
    matches = name_matcher(pattern)

    def test(instance: Instance) -> bool:
        name = instance.document.get("xdm:name")
        return isinstance(name, str) and matches(name)

    return test


def _text_test(text: str, match_any: bool, fields: Sequence[Path]) -> _Test:
    terms = parse_terms(text, match_any=match_any)
    if not fields:
        return lambda instance: terms.match(words_of(instance.document.values()))
    return lambda instance: terms.match(words_of(value for path in fields for value in values_at(instance, path)))


__all__ = [
    "DEFAULT_LIMIT",
    "MAX_CLAUSES",
    "MAX_LIMIT",
    "Clause",
    "OrderKey",
    "Page",
    "Path",
    "SearchQuery",
    "parse_fields",
    "parse_limit",
    "parse_order",
    "parse_path",
    "parse_property",
    "run_search",
    "run_search_sliced",
    "values_at",
]
