"""Secondary index from edge proposition ids to the packs of their decisions.

Clients normally send back a token that names the decision, so ids are not indexed when decisions are made.
For an id without a token the index is built on demand from the stored packs: one key per id, prefixed by
the day of its decision so that a day is stored and deleted together, leads to a pack number, and the pack
is scanned. A key collision costs one extra scan.

The indexed packs are recorded as ranges of pack numbers. The newest unindexed packs are indexed first,
since feedback is mostly about recent decisions.
"""

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from proffer.model.events import EDGE, decision_time_ms, edge_proposition_digest
from proffer.store.common.event_codec import heads

DAY_MS = 86_400_000
PACKS_TOGETHER = 100
"""Maximum packs indexed in one step, and below, maximum decisions of such a step."""
EVENTS_TOGETHER = 1_000
MOST_AT_ONCE = 10_000
"""Maximum decisions scanned for one request; older ones are indexed in the background."""
_BITS = 47
"""Number of bits of an id in a key, below the day number."""
_MOST_DAYS = 1500
"""Maximum number of days an id is looked up under, in case clocks were wrong."""

Key: TypeAlias = int


class Span(NamedTuple):
    """Range of pack numbers, both ends included."""

    first: int
    last: int


class Listed(NamedTuple):
    """A pack to be indexed, and its number of decisions."""

    pack: int
    events: int


@dataclass(frozen=True, slots=True)
class Slice:
    """Index entries of some packs: (pack, sorted keys), and the range of packs they cover.

    `found_ids`: the searched ids among them; `events`: number of decisions scanned.
    """

    span: Span
    keys: Sequence[tuple[int, list[Key]]]
    events: int
    met: frozenset[str] = frozenset()


@dataclass(slots=True)
class Search:
    """Progress of indexing for these missing ids, up to `max_events` decisions (None: all)."""

    wanted: set[str]
    most: int | None = None
    seen: int = 0
    everything: bool = False
    """Whether all packs are indexed now."""

    @property
    def goes_on(self) -> bool:
        if self.everything:
            return False
        return self.most is None or (bool(self.wanted) and self.seen < self.most)

    @property
    def gave_up(self) -> bool:
        """Whether ids are still missing and packs still unindexed."""
        return bool(self.wanted) and not self.everything

    @property
    def rests(self) -> bool:
        """Whether no request waits: then pause after each slice for as long as it took."""
        return self.most is None

    def took(self, one: Slice | None) -> None:
        """Record an indexed slice; None: nothing was left to index."""
        if one is None:
            self.everything = True
        else:
            self.seen += one.events
            self.wanted -= one.met


def spelled(proposition: str) -> str:
    """Return the id in canonical UUID form; empty when it is not a UUID."""
    try:
        return str(uuid.UUID(proposition))
    except ValueError:
        return ""


def is_of_edge(wanted: str) -> bool:
    """Return whether a canonical id can be an edge proposition id (UUID version 5)."""
    return len(wanted) == 36 and wanted[14] == "5"


def alone(propositions: Iterable[str], found: Collection[str]) -> set[str]:
    """Return the edge ids among these that were not found, in canonical form."""
    missing = (spelled(one) for one in propositions if one not in found)
    return {one for one in missing if is_of_edge(one)}


def left_out(spans: Sequence[Span], newest: int) -> Span | None:
    """Return the newest range up to `newest` outside these sorted ranges; None if none."""
    last = newest
    for span in reversed(spans):
        if span.last < last:
            return Span(span.last + 1, last)
        last = min(last, span.first - 1)
    return Span(1, last) if last >= 1 else None


def with_span(spans: Iterable[Span], fresh: Span) -> list[Span]:
    """Return the ranges with one more, sorted, adjacent ones merged."""
    found: list[Span] = []
    for span in sorted([*spans, fresh]):
        if found and span.first <= found[-1].last + 1:
            found[-1] = Span(found[-1].first, max(found[-1].last, span.last))
        else:
            found.append(span)
    return found


def together(listed: Sequence[Listed], gap: Span) -> tuple[Span, list[int]]:
    """Choose the packs to index next from the newest of a gap; return their range and numbers."""
    events = 0
    chosen: list[int] = []
    for one in listed:
        if chosen and events + one.events > EVENTS_TOGETHER:
            break
        events += one.events
        chosen.append(one.pack)
    whole = len(chosen) == len(listed) < PACKS_TOGETHER
    return Span(gap.first if whole else chosen[-1], gap.last), chosen


def taken_apart(
    span: Span, packs: Iterable[tuple[int, bytes]], wanted: Collection[str] = ()
) -> Slice:
    """Build the index slice of these (number, body) packs."""
    asked = {_bits(one): one for one in wanted}
    met: set[str] = set()
    keys: list[tuple[int, list[Key]]] = []
    events = 0
    for number, body in packs:
        found: list[Key] = []
        for head in heads(body):
            events += 1
            if head.surface != EDGE:
                continue
            day = (decision_time_ms(head.id) or 0) // DAY_MS << _BITS
            for index in range(len(head.answers)):
                bits = int.from_bytes(edge_proposition_digest(head.id, index)[:6]) >> 1
                found.append(day | bits)
                if bits in asked:
                    met.add(asked[bits])
        if found:
            keys.append((number, sorted(found)))
    return Slice(span, keys, events, frozenset(met))


def keys_of(edge_id: str, oldest_ms: int, newest_ms: int) -> list[Key]:
    """Return the keys this id may have between the oldest and the newest stored decision."""
    newest = newest_ms // DAY_MS
    oldest = max(oldest_ms // DAY_MS, newest - _MOST_DAYS)
    bits = _bits(edge_id)
    return [day << _BITS | bits for day in range(oldest, newest + 1)]


def before(moment: int) -> Key:
    """Return the lower bound of the keys of this day and of later ones."""
    return moment // DAY_MS << _BITS


def _bits(edge_id: str) -> int:
    digits = edge_id[:8] + edge_id[9:13]  # 48 bits of the digest, without version bits
    return int(digits, 16) >> 1
