"""Between requests and answers of the edge and the model's (edge 2 to 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET, UnsetType

from proffer.api.edge import problems
from proffer.errors import Finding, Invalid, Malformed
from proffer.model.content import Component
from proffer.model.events import edge_proposition_id, edge_token
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.outcome import Proposition, UnknownScope
from proffer.model.placement import Placement, component_kind
from proffer.model.trace import ScopeTrace
from proffer.service.decide import SCOPE_NOT_FOUND, Decided, scope_name
from proffer.service.edge import Asked
from proffer.wire import edge
from proffer.wire.ode import CandidateDoc
from proffer.wire.scope import MAX_SCOPE_ITEMS, decode_scope

_KINDS = frozenset({"html", "json", "text", "imagelink"})
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
    maps: list[tuple[str, Any]] = [
        ("$.identityMap", document.identity_map),
        ("$.xdm.identityMap", (document.xdm or {}).get("identityMap")),
    ]
    maps += [
        (f"$.events[{index}].xdm.identityMap", (event.xdm or {}).get("identityMap"))
        for index, event in enumerate(events)
    ]
    return [one for one in maps if one[1] is not None]


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
        queries = [event.query] if index else [document.query, event.query]
        asked = [
            query.personalization
            for query in queries
            if query is not None and query.personalization is not None
        ]
        texts: dict[str, Asked] = {}
        misread: dict[str, str] = {}
        for text in dict.fromkeys(text for one in asked for text in one.scopes or ()):
            named = decode_scope(text)
            if named is None:
                continue
            if named.item_count == 0:
                misread[text] = f"{named.decision}/{named.placement}"
            else:
                texts[text] = Asked(
                    decision=named.decision,
                    placement=named.placement,
                    item_count=named.item_count,
                )
        found.append(
            Wanted(
                asked=bool(asked),
                texts=tuple(texts),
                scopes=tuple(texts.values()),
                misread=tuple(misread.items()),
            )
        )
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


def context_of(document: edge.RequestDoc, event: edge.EventDoc) -> dict[str, Any]:
    """What a request says of the moment: its own XDM, the event's over it, and the event's free-form data."""
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


def propositions(decided: Decided, texts: Sequence[str]) -> list[edge.PropositionDoc]:
    """One proposition for each scope that was answered, under the text by which it was asked for (R34)."""
    decision_id = decided.proposition_id
    found: list[edge.PropositionDoc] = []
    for index, (one, text) in enumerate(zip(decided.outcome.scopes, texts, strict=True)):
        if isinstance(one, Proposition):
            proposition = _proposition(
                one, text, edge_proposition_id(decision_id, index), edge_token(decision_id, index)
            )
            if decided.outcome.trace is not None:
                proposition.trace = _trace(decided.outcome.trace[index])
            found.append(proposition)
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


def _proposition(
    one: Proposition, text: str, proposition_id: str, token: str
) -> edge.PropositionDoc:
    decision, placement = one.decision, one.placement
    metadata = placement.metadata
    activity = edge.AboutDoc(
        id=decision.shown_id,
        etag=str(decision.etag),
        name=decision.name if _told(metadata, "decisionName") else UNSET,
    )
    where = edge.AboutDoc(
        id=placement.shown_id,
        etag=str(placement.etag),
        name=placement.name if _told(metadata, "placementName") else UNSET,
        channel=(placement.channel or UNSET) if _told(metadata, "channelType") else UNSET,
        component_type=placement.component_type if _told(metadata, "contentType") else UNSET,
    )
    items = [
        _item(choice.offer, choice.component, placement, choice.score) for choice in one.options
    ]
    if one.fallback is not None:
        items = [_item(one.fallback.offer, one.fallback.component, placement, None)]
    return edge.PropositionDoc(
        id=proposition_id,
        scope=text,
        activity=activity,
        placement=where,
        details=edge.ScopeDetailsDoc(
            provider="ODE",
            activity=activity,
            placement=where,
            characteristics={"eventToken": token},
        ),
        items=items,
    )


def _trace(one: ScopeTrace) -> list[CandidateDoc]:
    return [
        CandidateDoc(
            id=verdict.id,
            name=verdict.name,
            stage=verdict.stage,
            reason=verdict.reason,
            rank=verdict.rank if verdict.rank is not None else UNSET,
            score=verdict.score if verdict.score is not None else UNSET,
        )
        for verdict in one.candidates
    ]


def _item(
    offer: PersonalizedOffer | FallbackOffer,
    component: Component | None,
    placement: Placement,
    score: float | None,
) -> edge.ItemDoc:
    """An option or a fallback; nothing but its id tells which. Content comes unless the placement forbids it."""
    metadata = placement.metadata
    told = _told(metadata, "offerAttributes") and offer.characteristics
    data = edge.ItemDataDoc(
        id=offer.shown_id, characteristics=dict(offer.characteristics) if told else UNSET
    )
    kind = component_kind(component.type if component is not None else placement.component_type)
    if component is not None:
        data.format = component.format.partition(";")[0].strip().lower()
        if component.language:
            data.language = list(component.language)
        if placement.return_content is not False:
            _fill(data, component, kind)
    priority: int | UnsetType = UNSET
    if isinstance(offer, PersonalizedOffer) and _told(metadata, "offerPriority"):
        priority = offer.priority
    return edge.ItemDoc(
        id=offer.shown_id,
        etag=str(offer.etag),
        schema=edge.CONTENT_COMPONENT + kind
        if kind in _KINDS or component is None
        else component.type,
        data=data,
        name=offer.name if _told(metadata, "offerName") else UNSET,
        priority=priority,
        score=score if score is not None else UNSET,
    )


def _fill(data: edge.ItemDataDoc, component: Component, kind: str) -> None:
    """The content, or for pictures their address: never both."""
    address = component.delivery_url
    if address is not None and (kind == "imagelink" or component.content is None):
        data.delivery_url = address
        if component.link_url is not None:
            data.link_url = component.link_url
    else:
        data.content = component.content or ""


def _told(metadata: Mapping[str, bool] | None, switch: str) -> bool:
    """Whether the placement lets this be told: all of it, where it says nothing."""
    return True if metadata is None else bool(metadata.get(switch))
