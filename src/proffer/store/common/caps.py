"""What a decision may take from the counters, and what it leaves in them. Shared by all stores, and pure.

A store reads, inside one transaction that nobody else writes beside, the limits of the offers given, who
holds the identities asked for, and the counters that `slots_of` names; `judge` says of each claim whether
it is had, and how the counters stand afterwards.
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
    OfferCaps,
    Repeat,
    RepeatUnit,
    Reservation,
    ReservationState,
    Subjects,
    lifetime_end,
)
from proffer.model.identity import IdentityKey
from proffer.store.errors import StaleRevision

ROWS_TOGETHER = 2000
"""Most counters, reservations or proposition ids deleted in one write."""

TOTAL = 0
"""The owner of a counter that counts everybody together. Customers are owners by their keys."""


class Slot(NamedTuple):
    """One counter. `owner` is a customer's key, or less than 0 for the identity that `identity` names."""

    owner: int
    identity: str
    counter: int
    placement: str
    window_us: int

    def owned_by(self, subject: "Subject") -> "Slot":
        """The same counter of somebody else."""
        return Slot(*subject, self.counter, self.placement, self.window_us)


class Count(NamedTuple):
    """How far a counter has come, and when it ends (None: never). Past its end it counts as 0."""

    used: int
    expires_us: int | None

    def lasts(self, now_us: int) -> bool:
        return self.expires_us is None or now_us < self.expires_us

    def at(self, now_us: int) -> int:
        return self.used if self.lasts(now_us) else 0


Subject: TypeAlias = tuple[int, str]
"""`owner` and `identity` of a slot."""
_EVERYBODY: Sequence[Subject] = ((TOTAL, ""),)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLimit:
    """A limit in force as the store keeps it. `counter` numbers what it counts, whatever the limit is."""

    counter: int
    offer: str
    limit: CapLimit
    anchor_us: int
    start_us: int | None = None
    end_us: int | None = None
    in_total: bool = field(init=False)
    apart: bool = field(init=False)
    """Whether it counts everybody together, and each placement for itself: asked for all the time."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_total", self.limit.scope is CapScope.GLOBAL)
        object.__setattr__(self, "apart", self.limit.entity is CapEntity.PLACEMENT)

    def slot(self, subject: Subject, placement: str, now_us: int) -> Slot:
        """The counter that something happening in this placement at this moment moves."""
        window = self.limit.window(self.anchor_us, now_us)
        return Slot(*subject, self.counter, placement if self.apart else "", window)

    def ends_us(self, now_us: int) -> int | None:
        """When the counter moved now will end: with the offer, or with the period it counts."""
        ends = lifetime_end(self.start_us, self.end_us, now_us)
        repeat = self.limit.repeat
        if repeat is None:
            return ends
        end = repeat.end(self.anchor_us, now_us)
        return end if ends is None else min(end, ends)

    def next_end_us(self, ends_us: int | None) -> int | None:
        """When a counter that begins anew at this end will end; None where it never does, as with the offer's own."""
        if ends_us is None or (self.end_us is not None and ends_us > self.end_us):
            return None
        return self.ends_us(ends_us)


class Claim(Struct, frozen=True):
    """What one decision wants counted: `given` are offers with their placements, one for each option."""

    given: tuple[tuple[str, str], ...]
    identities: tuple[IdentityKey, ...]
    now_us: int
    forced: bool = False
    """It was given already, so it counts whatever the limits are."""


@dataclass(slots=True)
class Need:
    """What a claim wants of one limit in one placement: how many, of which counters."""

    kept: KeptLimit
    key: CapKey
    slots: Sequence[Slot]
    count: int


Verdict: TypeAlias = Mapping[CapKey, int] | None
"""None where a claim is had; else how far each limit it met is used."""


def subject_text(identity: IdentityKey) -> str:
    """An identity as slots name it: codes of namespaces hold no colon."""
    return f"{identity.namespace}:{identity.id}"


def subjects_of(
    identities: Sequence[IdentityKey], holders: Mapping[IdentityKey, int], space: int
) -> list[Subject]:
    """Whom these identities reach: customers, oldest first, then identities that nobody holds (R43)."""
    found: list[Subject] = [
        (key, "") for key in sorted({holders[one] for one in identities if one in holders})
    ]
    found += [(-space, subject_text(one)) for one in identities if one not in holders]
    return found


def asked_for(subjects: Subjects, space: int | None) -> list[Subject]:
    """Whose counters a request reads: its customers', and its identities' (none while its space is not there)."""
    found: list[Subject] = [(key, "") for key in subjects.customers]
    if space is not None:
        found += [(-space, subject_text(one)) for one in subjects.identities]
    return found


def needs_of(
    claim: Claim, limits: Mapping[str, Sequence[KeptLimit]], subjects: Sequence[Subject]
) -> list[Need]:
    """What this claim wants of the limits in force. A limit it meets and does not move is wanted 0 of."""
    found: dict[CapKey, Need] = {}
    for offer, placement in claim.given:
        for kept in limits.get(offer, ()):
            limit = kept.limit
            if limit.placements and placement not in limit.placements:
                continue
            key = (offer, limit.name, placement if kept.apart else "")
            need = found.get(key)
            if need is None:
                whose = _EVERYBODY if kept.in_total else subjects
                slots = [kept.slot(one, placement, claim.now_us) for one in whose]
                need = found[key] = Need(kept, key, slots, 0)
            if "decisioning" in limit.events:
                need.count += 1
    return list(found.values())


def judge(
    claim: Claim, needs: Sequence[Need], counters: MutableMapping[Slot, Count]
) -> tuple[Verdict, dict[Slot, int]]:
    """Give this claim all it needs, entering it into `counters`, or nothing at all; what was given, by slot.

    A slot that `counters` lacks counts 0. What a profile's identities have used is summed; what is given
    is counted for the first of them.
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
    """Move a counter. It then ends when its limit says now: an end that was moved is carried forward (spec 9).

    Where it ended and began anew already, for somebody whose moment is later, it goes on from there: clocks
    differ and events come late, and what was counted since must not end again.
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
    """When a reservation comes back: after so long, and no later than a counter of it that ends and begins anew.

    What is given back later would be given to those who are counted after that.
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
    """The subject as events name it."""
    if subject is None:
        return None
    owner, identity = subject
    return owner if owner > TOTAL else IdentityKey(*identity.split(":", 1))


def check_settled(reservation: Reservation, wanted: ReservationState) -> Reservation:
    """Raise where a reservation is not what it was to become. An expired one is released enough."""
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
    """Two counters of one person together: it ends when the later of them does. What is over adds nothing."""
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
    """One limit of an offer as a store keeps it; `most` is None while it is not in force."""

    counter: int
    name: str
    definition: bytes
    most: int | None
    anchor_us: int | None
    start_us: int | None
    end_us: int | None


def put_in_force(rows: Iterable[KeptRow], caps: OfferCaps, new_counter: int) -> list[KeptRow]:
    """How the rows of an offer stand once these are its limits: only those that are new or change.

    New ones are numbered from `new_counter`. A limit that counts the same as before keeps its counter and
    its anchor; one that counts something else has a new one, and begins at 0.
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
            most=limit.limit, anchor_us=anchor, start_us=caps.start_us, end_us=caps.end_us
        )
        if row != known.get(key):
            changed.append(row)
    changed += [
        row._replace(most=None)
        for key, row in known.items()
        if key not in wanted and row.most is not None
    ]
    return changed


def check_not_moved(container: str, current: int, said: int) -> None:
    """Raise where limits are said for a revision that others have left behind."""
    if current > said:
        raise StaleRevision(
            f"container `{container}` is at revision {current}, not {said}: read again and retry",
            extra={"revision": current},
        )


def carried(before: KeptRow | None, after: KeptRow) -> bool:
    """Whether counters in total go on under the end that the offer has now.

    They do not where the offer now starts after its old end: then they end when they would have.
    """
    if before is None or (before.start_us, before.end_us) == (after.start_us, after.end_us):
        return False
    return before.end_us is None or after.start_us is None or after.start_us <= before.end_us


def to_kept(offer: str, row: KeptRow) -> KeptLimit | None:
    """The limit of a row; None while it is not in force."""
    if row.most is None:
        return None
    return KeptLimit(
        counter=row.counter,
        offer=offer,
        limit=decode_definition(row.definition, row.most),
        anchor_us=row.anchor_us or 0,
        start_us=row.start_us,
        end_us=row.end_us,
    )


def encode_definition(limit: CapLimit) -> bytes:
    """All that a limit is but how far it may count, as text that is the same for the same meaning."""
    return msgspec.json.encode(limit.meaning)


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
        custom=custom,
        repeat=None if repeat is None else Repeat(*repeat),
    )
