"""Rules of cap counters and reservations: pure functions shared by all stores.

Inside one exclusive transaction a store reads the limits of the offers given, the holders of the
identities, and the counters that `counter_needs` names; `try_reserve` accepts or refuses a request and
updates the counters.
"""

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from proffer.errors import Conflict
from proffer.model.capping import (
    CapEntity,
    CapEvent,
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
    match_limits,
)
from proffer.model.identity import IdentityKey
from proffer.store.errors import StaleRevision

GLOBAL_OWNER = 0
"""Owner of global counters. The owner of a customer's counters is the customer's key."""
_DECISIONING = CapEvent.DECISIONING.value


class CounterKey(NamedTuple):
    """Key of a counter. `owner` is a customer's key, or below 0 for the identity `identity`."""

    owner: int
    identity: str
    counter: int
    placement: str
    window_us: int

    def for_subject(self, subject: "Subject") -> "CounterKey":
        """Return the key of the same counter of another subject."""
        return CounterKey(*subject, self.counter, self.placement, self.window_us)


class CounterValue(NamedTuple):
    """Value of a counter and its end (None: never). After its end it counts as 0."""

    used: int
    expires_us: int | None

    def is_live(self, now_us: int) -> bool:
        return self.expires_us is None or now_us < self.expires_us

    def used_at(self, now_us: int) -> int:
        return self.used if self.is_live(now_us) else 0


Subject: TypeAlias = tuple[int, str]
"""`owner` and `identity` of a counter key."""
GLOBAL_SUBJECTS: Sequence[Subject] = ((GLOBAL_OWNER, ""),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveLimit:
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

    def counter_key(self, subject: Subject, placement: str, now_us: int) -> CounterKey:
        """Return the counter for an event in this placement at this time."""
        window = self.limit.period_start(self.anchor_us, now_us)
        return CounterKey(*subject, self.counter, placement if self.per_placement else "", window)

    def counter_end_us(self, now_us: int) -> int | None:
        """Return when a counter incremented now ends: with the offer or with its period."""
        offer_end = lifetime_end(self.start_us, self.end_us, now_us)
        repeat = self.limit.repeat
        if repeat is None:
            return offer_end
        end = repeat.end(self.anchor_us, now_us)
        return end if offer_end is None else min(end, offer_end)

    def next_counter_end_us(self, ends_us: int | None) -> int | None:
        """Return when a counter restarted at `ends_us` ends; None: it is not restarted."""
        if ends_us is None or (self.end_us is not None and ends_us > self.end_us):
            return None
        return self.counter_end_us(ends_us)


class ReservationRequest(Struct, frozen=True):
    """Counts a decision wants to reserve: an (offer, placement) pair for each option."""

    offer_placements: tuple[tuple[str, str], ...]
    identities: tuple[IdentityKey, ...]
    now_us: int
    forced: bool = False
    """The offers were given already, so they count whatever the limits are."""


@dataclass(slots=True)
class CounterNeed:
    """What a request needs of one limit in one placement: a count, and the counters read."""

    active_limit: ActiveLimit
    key: CapKey
    counter_keys: Sequence[CounterKey]
    count: int


RefusedCounts: TypeAlias = Mapping[CapKey, int] | None
"""None where a request is accepted; else the use of each limit concerned."""


def identity_text(identity: IdentityKey) -> str:
    """Return an identity as text in counter keys; namespace codes contain no colon."""
    return f"{identity.namespace}:{identity.id}"


def subject_of(space: int, customer_or_identity: int | IdentityKey) -> Subject:
    """Return the counter subject of a customer or of an unheld identity."""
    if isinstance(customer_or_identity, int):
        return customer_or_identity, ""
    return -space, identity_text(customer_or_identity)


def subjects_of(identities: Sequence[IdentityKey], holders: Mapping[IdentityKey, int], space: int) -> list[Subject]:
    """Resolve identities to subjects: customers, oldest first, then unheld identities (R43)."""
    subjects: list[Subject] = [
        (key, "") for key in sorted({holders[identity] for identity in identities if identity in holders})
    ]
    subjects += [(-space, identity_text(identity)) for identity in identities if identity not in holders]
    return subjects


def counter_subjects(subjects: CapSubjects, space: int | None) -> list[Subject]:
    """Return the subjects a request reads: customers, and identities unless `space` is None."""
    result: list[Subject] = [(key, "") for key in subjects.customers]
    if space is not None:
        result += [(-space, identity_text(identity)) for identity in subjects.identities]
    return result


def counter_needs(
    request: ReservationRequest,
    limits: Mapping[str, Sequence[ActiveLimit]],
    subjects: Sequence[Subject],
) -> list[CounterNeed]:
    """Return the needs of a request by limit; the count is 0 where it only checks a limit."""
    needs: dict[CapKey, CounterNeed] = {}
    for offer, placement in request.offer_placements:
        for active_limit in limits.get(offer, ()):
            limit = active_limit.limit
            if limit.placements and placement not in limit.placements:
                continue
            key = (offer, limit.name, placement if active_limit.per_placement else "")
            need = needs.get(key)
            if need is None:
                counted_subjects = GLOBAL_SUBJECTS if active_limit.is_global else subjects
                counter_keys = [
                    active_limit.counter_key(subject, placement, request.now_us) for subject in counted_subjects
                ]
                need = needs[key] = CounterNeed(active_limit, key, counter_keys, 0)
            if _DECISIONING in limit.events:
                need.count += 1
    return list(needs.values())


def try_reserve(
    request: ReservationRequest,
    needs: Sequence[CounterNeed],
    counters: MutableMapping[CounterKey, CounterValue],
) -> tuple[RefusedCounts, dict[CounterKey, int]]:
    """Check all needs and increment `counters`, or change nothing.

    Returns the refused counts (None: accepted) and the increments by counter. A missing counter is 0.
    The check sums over all subjects of a need; the increment goes to the first.
    """
    now_us = request.now_us
    for need in needs:
        used, maximum = _total_used(need, counters, now_us), need.active_limit.limit.limit
        if not request.forced and (used + need.count > maximum or used >= maximum):
            return {each.key: _total_used(each, counters, now_us) for each in needs}, {}
    reserved: dict[CounterKey, int] = {}
    for need in needs:
        if need.count and need.counter_keys:
            counter_key = need.counter_keys[0]
            increment(counters, counter_key, need.count, need.active_limit, now_us)
            reserved[counter_key] = need.count
    return None, reserved


def increment(
    counters: MutableMapping[CounterKey, CounterValue],
    counter_key: CounterKey,
    count: int,
    active_limit: ActiveLimit,
    now_us: int,
) -> None:
    """Increment a counter and update its end from its limit (spec 9).

    Clocks differ and events come late: if the counter was already restarted for an event of a later
    time, it keeps that later end, so that newer counts do not end early.
    """
    previous, end_us = counters.get(counter_key), active_limit.counter_end_us(now_us)
    used = 0
    if previous is not None:
        used = previous.used_at(now_us)
        if previous.expires_us is not None and active_limit.next_counter_end_us(end_us) == previous.expires_us:
            end_us = previous.expires_us
    counters[counter_key] = CounterValue(used + count, end_us)


def reservation_end_us(
    now_us: int,
    ttl_us: int,
    counter_keys: Iterable[CounterKey],
    counters: Mapping[CounterKey, CounterValue],
) -> int:
    """Return when a reservation expires: after `ttl_us`, or when one of its counters restarts.

    Counts returned after a restart would be taken from those counted since.
    """
    ends = (counters[counter_key].expires_us for counter_key in counter_keys if counter_key.window_us == 0)
    return min([now_us + ttl_us, *(end for end in ends if end is not None)])


def _total_used(need: CounterNeed, counters: Mapping[CounterKey, CounterValue], now_us: int) -> int:
    used = 0
    for counter_key in need.counter_keys:
        count = counters.get(counter_key)
        if count is not None:
            used += count.used_at(now_us)
    return used


def event_subject(subject: Subject | None) -> int | IdentityKey | None:
    """Return the subject as stored with decision events."""
    if subject is None:
        return None
    owner, identity = subject
    return owner if owner > GLOBAL_OWNER else IdentityKey(*identity.split(":", 1))


def check_settled(reservation: Reservation, target_state: ReservationState) -> Reservation:
    """Raise Conflict unless the reservation has the target state; expired counts as released."""
    accepted_states = {target_state}
    if target_state is ReservationState.RELEASED:
        accepted_states.add(ReservationState.EXPIRED)
    if reservation.state in accepted_states:
        return reservation
    word = "confirmed" if target_state is ReservationState.CONFIRMED else "released"
    raise Conflict(
        f"the reservation of `{reservation.decision_id}` is {reservation.state} and cannot be {word}",
        code="reservation-settled",
    )


def sum_counters(first: CounterValue, second: CounterValue | None, now_us: int) -> CounterValue:
    """Return the sum of two counters, ending with the later one; ended counters add nothing."""
    if second is None:
        return first
    live = [each for each in (first, second) if each.is_live(now_us)]
    if len(live) == 1:
        return live[0]
    ends = None
    if first.expires_us is not None and second.expires_us is not None:
        ends = max(first.expires_us, second.expires_us)
    return CounterValue(first.used + second.used, ends)


class StoredLimit(NamedTuple):
    """A limit of an offer as stored; `max_count` is None while it is not in force.

    A limit that the offer no longer has is stored without a name.
    """

    counter: int
    name: str
    definition: bytes
    max_count: int | None
    anchor_us: int | None
    start_us: int | None
    end_us: int | None


def changed_limits(rows: Iterable[StoredLimit], caps: OfferCaps, new_counter: int) -> list[StoredLimit]:
    """Return the stored limits that an offer's caps add or change.

    New ones are numbered from `new_counter`. A limit that continues a stored one keeps its counter and
    anchor (R46), also one that the offer had earlier. Another gets a new counter, which starts at 0.
    """
    changed: list[StoredLimit] = []
    # Of equal limits, those that the offer has go before those that it had, newest first.
    stored = sorted(rows, key=lambda row: (row.name == "", -row.counter if row.name == "" else row.counter))
    earlier = [replace(decode_definition(row.definition, row.max_count), name=row.name) for row in stored]
    matches = match_limits(caps.limits, earlier)
    for limit, match in zip(caps.limits, matches, strict=True):
        definition = encode_definition(limit)
        if match is None:
            before = StoredLimit(new_counter, limit.name, definition, None, None, None, None)
            new_counter += 1
        else:
            before = stored[match]
        anchor = before.anchor_us
        if anchor is None and caps.approved and limit.enabled:
            anchor = caps.moment_us
        row = before._replace(
            name=limit.name,
            definition=definition,
            max_count=limit.limit if limit.enabled else None,
            anchor_us=anchor,
            start_us=caps.start_us,
            end_us=caps.end_us,
        )
        if match is None or row != before:
            changed.append(row)
    return changed + [
        row._replace(name="", max_count=None)
        for number, row in enumerate(stored)
        if number not in matches and (row.name, row.max_count) != ("", None)
    ]


def check_not_outdated(container: str, current: int, revision: int) -> None:
    """Raise StaleRevision when the container is past the revision of these limits."""
    if current > revision:
        raise StaleRevision(
            f"container `{container}` is at revision {current}, not {revision}: read again and retry",
            extra={"revision": current},
        )


def keeps_count(before: StoredLimit | None, after: StoredLimit) -> bool:
    """Return whether global counters continue under the offer's new end.

    They do not where the offer now starts after its old end; then they keep their old end.
    """
    if before is None or (before.start_us, before.end_us) == (after.start_us, after.end_us):
        return False
    return before.end_us is None or after.start_us is None or after.start_us <= before.end_us


def to_active_limit(offer: str, row: StoredLimit) -> ActiveLimit | None:
    """Return the limit in force of a stored limit; None while it is not in force."""
    if row.max_count is None:
        return None
    return ActiveLimit(
        counter=row.counter,
        offer=offer,
        limit=decode_definition(row.definition, row.max_count),
        anchor_us=row.anchor_us or 0,
        start_us=row.start_us,
        end_us=row.end_us,
    )


def encode_definition(limit: CapLimit) -> bytes:
    """Encode the name and identity of a limit, canonically: equal ones give equal bytes."""
    return msgspec.json.encode((limit.name, *limit.identity))


_decode_definition = msgspec.json.Decoder(
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


def decode_definition(text: bytes, max_count: int | None) -> CapLimit:
    """Decode a stored limit; it is not enabled without a maximum."""
    name, scope, entity, placements, events, custom, repeat = _decode_definition(text)
    return CapLimit(
        name=name,
        limit=max_count or 0,
        scope=scope,
        entity=entity,
        placements=frozenset(placements),
        events=frozenset(events),
        custom_rule=custom,
        repeat=None if repeat is None else Repeat(*repeat),
        enabled=max_count is not None,
    )
