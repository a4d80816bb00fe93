"""List queries of the Offer Library API (spec 3.2), and page links."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from urllib.parse import parse_qsl, quote

from starlette.datastructures import QueryParams

from proffer.api.dps import translate
from proffer.api.kit.links import quote_in_link
from proffer.errors import Invalid, Violation
from proffer.model.ids import EntityKind
from proffer.model.xdm import format_xdm_time
from proffer.service.search.order import PLAIN_DATES
from proffer.service.search.search import (
    BACKWARDS,
    Clause,
    OrderKey,
    Page,
    SearchQuery,
    parse_limit,
    parse_order,
    parse_property,
)
from proffer.service.search.text import value_matcher
from proffer.validation import parse_timestamp_us

DEFAULT_ORDER = "-modified"
_AFTER_ALL_IDS = "z" * 36
"""Sorts after every instance id: a bare date as cursor means after all objects of that time."""


def read_search(kind: EntityKind, query: QueryParams) -> SearchQuery:
    """Parse the query of a list. The query of the older parameter `href` takes precedence."""
    query = _follow_href(query)
    order = [OrderKey(translate.property_path(key.path), key.descending) for key in parse_order(_order_of(query))]
    return SearchQuery(
        kind=kind,
        clauses=[clause for parameter in query.getlist("property") for clause in parse_clauses(parameter)],
        order=order,
        limit=parse_limit(query.get("limit")),
        start=_parse_cursor(order, query.get("start") or "") or None,
        read_values=translate.dps_values_at,
    )


def links(path: str, query: QueryParams, page: Page) -> dict[str, str | None]:
    """Return the links `self`, `next` and `prev`, relative to the base URL."""
    query = _follow_href(query)

    def link(start: str | None) -> str:
        members = [("orderby", _order_of(query))]
        if query.get("limit"):
            members.append(("limit", query["limit"]))
        if start:
            members.append(("start", start))
        members += [(name, value) for name, value in query.multi_items() if name in {"property", "offer-type"}]
        return f"/{path}?" + "&".join(
            f"{name}={quote(value, safe='') if name == 'start' else quote_in_link(value)}" for name, value in members
        )

    next_start = page.next_start
    previous_start = page.previous_start
    start = query.get("start")
    is_past_end = not page.results and start is not None and start.startswith(BACKWARDS)
    return {
        "self": link(start),
        "next": link(_format_cursor(page, next_start)) if next_start else link(None) if is_past_end else None,
        "prev": link(_format_cursor(page, previous_start)) if previous_start else None,
    }


def parse_clauses(text: str) -> list[Clause]:
    """Parse a `property` parameter: conditions separated by commas.

    Commas in brackets, in a value in double quotes, or after a backslash do not separate. Raises
    `Invalid` for an unclosed quote or bracket, and for a condition that no object can meet.
    """
    return [_clause(part) for part in _split_clauses(text)]


def _split_clauses(text: str) -> Iterator[str]:
    part: list[str] = []
    depth = 0
    swallows_comma = False
    is_quoted = False
    characters = iter(text)
    for character in characters:
        if character == "\\":
            following = next(characters, "")
            part.append(following if following == "," and not is_quoted else f"\\{following}")
        elif is_quoted:
            is_quoted = character != '"'
            part.append(character)
        elif character == "," and depth == 0:
            yield from _nonempty_text(part)
            part = []
        else:
            is_quoted = character == '"' and _ends_with_operator(part)
            depth += (character in "([{") - (character in ")]}" and depth > 0)
            swallows_comma = depth > 0 and (swallows_comma or character == ",")
            part.append(character)
    if is_quoted:
        raise Invalid.of([_clause_violation("the closing quote is missing", text, 'end the value with `"`')])
    if depth and swallows_comma:
        raise Invalid.of([_clause_violation("a bracket is not closed before a comma", text, _QUOTING)])
    yield from _nonempty_text(part)


def _ends_with_operator(part: Sequence[str]) -> bool:
    before = next((character for character in reversed(part) if character != " "), "")
    return before in {"=", "<", ">", "~"}


def _nonempty_text(part: list[str]) -> Iterator[str]:
    text = "".join(part).strip()
    if text:
        yield text


def _clause(text: str) -> Clause:
    clause = parse_property(text, negation=True)
    if any(character.isspace() for character in clause.path[0]):
        raise Invalid.of([_clause_violation(f"`{clause.path[0][:100]}` is not a field", text, _QUOTING)])
    value = clause.value.strip()
    if clause.op != "~" and value.startswith(("=", "<", ">", "~")):
        problem = f"`{clause.op}{value[0]}` is not an operator"
        raise Invalid.of(
            [_clause_violation(problem, text, f"put a value that begins with `{value[0]}` in double quotes")]
        )
    if len(value) > 1 and value[0] == value[-1] == '"':
        clause = replace(clause, value=_ESCAPED.sub(r"\1", value[1:-1]))
        if clause.op == "~":
            value_matcher(clause.value)  # raises `Invalid` for an invalid expression
    return replace(clause, path=translate.property_path(clause.path))


_ESCAPED = re.compile(r'\\(["\\])')
_QUOTING = 'put a value with commas in double quotes: `name=="Save 10, get 5"`'


def _clause_violation(problem: str, text: str, remedy: str) -> Violation:
    return Violation(
        code="condition",
        message=f"`property` cannot be read: {problem} in `{text[:100]}`",
        path="property",
        help=remedy,
    )


def _follow_href(query: QueryParams) -> QueryParams:
    href = query.get("href")
    if not href:
        return query
    _, question_mark, href_query = href.partition("?")
    href_parameters = parse_qsl(href_query, keep_blank_values=True) if question_mark else [("start", href)]
    names = {name for name, _ in href_parameters}
    own_parameters = [(n, v) for n, v in query.multi_items() if n != "href" and n not in names]
    return QueryParams([*own_parameters, *href_parameters])


def _order_of(query: QueryParams) -> str:
    orders = [value for name, value in query.multi_items() if name.lower() == "orderby" and value.strip()]
    return ",".join(orders) or DEFAULT_ORDER


# Cursors: if the first sort key is a date, cursors have an ISO date instead of milliseconds.

_MILLISECONDS = re.compile(r"-?[0-9]{1,15}")


def _parse_cursor(order: list[OrderKey], start: str) -> str:
    direction = BACKWARDS if start.startswith(BACKWARDS) else ""
    first, comma, tail = start.removeprefix(BACKWARDS).partition(",")
    if not order or order[0].path not in PLAIN_DATES:
        return start
    try:
        # Some clients decode a `+` to a space.
        moment = str(parse_timestamp_us(first.replace(" ", "+")) // 1000)
    except ValueError:
        return start
    if not comma and len(order) == 1:
        return f"{direction}{moment},{_AFTER_ALL_IDS}"
    return f"{direction}{moment}{comma}{tail}"


def _format_cursor(page: Page, cursor: str) -> str:
    direction = BACKWARDS if cursor.startswith(BACKWARDS) else ""
    first, comma, tail = cursor.removeprefix(BACKWARDS).partition(",")
    if page.order[0].path not in PLAIN_DATES or _MILLISECONDS.fullmatch(first) is None:
        return cursor
    return f"{direction}{format_xdm_time(int(first) * 1000)}{comma}{tail}"
