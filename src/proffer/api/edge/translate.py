"""Between requests and answers of the edge and the model's (edge 2 to 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from proffer.api.edge import problems
from proffer.api.edge.fragments import Fragments
from proffer.errors import Finding, Invalid, Malformed
from proffer.model.ids import canonical
from proffer.model.outcome import Proposition, UnknownScope
from proffer.service.decisions.decide import SCOPE_NOT_FOUND, Decided, scope_name
from proffer.service.edge.edge import Asked
from proffer.wire import edge
from proffer.wire.scope import MAX_SCOPE_ITEMS, decode_scope

_OFFERS = "com_adobe_edge_ode"
_PLATFORM = "com_adobe_experience_platform"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What one event asks for. `texts` are the scope strings of `scopes`, as they were sent.

    `asked`: whether it asks for decisions at all, be it for nobody's scopes. `misread` are scopes of
    ours that ask for nonsense, with what they name.
    """

    asked: bool
    texts: tuple[str, ...] = ()
    scopes: tuple[Asked, ...] = ()
    misread: tuple[tuple[str, str], ...] = ()


def events_of(document: edge.RequestDoc) -> list[edge.EventDoc]:
    """The events of a request of either version."""
    if isinstance(document, edge.OneEventDoc):
        return [document.event]
    return document.events if isinstance(document, edge.EventsDoc) else []


def identity_maps(
    document: edge.RequestDoc, events: Sequence[edge.EventDoc] = ()
) -> list[tuple[str, Any]]:
    """The identity maps of a request, those that count more first."""
    maps: list[tuple[str, Any]] = []
    if document.identity_map is not None:
        maps.append(("$.identityMap", document.identity_map))
    if document.xdm is not None and (found := document.xdm.get("identityMap")) is not None:
        maps.append(("$.xdm.identityMap", found))
    for index, event in enumerate(events):
        if event.xdm is not None and (found := event.xdm.get("identityMap")) is not None:
            maps.append((f"$.events[{index}].xdm.identityMap", found))
    return maps


def fetches_ecid(document: edge.RequestDoc) -> bool:
    query = document.query
    fetch = query.identity.fetch if query is not None and query.identity is not None else None
    return "ECID" in (fetch or ())


def wanted(document: edge.RequestDoc, events: Sequence[edge.EventDoc]) -> list[Wanted]:
    """What each event asks for; what the request asks for as a whole counts with the first.

    Raises `Invalid` for too many decision scopes. Page views and the places of other products are no
    decision scopes.
    """
    found: list[Wanted] = []
    for index, event in enumerate(events):
        asked = [
            query.personalization
            for query in ((event.query,) if index else (document.query, event.query))
            if query is not None and query.personalization is not None
        ]
        if not asked:
            found.append(_NOTHING)
            continue
        texts = tuple([text for one in asked for text in one.scopes or ()])
        # Pages ask for the same again and again; a text of any length is not remembered.
        short = sum(map(len, texts)) <= _MOST_REMEMBERED
        found.append(_remembered(texts) if short else _read(texts))
    many = sum(len(one.texts) + len(one.misread) for one in found)
    if many > edge.MAX_SCOPES:
        raise Invalid.of(
            [
                Finding(
                    code="limit",
                    message=f"{many} decision scopes are more than the limit of {edge.MAX_SCOPES} "
                    "per request",
                    path="$.query.personalization.decisionScopes",
                    help="send several requests",
                )
            ]
        )
    return found


_NOTHING = Wanted(asked=False)
_MOST_REMEMBERED = 4_096


def _read(texts: tuple[str, ...]) -> Wanted:
    """What these texts ask for, each once, in their order."""
    scopes: dict[str, Asked] = {}
    misread: dict[str, str] = {}
    for text in texts:
        named = decode_scope(text)
        if named is None:
            continue
        if named.item_count == 0:
            misread[text] = f"{named.decision}/{named.placement}"
        else:
            scopes[text] = Asked(
                decision=canonical(named.decision),
                placement=canonical(named.placement),
                item_count=named.item_count,
            )
    return Wanted(
        asked=True,
        texts=tuple(scopes),
        scopes=tuple(scopes.values()),
        misread=tuple(misread.items()),
    )


_remembered = lru_cache(maxsize=512)(_read)


def context_of(document: edge.RequestDoc, event: edge.EventDoc) -> dict[str, Any]:
    """What a request says of the moment: its own XDM, the event's over it, and the event's free-form data."""
    if document.xdm is None and event.data is None:
        return event.xdm or {}
    merged = {**(document.xdm or {}), **(event.xdm or {})}
    if event.data is not None:
        merged["data"] = event.data
    return merged


def asks_why(event: edge.EventDoc) -> bool:
    """Whether the event asks for the trace: `data.__proffer.explain` (ours)."""
    ours = (event.data or {}).get("__proffer")
    return isinstance(ours, Mapping) and ours.get("explain") is True


def is_dry_run(event: edge.EventDoc) -> bool:
    """Whether the event asks that nothing be counted: `data.__adobe.ajo.dryRun`."""
    if event.data is None:
        return False
    inner: Any = event.data
    for name in ("__adobe", "ajo", "dryRun"):
        inner = inner.get(name) if isinstance(inner, Mapping) else None
    return inner is True


def offers_wanted(meta: edge.MetaDoc | None) -> bool:
    """Whether a request leaves offers on for itself. Raises `Malformed` for overrides that cannot be read."""
    inner: Any = meta.overrides if meta is not None else None
    at = "meta.configOverrides"
    for name in (_PLATFORM, _OFFERS, "enabled"):
        if inner is None:
            return True
        if not isinstance(inner, Mapping):
            raise Malformed(f"`{at}` is no object", code="EXEG-0113-400")
        inner, at = inner.get(name), f"{at}.{name}"
    if inner is not None and not isinstance(inner, bool):
        raise Malformed(f"`{at}` is neither true nor false", code="EXEG-0113-400")
    return inner is not False


# Answers.


def propositions(decided: Decided, texts: Sequence[str], fragments: Fragments) -> list[bytes]:
    """One proposition for each scope that was answered, under the text by which it was asked for (R34)."""
    key, trace = decided.proposition_id, decided.outcome.trace
    found = []
    for index, one in enumerate(decided.outcome.scopes):
        if isinstance(one, Proposition):
            why = trace[index] if trace is not None else None
            found.append(fragments.proposition(one, texts[index], key, index, why))
    return found


def errors(decided: Decided, texts: Sequence[str], event: int) -> list[dict[str, Any]]:
    """One entry of `errors` for each scope that nobody can answer."""
    return [
        _not_found(scope_name(one), text, event, one.reason)
        for one, text in zip(decided.outcome.scopes, texts, strict=True)
        if isinstance(one, UnknownScope)
    ]


def misread(scopes: Sequence[tuple[str, str]], event: int) -> list[dict[str, Any]]:
    """The same for scopes that ask for nonsense."""
    reason = f"`itemCount` is a whole number from 1 to {MAX_SCOPE_ITEMS}"
    return [_not_found(named, text, event, reason) for text, named in scopes]


def _not_found(named: str, scope: str, event: int, reason: str) -> dict[str, Any]:
    document = problems.note(
        SCOPE_NOT_FOUND,
        404,
        "Not Found",
        f"The following scope was not found: {named}",
        eventIndex=event,
        errors=[reason],
    )
    return {**document, "scope": scope}
