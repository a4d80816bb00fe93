"""Cached JSON fragments of decision responses: decision with placement, and each option.

Fragments are cached by the identity of the model objects they encode, which a snapshot shares among
responses and which never change; a new version of an offer is a new object with a new fragment.
Content rendered for one customer is not cached.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

from msgspec import UNSET, Raw

from proffer.model.content import Component
from proffer.model.decision import Decision
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.outcome import Proposition
from proffer.model.placement import Placement
from proffer.wire import ode
from proffer.wire.codec import encode
from proffer.wire.scope import encode_scope

Offer: TypeAlias = PersonalizedOffer | FallbackOffer

MOST_KEPT_BYTES = 8_000_000
"""The cache is cleared when its fragments exceed this size."""


@dataclass(frozen=True, slots=True, eq=False)
class FieldSelection:
    """Response fields beside ids and etags. `field_selection` returns one instance per selection."""

    content: bool = False
    decision: frozenset[str] = frozenset()
    placement: frozenset[str] = frozenset()
    option: frozenset[str] = frozenset()


_DECISION = frozenset({"name"})
_PLACEMENT = frozenset({"name", "channel", "componentType"})
_OPTION = frozenset({"name", "characteristics", "priority"})


def field_selection(
    content: bool,
    decision: frozenset[str],
    placement: frozenset[str],
    option: frozenset[str],
) -> FieldSelection:
    """Return the selection of these members; unknown members are ignored."""
    return _interned(content, decision & _DECISION, placement & _PLACEMENT, option & _OPTION)


@cache  # at most 128 selections
def _interned(content: bool, *members: frozenset[str]) -> FieldSelection:
    return FieldSelection(content, *members)


@dataclass(slots=True)
class Fragments:
    """Encoder of propositions with a cache of fragments."""

    _kept: dict[tuple[Any, ...], tuple[bytes, Any]] = field(default_factory=dict)
    _size: int = 0

    def proposition(self, one: Proposition, wanted: FieldSelection) -> Raw:
        """Encode the proposition of a scope as `ode.PropositionDoc`."""
        parts = [self._head(one.decision, one.placement, wanted)]
        before = b',"xdm:options":['
        for choice in one.options:
            parts += (before, self._option(choice.offer, choice.component, one.placement, wanted))
            if choice.score is not None:
                parts += (b',"xdm:score":', encode(choice.score))
            before = b"},"
        if one.options:
            parts.append(b"}]")
        if one.fallback is not None:
            shown = self._option(one.fallback.offer, one.fallback.component, one.placement, wanted)
            parts += (b',"xdm:fallback":', shown, b"}")
        parts.append(b"}")
        return Raw(b"".join(parts))

    def _head(self, decision: Decision, placement: Placement, wanted: FieldSelection) -> bytes:
        """Encode the members of a proposition before its options, without the closing brace."""
        # `id()` is unique while the object lives; the cache entry keeps it alive.
        key = (id(decision), id(placement), wanted)
        kept = self._kept.get(key)
        if kept is not None:
            return kept[0]
        made = encode(_head(decision, placement, wanted))[:-1]
        self._keep(key, made, (decision, placement))
        return made

    def _option(
        self,
        offer: Offer,
        component: Component | None,
        placement: Placement,
        wanted: FieldSelection,
    ) -> bytes:
        """Encode an option or fallback, without its score and the closing brace."""
        key = (id(offer), id(component), wanted)
        kept = self._kept.get(key)
        if kept is not None:
            return kept[0]
        made = encode(_option(offer, component, wanted))[:-1]
        if component is None or _is_of(component, offer, placement):
            self._keep(key, made, (offer, component))
        return made

    def _keep(self, key: tuple[Any, ...], made: bytes, alive: Any) -> None:
        self._size += len(made)
        if self._size > MOST_KEPT_BYTES:
            self._kept.clear()
            self._size = len(made)
        self._kept[key] = made, alive


def _is_of(component: Component, offer: Offer, placement: Placement) -> bool:
    """Return whether the component is from the library, not rendered for one customer."""
    representation = offer.representations.get(placement.id)
    return representation is not None and any(component is one for one in representation.components)


def _head(decision: Decision, placement: Placement, wanted: FieldSelection) -> ode.PropositionDoc:
    return ode.PropositionDoc(
        activity=ode.ActivityRef(
            id=decision.shown_id,
            etag=str(decision.etag),
            name=decision.name if "name" in wanted.decision else UNSET,
        ),
        placement=ode.PlacementRef(
            id=placement.shown_id,
            etag=str(placement.etag),
            name=placement.name if "name" in wanted.placement else UNSET,
            channel=(placement.channel or UNSET) if "channel" in wanted.placement else UNSET,
            component_type=placement.component_type
            if "componentType" in wanted.placement
            else UNSET,
        ),
        scope=encode_scope(decision.shown_id, placement.shown_id),
    )


def _option(offer: Offer, component: Component | None, wanted: FieldSelection) -> ode.OptionDoc:
    members = wanted.option
    document = ode.OptionDoc(id=offer.shown_id, etag=str(offer.etag))
    if "name" in members:
        document.name = offer.name
    if "characteristics" in members:
        document.characteristics = dict(offer.characteristics)
    if "priority" in members and isinstance(offer, PersonalizedOffer):
        document.priority = offer.priority
    if wanted.content and component is not None:
        document.type = component.type
        document.format = component.format
        document.content = component.content or ""
        if component.language:
            document.language = list(component.language)
        if component.delivery_url is not None:
            document.delivery_url = component.delivery_url
        if component.link_url is not None:
            document.link_url = component.link_url
    return document
