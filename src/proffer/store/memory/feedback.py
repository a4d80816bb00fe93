"""Feedback of a `MemoryStore`, and anonymisation of stored events."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from proffer.model.attribution import AttributedFeedback
from proffer.model.counting import Owner
from proffer.model.customer import RedactionResult
from proffer.model.events import decision_time_ms
from proffer.model.identity import IdentityKey
from proffer.store.common.caps import feedback_subjects, increment
from proffer.store.common.event_codec import decode_event, encode_event
from proffer.store.common.feedback import (
    anonymize_decision,
    anonymize_feedback,
    counter_increments,
    decode_feedback,
    encode_feedback,
    is_about,
    newly_attributed,
)
from proffer.store.memory.caps import SPACE, MemoryLedger


@dataclass(slots=True)
class _StoredFeedback:
    """Encoded events of one container by number, and numbers by event id. Events are in order."""

    events: dict[int, bytes] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    last_number: int = 0


class MemoryFeedback:
    """Feedback mixin; needs the ledgers of the containers and the holders of identities."""

    _ledgers: dict[str, MemoryLedger]

    def __init__(self) -> None:
        super().__init__()
        self._feedback: dict[str, _StoredFeedback] = {}

    def _owners(self, container_id: str, identities: Sequence[IdentityKey]) -> dict[IdentityKey, Owner]:
        raise NotImplementedError

    async def add_feedback(self, container_id: str, events: Sequence[AttributedFeedback]) -> Sequence[bool]:
        stored = self._feedback.setdefault(container_id, _StoredFeedback())
        new_flags = []
        for event in events:
            is_new = event.feedback.id not in stored.ids
            new_flags.append(is_new)
            if not is_new:
                continue
            stored.last_number += 1
            stored.ids[event.feedback.id] = stored.last_number
            stored.events[stored.last_number] = encode_feedback(event)
            self._increment_counters(container_id, event)
        return tuple(new_flags)

    async def feedback_events(
        self, container_id: str, after: int, limit: int, *, unattributed_only: bool = False
    ) -> Sequence[tuple[int, AttributedFeedback]]:
        stored = self._feedback.get(container_id, _StoredFeedback())
        rows = [(number, decode_feedback(text)) for number, text in stored.events.items() if number > after]
        return tuple(row for row in rows if row[1].unattributed or not unattributed_only)[:limit]

    async def attribute_late(self, container_id: str, events: Sequence[tuple[int, AttributedFeedback]]) -> int:
        stored = self._feedback.get(container_id, _StoredFeedback())
        count = 0
        for number, event in events:
            text = stored.events.get(number)
            attributed = None if text is None else newly_attributed(decode_feedback(text), event)
            if attributed is not None:
                stored.events[number] = encode_feedback(attributed)
                self._increment_counters(container_id, attributed)
                count += 1
        return count

    def _increment_counters(self, container_id: str, event: AttributedFeedback) -> None:
        ledger = self._ledgers.setdefault(container_id, MemoryLedger())
        subjects = {
            move: feedback_subjects(move.identities, self._owners(container_id, move.identities), SPACE)
            for move in event.increments
        }
        for counter_key, limit, at_us in counter_increments(event, ledger.cache.limits.for_container(""), subjects):
            counters = {counter_key: ledger.counters[counter_key]} if counter_key in ledger.counters else {}
            increment(counters, counter_key, 1, limit, at_us)
            ledger.put_counters(counters)

    async def oldest_decision_ms(self, container_id: str) -> int | None:
        ledger = self._ledgers.get(container_id, MemoryLedger())
        return min((decision_time_ms(decode_event(text).id) or 0 for _, text, _ in ledger.events), default=None)

    async def purge_feedback(self, before_us: int, max_bytes: int | None = None) -> int:
        forgotten = 0
        for stored in self._feedback.values():
            newest = max(stored.events, default=0)
            for number, text in list(stored.events.items()):
                size = sum(map(len, stored.events.values()))
                event = decode_feedback(text)
                old = event.received_us < before_us
                if number < newest and (old or (max_bytes is not None and size > max_bytes)):
                    del stored.events[number], stored.ids[event.feedback.id]
                    forgotten += 1
        return forgotten

    async def redact(
        self,
        container_id: str,
        identities: Iterable[IdentityKey],
        after: tuple[int, int] = (0, 0),
    ) -> RedactionResult:
        identity_set = frozenset(identities)
        ledger = self._ledgers.get(container_id, MemoryLedger())
        decisions: set[str] = set()
        for position, (number, text, _) in enumerate(ledger.events):
            event = decode_event(text)
            if number > after[0] and is_about(event.identities, identity_set):
                decisions.add(event.id)
                ledger.events[position] = (number, encode_event(anonymize_decision(event)), None)
        feedback = 0
        stored = self._feedback.get(container_id, _StoredFeedback())
        for number, text in stored.events.items():
            reported = decode_feedback(text)
            report = reported.feedback
            about = is_about(report.identities, identity_set) or any(
                delivery.event in decisions for delivery in reported.delivered_offers
            )
            if number > after[1] and about and (report.identities or report.document):
                stored.events[number] = encode_feedback(anonymize_feedback(reported))
                feedback += 1
        through = (ledger.last_pack, stored.last_number)
        return RedactionResult(decisions=len(decisions), feedback=feedback, scanned_through=through)
