"""Feedback of a `MemoryStore`, and anonymisation of stored events."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from proffer.model.attribution import AttributedFeedback
from proffer.model.customer import RedactionResult
from proffer.model.events import DecisionEvent, decision_time_ms
from proffer.model.identity import IdentityKey
from proffer.store.common.caps import add, subjects_of
from proffer.store.common.event_codec import decode_event, encode_event
from proffer.store.common.feedback import (
    decode_feedback,
    encode_feedback,
    feedback_without_person,
    is_about,
    moved,
    newly_about,
    without_person,
)
from proffer.store.memory.caps import SPACE, MemoryLedger


@dataclass(slots=True)
class _Kept:
    """Encoded events of one container by number, in order, and numbers by event id."""

    events: dict[int, bytes] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    newest: int = 0


class MemoryFeedback:
    """Feedback mixin; needs the ledgers of the containers and the holders of identities."""

    _ledgers: dict[str, MemoryLedger]

    def __init__(self) -> None:
        super().__init__()
        self._feedback: dict[str, _Kept] = {}

    def _holders(
        self, container_id: str, identities: Sequence[IdentityKey]
    ) -> dict[IdentityKey, int]:
        raise NotImplementedError

    async def take_feedback(
        self, container_id: str, events: Sequence[AttributedFeedback]
    ) -> Sequence[bool]:
        kept = self._feedback.setdefault(container_id, _Kept())
        fresh = []
        for event in events:
            new = event.feedback.id not in kept.ids
            fresh.append(new)
            if not new:
                continue
            kept.newest += 1
            kept.ids[event.feedback.id] = kept.newest
            kept.events[kept.newest] = encode_feedback(event)
            self._count(container_id, event)
        return tuple(fresh)

    async def feedback_events(
        self, container_id: str, after: int, limit: int, *, missed: bool = False
    ) -> Sequence[tuple[int, AttributedFeedback]]:
        kept = self._feedback.get(container_id, _Kept())
        found = [
            (number, decode_feedback(text))
            for number, text in kept.events.items()
            if number > after
        ]
        return tuple(one for one in found if one[1].unattributed or not missed)[:limit]

    async def attribute_late(
        self, container_id: str, events: Sequence[tuple[int, AttributedFeedback]]
    ) -> int:
        kept = self._feedback.get(container_id, _Kept())
        count = 0
        for number, event in events:
            text = kept.events.get(number)
            more = None if text is None else newly_about(decode_feedback(text), event)
            if more is not None:
                kept.events[number] = encode_feedback(more)
                self._count(container_id, more)
                count += 1
        return count

    def _count(self, container_id: str, event: AttributedFeedback) -> None:
        ledger = self._ledgers.setdefault(container_id, MemoryLedger())
        subjects = {
            move: subjects_of(move.identities, self._holders(container_id, move.identities), SPACE)
            for move in event.increments
        }
        for slot, limit, at_us in moved(event, ledger.book.limits.of(""), subjects):
            counters = {slot: ledger.counters[slot]} if slot in ledger.counters else {}
            add(counters, slot, 1, limit, at_us)
            ledger.put(counters)

    async def oldest_decision_ms(self, container_id: str) -> int | None:
        ledger = self._ledgers.get(container_id, MemoryLedger())
        return min(
            (decision_time_ms(_event(text).id) or 0 for _, text, _ in ledger.events), default=None
        )

    async def forget_feedback(self, before_us: int, most_bytes: int | None = None) -> int:
        forgotten = 0
        for kept in self._feedback.values():
            newest = max(kept.events, default=0)
            for number, text in list(kept.events.items()):
                size = sum(map(len, kept.events.values()))
                event = decode_feedback(text)
                old = event.received_us < before_us
                if number < newest and (old or (most_bytes is not None and size > most_bytes)):
                    del kept.events[number], kept.ids[event.feedback.id]
                    forgotten += 1
        return forgotten

    async def redact(
        self,
        container_id: str,
        identities: Iterable[IdentityKey],
        after: tuple[int, int] = (0, 0),
    ) -> RedactionResult:
        wanted = frozenset(identities)
        ledger = self._ledgers.get(container_id, MemoryLedger())
        decisions: set[str] = set()
        for place, (number, text, _) in enumerate(ledger.events):
            event = _event(text)
            if number > after[0] and is_about(event.identities, wanted):
                decisions.add(event.id)
                ledger.events[place] = (number, encode_event(without_person(event)), None)
        feedback = 0
        kept = self._feedback.get(container_id, _Kept())
        for number, text in kept.events.items():
            reported = decode_feedback(text)
            said = reported.feedback
            about = is_about(said.identities, wanted) or any(
                one.event in decisions for one in reported.delivered_offers
            )
            if number > after[1] and about and (said.identities or said.document):
                kept.events[number] = encode_feedback(feedback_without_person(reported))
                feedback += 1
        through = (ledger.packs, kept.newest)
        return RedactionResult(decisions=len(decisions), feedback=feedback, scanned_through=through)


def _event(text: bytes) -> DecisionEvent:
    return decode_event(text)
