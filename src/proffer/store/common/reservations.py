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
from proffer.store.common.cap_cache import TotalRow
from proffer.store.common.caps import TOTAL, Claim, Count, Need, Slot, Subject, held_until, judge
from proffer.store.common.event_codec import encode_event

encode_json = msgspec.json.Encoder().encode
decode_given = msgspec.json.Decoder(list[tuple[bool, int, str, int, int]]).decode

HOUR_MS = 3_600_000
MOST_EXPIRED = 1000
"""Maximum number of expired reservations released in one commit."""


class Item(Struct, frozen=True):
    """A decision to record: its reservation request and its encoded event."""

    container: str
    decision: str
    claim: Claim
    event: bytes
    ttl_us: int | None = None

    @classmethod
    def of(
        cls, container: str, event: DecisionEvent, *, ttl_us: int | None, forced: bool
    ) -> "Item":
        """Build the item of a decision event."""
        claim = Claim(event.proposed_offers, event.identities, event.decided_us, forced)
        return cls(container, event.id, claim, encode_event(event), ttl_us)


class Answer(Struct, frozen=True):
    """Result of recording an item, and the global counters it incremented or was checked against."""

    outcome: DecisionRecorded | CapRefusal
    totals: tuple[TotalRow, ...] = ()


@dataclass(slots=True)
class Judgement:
    """Result of a group of reservation requests.

    `accepted`: items to store with their subject; `counters`: new values of changed counters;
    `reservations`: rows to insert; `refusing_containers`: containers whose limits refused an item.
    """

    kept: list[tuple[Item, Subject | None]] = field(default_factory=list)
    counters: dict[Slot, Count] = field(default_factory=dict)
    reserved: list[tuple[Any, ...]] = field(default_factory=list)
    refusing: dict[str, None] = field(default_factory=dict)
    outcomes: list[
        tuple[DecisionRecorded | tuple[str, Mapping[CapKey, int]], tuple[TotalRow, ...]]
    ] = field(default_factory=list)

    def answers(self, revisions: Mapping[str, int]) -> list[Answer]:
        """Return the result of each item, given the revisions of `refusing_containers`."""
        return [
            Answer(
                outcome
                if isinstance(outcome, DecisionRecorded)
                else CapRefusal(counts=outcome[1], revision=revisions[outcome[0]]),
                totals,
            )
            for outcome, totals in self.outcomes
        ]


_KEPT: tuple[DecisionRecorded, tuple[TotalRow, ...]] = (DecisionRecorded(), ())


def judge_group(
    items: Sequence[Item],
    subjects: Sequence[Sequence[Subject]],
    needs: Sequence[Sequence[Need]],
    counters: MutableMapping[Slot, Count],
    moved: int,
) -> Judgement:
    """Process requests in order; each sees the counters as the previous ones left them."""
    found = Judgement()
    for item, whose, wanted in zip(items, subjects, needs, strict=True):
        if not wanted and item.ttl_us is None:  # no limit applies, and nothing is counted
            found.kept.append((item, None))
            found.outcomes.append(_KEPT)
            continue
        verdict, given = judge(item.claim, wanted, counters)
        totals = tuple(
            TotalRow((slot.counter, slot.placement, slot.window_us), counters[slot], moved)
            for need in wanted
            for slot in need.slots
            if slot.owner == TOTAL and slot in counters
        )
        if verdict is not None:
            found.refusing[item.container] = None
            found.outcomes.append(((item.container, verdict), totals))
            continue
        found.counters.update((slot, counters[slot]) for slot in given)
        counted = any(slot.owner != TOTAL for slot in given)
        subject = whose[0] if whose and (counted or item.ttl_us is not None) else None
        found.kept.append((item, subject))
        until = None
        if item.ttl_us is not None:
            until = held_until(item.claim.now_us, item.ttl_us, given, counters)
            found.reserved.append(reservation_row(item, subject, given, until))
        found.outcomes.append((DecisionRecorded(reserved_until_us=until), totals))
    return found


def reservation_row(
    item: Item, subject: Subject | None, given: Mapping[Slot, int], until_us: int
) -> tuple[Any, ...]:
    moves = [
        (slot.owner == TOTAL, slot.counter, slot.placement, slot.window_us, count)
        for slot, count in given.items()
    ]
    owner, identity = subject or (TOTAL, "")
    return (item.container, item.decision, owner, identity, encode_json(moves), until_us)
