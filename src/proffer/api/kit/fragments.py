"""Cached JSON fragments of responses, and the candidates of a trace."""

from collections.abc import Hashable
from typing import TypeAlias
from weakref import WeakKeyDictionary

from msgspec import UNSET

from proffer.model.content import Component
from proffer.model.decision import Decision
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.placement import Placement
from proffer.model.trace import (
    AudienceName,
    EarlierScope,
    Named,
    RankedBy,
    ScopeTrace,
    Verdict,
    time_text,
)
from proffer.wire.ode import (
    AudienceDoc,
    ByDoc,
    CandidateDoc,
    CapDoc,
    NamedDoc,
    RuleFailureDoc,
    WindowDoc,
)

Offer: TypeAlias = PersonalizedOffer | FallbackOffer

MAX_CACHE_BYTES = 8_000_000
"""The cache is cleared when the added fragments exceed this size."""


class FragmentCache:
    """Encoded fragments of the documents of decisions and offers.

    These objects never change and are compared by identity: a new version of an offer is another object. The
    fragments of an object are released with it.
    """

    def __init__(self) -> None:
        self._fragments: WeakKeyDictionary[Decision | Offer, dict[Hashable, bytes]] = WeakKeyDictionary()
        self.size = 0
        """Number of bytes added since the cache was cleared."""

    def get(self, subject: Decision | Offer, variant: Hashable) -> bytes | None:
        """Return the fragment of this variant of the object's document."""
        variants = self._fragments.get(subject)
        return None if variants is None else variants.get(variant)

    def add(self, subject: Decision | Offer, variant: Hashable, fragment: bytes) -> None:
        """Add a fragment; `variant` must not refer to `subject`."""
        self.size += len(fragment)
        if self.size > MAX_CACHE_BYTES:
            self._fragments.clear()
            self.size = len(fragment)
        self._fragments.setdefault(subject, {})[variant] = fragment

    def __len__(self) -> int:
        return sum(map(len, self._fragments.values()))


def is_library_content(component: Component | None, offer: Offer, placement: Placement) -> bool:
    """Return whether this is library content, not rendered for one customer."""
    if component is None:
        return True
    representation = offer.representations.get(placement.id)
    return representation is not None and any(
        component is library_component for library_component in representation.components
    )


def candidate_documents(trace: ScopeTrace) -> list[CandidateDoc]:
    """Return the candidates of a scope, with the reason of each as a sentence and in parts."""
    return [candidate_document(verdict) for verdict in trace.candidates]


def candidate_document(verdict: Verdict) -> CandidateDoc:
    """Return one candidate of a trace."""
    verdict = verdict.with_tests()
    why = verdict.why
    document = CandidateDoc(id=verdict.id, name=verdict.name, stage=verdict.stage, reason=verdict.reason)
    if verdict.rank is not None:
        document.rank = verdict.rank
    if verdict.score is not None:
        document.score = verdict.score
    if why.rule is not None:
        document.rule = _named_document(why.rule)
    if why.tests:
        document.tests = why.tests
    if why.others:
        document.other_rules = [
            RuleFailureDoc(
                rule=_named_document(other.rule),
                tests=list(other.tests) or UNSET,
            )
            for other in why.others
            if other.rule is not None
        ]
    if len(why.audiences) == 1:
        document.audience = _audience_document(why.audiences[0])
    elif why.audiences:
        document.audiences = [_audience_document(audience) for audience in why.audiences]
    if why.cap is not None:
        cap = why.cap
        resets_at = UNSET if cap.resets_us is None else time_text(cap.resets_us)
        document.cap = CapDoc(cap.name, cap.limit, cap.used, cap.per, resets_at)
    if why.window is not None:
        window = why.window.window
        document.window = WindowDoc(time_text(window.start_us) or UNSET, time_text(window.end_us) or UNSET)
    if why.by is not None:
        document.by = _by_document(why.by, verdict)
    return document


def _named_document(named: Named) -> NamedDoc:
    return NamedDoc(named.id, named.name)


def _audience_document(audience: AudienceName) -> AudienceDoc:
    return AudienceDoc(audience.id, audience.namespace, audience.name or UNSET)


def _by_document(by: EarlierScope | RankedBy, verdict: Verdict) -> ByDoc:
    if isinstance(by, EarlierScope):
        return ByDoc(decision=_named_document(by.decision), placement=_named_document(by.placement))
    if by.formula is not None:
        return ByDoc(formula=_named_document(by.formula))
    return ByDoc(priority=UNSET if verdict.score is None else int(verdict.score))
