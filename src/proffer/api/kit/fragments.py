"""Cached JSON fragments of responses, and the candidates of a trace."""

from collections.abc import Hashable
from typing import TypeAlias

from msgspec import UNSET

from proffer.model.content import Component
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.placement import Placement
from proffer.model.trace import ScopeTrace
from proffer.wire.ode import CandidateDoc

Offer: TypeAlias = PersonalizedOffer | FallbackOffer

MAX_CACHE_BYTES = 8_000_000
"""The cache is cleared when its fragments exceed this size."""


class FragmentCache:
    """Encoded fragments by the model objects that they show.

    These objects never change and are compared by identity: a new version of an offer is a new key.
    """

    def __init__(self) -> None:
        self._fragments: dict[tuple[Hashable, ...], bytes] = {}
        self.get = self._fragments.get
        self.size = 0

    def add(self, key: tuple[Hashable, ...], fragment: bytes) -> None:
        self.size += len(fragment)
        if self.size > MAX_CACHE_BYTES:
            self._fragments.clear()
            self.size = len(fragment)
        self._fragments[key] = fragment

    def __len__(self) -> int:
        return len(self._fragments)


def is_library_content(component: Component | None, offer: Offer, placement: Placement) -> bool:
    """Return whether this is library content, not rendered for one customer."""
    if component is None:
        return True
    representation = offer.representations.get(placement.id)
    return representation is not None and any(
        component is library_component for library_component in representation.components
    )


def candidate_documents(trace: ScopeTrace) -> list[CandidateDoc]:
    """Return the candidates of a scope, with the reason of each."""
    return [
        CandidateDoc(
            id=verdict.id,
            name=verdict.name,
            stage=verdict.stage,
            reason=verdict.reason,
            rank=verdict.rank if verdict.rank is not None else UNSET,
            score=verdict.score if verdict.score is not None else UNSET,
        )
        for verdict in trace.candidates
    ]
