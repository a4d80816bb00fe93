"""Translate edge requests and outcomes (edge 2 to 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from proffer.api.edge import problems
from proffer.api.edge.fragments import EdgeFragments
from proffer.errors import Invalid, Malformed, Violation
from proffer.model.ids import canonical
from proffer.model.outcome import Proposition
from proffer.model.request import RequestedScope
from proffer.service.decisions.decide import DecisionResult
from proffer.service.decisions.unknown_scopes import (
    SCOPE_NOT_FOUND,
    as_sent,
    not_found_message,
    scope_name,
    unread_message,
)
from proffer.wire import edge
from proffer.wire.scope import MAX_SCOPE_ITEMS, decode_scope

_OFFERS = "com_adobe_edge_ode"
_PLATFORM = "com_adobe_experience_platform"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeTexts:
    """The decision scopes of an event: texts as sent, and parsed.

    `texts` and `scopes` have the same order. `invalid`: offer scopes that cannot be decided, as (text,
    decision/placement or name, reason). `names`: the names of named scopes by text; their entries in
    `scopes` are empty until `with_named_scopes`. `unread`: texts and names of those that could not be looked for.
    """

    texts: tuple[str, ...] = ()
    scopes: tuple[RequestedScope, ...] = ()
    invalid: tuple[tuple[str, str, str], ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    unread: tuple[tuple[str, str], ...] = ()

    def with_named_scopes(self, scopes_by_name: Mapping[str, RequestedScope | str | None]) -> "ScopeTexts":
        """Return these scopes with a scope, or the reason why there is none, for each name."""
        resolved: dict[str, RequestedScope] = {}
        invalid = list(self.invalid)
        unread: list[tuple[str, str]] = []
        for text, scope in zip(self.texts, self.scopes, strict=True):
            name = self.names.get(text)
            named_scope = scope if name is None else scopes_by_name[name]
            if isinstance(named_scope, RequestedScope):
                resolved[text] = named_scope._replace(item_count=scope.item_count)
                continue
            assert name is not None
            if named_scope is None:
                unread.append((text, name))
            else:
                invalid.append((text, name, named_scope))
        return ScopeTexts(
            texts=tuple(resolved), scopes=tuple(resolved.values()), invalid=tuple(invalid), unread=tuple(unread)
        )


class EventInput(NamedTuple):
    """One event: its XDM, the context data for rules, and the requested scopes.

    `requested` is None if the event requests no decisions. `explain`: return the trace
    (`data.__proffer.explain`, a Proffer extension). `dry_run`: count nothing (`data.__adobe.ajo.dryRun`).
    `path`: its JSON path in the request.
    """

    xdm: dict[str, Any] | None
    context: dict[str, Any]
    requested: ScopeTexts | None
    explain: bool
    dry_run: bool
    path: str


class RequestInput(NamedTuple):
    """A request of either version. `identity_maps` are (JSON path, map), highest precedence first.

    `offers` is False where the request disables decisions.
    """

    events: list[EventInput]
    identity_maps: list[tuple[str, Any]]
    state: edge.StateDoc | None
    fetches_ecid: bool
    offers: bool


def read(document: edge.RequestDoc, *, overrides: bool = False) -> RequestInput:
    """Parse a request. `overrides`: it may override settings of its datastream.

    Scopes requested at the top level belong to the first event. Raises `Invalid` for too many decision
    scopes and `Malformed` for overrides that cannot be parsed.
    """
    query, meta = document.query, document.meta
    fetch = query.identity.fetch if query is not None and query.identity is not None else None
    events = _events(document)
    requested = _requested_scopes(document, events)
    return RequestInput(
        events=[
            EventInput(
                xdm=event.xdm,
                context=_context(document, event),
                requested=scopes,
                explain=_member(event.data, "__proffer", "explain") is True,
                dry_run=_member(event.data, "__adobe", "ajo", "dryRun") is True,
                path=_event_path(document, index),
            )
            for index, (event, scopes) in enumerate(zip(events, requested, strict=True))
        ],
        identity_maps=_identity_maps(document, events),
        state=meta.state if meta is not None else None,
        fetches_ecid="ECID" in (fetch or ()),
        offers=not overrides or _is_enabled(meta),
    )


def write(
    result: DecisionResult | None, requested: ScopeTexts, index: int, fragments: EdgeFragments
) -> tuple[list[bytes], list[dict[str, Any]]]:
    """Return an event's encoded propositions and errors about its scopes (R34).

    `result` is None where there was nothing to decide.
    """
    errors = [_scope_not_found(name, text, index, reason) for text, name, reason in requested.invalid]
    errors += [_scope_unread(name, text, index) for text, name in requested.unread]
    payload: list[bytes] = []
    if result is None:
        return payload, errors
    trace = result.outcome.trace
    for position, scope in enumerate(result.outcome.scopes):
        text = requested.texts[position]
        if isinstance(scope, Proposition):
            scope_trace = trace[position] if trace is not None else None
            payload.append(fragments.encode_proposition(scope, text, result.proposition_id, position, scope_trace))
        else:
            sent = decode_scope(text)
            unknown = scope
            if sent is not None and sent.name is None:
                unknown = as_sent(scope, (sent.decision, sent.placement))
            if result.misses_writes:
                errors.append(_scope_unread(scope_name(unknown), text, index))
            else:
                errors.append(_scope_not_found(scope_name(unknown), text, index, unknown.reason))
    return payload, errors


def _events(document: edge.RequestDoc) -> list[edge.EventDoc]:
    """Return the events of a request of either version."""
    if isinstance(document, edge.OneEventDoc):
        return [document.event]
    return document.events if isinstance(document, edge.EventsDoc) else []


def _event_path(document: edge.RequestDoc, index: int) -> str:
    """Return the JSON path of an event in a request of either version."""
    return "$.event" if isinstance(document, edge.OneEventDoc) else f"$.events[{index}]"


def _identity_maps(document: edge.RequestDoc, events: Sequence[edge.EventDoc]) -> list[tuple[str, Any]]:
    """Return identity maps as (JSON path, map), highest precedence first."""
    maps: list[tuple[str, Any]] = []
    if document.identity_map is not None:
        maps.append(("$.identityMap", document.identity_map))
    if document.xdm is not None and (identity_map := document.xdm.get("identityMap")) is not None:
        maps.append(("$.xdm.identityMap", identity_map))
    for index, event in enumerate(events):
        if event.xdm is not None and (identity_map := event.xdm.get("identityMap")) is not None:
            maps.append((f"{_event_path(document, index)}.xdm.identityMap", identity_map))
    return maps


def _requested_scopes(document: edge.RequestDoc, events: Sequence[edge.EventDoc]) -> list[ScopeTexts | None]:
    """Return the decision scopes of each event; scopes of other products are skipped."""
    requested: list[ScopeTexts | None] = []
    for index, event in enumerate(events):
        personalizations = [
            query.personalization
            for query in ((event.query,) if index else (document.query, event.query))
            if query is not None and query.personalization is not None
        ]
        if not personalizations:
            requested.append(None)
            continue
        texts = tuple([text for personalization in personalizations for text in personalization.scopes or ()])
        # Pages request the same scopes repeatedly; very long texts are not cached.
        is_cacheable = sum(map(len, texts)) <= _MAX_CACHED_LENGTH
        requested.append(_cached_scopes(texts) if is_cacheable else _scopes(texts))
    count = sum(
        len(scope_texts.texts) + len(scope_texts.invalid) for scope_texts in requested if scope_texts is not None
    )
    if count > edge.MAX_SCOPES:
        raise Invalid.of(
            [
                Violation(
                    code="limit",
                    message=f"{count} decision scopes exceed the limit of {edge.MAX_SCOPES} per request",
                    path="$.query.personalization.decisionScopes",
                    help="send several requests",
                )
            ]
        )
    return requested


_MAX_CACHED_LENGTH = 4_096


def _scopes(texts: tuple[str, ...]) -> ScopeTexts:
    """Decode scope texts, without duplicates, in order."""
    scopes: dict[str, RequestedScope] = {}
    invalid: dict[str, tuple[str, str, str]] = {}
    names: dict[str, str] = {}
    for text in texts:
        scope = decode_scope(text)
        if scope is None:
            continue
        if scope.item_count == 0:
            scope_text = scope.name or f"{scope.decision}/{scope.placement}"
            invalid[text] = (text, scope_text, f"`itemCount` must be a whole number from 1 to {MAX_SCOPE_ITEMS}")
        else:
            if scope.name is not None:
                names[text] = scope.name
            scopes[text] = RequestedScope(
                decision=canonical(scope.decision),
                placement=canonical(scope.placement),
                item_count=scope.item_count,
            )
    return ScopeTexts(
        texts=tuple(scopes),
        scopes=tuple(scopes.values()),
        invalid=tuple(invalid.values()),
        names=names,
    )


_cached_scopes = lru_cache(maxsize=512)(_scopes)


def _context(document: edge.RequestDoc, event: edge.EventDoc) -> dict[str, Any]:
    """Merge the XDM of request and event, and the event's data. The event's XDM wins."""
    if document.xdm is None and event.data is None:
        return event.xdm or {}
    merged = {**(document.xdm or {}), **(event.xdm or {})}
    if event.data is not None:
        merged["data"] = event.data
    return merged


def _member(data: Mapping[str, Any] | None, *names: str) -> Any:
    """Return a nested member of free-form data; None where it is absent."""
    value: Any = data
    for name in names:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _is_enabled(meta: edge.MetaDoc | None) -> bool:
    """Return whether a request enables offers; raise `Malformed` for invalid overrides."""
    inner: Any = meta.overrides if meta is not None else None
    path = "meta.configOverrides"
    for name in (_PLATFORM, _OFFERS, "enabled"):
        if inner is None:
            return True
        if not isinstance(inner, Mapping):
            raise Malformed(f"`{path}` is not an object", code="EXEG-0113-400")
        inner, path = inner.get(name), f"{path}.{name}"
    if inner is not None and not isinstance(inner, bool):
        raise Malformed(f"`{path}` must be true or false", code="EXEG-0113-400")
    return inner is not False


def _scope_unread(name: str, scope: str, event: int) -> dict[str, Any]:
    document = problems.report_entry(
        problems.UPSTREAM_UNAVAILABLE, 503, "Service Unavailable", unread_message(name), eventIndex=event
    )
    return {**document, "scope": scope}


def _scope_not_found(name: str, scope: str, event: int, reason: str) -> dict[str, Any]:
    document = problems.report_entry(
        SCOPE_NOT_FOUND,
        404,
        "Not Found",
        not_found_message([name]),
        eventIndex=event,
        errors=[reason],
    )
    return {**document, "scope": scope}
