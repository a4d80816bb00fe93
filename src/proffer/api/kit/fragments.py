"""Cached JSON fragments of responses, and the candidates of a trace."""

from collections.abc import Hashable
from typing import TypeAlias
from weakref import WeakKeyDictionary

from msgspec import UNSET
from msgspec.structs import replace

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
    sentence,
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
    documents: list[CandidateDoc] = []
    by_why: dict[int, CandidateDoc] = {}
    for verdict in trace.candidates:
        document = by_why.get(id(verdict.why)) if verdict.rank is None else None
        if document is None:
            document = by_why[id(verdict.why)] = candidate_document(verdict)
        else:  # the rule of an earlier candidate
            document = replace(document, id=verdict.id, name=verdict.name)
        documents.append(document)
    return documents


def candidate_document(verdict: Verdict) -> CandidateDoc:
    """Return one candidate of a trace."""
    why = verdict.why
    document = CandidateDoc(verdict.id, verdict.name, verdict.stage, sentence(verdict))
    if why.rule is not None:
        document.rule = NamedDoc(why.rule.id, why.rule.name)
        if why.tests is not None:
            document.tests = why.tests.results()
        if why.others:
            document.other_rules = [
                RuleFailureDoc(
                    rule=_named_document(other.rule),
                    tests=UNSET if other.tests is None else other.tests.results(),
                )
                for other in why.others
                if other.rule is not None
            ]
    elif why.by is not None:
        document.by = _by_document(why.by, verdict)
        if verdict.rank is not None and verdict.score is not None:
            document.rank, document.score = verdict.rank, verdict.score
    elif why.window is not None:
        window = why.window.window
        document.window = WindowDoc(time_text(window.start_us) or UNSET, time_text(window.end_us) or UNSET)
    elif why.cap is not None:
        cap = why.cap
        resets_at = UNSET if cap.resets_us is None else time_text(cap.resets_us)
        document.cap = CapDoc(cap.name, cap.limit, cap.used, cap.per, resets_at)
    elif len(why.audiences) == 1:
        document.audience = _audience_document(why.audiences[0])
    elif why.audiences:
        document.audiences = [_audience_document(audience) for audience in why.audiences]
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
