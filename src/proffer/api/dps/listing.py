"""Queries of lists on the Offer Library API (spec 3.2), and page links."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote

from starlette.datastructures import QueryParams

from proffer.api.dps import translate
from proffer.model.ids import EntityKind
from proffer.service.search.order import PLAIN_DATES
from proffer.service.search.search import (
    BACKWARDS,
    Clause,
    OrderKey,
    Page,
    Search,
    parse_limit,
    parse_order,
    parse_property,
)
from proffer.validation import parse_moment

DEFAULT_ORDER = "-modified"
_READABLE = ":/;=,@!$'()*~<>[]|^\"."
"""Characters that links leave unescaped, beyond the URI standard."""
_PAST_ANY_ID = "z" * 36
"""Sorts after every instance id: a bare date as cursor means after all objects of that time."""


def asked(kind: EntityKind, query: QueryParams) -> Search:
    """Parse the query of a list. The query of the older parameter `href` takes precedence."""
    query = _followed(query)
    order = [
        OrderKey(translate.property_path(key.path), key.descending)
        for key in parse_order(_order_of(query))
    ]
    return Search(
        kind=kind,
        clauses=[_clause(text) for given in query.getlist("property") for text in clauses(given)],
        order=order,
        limit=parse_limit(query.get("limit")),
        start=_cursor_in(order, query.get("start") or "") or None,
        reach=translate.values_shown,
    )


def links(path: str, query: QueryParams, page: Page) -> dict[str, str | None]:
    """Return the links `self`, `next` and `prev`, relative to the base URL."""
    query = _followed(query)

    def link(start: str | None) -> str:
        members = [("orderby", _order_of(query))]
        if query.get("limit"):
            members.append(("limit", query["limit"]))
        if start:
            members.append(("start", start))
        members += [
            (name, value)
            for name, value in query.multi_items()
            if name in {"property", "offer-type"}
        ]
        return f"/{path}?" + "&".join(
            f"{name}={quote(value, safe='' if name == 'start' else _READABLE)}"
            for name, value in members
        )

    onwards = page.next_start
    back = page.previous_start
    start = query.get("start")
    emptied = not page.results and start is not None and start.startswith(BACKWARDS)
    return {
        "self": link(start),
        "next": link(_cursor_out(page, onwards)) if onwards else link(None) if emptied else None,
        "prev": link(_cursor_out(page, back)) if back else None,
    }


def clauses(text: str) -> Iterator[str]:
    """Split a `property` parameter at commas outside of brackets.

    A backslash before a comma makes it part of the value.
    """
    part: list[str] = []
    depth = 0
    escaped = False
    for character in text:
        if escaped:
            part.append(character if character == "," else f"\\{character}")
            escaped = False
            continue
        if character == "\\":
            escaped = True
            continue
        depth += (character in "([{") - (character in ")]}" and depth > 0)
        if character == "," and depth == 0:
            yield from _said(part)
            part = []
        else:
            part.append(character)
    yield from _said([*part, "\\"] if escaped else part)


def _said(part: list[str]) -> Iterator[str]:
    text = "".join(part).strip()
    if text:
        yield text


def _clause(text: str) -> Clause:
    clause = parse_property(text, negation=True)
    return Clause(
        translate.property_path(clause.path), clause.op, clause.value, negated=clause.negated
    )


def _followed(query: QueryParams) -> QueryParams:
    href = query.get("href")
    if not href:
        return query
    _, asks, inside = href.partition("?")
    followed = parse_qsl(inside, keep_blank_values=True) if asks else [("start", href)]
    named = {name for name, _ in followed}
    own = [(n, v) for n, v in query.multi_items() if n != "href" and n not in named]
    return QueryParams([*own, *followed])


def _order_of(query: QueryParams) -> str:
    given = [
        value for name, value in query.multi_items() if name.lower() == "orderby" and value.strip()
    ]
    return ",".join(given) or DEFAULT_ORDER


# Cursors: if the first sort key is a date, cursors have an ISO date instead of milliseconds.

_MILLISECONDS = re.compile(r"-?[0-9]{1,15}")


def _cursor_in(order: list[OrderKey], start: str) -> str:
    back = BACKWARDS if start.startswith(BACKWARDS) else ""
    first, comma, rest = start.removeprefix(BACKWARDS).partition(",")
    if not order or order[0].path not in PLAIN_DATES:
        return start
    try:
        # Some clients decode a `+` to a space.
        moment = str(parse_moment(first.replace(" ", "+")) // 1000)
    except ValueError:
        return start
    if not comma and len(order) == 1:
        return f"{back}{moment},{_PAST_ANY_ID}"
    return f"{back}{moment}{comma}{rest}"


def _cursor_out(page: Page, cursor: str) -> str:
    back = BACKWARDS if cursor.startswith(BACKWARDS) else ""
    first, comma, rest = cursor.removeprefix(BACKWARDS).partition(",")
    if page.order[0].path not in PLAIN_DATES or _MILLISECONDS.fullmatch(first) is None:
        return cursor
    seconds, milliseconds = divmod(int(first), 1000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{back}{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z{comma}{rest}"
