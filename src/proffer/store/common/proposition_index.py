"""How the proposition ids of the edge lead to the decisions that they are of.

Clients send back a token with such an id, which names the decision, so nothing is kept of ids when
decisions are made. For an id that comes alone there is an index, made from the packs on record as it is asked
for: a key for each id, under the day of its decision, so that those of a day lie and go together, leading to
the number of a pack, and the pack is looked through. Ids that share a key by chance cost a look and nothing more.

Which packs are in the index is said by spans of their numbers. The newest of what is left out is taken in
first: feedback is mostly about what was decided just now.
"""

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from proffer.model.events import EDGE, edge_digest, moment_ms
from proffer.store.common.event_codec import heads

DAY_MS = 86_400_000
PACKS_TOGETHER = 100
"""So many packs are taken into the index at once, or fewer that hold so many decisions:"""
EVENTS_TOGETHER = 1_000
MOST_AT_ONCE = 10_000
"""So many decisions are looked through for one request. What is older is in the index a little later."""
_BITS = 47
"""So many bits of an id stand under the number of its day."""
_MOST_DAYS = 1500
"""An id is looked for under so many days, the newest first, whatever clocks did to what is on record."""

Key: TypeAlias = int


class Span(NamedTuple):
    """Packs by number, both ends with them."""

    first: int
    last: int


class Listed(NamedTuple):
    """A pack that is to be taken in, and how many decisions it holds."""

    pack: int
    events: int


@dataclass(frozen=True, slots=True)
class Slice:
    """Some packs taken apart for the index: the keys of each, in order, and the span that they fill.

    `met` are those of the ids asked for that are among them; `events` is how many decisions there were.
    """

    span: Span
    keys: Sequence[tuple[int, list[Key]]]
    events: int
    met: frozenset[str] = frozenset()


@dataclass(slots=True)
class Search:
    """A look through what is not in the index yet: for these ids, until it has seen so many decisions."""

    wanted: set[str]
    most: int | None = None
    seen: int = 0
    everything: bool = False
    """Whether the index has all packs now."""

    @property
    def goes_on(self) -> bool:
        if self.everything:
            return False
        return self.most is None or (bool(self.wanted) and self.seen < self.most)

    @property
    def gave_up(self) -> bool:
        """Whether there is more to look through for ids that were not found."""
        return bool(self.wanted) and not self.everything

    @property
    def rests(self) -> bool:
        """Whether it rests after each slice for as long as that took: nobody waits for it."""
        return self.most is None

    def took(self, one: Slice | None) -> None:
        """This is in the index now; None where nothing was left."""
        if one is None:
            self.everything = True
        else:
            self.seen += one.events
            self.wanted -= one.met


def spelled(proposition: str) -> str:
    """The id as ours are spelled; empty where it is no UUID."""
    try:
        return str(uuid.UUID(proposition))
    except ValueError:
        return ""


def is_of_edge(wanted: str) -> bool:
    """Whether this id, spelled as ours are, may be one of the edge's."""
    return len(wanted) == 36 and wanted[14] == "5"


def alone(propositions: Iterable[str], found: Collection[str]) -> set[str]:
    """Of these ids those of the edge that were not found, spelled as ours are."""
    missing = (spelled(one) for one in propositions if one not in found)
    return {one for one in missing if is_of_edge(one)}


def left_out(spans: Sequence[Span], newest: int) -> Span | None:
    """The newest packs up to this one that are in none of the spans, which are in order; None for none."""
    last = newest
    for span in reversed(spans):
        if span.last < last:
            return Span(span.last + 1, last)
        last = min(last, span.first - 1)
    return Span(1, last) if last >= 1 else None


def with_span(spans: Iterable[Span], fresh: Span) -> list[Span]:
    """The spans with one more, in order; those that touch are one."""
    found: list[Span] = []
    for span in sorted([*spans, fresh]):
        if found and span.first <= found[-1].last + 1:
            found[-1] = Span(found[-1].first, max(found[-1].last, span.last))
        else:
            found.append(span)
    return found


def together(listed: Sequence[Listed], gap: Span) -> tuple[Span, list[int]]:
    """How many of these, the newest packs of the gap, are taken in at once, and what they fill of the gap."""
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
    """These packs, each with its number, for the index."""
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
            day = (moment_ms(head.id) or 0) // DAY_MS << _BITS
            for index in range(len(head.answers)):
                bits = int.from_bytes(edge_digest(head.id, index)[:6]) >> 1
                found.append(day | bits)
                if bits in asked:
                    met.add(asked[bits])
        if found:
            keys.append((number, sorted(found)))
    return Slice(span, keys, events, frozenset(met))


def keys_of(edge_id: str, oldest_ms: int, newest_ms: int) -> list[Key]:
    """Where this id may stand, given the moments of the oldest and the newest decision on record."""
    newest = newest_ms // DAY_MS
    oldest = max(oldest_ms // DAY_MS, newest - _MOST_DAYS)
    bits = _bits(edge_id)
    return [day << _BITS | bits for day in range(oldest, newest + 1)]


def before(moment: int) -> Key:
    """No key of the day of this moment, or of a later one, is below this."""
    return moment // DAY_MS << _BITS


def _bits(edge_id: str) -> int:
    digits = edge_id[:8] + edge_id[9:13]  # 48 bits of the digest, all of them chance
    return int(digits, 16) >> 1
