"""Cached JSON fragments of decision responses: decision with placement, and each option.

Content rendered for one customer is not cached.
"""

from dataclasses import dataclass, field
from functools import cache

from msgspec import UNSET, Raw

from proffer.api.kit.fragments import FragmentCache, Offer, is_library_content
from proffer.model.content import Component
from proffer.model.decision import Decision
from proffer.model.offer import PersonalizedOffer
from proffer.model.outcome import Proposition
from proffer.model.placement import Placement
from proffer.wire import ode
from proffer.wire.codec import encode
from proffer.wire.scope import encode_scope


@dataclass(frozen=True, slots=True, eq=False)
class FieldSelection:
    """Response fields beside ids and etags. `field_selection` returns one instance per selection."""

    content: bool = False
    decision: frozenset[str] = frozenset()
    placement: frozenset[str] = frozenset()
    option: frozenset[str] = frozenset()


_DECISION_MEMBERS = frozenset({"name"})
_PLACEMENT_MEMBERS = frozenset({"name", "channel", "componentType"})
_OPTION_MEMBERS = frozenset({"name", "characteristics", "priority"})


def field_selection(
    content: bool,
    decision: frozenset[str],
    placement: frozenset[str],
    option: frozenset[str],
) -> FieldSelection:
    """Return the selection of these members; unknown members are ignored."""
    return _cached_selection(
        content,
        decision & _DECISION_MEMBERS,
        placement & _PLACEMENT_MEMBERS,
        option & _OPTION_MEMBERS,
    )


@cache  # at most 128 selections
def _cached_selection(content: bool, *members: frozenset[str]) -> FieldSelection:
    return FieldSelection(content, *members)


@dataclass(slots=True)
class OdeFragments:
    """Encoder of propositions with a cache of fragments."""

    _cache: FragmentCache = field(default_factory=FragmentCache)

    def encode_proposition(self, proposition: Proposition, selection: FieldSelection) -> Raw:
        """Encode the proposition of a scope as `ode.PropositionDoc`."""
        parts = [self._head(proposition.decision, proposition.placement, selection)]
        separator = b',"xdm:options":['
        for choice in proposition.options:
            parts += (
                separator,
                self._option(choice.offer, choice.component, proposition.placement, selection),
            )
            if choice.score is not None:
                parts += (b',"xdm:score":', encode(choice.score))
            separator = b"},"
        if proposition.options:
            parts.append(b"}]")
        if proposition.fallback is not None:
            fallback = self._option(
                proposition.fallback.offer,
                proposition.fallback.component,
                proposition.placement,
                selection,
            )
            parts += (b',"xdm:fallback":', fallback, b"}")
        parts.append(b"}")
        return Raw(b"".join(parts))

    def _head(self, decision: Decision, placement: Placement, selection: FieldSelection) -> bytes:
        """Encode a proposition's members before its options, without the closing brace."""
        variant = (placement, selection)
        if (cached := self._cache.get(decision, variant)) is not None:
            return cached
        encoded = encode(_head(decision, placement, selection))[:-1]
        self._cache.add(decision, variant, encoded)
        return encoded

    def _option(
        self,
        offer: Offer,
        component: Component | None,
        placement: Placement,
        selection: FieldSelection,
    ) -> bytes:
        """Encode an option or fallback, without its score and the closing brace."""
        variant = (component, selection)
        if (cached := self._cache.get(offer, variant)) is not None:
            return cached
        encoded = encode(_option(offer, component, selection))[:-1]
        if is_library_content(component, offer, placement):
            self._cache.add(offer, variant, encoded)
        return encoded


def _head(decision: Decision, placement: Placement, selection: FieldSelection) -> ode.PropositionDoc:
    return ode.PropositionDoc(
        activity=ode.ActivityRef(
            id=decision.public_id,
            etag=str(decision.etag),
            name=decision.name if "name" in selection.decision else UNSET,
        ),
        placement=ode.PlacementRef(
            id=placement.public_id,
            etag=str(placement.etag),
            name=placement.name if "name" in selection.placement else UNSET,
            channel=(placement.channel or UNSET) if "channel" in selection.placement else UNSET,
            component_type=placement.component_type if "componentType" in selection.placement else UNSET,
        ),
        scope=encode_scope(decision.public_id, placement.public_id),
    )


def _option(offer: Offer, component: Component | None, selection: FieldSelection) -> ode.OptionDoc:
    members = selection.option
    document = ode.OptionDoc(id=offer.public_id, etag=str(offer.etag))
    if "name" in members:
        document.name = offer.name
    if "characteristics" in members:
        document.characteristics = dict(offer.characteristics)
    if "priority" in members and isinstance(offer, PersonalizedOffer):
        document.priority = offer.priority
    if selection.content and component is not None:
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
