"""Rules of cap counters and reservations: pure functions shared by all stores.

Inside one exclusive transaction a store reads the limits of the offers given, the holders of the
identities, and the counters that `counter_needs` names; `try_reserve` accepts or refuses a request and
updates the counters.
"""

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from proffer.errors import Conflict
from proffer.model.capping import (
    CapEntity,
    CapKey,
    CapLimit,
    CapScope,
    CapSubjects,
    OfferCaps,
    Repeat,
    RepeatUnit,
    Reservation,
    ReservationState,
    lifetime_end,
)
from proffer.model.identity import IdentityKey
from proffer.store.errors import StaleRevision

ROWS_TOGETHER = 2000
"""Maximum number of rows deleted in one write."""

TOTAL = 0
"""Owner of global counters. The owner of a customer's counters is the customer's key."""


class Slot(NamedTuple):
    """Key of a counter. `owner` is a customer's key, or below 0 for the identity `identity`."""

    owner: int
    identity: str
    counter: int
    placement: str
    window_us: int

    def owned_by(self, subject: "Subject") -> "Slot":
        """Return the key of the same counter of another subject."""
        return Slot(*subject, self.counter, self.placement, self.window_us)


class Count(NamedTuple):
    """Value of a counter and its end (None: never). After its end it counts as 0."""

    used: int
    expires_us: int | None

    def lasts(self, now_us: int) -> bool:
        return self.expires_us is None or now_us < self.expires_us

    def at(self, now_us: int) -> int:
        return self.used if self.lasts(now_us) else 0


Subject: TypeAlias = tuple[int, str]
"""`owner` and `identity` of a counter key."""
_EVERYBODY: Sequence[Subject] = ((TOTAL, ""),)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLimit:
    """A limit in force. `counter` is the number of its counter; it outlives changes of the limit."""

    counter: int
    offer: str
    limit: CapLimit
    anchor_us: int
    start_us: int | None = None
    end_us: int | None = None
    is_global: bool = field(init=False)
    per_placement: bool = field(init=False)
    """`is_global`: counts all subjects together; `per_placement`: one counter per placement."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_global", self.limit.scope is CapScope.GLOBAL)
        object.__setattr__(self, "per_placement", self.limit.entity is CapEntity.PLACEMENT)

    def slot(self, subject: Subject, placement: str, now_us: int) -> Slot:
        """Return the counter that an event in this placement at this time increments."""
        window = self.limit.period_start(self.anchor_us, now_us)
        return Slot(*subject, self.counter, placement if self.per_placement else "", window)

    def ends_us(self, now_us: int) -> int | None:
        """Return when a counter incremented now ends: with the offer or with its period."""
        ends = lifetime_end(self.start_us, self.end_us, now_us)
        repeat = self.limit.repeat
        if repeat is None:
            return ends
        end = repeat.end(self.anchor_us, now_us)
        return end if ends is None else min(end, ends)

    def next_end_us(self, ends_us: int | None) -> int | None:
        """Return when a counter restarted at `ends_us` ends; None: it is not restarted."""
        if ends_us is None or (self.end_us is not None and ends_us > self.end_us):
            return None
        return self.ends_us(ends_us)


class Claim(Struct, frozen=True):
    """Counts a decision wants to reserve: an (offer, placement) pair for each option."""

    given: tuple[tuple[str, str], ...]
    identities: tuple[IdentityKey, ...]
    now_us: int
    forced: bool = False
    """The offers were given already, so they count whatever the limits are."""


@dataclass(slots=True)
class Need:
    """What a request needs of one limit in one placement: a count, and the counters read."""

    kept: KeptLimit
    key: CapKey
    slots: Sequence[Slot]
    count: int


Verdict: TypeAlias = Mapping[CapKey, int] | None
"""None where a request is accepted; else the use of each limit concerned."""


def subject_text(identity: IdentityKey) -> str:
    """Return an identity as text in counter keys; namespace codes contain no colon."""
    return f"{identity.namespace}:{identity.id}"


def subjects_of(
    identities: Sequence[IdentityKey], holders: Mapping[IdentityKey, int], space: int
) -> list[Subject]:
    """Resolve identities to subjects: customers, oldest first, then unheld identities (R43)."""
    found: list[Subject] = [
        (key, "") for key in sorted({holders[one] for one in identities if one in holders})
    ]
    found += [(-space, subject_text(one)) for one in identities if one not in holders]
    return found


def asked_for(subjects: CapSubjects, space: int | None) -> list[Subject]:
    """Return the subjects a request reads: customers, and identities unless `space` is None."""
    found: list[Subject] = [(key, "") for key in subjects.customers]
    if space is not None:
        found += [(-space, subject_text(one)) for one in subjects.identities]
    return found


def needs_of(
    claim: Claim, limits: Mapping[str, Sequence[KeptLimit]], subjects: Sequence[Subject]
) -> list[Need]:
    """Return the needs of a request by limit; the count is 0 where it only checks a limit."""
    found: dict[CapKey, Need] = {}
    for offer, placement in claim.given:
        for kept in limits.get(offer, ()):
            limit = kept.limit
            if limit.placements and placement not in limit.placements:
                continue
            key = (offer, limit.name, placement if kept.per_placement else "")
            need = found.get(key)
            if need is None:
                whose = _EVERYBODY if kept.is_global else subjects
                slots = [kept.slot(one, placement, claim.now_us) for one in whose]
                need = found[key] = Need(kept, key, slots, 0)
            if "decisioning" in limit.events:
                need.count += 1
    return list(found.values())


def judge(
    claim: Claim, needs: Sequence[Need], counters: MutableMapping[Slot, Count]
) -> tuple[Verdict, dict[Slot, int]]:
    """Check all needs and increment `counters`, or change nothing.

    Returns the refused counts (None: accepted) and the increments by counter. A missing counter is 0.
    The check sums over all subjects of a need; the increment goes to the first.
    """
    now_us = claim.now_us
    for need in needs:
        used, most = _used(need, counters, now_us), need.kept.limit.limit
        if not claim.forced and (used + need.count > most or used >= most):
            return {each.key: _used(each, counters, now_us) for each in needs}, {}
    given: dict[Slot, int] = {}
    for need in needs:
        if need.count and need.slots:
            slot = need.slots[0]
            add(counters, slot, need.count, need.kept, now_us)
            given[slot] = need.count
    return None, given


def add(
    counters: MutableMapping[Slot, Count], slot: Slot, count: int, kept: KeptLimit, now_us: int
) -> None:
    """Increment a counter and set its end to what its limit says now (spec 9).

    Clocks differ and events come late: if the counter was already restarted for an event of a later
    time, it keeps that later end, so that newer counts do not end early.
    """
    before, ends = counters.get(slot), kept.ends_us(now_us)
    counted = 0
    if before is not None:
        counted = before.at(now_us)
        if before.expires_us is not None and kept.next_end_us(ends) == before.expires_us:
            ends = before.expires_us
    counters[slot] = Count(counted + count, ends)


def held_until(
    now_us: int, ttl_us: int, given: Iterable[Slot], counters: Mapping[Slot, Count]
) -> int:
    """Return when a reservation expires: after `ttl_us`, or when one of its counters restarts.

    Counts returned after a restart would be taken from those counted since.
    """
    ends = (counters[slot].expires_us for slot in given if slot.window_us == 0)
    return min([now_us + ttl_us, *(end for end in ends if end is not None)])


def _used(need: Need, counters: Mapping[Slot, Count], now_us: int) -> int:
    used = 0
    for slot in need.slots:
        count = counters.get(slot)
        if count is not None:
            used += count.at(now_us)
    return used


def public(subject: Subject | None) -> int | IdentityKey | None:
    """Return the subject as stored with decision events."""
    if subject is None:
        return None
    owner, identity = subject
    return owner if owner > TOTAL else IdentityKey(*identity.split(":", 1))


def check_settled(reservation: Reservation, wanted: ReservationState) -> Reservation:
    """Raise Conflict unless the reservation has the target state; expired counts as released."""
    alike = {wanted}
    if wanted is ReservationState.RELEASED:
        alike.add(ReservationState.EXPIRED)
    if reservation.state in alike:
        return reservation
    word = "confirmed" if wanted is ReservationState.CONFIRMED else "released"
    raise Conflict(
        f"the reservation of `{reservation.decision_id}` is {reservation.state} and cannot be {word}",
        code="reservation-settled",
    )


def added(one: Count, other: Count | None, now_us: int) -> Count:
    """Return the sum of two counters, ending with the later one; ended counters add nothing."""
    if other is None:
        return one
    counting = [each for each in (one, other) if each.lasts(now_us)]
    if len(counting) == 1:
        return counting[0]
    ends = None
    if one.expires_us is not None and other.expires_us is not None:
        ends = max(one.expires_us, other.expires_us)
    return Count(one.used + other.used, ends)


class KeptRow(NamedTuple):
    """A limit of an offer as stored; `max_count` is None while it is not in force."""

    counter: int
    name: str
    definition: bytes
    max_count: int | None
    anchor_us: int | None
    start_us: int | None
    end_us: int | None


def put_in_force(rows: Iterable[KeptRow], caps: OfferCaps, new_counter: int) -> list[KeptRow]:
    """Return the stored limits of an offer that are new or changed under these caps.

    New ones are numbered from `new_counter`. A limit with an unchanged definition keeps its counter and
    anchor; one with another definition gets a new counter, which starts at 0.
    """
    changed: list[KeptRow] = []
    known = {(row.name, row.definition): row for row in rows}
    wanted = {(one.name, encode_definition(one)): one for one in caps.limits}
    for key, limit in wanted.items():
        row = known.get(key)
        if row is None:
            row = KeptRow(new_counter, *key, None, None, None, None)
            new_counter += 1
        anchor = row.anchor_us
        if anchor is None and caps.approved:
            anchor = caps.moment_us
        row = row._replace(
            max_count=limit.limit, anchor_us=anchor, start_us=caps.start_us, end_us=caps.end_us
        )
        if row != known.get(key):
            changed.append(row)
    changed += [
        row._replace(max_count=None)
        for key, row in known.items()
        if key not in wanted and row.max_count is not None
    ]
    return changed


def check_not_moved(container: str, current: int, said: int) -> None:
    """Raise StaleRevision when the container is past the revision of these limits."""
    if current > said:
        raise StaleRevision(
            f"container `{container}` is at revision {current}, not {said}: read again and retry",
            extra={"revision": current},
        )


def carried(before: KeptRow | None, after: KeptRow) -> bool:
    """Return whether global counters continue under the offer's new end.

    They do not where the offer now starts after its old end; then they keep their old end.
    """
    if before is None or (before.start_us, before.end_us) == (after.start_us, after.end_us):
        return False
    return before.end_us is None or after.start_us is None or after.start_us <= before.end_us


def to_kept(offer: str, row: KeptRow) -> KeptLimit | None:
    """Return the limit in force of a stored limit; None while it is not in force."""
    if row.max_count is None:
        return None
    return KeptLimit(
        counter=row.counter,
        offer=offer,
        limit=decode_definition(row.definition, row.max_count),
        anchor_us=row.anchor_us or 0,
        start_us=row.start_us,
        end_us=row.end_us,
    )


def encode_definition(limit: CapLimit) -> bytes:
    """Encode a limit without its maximum, canonically: equal definitions give equal bytes."""
    return msgspec.json.encode(limit.definition)


_definition = msgspec.json.Decoder(
    tuple[
        str,
        CapScope,
        CapEntity,
        list[str],
        list[str],
        str | None,
        tuple[RepeatUnit, int] | None,
    ]
).decode


def decode_definition(text: bytes, most: int) -> CapLimit:
    name, scope, entity, placements, events, custom, repeat = _definition(text)
    return CapLimit(
        name=name,
        limit=most,
        scope=scope,
        entity=entity,
        placements=frozenset(placements),
        events=frozenset(events),
        custom_rule=custom,
        repeat=None if repeat is None else Repeat(*repeat),
    )
