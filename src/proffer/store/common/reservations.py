"""Process a group of reservation requests in order, for any database.

The stores read limits and counters, call `reserve_group`, and write what it returns.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Struct

from proffer.model.capping import CapKey, CapRefusal, DecisionRecorded
from proffer.model.events import DecisionEvent
from proffer.store.common.cap_cache import TotalRow, total_rows
from proffer.store.common.caps import (
    GLOBAL_OWNER,
    CounterKey,
    CounterNeed,
    CounterValue,
    ReservationRequest,
    Subject,
    reservation_end_us,
    try_reserve,
)
from proffer.store.common.event_codec import encode_event

encode_json = msgspec.json.Encoder().encode
decode_moves = msgspec.json.Decoder(list[tuple[bool, int, str, int, int]]).decode

HOUR_MS = 3_600_000
MAX_EXPIRED = 1000
"""Maximum number of expired reservations released in one commit."""


class RecordItem(Struct, frozen=True):
    """A decision to record: its reservation request and its encoded event."""

    container: str
    decision: str
    request: ReservationRequest
    event: bytes
    ttl_us: int | None = None

    @classmethod
    def from_event(cls, container: str, event: DecisionEvent, *, ttl_us: int | None, forced: bool) -> "RecordItem":
        """Build the item of a decision event."""
        request = ReservationRequest(
            event.proposed_offers, event.identities, event.decided_us, forced, event.thresholds
        )
        return cls(container, event.id, request, encode_event(event), ttl_us)


class RecordResult(Struct, frozen=True):
    """Result of recording an item, and its global counters. It incremented them or was checked against them."""

    outcome: DecisionRecorded | CapRefusal
    totals: tuple[TotalRow, ...] = ()


@dataclass(slots=True)
class GroupOutcome:
    """Result of a group of reservation requests.

    `accepted_items`: items to store with their subject; `counters`: new values of changed counters;
    `reservations`: rows to insert; `refusing_containers`: containers whose limits refused an item.
    """

    accepted_items: list[tuple[RecordItem, Subject | None]] = field(default_factory=list)
    counters: dict[CounterKey, CounterValue] = field(default_factory=dict)
    reservations: list[tuple[Any, ...]] = field(default_factory=list)
    refusing_containers: dict[str, None] = field(default_factory=dict)
    outcomes: list[tuple[DecisionRecorded | tuple[str, Mapping[CapKey, int]], tuple[TotalRow, ...]]] = field(
        default_factory=list
    )

    def accepted(self, positions: Sequence[int]) -> list[int]:
        """Return those of these positions in the group whose items were accepted."""
        return [position for position in positions if isinstance(self.outcomes[position][0], DecisionRecorded)]

    def results(self, revisions: Mapping[str, int]) -> list[RecordResult]:
        """Return the result of each item, given the revisions of `refusing_containers`."""
        return [
            RecordResult(
                outcome
                if isinstance(outcome, DecisionRecorded)
                else CapRefusal(counts=outcome[1], revision=revisions[outcome[0]]),
                totals,
            )
            for outcome, totals in self.outcomes
        ]


_RECORDED: tuple[DecisionRecorded, tuple[TotalRow, ...]] = (DecisionRecorded(), ())


def reserve_group(
    items: Sequence[RecordItem],
    subjects: Sequence[Sequence[Subject]],
    needs: Sequence[Sequence[CounterNeed]],
    counters: MutableMapping[CounterKey, CounterValue],
    move_number: int,
) -> GroupOutcome:
    """Process requests in order; each sees the counters as the previous ones left them."""
    outcome = GroupOutcome()
    for item, item_subjects, item_needs in zip(items, subjects, needs, strict=True):
        if not item_needs and item.ttl_us is None:  # no limit applies, and nothing is counted
            outcome.accepted_items.append((item, None))
            outcome.outcomes.append(_RECORDED)
            continue
        refused_counts, reserved = try_reserve(item.request, item_needs, counters)
        counter_keys = (counter_key for need in item_needs for counter_key in need.counter_keys)
        totals = total_rows(counters, counter_keys, move_number)
        if refused_counts is not None:
            outcome.refusing_containers[item.container] = None
            outcome.outcomes.append(((item.container, refused_counts), totals))
            continue
        outcome.counters.update((counter_key, counters[counter_key]) for counter_key in reserved)
        counted = any(counter_key.owner != GLOBAL_OWNER for counter_key in reserved)
        subject = item_subjects[0] if item_subjects and (counted or item.ttl_us is not None) else None
        outcome.accepted_items.append((item, subject))
        reserved_until_us = None
        if item.ttl_us is not None:
            reserved_until_us = reservation_end_us(item.request.now_us, item.ttl_us, reserved, counters)
            outcome.reservations.append(reservation_row(item, subject, reserved, reserved_until_us))
        outcome.outcomes.append((DecisionRecorded(reserved_until_us=reserved_until_us), totals))
    return outcome


def reservation_row(
    item: RecordItem, subject: Subject | None, reserved: Mapping[CounterKey, int], until_us: int
) -> tuple[Any, ...]:
    moves = [
        (
            counter_key.owner == GLOBAL_OWNER,
            counter_key.counter,
            counter_key.placement,
            counter_key.window_us,
            count,
        )
        for counter_key, count in reserved.items()
    ]
    owner, identity = subject or (GLOBAL_OWNER, "")
    return (item.container, item.decision, owner, identity, encode_json(moves), until_us)
