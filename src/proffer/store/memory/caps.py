"""Counters and decisions of a `MemoryStore`: the shared rules over dictionaries."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from proffer.errors import NotFound
from proffer.model.capping import (
    CapKey,
    CapRefusal,
    CapSubjects,
    CapUsage,
    DecisionRecorded,
    OfferCaps,
    OfferLimits,
    Reservation,
    ReservationState,
)
from proffer.model.counting import Counting, Owner
from proffer.model.events import EDGE, DecisionEvent, edge_proposition_id
from proffer.model.identity import IdentityKey
from proffer.store.common.cap_cache import CapCache, LimitRow, total_rows
from proffer.store.common.caps import (
    GLOBAL_OWNER,
    CounterKey,
    CounterValue,
    ReservationRequest,
    StoredLimit,
    Subject,
    changed_limits,
    check_not_outdated,
    check_settled,
    counter_needs,
    counter_subjects,
    event_subject,
    is_live,
    reservation_end_us,
    subject_of,
    sum_counters,
    try_reserve,
)
from proffer.store.common.counter_ends import CounterEnds
from proffer.store.common.event_codec import decode_event, encode_event
from proffer.store.common.proposition_index import is_edge_id, normalize_id

SPACE = 1
"""Space number of every container: each has its own ledger here."""


@dataclass(slots=True)
class _StoredReservation:
    """A reservation with its subject and its counts."""

    reservation: Reservation
    subject: Subject
    counts: dict[CounterKey, int]


@dataclass(slots=True)
class MemoryLedger:
    """Counters of one container, and its decisions in the order of recording."""

    stored_limits: dict[str, dict[int, StoredLimit]] = field(default_factory=dict)
    revision: int = 0
    last_counter: int = 0
    move_number: int = 0
    cache: CapCache = field(default_factory=CapCache)
    counters: dict[CounterKey, CounterValue] = field(default_factory=dict)
    reservations: dict[str, _StoredReservation] = field(default_factory=dict)
    events: list[tuple[int, bytes, int | IdentityKey | None]] = field(default_factory=list)
    last_pack: int = 0
    joined: dict[IdentityKey, tuple[int, int]] = field(default_factory=dict)
    """Identity that nobody holds → the owner it counts for, and when it joined."""

    def put_limits(self, caps: Iterable[OfferCaps]) -> None:
        for offer_caps in caps:
            offer_limits = self.stored_limits.setdefault(offer_caps.offer, {})
            for row in changed_limits(list(offer_limits.values()), offer_caps, self.last_counter + 1):
                offer_limits[row.counter] = row
                self.last_counter = max(self.last_counter, row.counter)
                if self.cache.update_limits([LimitRow("", offer_caps.offer, row, 0)]):
                    self.cache.update_totals(total_rows(self.counters, self.counters, self.move_number))

    @property
    def ends(self) -> dict[int, CounterEnds]:
        """Ends of the counters without periods, by counter number."""
        return {counter: row.ends for rows in self.stored_limits.values() for counter, row in rows.items()}

    def put_counters(self, counters: dict[CounterKey, CounterValue]) -> None:
        self.counters |= counters
        self.move_number += 1
        self.cache.update_totals(total_rows(counters, counters, self.move_number))

    def return_counts(self, stored: _StoredReservation) -> None:
        self.put_counters(
            {
                counter_key: count._replace(used=max(0, count.used - amount))
                for counter_key, amount in stored.counts.items()
                if (count := self.counters.get(counter_key)) is not None
            }
        )

    def expire_reservations(self, now_us: int, only_decision: str | None = None) -> None:
        """Release expired reservations: all, or that of one decision."""
        for decision, stored in self.reservations.items():
            if only_decision is not None and decision != only_decision:
                continue
            is_held = stored.reservation.state is ReservationState.HELD
            if is_held and stored.reservation.expires_us <= now_us:
                self.return_counts(stored)
                stored.reservation = replace(stored.reservation, state=ReservationState.EXPIRED)

    def merge_counters(self, target: Subject, source: Subject, now_us: int) -> None:
        """Move counters and reservations of one subject to another, adding the counts."""
        ends = self.ends
        for counter_key in [counter_key for counter_key in self.counters if counter_key[:2] == source]:
            target_key = counter_key.for_subject(target)
            self.counters[target_key] = sum_counters(
                target_key, self.counters.pop(counter_key), self.counters.get(target_key), ends, now_us
            )
        for stored in self.reservations.values():
            if stored.subject == source:
                stored.subject = target
                stored.counts = {
                    counter_key.for_subject(target) if counter_key[:2] == source else counter_key: count
                    for counter_key, count in stored.counts.items()
                }

    def join(self, counting: Counting, owner: int, now_us: int) -> None:
        """Give an owner the identities and the merged owners that count for it (R48)."""
        for merged in counting.merged:
            self.merge_owners(owner, merged, now_us)
        for identity in counting.identities:
            self.merge_counters((owner, ""), subject_of(SPACE, identity), now_us)
            self.joined[identity] = (owner, now_us)

    def merge_owners(self, target: int, source: int, now_us: int) -> None:
        """Move counters, reservations and joined identities of one owner to another."""
        self.merge_counters((target, ""), (source, ""), now_us)
        for identity, (owner, joined_us) in self.joined.items():
            if owner == source:
                self.joined[identity] = (target, joined_us)

    def identities_joined_to(self, owner: int) -> set[IdentityKey]:
        return {identity for identity, (key, _) in self.joined.items() if key == owner}

    def delete_counters(self, subject: Subject) -> int:
        """Delete a subject's counters; return how many. Global counts of its reservations stay."""
        counter_keys = [counter_key for counter_key in self.counters if counter_key[:2] == subject]
        for counter_key in counter_keys:
            del self.counters[counter_key]
        for stored in self.reservations.values():
            if stored.subject == subject:
                stored.counts = {
                    counter_key: n for counter_key, n in stored.counts.items() if counter_key.owner == GLOBAL_OWNER
                }
        return len(counter_keys)


class MemoryCaps:
    """Counters and decisions of a `MemoryStore`."""

    def __init__(self) -> None:
        super().__init__()
        self._ledgers: dict[str, MemoryLedger] = {}
        self._seen_days: set[int] = set()

    def _owners(self, container_id: str, identities: Sequence[IdentityKey]) -> dict[IdentityKey, Owner]:
        raise NotImplementedError

    def _counting(self, container_id: str, identities: Sequence[IdentityKey]) -> Counting:
        raise NotImplementedError

    def _new_owner(self, container_id: str) -> int:
        raise NotImplementedError

    def _revision(self, container_id: str) -> int:
        raise NotImplementedError

    def _ledger(self, container_id: str) -> MemoryLedger:
        return self._ledgers.setdefault(container_id, MemoryLedger())

    async def ensure_caps(self, container_id: str, revision: int, caps: Iterable[OfferCaps]) -> None:
        ledger = self._ledger(container_id)
        if ledger.revision >= revision:
            return
        check_not_outdated(container_id, self._revision(container_id), revision)
        caps_list = list(caps)
        offers = {offer_caps.offer for offer_caps in caps_list}
        removed = [OfferCaps(offer=offer) for offer in ledger.stored_limits if offer not in offers]
        ledger.put_limits([*caps_list, *removed])
        ledger.revision = revision

    async def usage(
        self,
        container_id: str,
        limits: OfferLimits,
        subjects: CapSubjects,
        now_us: int,
    ) -> CapUsage:
        ledger = self._ledger(container_id)
        counts = ledger.cache.totals("", limits, now_us)
        subject_set = set(counter_subjects(subjects, SPACE))
        rows = [
            (counter_key.counter, counter_key.placement, counter_key.window_us, *count)
            for counter_key, count in ledger.counters.items()
            if counter_key[:2] in subject_set
        ]
        ledger.cache.add_subject_counts(rows, limits.profile_offers, now_us, counts)
        return CapUsage(counts)

    async def global_usage(self, container_id: str, offer: str, now_us: int) -> Mapping[CapKey, int]:
        return self._ledger(container_id).cache.global_usage("", offer, now_us)

    async def record(
        self,
        container_id: str,
        event: DecisionEvent,
        *,
        ttl_us: int | None = None,
        forced: bool = False,
    ) -> DecisionRecorded | CapRefusal:
        ledger, now_us = self._ledger(container_id), event.decided_us
        ledger.expire_reservations(now_us)
        request = ReservationRequest(event.proposed_offers, event.identities, now_us, forced, event.thresholds)
        counting = Counting()
        if ttl_us is not None or ledger.cache.limits.counts_profiles(""):
            counting = self._counting(container_id, event.identities)
        new_owner = self._new_owner(container_id) if counting.needs_owner else None
        subjects = counter_subjects(counting, SPACE)
        if new_owner is not None:
            subjects.insert(0, (new_owner, ""))
        needs = counter_needs(request, ledger.cache.limits.for_container(""), subjects)
        counters = {
            counter_key: ledger.counters[counter_key]
            for need in needs
            for counter_key in need.counter_keys
            if counter_key in ledger.counters
        }
        refused_counts, reserved = try_reserve(request, needs, counters)
        if refused_counts is not None:
            return CapRefusal(counts=refused_counts, revision=ledger.revision)
        ledger.put_counters({counter_key: counters[counter_key] for counter_key in reserved})
        counted = any(counter_key.owner != GLOBAL_OWNER for counter_key in reserved)
        subject = subjects[0] if subjects and (counted or ttl_us is not None) else None
        reserved_until_us = None
        if ttl_us is not None:
            reserved_until_us = reservation_end_us(now_us, ttl_us, reserved, counters)
            reservation = Reservation(decision_id=event.id, state=ReservationState.HELD, expires_us=reserved_until_us)
            ledger.reservations[event.id] = _StoredReservation(reservation, subject or (GLOBAL_OWNER, ""), reserved)
        if counting.joins:
            ledger.join(counting, subjects[0][0], now_us)
        ledger.last_pack += 1
        ledger.events.append((ledger.last_pack, encode_event(event), event_subject(subject)))
        return DecisionRecorded(reserved_until_us=reserved_until_us)

    async def confirm(self, container_id: str, decision: str, now_us: int) -> Reservation:
        return self._settle(container_id, decision, ReservationState.CONFIRMED, now_us)

    async def release(self, container_id: str, decision: str, now_us: int) -> Reservation:
        return self._settle(container_id, decision, ReservationState.RELEASED, now_us)

    def _settle(self, container_id: str, decision: str, target_state: ReservationState, now_us: int) -> Reservation:
        ledger = self._ledger(container_id)
        ledger.expire_reservations(now_us, decision)
        stored = ledger.reservations.get(decision)
        if stored is None:
            raise NotFound(f"the decision `{decision}` has no reservation", code="reservation-not-found")
        if stored.reservation.state is ReservationState.HELD:
            if target_state is ReservationState.RELEASED:
                ledger.return_counts(stored)
            stored.reservation = replace(stored.reservation, state=target_state)
        return check_settled(stored.reservation, target_state)

    async def reservation(self, container_id: str, decision: str, now_us: int) -> Reservation | None:
        ledger = self._ledger(container_id)
        stored = ledger.reservations.get(decision)
        return None if stored is None else stored.reservation.at(now_us)

    async def catch_up(self, now_us: int) -> None:
        for ledger in self._ledgers.values():
            ledger.expire_reservations(now_us)

    async def check_writable(self) -> None:
        """Do nothing: the memory can be written to."""

    async def decisions_of(self, container_id: str, propositions: Sequence[str]) -> Mapping[str, DecisionEvent]:
        events = {proposition: await self.decision_event(container_id, proposition) for proposition in propositions}
        return {key: event for key, event in events.items() if event is not None}

    async def decision_event(self, container_id: str, proposition: str) -> DecisionEvent | None:
        ledger = self._ledger(container_id)
        proposition_id = normalize_id(proposition)
        is_edge = is_edge_id(proposition_id)
        for _, text, subject in ledger.events:
            event = decode_event(text, subject)
            if _has_edge_id(event, proposition_id) if is_edge else event.id == proposition_id:
                return event
        return None

    async def index_edge_ids(self) -> None:
        """Do nothing: look-ups here need no index."""

    async def decision_events(
        self, container_id: str, after: int, limit: int
    ) -> Sequence[tuple[int, Sequence[DecisionEvent]]]:
        events = [row for row in self._ledger(container_id).events if row[0] > after]
        return tuple((number, (decode_event(text, subject),)) for number, text, subject in events[:limit])

    async def record_day(self, day: int, count: int) -> int | None:
        self._seen_days.add(day)
        seen = sorted((each for each in self._seen_days if each <= day), reverse=True)
        return seen[count - 1] if len(seen) >= count else None

    async def purge_counters(self, before_us: int) -> int:
        forgotten = 0
        for ledger in self._ledgers.values():
            ends = ledger.ends
            ended = [
                counter_key
                for counter_key, count in ledger.counters.items()
                if not is_live(
                    count.expires_us if counter_key.window_us else ends[counter_key.counter].of(count.expires_us),
                    before_us - 1,
                )
            ]
            for counter_key in ended:
                del ledger.counters[counter_key]
            forgotten += len(ended)
            ledger.reservations = {
                key: stored
                for key, stored in ledger.reservations.items()
                if stored.reservation.state is ReservationState.HELD or stored.reservation.expires_us >= before_us
            }
            counted = {counter_key.owner for counter_key in ledger.counters}
            counted |= {stored.subject[0] for stored in ledger.reservations.values()}
            counted |= {owner for owner, joined_us in ledger.joined.values() if joined_us >= before_us}
            ledger.joined = {
                identity: (owner, joined_us)
                for identity, (owner, joined_us) in ledger.joined.items()
                if owner in counted
            }
        return forgotten

    async def purge_decisions(self, before_us: int, max_bytes: int | None = None) -> int:
        forgotten = 0
        for ledger in self._ledgers.values():
            remaining = [
                row for row in ledger.events[:-1] if decode_event(row[1]).decided_us >= before_us
            ] + ledger.events[-1:]
            if max_bytes is not None:
                while len(remaining) > 1 and sum(len(text) for _, text, _ in remaining) > max_bytes:
                    del remaining[0]
            forgotten += len(ledger.events) - len(remaining)
            ledger.events = remaining
        return forgotten


def _has_edge_id(event: DecisionEvent, edge_id: str) -> bool:
    """Return whether a scope of this decision has this edge proposition id."""
    return event.surface == EDGE and any(
        edge_proposition_id(event.id, index) == edge_id for index in range(len(event.answers))
    )
