"""List and search queries of the repository API, and page links. See spec 2.3."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote_plus

from starlette.datastructures import QueryParams

from proffer.api.kit.endpoints import ApiCall
from proffer.api.kit.links import quote_in_link
from proffer.api.xcore import translate
from proffer.errors import Malformed
from proffer.model.catalog import Catalog
from proffer.model.instance import Instance
from proffer.service.search.properties import document_matcher
from proffer.service.search.search import (
    Page,
    SearchQuery,
    parse_fields,
    parse_limit,
    parse_order,
    parse_property,
)


def read_search(call: ApiCall, catalog: Catalog) -> tuple[Iterable[Instance], SearchQuery, str]:
    """Return the instances, the parsed search, and the response's schema name.

    Raises `Malformed` for invalid or contradictory parameters.
    """
    query = call.query
    kind, schema_ns = translate.read_schema(query.getlist("schema"))
    ids, name = query.getlist("id"), query.get("name")
    if ids and name is not None:
        raise Malformed("look up by `id` or by `name`, not both", code="bad-parameter")
    search = SearchQuery(
        ids=tuple(ids),
        name=name,
        clauses=tuple(parse_property(text) for text in query.getlist("property") if text),
        text=query.get("q"),
        text_any=_matches_any_word(query.get("qop")),
        fields=parse_fields(query.getlist("field")),
        order=parse_order(query.get("orderby") or query.get("orderBy") or ""),
        limit=parse_limit(query.get("limit")),
        start=query.get("start") or None,
    )
    # A copy: the catalog may change while a long search yields.
    return list(catalog.of_kind(kind).values()), search, schema_ns


def filter_containers(documents: Sequence[Mapping[str, Any]], query: QueryParams) -> list[Mapping[str, Any]]:
    """Return the containers that match the `property` and `product` parameters."""
    tests = [document_matcher(parse_property(text)) for text in query.getlist("property") if text]
    products = {product for text in query.getlist("product") for product in text.split(",") if product}
    return [
        document
        for document in documents
        if all(test(document) for test in tests)
        and (not products or products & {*document["productContexts"], "dma_offers"})
    ]


def self_href(path: str, raw_query: str) -> str:
    """Return the link to this page, relative to the base URL."""
    return f"{path}?{readable_query(raw_query)}" if raw_query else path


def next_href(path: str, query: QueryParams, page: Page) -> str | None:
    """Return the link to the next page; None on the last."""
    if page.next_start is None:
        return None
    order = ",".join(f"{'-' if key.descending else ''}{'.'.join(key.path)}" for key in page.order)
    parameters = [(name, value) for name, value in query.multi_items() if name not in {"start", "orderby", "orderBy"}]
    tail = "&".join(f"{quote_in_link(name)}={quote_in_link(value)}" for name, value in parameters)
    return f"{path}?start={quote(page.next_start, safe='')}&orderby={quote_in_link(order)}" + (
        f"&{tail}" if tail else ""
    )


def readable_query(raw_query: str) -> str:
    """Return a query as in the documented links: as sent, with minimal escaping."""
    parts = [part.partition("=") for part in raw_query.split("&")]
    return "&".join(f"{name}{equals}{quote_in_link(unquote_plus(value))}" for name, equals, value in parts)


def _matches_any_word(qop: str | None) -> bool:
    word = (qop or "or").lower()
    if word not in {"and", "or"}:
        raise Malformed(f"`qop` must be `and` or `or`, not `{word[:50]}`", code="bad-parameter")
    return word == "or"
