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
    match_limits,
)
from proffer.model.counting import Counting, Owner, plan_counting
from proffer.model.identity import IdentityKey
from proffer.model.window import ALWAYS, TimeWindow
from proffer.store.common.counter_ends import NO_DATES, CounterEnds, End
from proffer.store.errors import StaleRevision

GLOBAL_OWNER = 0
"""Owner of global counters. The owner of a customer's counters is the customer's key."""
_DECISIONING = CapEvent.DECISIONING.value
BY_CLAIM = -1
"""Maximum of a limit that each decision brings along: the threshold by which it gave the offer."""


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
    """Value of a counter, and its end when it was last counted (None: never). After its end it counts as 0."""

    used: int
    expires_us: End


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
    ends: CounterEnds = NO_DATES
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

    def counter_end_us(self, now_us: int) -> End:
        """Return when a counter incremented now ends: with its period, else with the offer (R47)."""
        repeat = self.limit.repeat
        return self.ends.at(now_us) if repeat is None else repeat.end(self.anchor_us, now_us)

    def used_at(self, value: CounterValue, now_us: int) -> int:
        """Return the use that a counter of the current period tells."""
        if self.limit.repeat is None and not is_live(self.ends.of(value.expires_us), now_us):
            return 0
        return value.used


class ReservationRequest(Struct, frozen=True):
    """Counts a decision wants to reserve: an (offer, placement) pair for each option."""

    offer_placements: tuple[tuple[str, str], ...]
    identities: tuple[IdentityKey, ...]
    now_us: int
    forced: bool = False
    """The offers were given already, so they count whatever the limits are."""
    thresholds: Mapping[CapKey, int] = {}
    """The maxima by which the decision gave offers whose limits have a threshold."""


@dataclass(slots=True)
class CounterNeed:
    """What a request needs of one limit in one placement: a count up to a maximum, and the counters read."""

    active_limit: ActiveLimit
    key: CapKey
    counter_keys: Sequence[CounterKey]
    max_count: int
    count: int = 0


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


def counter_subjects(counting: Counting | CapSubjects, space: int | None) -> list[Subject]:
    """Return the subjects a request reads: owners, then identities unless `space` is None."""
    result: list[Subject] = [(key, "") for key in counting.owners]
    if space is not None:
        result += [(-space, identity_text(identity)) for identity in counting.identities]
    return result


def feedback_subjects(
    identities: Sequence[IdentityKey], owners: Mapping[IdentityKey, Owner], space: int
) -> Sequence[Subject]:
    """Return the one subject that feedback on a decision with these identities increments; none without any."""
    return counter_subjects(plan_counting(identities, owners), space)[:1] if identities else ()


def independent_prefix(items: Iterable[tuple[Counting, Sequence[Subject]]]) -> int:
    """Return how many items can be recorded together: none reads a counter that an earlier one merges."""
    merged: set[Subject] = set()
    count = 0
    for counting, subjects in items:
        if merged and not merged.isdisjoint(subjects):
            break
        if counting.joins:
            merged.update(subjects)
        count += 1
    return count


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
            if limit.window is not ALWAYS and request.now_us not in limit.window:
                continue
            key = (offer, limit.name, placement if active_limit.per_placement else "")
            need = needs.get(key)
            if need is None:
                counted_subjects = GLOBAL_SUBJECTS if active_limit.is_global else subjects
                counter_keys = [
                    active_limit.counter_key(subject, placement, request.now_us) for subject in counted_subjects
                ]
                # A decision that did not know the threshold is refused, and made again with the limit in force.
                max_count = request.thresholds.get(key, 0) if limit.limit == BY_CLAIM else limit.limit
                need = needs[key] = CounterNeed(active_limit, key, counter_keys, max_count)
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
    The check sums over all subjects of a need; the increment goes to the first (R48).
    """
    now_us = request.now_us
    for need in needs:
        used, maximum = _total_used(need, counters, now_us), need.max_count
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
    """Increment a counter and update its end from its limit (R47).

    Clocks differ and events come late: if the counter was already restarted for an event of a later
    time, it keeps that later end, so that newer counts do not end early.
    """
    previous, end_us = counters.get(counter_key), active_limit.counter_end_us(now_us)
    used = 0
    if previous is not None:
        used, ends = active_limit.used_at(previous, now_us), active_limit.ends
        previous_end_us = ends.of(previous.expires_us)
        if active_limit.limit.repeat is None and previous_end_us is not None:
            end_us = previous_end_us if ends.following(end_us) == previous_end_us else end_us
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
            used += need.active_limit.used_at(count, now_us)
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


def is_live(end: End, now_us: int) -> bool:
    return end is None or now_us < end


def sum_counters(
    key: CounterKey,
    first: CounterValue,
    second: CounterValue | None,
    limit_ends: Mapping[int, CounterEnds],
    now_us: int,
) -> CounterValue:
    """Return the sum of two counters, ending with the later one; ended counters add nothing.

    `limit_ends`: by counter number, those of the limits of `disagreeing_counters`.
    """
    if second is None:
        return first
    ends = limit_ends.get(key.counter, NO_DATES)
    (first_end, second_end) = (ends.of(value.expires_us) for value in (first, second))
    if key.window_us == 0 and is_live(first_end, now_us) is not is_live(second_end, now_us):
        return first if is_live(first_end, now_us) else second
    last = first if first_end is None or (second_end is not None and first_end >= second_end) else second
    return CounterValue(first.used + second.used, last.expires_us)


def disagreeing_counters(counters: Iterable[tuple[CounterKey, CounterValue]]) -> list[int]:
    """Return the counters without periods that carry different ends: their limit tells which goes on."""
    ends_by_counter: dict[tuple[int, str], set[End]] = {}
    for key, value in counters:
        if key.window_us == 0:
            ends_by_counter.setdefault((key.counter, key.placement), set()).add(value.expires_us)
    return sorted({counter for (counter, _), ends in ends_by_counter.items() if len(ends) > 1})


class _Terms(Struct, frozen=True, omit_defaults=True):
    """What a stored limit has besides its definition: ends that were moved, with the new ones, and its own dates."""

    moved: tuple[tuple[End, End], ...] = ()
    start_us: int | None = None
    end_us: int | None = None


_NO_TERMS = _Terms()
_decode_terms = msgspec.json.Decoder(_Terms).decode


class StoredLimit(NamedTuple):
    """A limit of an offer as stored; `max_count` is None while it is not in force.

    A limit that the offer no longer has is stored without a name. `max_count` is `BY_CLAIM` where each
    decision brings its threshold. `terms`: encoded `_Terms`; None: none.
    """

    counter: int
    name: str
    definition: bytes
    max_count: int | None
    anchor_us: int | None
    start_us: int | None
    end_us: int | None
    terms: bytes | None = None

    @property
    def ends(self) -> CounterEnds:
        return CounterEnds(self.start_us, self.end_us, dict(self._terms.moved))

    @property
    def _terms(self) -> _Terms:
        return _NO_TERMS if self.terms is None else _decode_terms(self.terms)

    @property
    def window(self) -> TimeWindow:
        terms = self._terms
        return ALWAYS if terms.start_us is terms.end_us is None else TimeWindow(terms.start_us, terms.end_us)

    def with_dates(self, caps: OfferCaps, window: TimeWindow) -> "StoredLimit":
        """Return the limit with its own dates and those of its offer; ends that are not reached move (R47)."""
        ends = self.ends.with_dates(caps.start_us, caps.end_us, caps.moment_us)
        terms = _Terms(moved=tuple(ends.moved.items()), start_us=window.start_us, end_us=window.end_us)
        return self._replace(
            start_us=ends.start_us,
            end_us=ends.end_us,
            terms=None if terms == _NO_TERMS else msgspec.json.encode(terms),
        )


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
            before = StoredLimit(new_counter, limit.name, definition, None, None, caps.start_us, caps.end_us)
            new_counter += 1
        else:
            before = stored[match]
        anchor = before.anchor_us
        if anchor is None and caps.approved and limit.enabled:
            anchor = caps.moment_us
        max_count = limit.limit if limit.threshold is None else BY_CLAIM
        row = before.with_dates(caps, limit.window)._replace(
            name=limit.name,
            definition=definition,
            max_count=max_count if limit.enabled else None,
            anchor_us=anchor,
        )
        if match is None or row != before:
            changed.append(row)
    for number, before in enumerate(stored):
        if number not in matches:
            row = (before.with_dates(caps, before.window) if caps.limits else before)._replace(name="", max_count=None)
            if row != before:
                changed.append(row)
    return changed


EndMove: TypeAlias = tuple[End, End, int]
"""The new end, the end that counters carry, and the counter."""


def moved_ends(rows: Iterable[tuple[int, End, End, bytes]], before_us: int) -> list[EndMove]:
    """Return the ends before this moment that limits moved beyond it. `rows`: (counter, start, end, terms)."""
    return [
        (new, old, counter)
        for counter, ends in limit_ends(rows).items()
        for old, new in ends.moved.items()
        if old is not None and old < before_us and (new is None or new >= before_us)
    ]


def limit_ends(rows: Iterable[tuple[int, End, End, bytes | None]]) -> dict[int, CounterEnds]:
    """Return the ends by counter number. `rows`: (counter, start, end, terms) of limits."""
    return {
        counter: StoredLimit(counter, "", b"", None, None, start_us, end_us, terms).ends
        for counter, start_us, end_us, terms in rows
    }


def check_not_outdated(container: str, current: int, revision: int) -> None:
    """Raise StaleRevision when the container is past the revision of these limits."""
    if current > revision:
        raise StaleRevision(
            f"container `{container}` is at revision {current}, not {revision}: read again and retry",
            extra={"revision": current},
        )


def to_active_limit(offer: str, row: StoredLimit) -> ActiveLimit | None:
    """Return the limit in force of a stored limit; None while it is not in force."""
    if row.max_count is None:
        return None
    return ActiveLimit(
        counter=row.counter,
        offer=offer,
        limit=replace(decode_definition(row.definition, row.max_count), window=row.window),
        anchor_us=row.anchor_us or 0,
        ends=row.ends,
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
