"""Cached JSON fragments of edge propositions: decision with placement, and each item.

Fragments are cached by the identity of the model objects they encode, which a snapshot shares among
responses and which never change. Content rendered for one customer is not cached.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from msgspec import UNSET, UnsetType

from proffer.model.content import Component
from proffer.model.decision import Decision
from proffer.model.events import edge_proposition_id, edge_token
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.outcome import Proposition
from proffer.model.placement import Placement, component_kind
from proffer.model.trace import ScopeTrace
from proffer.wire import edge
from proffer.wire.codec import encode
from proffer.wire.ode import CandidateDoc

Offer: TypeAlias = PersonalizedOffer | FallbackOffer

MOST_KEPT_BYTES = 8_000_000
"""The cache is cleared when its fragments exceed this size."""

_MOST_OF_A_TEXT = 1_024
_KINDS = frozenset({"html", "json", "text", "imagelink"})


@dataclass(slots=True)
class Fragments:
    """Encoder of edge propositions with a cache of fragments."""

    _kept: dict[tuple[Any, ...], tuple[bytes, Any]] = field(default_factory=dict)
    _size: int = 0

    def proposition(
        self, one: Proposition, text: str, decision: str, index: int, trace: ScopeTrace | None
    ) -> bytes:
        """Encode the proposition of a scope, requested as `text` (see `wire/edge.py`).

        `index` is the position of the scope in the decision `proposition_id`.
        """
        items = self._items(one)
        if trace is not None:
            items = b'%b,"trace":%b' % (items, encode(_trace(trace)))
        # Ids and tokens are generated here and need no escaping.
        parts = (
            b'{"id":"',
            edge_proposition_id(decision, index).encode(),
            self._head(one.decision, one.placement, text),
            edge_token(decision, index).encode(),
            b'"}},"items":',
            items,
            b"}",
        )
        return b"".join(parts)

    def _items(self, one: Proposition) -> bytes:
        """Encode the options, or the fallback."""
        options = one.options
        if not options:
            fallback = one.fallback
            if fallback is None:
                return b"[]"
            return b"[%b}]" % self._item(fallback.offer, fallback.component, one.placement)
        if len(options) == 1 and options[0].score is None:
            return b"[%b}]" % self._item(options[0].offer, options[0].component, one.placement)
        parts = []
        for choice in options:
            item = self._item(choice.offer, choice.component, one.placement)
            score = choice.score
            parts.append(item if score is None else b'%b,"score":%b' % (item, encode(score)))
        return b"[%b}]" % b"},".join(parts)

    def _head(self, decision: Decision, placement: Placement, text: str) -> bytes:
        """Encode the members between the id and the token."""
        # `id()` is unique while the object lives; the cache entry keeps it alive.
        key = (id(decision), id(placement), text)
        kept = self._kept.get(key)
        if kept is None:
            activity, where = encode(_activity(decision, placement)), encode(_placement(placement))
            about = b'"activity":' + activity + b',"placement":' + where
            made = (
                b'","scope":' + encode(text) + b"," + about
                + b',"scopeDetails":{"decisionProvider":"ODE",' + about
                + b',"characteristics":{"eventToken":"'
            )  # fmt: skip
            if len(text) > _MOST_OF_A_TEXT:
                return made
            return self._keep(key, made, (decision, placement))
        return kept[0]

    def _item(self, offer: Offer, component: Component | None, placement: Placement) -> bytes:
        """Encode an option or fallback, without its score and the closing brace."""
        key = (id(offer), id(component), id(placement))
        kept = self._kept.get(key)
        if kept is not None:
            return kept[0]
        made = encode(_item(offer, component, placement))[:-1]
        if component is None or _is_of(component, offer, placement):
            self._keep(key, made, (offer, component, placement))
        return made

    def _keep(self, key: tuple[Any, ...], made: bytes, alive: Any) -> bytes:
        self._size += len(made)
        if self._size > MOST_KEPT_BYTES:
            self._kept.clear()
            self._size = len(made)
        self._kept[key] = made, alive
        return made


def _is_of(component: Component, offer: Offer, placement: Placement) -> bool:
    """Return whether the component is from the library, not rendered for one customer."""
    representation = offer.representations.get(placement.id)
    return representation is not None and any(component is one for one in representation.components)


def _activity(decision: Decision, placement: Placement) -> edge.AboutDoc:
    told = _told(placement.metadata, "decisionName")
    return edge.AboutDoc(
        id=decision.shown_id, etag=str(decision.etag), name=decision.name if told else UNSET
    )


def _placement(placement: Placement) -> edge.AboutDoc:
    metadata = placement.metadata
    return edge.AboutDoc(
        id=placement.shown_id,
        etag=str(placement.etag),
        name=placement.name if _told(metadata, "placementName") else UNSET,
        channel=(placement.channel or UNSET) if _told(metadata, "channelType") else UNSET,
        component_type=placement.component_type if _told(metadata, "contentType") else UNSET,
    )


def _item(offer: Offer, component: Component | None, placement: Placement) -> edge.ItemDoc:
    """Build an item. Fallbacks differ only by id; content is included unless the placement forbids it."""
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
    schema = edge.CONTENT_COMPONENT + kind
    if component is not None and kind not in _KINDS:
        schema = component.type
    return edge.ItemDoc(
        id=offer.shown_id,
        etag=str(offer.etag),
        schema=schema,
        data=data,
        name=offer.name if _told(metadata, "offerName") else UNSET,
        priority=priority,
    )


def _fill(data: edge.ItemDataDoc, component: Component, kind: str) -> None:
    """Set the content, or the URL of an image: never both."""
    address = component.delivery_url
    if address is not None and (kind == "imagelink" or component.content is None):
        data.delivery_url = address
        if component.link_url is not None:
            data.link_url = component.link_url
    else:
        data.content = component.content or ""


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


def _told(metadata: Mapping[str, bool] | None, switch: str) -> bool:
    """Return whether the placement's metadata settings include this; without settings, all is."""
    return True if metadata is None else bool(metadata.get(switch))
