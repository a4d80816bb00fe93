"""Cached JSON fragments of edge propositions: decision with placement, and each item.

Content rendered for one customer is not cached.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import UNSET, UnsetType

from proffer.api.kit.fragments import FragmentCache, Offer, candidate_documents, is_library_content
from proffer.model.content import Component
from proffer.model.decision import Decision
from proffer.model.events import edge_proposition_id, edge_token, item_token
from proffer.model.offer import PersonalizedOffer
from proffer.model.outcome import Proposition
from proffer.model.placement import COMPONENT_TYPES, Placement, component_kind
from proffer.model.trace import ScopeTrace
from proffer.wire import edge
from proffer.wire.codec import encode

_MAX_CACHED_TEXT = 1_024
_KINDS = frozenset({"html", "json", "text", "imagelink"})


@dataclass(slots=True)
class EdgeFragments:
    """Encoder of edge propositions with a cache of fragments."""

    _cache: FragmentCache = field(default_factory=FragmentCache)

    def encode_proposition(
        self,
        proposition: Proposition,
        text: str,
        proposition_id: str,
        index: int,
        trace: ScopeTrace | None,
    ) -> bytes:
        """Encode the proposition of a scope, requested as `text` (see `wire/edge.py`).

        `index` is the position of the scope in the decision `proposition_id`.
        """
        token = edge_token(proposition_id, index)
        items = self._items(proposition, token)
        if trace is not None:
            items = b'%b,"trace":%b' % (items, encode(candidate_documents(trace)))
        # Ids and tokens are generated here and need no escaping.
        parts = (
            b'{"id":"',
            edge_proposition_id(proposition_id, index).encode(),
            self._head(proposition.decision, proposition.placement, text),
            token.encode(),
            b'"}},"items":',
            items,
            b"}",
        )
        return b"".join(parts)

    def _items(self, proposition: Proposition, token: str) -> bytes:
        """Encode the options, or the fallback, each with its tracking token."""
        parts = []
        for choice in proposition.options:
            item = self._item(choice.offer, choice.component, proposition.placement)
            score = choice.score
            parts.append(item if score is None else b'%b,"score":%b' % (item, encode(score)))
        fallback = proposition.fallback
        if fallback is not None:
            parts.append(self._item(fallback.offer, fallback.component, proposition.placement))
        items = [
            b'%b,"characteristics":{"tokens":["%b"]}}' % (part, item_token(token, place).encode())
            for place, part in enumerate(parts)
        ]
        return b"[%b]" % b",".join(items)

    def _head(self, decision: Decision, placement: Placement, text: str) -> bytes:
        """Encode the members between the id and the token."""
        variant = (placement, text)
        if (cached := self._cache.get(decision, variant)) is not None:
            return cached
        references = b'"activity":%b,"placement":%b' % (
            encode(_activity(decision, placement)),
            encode(_placement(placement)),
        )
        encoded = (
            b'","scope":' + encode(text) + b"," + references
            + b',"scopeDetails":{"decisionProvider":"ODE",' + references
            + b',"characteristics":{"eventToken":"'
        )  # fmt: skip
        if len(text) <= _MAX_CACHED_TEXT:
            self._cache.add(decision, variant, encoded)
        return encoded

    def _item(self, offer: Offer, component: Component | None, placement: Placement) -> bytes:
        """Encode an option or fallback, without its score and the closing brace."""
        variant = (component, placement)
        if (cached := self._cache.get(offer, variant)) is not None:
            return cached
        encoded = encode(_item(offer, component, placement))[:-1]
        if is_library_content(component, offer, placement):
            self._cache.add(offer, variant, encoded)
        return encoded


def _activity(decision: Decision, placement: Placement) -> edge.AboutDoc:
    has_name = _is_returned(placement.metadata, "decisionName")
    return edge.AboutDoc(id=decision.public_id, etag=str(decision.etag), name=decision.name if has_name else UNSET)


def _placement(placement: Placement) -> edge.AboutDoc:
    metadata = placement.metadata
    return edge.AboutDoc(
        id=placement.public_id,
        etag=str(placement.etag),
        name=placement.name if _is_returned(metadata, "placementName") else UNSET,
        channel=(placement.channel or UNSET) if _is_returned(metadata, "channelType") else UNSET,
        component_type=placement.component_type if _is_returned(metadata, "contentType") else UNSET,
    )


def _item(offer: Offer, component: Component | None, placement: Placement) -> edge.ItemDoc:
    """Build an item. Fallbacks differ only by id; content is included unless the placement forbids it."""
    metadata = placement.metadata
    has_characteristics = _is_returned(metadata, "offerAttributes") and offer.characteristics
    data = edge.ItemDataDoc(
        id=offer.public_id,
        characteristics=dict(offer.characteristics) if has_characteristics else UNSET,
    )
    kind = component_kind(component.type if component is not None else placement.component_type)
    if component is not None:
        data.format = component.format.partition(";")[0].strip().lower()
        if component.language:
            data.language = list(component.language)
        if placement.return_content is not False:
            _set_content(data, component, kind)
    priority: int | UnsetType = UNSET
    if isinstance(offer, PersonalizedOffer) and _is_returned(metadata, "offerPriority"):
        priority = offer.priority
    schema = COMPONENT_TYPES + kind
    if component is not None and kind not in _KINDS:
        schema = component.type
    return edge.ItemDoc(
        id=offer.public_id,
        etag=str(offer.etag),
        schema=schema,
        data=data,
        name=offer.name if _is_returned(metadata, "offerName") else UNSET,
        priority=priority,
    )


def _set_content(data: edge.ItemDataDoc, component: Component, kind: str) -> None:
    """Set the content, or the URL of an image: never both."""
    address = component.delivery_url
    if address is not None and (kind == "imagelink" or component.content is None):
        data.delivery_url = address
        if component.link_url is not None:
            data.link_url = component.link_url
    else:
        data.content = component.content or ""


def _is_returned(metadata: Mapping[str, bool] | None, switch: str) -> bool:
    """Return whether the placement's metadata settings include this; without settings, all is."""
    return True if metadata is None else bool(metadata.get(switch))
