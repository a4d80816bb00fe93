"""Counters and decisions of a `MemoryStore`: the shared rules over dictionaries."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from proffer.errors import NotFound
from proffer.model.capping import (
    CapLimit,
    CapRefusal,
    CapScope,
    CapSubjects,
    CapUsage,
    DecisionRecorded,
    OfferCaps,
    Reservation,
    ReservationState,
    lifetime_end,
)
from proffer.model.events import EDGE, DecisionEvent, edge_proposition_id
from proffer.model.identity import IdentityKey
from proffer.store.common.cap_cache import Book, LimitRow, TotalRow
from proffer.store.common.caps import (
    TOTAL,
    Claim,
    Count,
    KeptRow,
    Slot,
    Subject,
    added,
    asked_for,
    carried,
    check_not_moved,
    check_settled,
    held_until,
    judge,
    needs_of,
    public,
    put_in_force,
    subjects_of,
)
from proffer.store.common.event_codec import decode_event, encode_event
from proffer.store.common.proposition_index import is_of_edge

SPACE = 1
"""Space number of every container: each has its own ledger here."""


@dataclass(slots=True)
class _Reserved:
    """A reservation with its subject and its counts."""

    reservation: Reservation
    subject: Subject
    given: dict[Slot, int]


@dataclass(slots=True)
class MemoryLedger:
    """Counters of one container, and its decisions in the order of recording."""

    rows: dict[str, dict[int, KeptRow]] = field(default_factory=dict)
    revision: int = 0
    newest: int = 0
    moved: int = 0
    book: Book = field(default_factory=Book)
    counters: dict[Slot, Count] = field(default_factory=dict)
    reserved: dict[str, _Reserved] = field(default_factory=dict)
    events: list[tuple[int, bytes, int | IdentityKey | None]] = field(default_factory=list)
    packs: int = 0

    def put_limits(self, caps: Iterable[OfferCaps]) -> None:
        for one in caps:
            of_offer = self.rows.setdefault(one.offer, {})
            for row in put_in_force(list(of_offer.values()), one, self.newest + 1):
                before = of_offer.get(row.counter)
                of_offer[row.counter] = row
                self.newest = max(self.newest, row.counter)
                self.book.learn_limits([LimitRow("", one.offer, row, 0)])
                if carried(before, row):
                    self._carry(row, one.moment_us)

    def _carry(self, row: KeptRow, now_us: int) -> None:
        for slot, count in list(self.counters.items()):
            alive = count.expires_us is None or count.expires_us > now_us
            if (slot.owner, slot.counter, slot.window_us) == (TOTAL, row.counter, 0) and alive:
                ends = lifetime_end(row.start_us, row.end_us, now_us)
                self.put({slot: count._replace(expires_us=ends)})

    def put(self, counters: dict[Slot, Count]) -> None:
        self.counters |= counters
        self.moved += 1
        self.book.learn(
            TotalRow((slot.counter, slot.placement, slot.window_us), count, self.moved)
            for slot, count in counters.items()
            if slot.owner == TOTAL
        )

    def give_back(self, one: _Reserved) -> None:
        self.put(
            {
                slot: count._replace(used=max(0, count.used - given))
                for slot, given in one.given.items()
                if (count := self.counters.get(slot)) is not None
            }
        )

    def expire(self, now_us: int, of: str | None = None) -> None:
        """Release expired reservations: all, or that of one decision."""
        for decision, one in self.reserved.items():
            if of is not None and decision != of:
                continue
            held = one.reservation.state is ReservationState.HELD
            if held and one.reservation.expires_us <= now_us:
                self.give_back(one)
                one.reservation = replace(one.reservation, state=ReservationState.EXPIRED)

    def fold(self, into: Subject, gone: Subject, now_us: int) -> None:
        """Move counters and reservations of one subject to another, adding the counts."""
        for slot in [slot for slot in self.counters if slot[:2] == gone]:
            kept = slot.owned_by(into)
            self.counters[kept] = added(self.counters.pop(slot), self.counters.get(kept), now_us)
        for one in self.reserved.values():
            if one.subject == gone:
                one.subject = into
                one.given = {
                    slot.owned_by(into) if slot[:2] == gone else slot: count
                    for slot, count in one.given.items()
                }

    def remove(self, subject: Subject) -> int:
        """Delete a subject's counters; return how many. Global counts of its reservations stay."""
        mine = [slot for slot in self.counters if slot[:2] == subject]
        for slot in mine:
            del self.counters[slot]
        for one in self.reserved.values():
            if one.subject == subject:
                one.given = {slot: n for slot, n in one.given.items() if slot.owner == TOTAL}
        return len(mine)


class MemoryCaps:
    """Counters and decisions of a `MemoryStore`."""

    def __init__(self) -> None:
        super().__init__()
        self._ledgers: dict[str, MemoryLedger] = {}

    def _holders(
        self, container_id: str, identities: Sequence[IdentityKey]
    ) -> dict[IdentityKey, int]:
        raise NotImplementedError

    def _revision(self, container_id: str) -> int:
        raise NotImplementedError

    def _ledger(self, container_id: str) -> MemoryLedger:
        return self._ledgers.setdefault(container_id, MemoryLedger())

    async def ensure_caps(
        self, container_id: str, revision: int, caps: Iterable[OfferCaps]
    ) -> None:
        ledger = self._ledger(container_id)
        if ledger.revision >= revision:
            return
        check_not_moved(container_id, self._revision(container_id), revision)
        said = list(caps)
        named = {one.offer for one in said}
        gone = [OfferCaps(offer=offer) for offer in ledger.rows if offer not in named]
        ledger.put_limits([*said, *gone])
        ledger.revision = revision

    async def usage(
        self,
        container_id: str,
        caps: Iterable[tuple[str, CapLimit]],
        subjects: CapSubjects,
        now_us: int,
    ) -> CapUsage:
        ledger, caps = self._ledger(container_id), tuple(caps)
        found = ledger.book.totals("", caps, now_us)
        offers = frozenset(offer for offer, limit in caps if limit.scope is CapScope.PROFILE)
        whose = set(asked_for(subjects, SPACE))
        mine = [
            (slot.counter, slot.placement, slot.window_us, *count)
            for slot, count in ledger.counters.items()
            if slot[:2] in whose
        ]
        ledger.book.mine(mine, offers, now_us, found)
        return CapUsage(found)

    async def record(
        self,
        container_id: str,
        event: DecisionEvent,
        *,
        ttl_us: int | None = None,
        forced: bool = False,
    ) -> DecisionRecorded | CapRefusal:
        ledger, now_us = self._ledger(container_id), event.decided_us
        ledger.expire(now_us)
        claim = Claim(event.proposed_offers, event.identities, now_us, forced)
        whose = subjects_of(event.identities, self._holders(container_id, event.identities), SPACE)
        needs = needs_of(claim, ledger.book.limits.of(""), whose)
        counters = {
            slot: ledger.counters[slot]
            for need in needs
            for slot in need.slots
            if slot in ledger.counters
        }
        verdict, given = judge(claim, needs, counters)
        if verdict is not None:
            return CapRefusal(counts=verdict, revision=ledger.revision)
        ledger.put({slot: counters[slot] for slot in given})
        counted = any(slot.owner != TOTAL for slot in given)
        subject = whose[0] if whose and (counted or ttl_us is not None) else None
        until = None
        if ttl_us is not None:
            until = held_until(now_us, ttl_us, given, counters)
            reservation = Reservation(
                decision_id=event.id, state=ReservationState.HELD, expires_us=until
            )
            ledger.reserved[event.id] = _Reserved(reservation, subject or (TOTAL, ""), given)
        ledger.packs += 1
        ledger.events.append((ledger.packs, encode_event(event), public(subject)))
        return DecisionRecorded(reserved_until_us=until)

    async def confirm(self, container_id: str, decision: str, now_us: int) -> Reservation:
        return self._settle(container_id, decision, ReservationState.CONFIRMED, now_us)

    async def release(self, container_id: str, decision: str, now_us: int) -> Reservation:
        return self._settle(container_id, decision, ReservationState.RELEASED, now_us)

    def _settle(
        self, container_id: str, decision: str, wanted: ReservationState, now_us: int
    ) -> Reservation:
        ledger = self._ledger(container_id)
        ledger.expire(now_us, decision)
        one = ledger.reserved.get(decision)
        if one is None:
            raise NotFound(
                f"the decision `{decision}` reserved nothing", code="reservation-not-found"
            )
        if one.reservation.state is ReservationState.HELD:
            if wanted is ReservationState.RELEASED:
                ledger.give_back(one)
            one.reservation = replace(one.reservation, state=wanted)
        return check_settled(one.reservation, wanted)

    async def reservation(
        self, container_id: str, decision: str, now_us: int
    ) -> Reservation | None:
        ledger = self._ledger(container_id)
        one = ledger.reserved.get(decision)
        if one is None:
            return None
        kept = one.reservation
        over = kept.state is ReservationState.HELD and kept.expires_us <= now_us
        return replace(kept, state=ReservationState.EXPIRED) if over else kept

    async def catch_up(self, now_us: int) -> None:
        for ledger in self._ledgers.values():
            ledger.expire(now_us)

    async def decisions_of(
        self, container_id: str, propositions: Sequence[str]
    ) -> Mapping[str, DecisionEvent]:
        found = {one: await self.decision_event(container_id, one) for one in propositions}
        return {key: event for key, event in found.items() if event is not None}

    async def decision_event(self, container_id: str, proposition: str) -> DecisionEvent | None:
        ledger = self._ledger(container_id)
        try:
            wanted = str(uuid.UUID(proposition))
        except ValueError:
            return None
        of_edge = is_of_edge(wanted)
        for _, text, subject in ledger.events:
            event = _read(text, subject)
            if _gave(event, wanted) if of_edge else event.id == wanted:
                return event
        return None

    async def index_edge_ids(self) -> None:
        """Do nothing: look-ups here need no index."""

    async def decision_events(
        self, container_id: str, after: int, limit: int
    ) -> Sequence[tuple[int, Sequence[DecisionEvent]]]:
        found = [one for one in self._ledger(container_id).events if one[0] > after]
        return tuple((number, (_read(text, subject),)) for number, text, subject in found[:limit])

    async def forget_counters(self, before_us: int) -> int:
        forgotten = 0
        for ledger in self._ledgers.values():
            ended = [
                slot
                for slot, count in ledger.counters.items()
                if count.expires_us is not None and count.expires_us < before_us
            ]
            for slot in ended:
                del ledger.counters[slot]
            forgotten += len(ended)
            ledger.reserved = {
                key: one
                for key, one in ledger.reserved.items()
                if one.reservation.state is ReservationState.HELD
                or one.reservation.expires_us >= before_us
            }
        return forgotten

    async def forget_decisions(self, before_us: int, most_bytes: int | None = None) -> int:
        forgotten = 0
        for ledger in self._ledgers.values():
            kept = [
                one for one in ledger.events[:-1] if _read(one[1], None).decided_us >= before_us
            ] + ledger.events[-1:]
            if most_bytes is not None:
                while len(kept) > 1 and sum(len(text) for _, text, _ in kept) > most_bytes:
                    del kept[0]
            forgotten += len(ledger.events) - len(kept)
            ledger.events = kept
        return forgotten


def _gave(event: DecisionEvent, edge_id: str) -> bool:
    """Return whether a scope of this decision has this edge proposition id."""
    return event.surface == EDGE and any(
        edge_proposition_id(event.id, index) == edge_id for index in range(len(event.answers))
    )


def _read(text: bytes, subject: int | IdentityKey | None) -> DecisionEvent:
    return decode_event(text, tuple(subject) if isinstance(subject, IdentityKey) else subject)
