"""Secondary index from edge proposition ids to the packs of their decisions.

Clients normally send back a token that names the decision, so ids are not indexed when decisions are made.
For an id without a token the index is built on demand from the stored packs: one key per id, prefixed by
the day of its decision so that a day is stored and deleted together, leads to a pack number, and the pack
is scanned. A key collision costs one extra scan.

The indexed packs are recorded as ranges of pack numbers. The newest unindexed packs are indexed first,
since feedback is mostly about recent decisions.
"""

import re
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from proffer.model.events import EDGE, decision_time_ms, edge_proposition_digest
from proffer.store.common.event_codec import decode_headers

DAY_MS = 86_400_000
PACKS_TOGETHER = 100
"""Maximum packs indexed in one step, and below, maximum decisions of such a step."""
EVENTS_TOGETHER = 1_000
MOST_AT_ONCE = 10_000
"""Maximum decisions scanned for one request; older ones are indexed in the background."""
_CANONICAL_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ID_BITS = 47
"""Number of bits of an id in a key, below the day number."""
_MAX_DAYS = 1500
"""Maximum number of days an id is looked up under, in case clocks were wrong."""

IndexKey: TypeAlias = int


class PackRange(NamedTuple):
    """Range of pack numbers, both ends included."""

    first: int
    last: int


class PackInfo(NamedTuple):
    """A pack to be indexed, and its number of decisions."""

    pack: int
    events: int


@dataclass(frozen=True, slots=True)
class IndexSlice:
    """Index entries of some packs: (pack, sorted keys), and the range of packs they cover.

    `found_ids`: the searched ids among them; `events`: number of decisions scanned.
    """

    pack_range: PackRange
    keys: Sequence[tuple[int, list[IndexKey]]]
    events: int
    found_ids: frozenset[str] = frozenset()


@dataclass(slots=True)
class PropositionScan:
    """Progress of indexing for these missing ids, up to `max_events` decisions (None: all)."""

    missing_ids: set[str]
    max_events: int | None = None
    events_seen: int = 0
    is_complete: bool = False
    """Whether all packs are indexed now."""

    @property
    def should_continue(self) -> bool:
        if self.is_complete:
            return False
        return self.max_events is None or (bool(self.missing_ids) and self.events_seen < self.max_events)

    @property
    def is_incomplete(self) -> bool:
        """Whether ids are still missing and packs still unindexed."""
        return bool(self.missing_ids) and not self.is_complete

    @property
    def is_background(self) -> bool:
        """Whether no request waits: then pause after each slice for as long as it took."""
        return self.max_events is None

    def add_slice(self, new_slice: IndexSlice | None) -> None:
        """Record an indexed slice; None: nothing was left to index."""
        if new_slice is None:
            self.is_complete = True
        else:
            self.events_seen += new_slice.events
            self.missing_ids -= new_slice.found_ids


def normalize_id(proposition: str) -> str:
    """Return the id in canonical UUID form; empty when it is not a UUID."""
    if _CANONICAL_ID.fullmatch(proposition):  # nearly always, and faster
        return proposition
    try:
        return str(uuid.UUID(proposition))
    except ValueError:
        return ""


def is_edge_id(proposition: str) -> bool:
    """Return whether a canonical id can be an edge proposition id. These are UUIDs of version 5."""
    return len(proposition) == 36 and proposition[14] == "5"


def missing_edge_ids(propositions: Iterable[str], found_ids: Collection[str]) -> set[str]:
    """Return the edge ids among these not found, in canonical form."""
    missing = (normalize_id(proposition) for proposition in propositions if proposition not in found_ids)
    return {proposition for proposition in missing if is_edge_id(proposition)}


def newest_gap(ranges: Sequence[PackRange], newest: int) -> PackRange | None:
    """Return the newest range up to `newest` outside these sorted ranges; None if none."""
    last = newest
    for pack_range in reversed(ranges):
        if pack_range.last < last:
            return PackRange(pack_range.last + 1, last)
        last = min(last, pack_range.first - 1)
    return PackRange(1, last) if last >= 1 else None


def add_range(ranges: Iterable[PackRange], new_range: PackRange) -> list[PackRange]:
    """Return the ranges with one more, sorted, adjacent ones merged."""
    merged: list[PackRange] = []
    for pack_range in sorted([*ranges, new_range]):
        if merged and pack_range.first <= merged[-1].last + 1:
            merged[-1] = PackRange(merged[-1].first, max(merged[-1].last, pack_range.last))
        else:
            merged.append(pack_range)
    return merged


def next_packs(packs: Sequence[PackInfo], gap: PackRange) -> tuple[PackRange, list[int]]:
    """Choose the packs to index next from the newest of a gap; return their range and numbers."""
    events = 0
    chosen: list[int] = []
    for pack in packs:
        if chosen and events + pack.events > EVENTS_TOGETHER:
            break
        events += pack.events
        chosen.append(pack.pack)
    fills_gap = len(chosen) == len(packs) < PACKS_TOGETHER
    return PackRange(gap.first if fills_gap else chosen[-1], gap.last), chosen


def index_slice(
    pack_range: PackRange, packs: Iterable[tuple[int, bytes]], searched_ids: Collection[str] = ()
) -> IndexSlice:
    """Build the index slice of these (number, body) packs."""
    id_by_bits = {_id_bits(edge_id): edge_id for edge_id in searched_ids}
    found_ids: set[str] = set()
    keys: list[tuple[int, list[IndexKey]]] = []
    events = 0
    for number, body in packs:
        pack_keys: list[IndexKey] = []
        for header in decode_headers(body):
            events += 1
            if header.surface != EDGE:
                continue
            day = (decision_time_ms(header.id) or 0) // DAY_MS << _ID_BITS
            for index in range(len(header.answers)):
                bits = int.from_bytes(edge_proposition_digest(header.id, index)[:6]) >> 1
                pack_keys.append(day | bits)
                if bits in id_by_bits:
                    found_ids.add(id_by_bits[bits])
        if pack_keys:
            keys.append((number, sorted(pack_keys)))
    return IndexSlice(pack_range, keys, events, frozenset(found_ids))


def candidate_keys(edge_id: str, oldest_ms: int, newest_ms: int) -> list[IndexKey]:
    """Return this id's possible keys between the oldest and newest stored decision."""
    newest = newest_ms // DAY_MS
    oldest = max(oldest_ms // DAY_MS, newest - _MAX_DAYS)
    bits = _id_bits(edge_id)
    return [day << _ID_BITS | bits for day in range(oldest, newest + 1)]


def first_key_of_day(moment: int) -> IndexKey:
    """Return the lower bound of keys of this day and later ones."""
    return moment // DAY_MS << _ID_BITS


def _id_bits(edge_id: str) -> int:
    digits = edge_id[:8] + edge_id[9:13]  # 48 bits of the digest, without version bits
    return int(digits, 16) >> 1
