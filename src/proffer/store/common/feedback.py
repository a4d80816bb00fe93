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
from proffer.model.events import DecisionEvent
from proffer.model.feedback import Feedback, FeedbackKind, PropositionReport
from proffer.model.identity import IdentityKey
from proffer.store.common.caps import GLOBAL_SUBJECTS, ActiveLimit, CounterKey, Subject
from proffer.store.common.event_codec import decode_pack, encode_event, encode_pack
from proffer.store.common.messagepack import decode, encode

_FORMAT = b"\x01"


def encode_feedback(event: AttributedFeedback) -> bytes:
    """Encode an event as stored: without its increments, which the counters contain."""
    feedback = event.feedback
    plain = (
        feedback.id,
        feedback.kind.value,
        feedback.at_us,
        [_report_row(report) for report in feedback.propositions],
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


def _report_row(report: PropositionReport) -> tuple[Any, ...]:
    row = (report.id, report.scope, report.items, report.hint)
    return (*row, report.tokens) if report.tokens else row


def decode_feedback(text: bytes) -> AttributedFeedback:
    if text[:1] != _FORMAT:
        raise ValueError("this event was written by a newer Proffer")
    key, kind, at_us, reported, identities, document, received_us, delivered, missed = decode(zlib.decompress(text[1:]))
    return AttributedFeedback(
        feedback=Feedback(
            id=key,
            kind=FeedbackKind(kind),
            at_us=at_us,
            propositions=tuple(
                PropositionReport(
                    proposition, scope, None if items is None else tuple(items), hint, *map(tuple, tokens)
                )
                for proposition, scope, items, hint, *tokens in reported
            ),
            identities=tuple(IdentityKey(*identity) for identity in identities),
            document=document,
        ),
        received_us=received_us,
        delivered_offers=tuple(DeliveredOffer(*fields) for fields in delivered),
        unattributed=tuple(
            UnattributedReport(proposition, item, UnattributedReason(why)) for proposition, item, why in missed
        ),
    )


def counter_increments(
    event: AttributedFeedback,
    limits: Mapping[str, Sequence[ActiveLimit]],
    subjects: Mapping[CounterIncrement, Sequence[Subject]],
) -> Iterable[tuple[CounterKey, ActiveLimit, int]]:
    """Yield (counter, limit, time) per counter that an event increments (R48). Each is incremented by one."""
    for increment in event.increments:
        for active_limit in limits.get(increment.offer, ()):
            limit = active_limit.limit
            if increment.at_us not in limit.window:
                continue
            if not limit.counts_in(increment.placement) or not event.counts_for(limit):
                continue
            for subject in GLOBAL_SUBJECTS if active_limit.is_global else subjects[increment][:1]:
                counter_key = active_limit.counter_key(subject, increment.placement, increment.at_us)
                yield counter_key, active_limit, increment.at_us


def newly_attributed(old: AttributedFeedback, new: AttributedFeedback) -> AttributedFeedback | None:
    """Return a stored event with its new attributions and only their increments; None without any.

    The feedback document is the stored one: the customer may have been erased meanwhile.
    """
    before = set(old.delivered_offers)
    if not before < set(new.delivered_offers):
        return None
    moves = tuple(
        move for delivery, move in zip(new.delivered_offers, new.increments, strict=True) if delivery not in before
    )
    return replace(new, feedback=old.feedback, received_us=old.received_us, increments=moves)


def anonymize_decision(event: DecisionEvent) -> DecisionEvent:
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


def anonymize_feedback(event: AttributedFeedback) -> AttributedFeedback:
    """Remove personal data from a feedback event; keep its attribution."""
    return replace(event, feedback=replace(event.feedback, identities=(), document={}))


def anonymize_pack(body: bytes, identities: Collection[IdentityKey]) -> tuple[bytes, list[str]] | None:
    """Anonymise a pack; return it with the decision ids affected; None where there are none."""
    if not contains_any(zlib.decompress(body[1:]), [identity.id.encode() for identity in identities]):
        return None
    events = decode_pack(body)
    decision_ids = [event.id for event in events if is_about(event.identities, identities)]
    if not decision_ids:
        return None
    anonymized = [anonymize_decision(event) if is_about(event.identities, identities) else event for event in events]
    return encode_pack((encode_event(event), event.subject) for event in anonymized), decision_ids


def anonymize_encoded_feedback(
    body: bytes, identities: Collection[IdentityKey], decisions: Collection[str]
) -> bytes | None:
    """Anonymise an encoded event with these identities or decisions; None if it has neither."""
    needles = [identity.id.encode() for identity in identities]
    needles += [decision.encode() for decision in decisions]
    if not contains_any(zlib.decompress(body[1:]), needles):
        return None
    event = decode_feedback(body)
    about = is_about(event.feedback.identities, identities) or any(
        delivery.event in decisions for delivery in event.delivered_offers
    )
    if not about or not (event.feedback.identities or event.feedback.document):
        return None
    return encode_feedback(anonymize_feedback(event))


def contains_any(text: bytes, needles: Collection[bytes]) -> bool:
    """Return whether `text` contains one of these; a fast pre-check before decoding."""
    return any(needle in text for needle in needles)


def is_about(identities: Iterable[Any], targets: Collection[IdentityKey]) -> bool:
    return any(IdentityKey(*identity) in targets for identity in identities)
