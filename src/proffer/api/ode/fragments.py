"""Answers are joined from pieces that are encoded once (HOUSE 8.9): what a scope is called, what an option shows.

A piece is kept under the very objects it was made from, which a snapshot shares among all its answers and
which never change; a new version of an offer is a new object, and so a new piece. Content that was
rendered for one customer is encoded for that customer.
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
"""When the pieces have grown to this, they are made anew as they are needed."""


@dataclass(frozen=True, slots=True, eq=False)
class FieldSelection:
    """What an answer shall hold beside ids and etags. Made by `wanted_of`, which gives one object for one wish."""

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
    """The wish for these members; names that no object has are ignored."""
    return _interned(content, decision & _DECISION, placement & _PLACEMENT, option & _OPTION)


@cache  # there are 128 of them
def _interned(content: bool, *members: frozenset[str]) -> FieldSelection:
    return FieldSelection(content, *members)


@dataclass(slots=True)
class Fragments:
    """The pieces of one surface's answers."""

    _kept: dict[tuple[Any, ...], tuple[bytes, Any]] = field(default_factory=dict)
    _size: int = 0

    def proposition(self, one: Proposition, wanted: FieldSelection) -> Raw:
        """The answer for one scope, encoded as `ode.PropositionDoc`."""
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
        """The members of a proposition before its options, without the closing brace."""
        # An id stands for its object while the object lives, and what is kept keeps it alive.
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
        """An option or a fallback, without its score and the closing brace."""
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
    """Whether the component is the library's own, not one that was rendered for somebody."""
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
