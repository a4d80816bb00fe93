"""Encoding of feedback events, and anonymisation of stored events. Shared by all stores."""

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from msgspec import structs

from proffer.model.attribution import (
    AttributedFeedback,
    CounterIncrement,
    DeliveredOffer,
    UnattributedReason,
    UnattributedReport,
)
from proffer.model.capping import CapScope
from proffer.model.events import DecisionEvent
from proffer.model.feedback import Feedback, FeedbackKind, PropositionReport
from proffer.model.identity import IdentityKey
from proffer.store.common.caps import TOTAL, KeptLimit, Slot, Subject
from proffer.store.common.event_codec import encode_event, pack, unpack
from proffer.store.common.messagepack import decode, encode

_FORMAT = b"\x01"


def encode_feedback(event: AttributedFeedback) -> bytes:
    """Encode an event as stored: without its increments, which the counters contain."""
    feedback = event.feedback
    plain = (
        feedback.id,
        feedback.kind.value,
        feedback.at_us,
        [(report.id, report.scope, report.items, report.hint) for report in feedback.propositions],
        feedback.identities,
        feedback.document,
        event.received_us,
        [
            (delivery.event, delivery.decision, delivery.placement, delivery.offer)
            for delivery in event.delivered_offers
        ],
        [(report.proposition, report.item, report.reason.value) for report in event.unattributed],
    )
    return _FORMAT + zlib.compress(encode(plain), 1)


def decode_feedback(text: bytes) -> AttributedFeedback:
    if text[:1] != _FORMAT:
        raise ValueError("this event was written by a newer Proffer")
    key, kind, at_us, reported, identities, document, received_us, delivered, missed = decode(
        zlib.decompress(text[1:])
    )
    return AttributedFeedback(
        feedback=Feedback(
            id=key,
            kind=FeedbackKind(kind),
            at_us=at_us,
            propositions=tuple(
                PropositionReport(proposition, scope, None if items is None else tuple(items), hint)
                for proposition, scope, items, hint in reported
            ),
            identities=tuple(IdentityKey(*identity) for identity in identities),
            document=document,
        ),
        received_us=received_us,
        delivered_offers=tuple(DeliveredOffer(*fields) for fields in delivered),
        unattributed=tuple(
            UnattributedReport(proposition, item, UnattributedReason(why))
            for proposition, item, why in missed
        ),
    )


def moved(
    event: AttributedFeedback,
    limits: Mapping[str, Sequence[KeptLimit]],
    subjects: Mapping[CounterIncrement, Sequence[Subject]],
) -> Iterable[tuple[Slot, KeptLimit, int]]:
    """Yield (counter, limit, time) for each counter that an event increments by one (R43)."""
    for move in event.increments:
        for kept in limits.get(move.offer, ()):
            limit = kept.limit
            if not limit.counts_in(move.placement) or not event.counts_for(limit):
                continue
            if limit.scope is CapScope.GLOBAL:
                yield kept.slot((TOTAL, ""), move.placement, move.at_us), kept, move.at_us
            elif subjects[move]:
                yield kept.slot(subjects[move][0], move.placement, move.at_us), kept, move.at_us


def newly_about(old: AttributedFeedback, new: AttributedFeedback) -> AttributedFeedback | None:
    """Return a stored event with its new attributions and only their increments; None without any.

    The feedback document is the stored one: the customer may have been erased meanwhile.
    """
    before = set(old.delivered_offers)
    if not before < set(new.delivered_offers):
        return None
    moves = tuple(
        move
        for one, move in zip(new.delivered_offers, new.increments, strict=True)
        if one not in before
    )
    return replace(new, feedback=old.feedback, received_us=old.received_us, increments=moves)


def without_person(event: DecisionEvent) -> DecisionEvent:
    """Remove personal data from a decision; it can then be counted, not replayed."""
    return structs.replace(
        event,
        identities=(),
        request_id=None,
        attributes={},
        events=(),
        subject=None,
        redacted=True,
        request=structs.replace(event.request, context={}, event=None),
    )


def feedback_without_person(event: AttributedFeedback) -> AttributedFeedback:
    """Remove personal data from a feedback event; keep its attribution."""
    return replace(event, feedback=replace(event.feedback, identities=(), document={}))


def pack_without(
    body: bytes, identities: Collection[IdentityKey]
) -> tuple[bytes, list[str]] | None:
    """Anonymise a pack; return it with the decision ids affected; None where there are none."""
    if not names_any(zlib.decompress(body[1:]), [identity.id.encode() for identity in identities]):
        return None
    events = unpack(body)
    about = [event.id for event in events if is_about(event.identities, identities)]
    if not about:
        return None
    left = [
        without_person(event) if is_about(event.identities, identities) else event
        for event in events
    ]
    return pack((encode_event(event), event.subject) for event in left), about


def feedback_without(
    body: bytes, identities: Collection[IdentityKey], decisions: Collection[str]
) -> bytes | None:
    """Anonymise an encoded event with these identities or decisions; None if it has neither."""
    wanted = [identity.id.encode() for identity in identities]
    wanted += [decision.encode() for decision in decisions]
    if not names_any(zlib.decompress(body[1:]), wanted):
        return None
    event = decode_feedback(body)
    about = is_about(event.feedback.identities, identities) or any(
        delivery.event in decisions for delivery in event.delivered_offers
    )
    if not about or not (event.feedback.identities or event.feedback.document):
        return None
    return encode_feedback(feedback_without_person(event))


def names_any(text: bytes, wanted: Collection[bytes]) -> bool:
    """Return whether `text` contains one of these; a fast pre-check before decoding."""
    return any(one in text for one in wanted)


def is_about(identities: Iterable[Any], wanted: Collection[IdentityKey]) -> bool:
    return any(IdentityKey(*one) in wanted for one in identities)
