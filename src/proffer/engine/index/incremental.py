"""Incremental update of a pool after few changes (an LSM-style delta).

The old index and calendar stay in use: their results are remapped to the new positions, and changed
offers are evaluated one by one.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from proffer.engine.compiled import BY_RULE, BoundConstraint, PlayableOffer
from proffer.engine.index.audiences import qualifies
from proffer.engine.index.bitset import Bits
from proffer.engine.index.date_windows import NEVER, Calendar
from proffer.engine.index.index import ALONE, PER_OFFER, Index
from proffer.engine.index.pool import Pool, asks_the_same, head_of
from proffer.engine.index.position_map import Moves, moved, position_of
from proffer.pql import Environment

MOST = 8
"""Maximum number of changed offers; beyond it the index is rebuilt, as each slows every request."""

Change: TypeAlias = tuple[PlayableOffer | None, PlayableOffer | None]
"""(indexed version, current version) of an offer; None where it does not exist."""
_NOTHING: Change = (None, None)


@dataclass(slots=True)
class Base:
    """The pool an index was built from, plus the offers changed since: id → (old, new)."""

    pool: Pool
    changed: dict[str, Change] = field(default_factory=dict)

    def change(self, gone: Iterable[PlayableOffer], come: Iterable[PlayableOffer]) -> None:
        """Record removed offers, then added ones."""
        for one in gone:
            before, _ = self.changed.get(one.offer.id, (one, None))
            self.changed[one.offer.id] = (before, None)
        for one in come:
            before, _ = self.changed.get(one.offer.id, (None, None))
            self.changed[one.offer.id] = (before, one)
        changed = self.changed.items()
        self.changed = {key: change for key, change in changed if not _alike(*change)}

    def after(self, fresh: Pool, then: Mapping[str, Change]) -> "Base":
        """Return the delta to a new pool built at `old_changes`."""
        found = Base(fresh)
        for key in self.changed.keys() | then.keys():
            was, now = then.get(key), self.changed.get(key)
            if was is not now:
                # An offer without a change is equivalent to its indexed version.
                known = (was or now or _NOTHING)[0]
                change = (known if was is None else was[1], known if now is None else now[1])
                if not _alike(*change):
                    found.changed[key] = change
        return found


def patched(
    pool: Pool, base: Base, gone: Sequence[PlayableOffer], come: Sequence[PlayableOffer]
) -> Generator[None, None, tuple[Pool, Moves] | None]:
    """Return the updated pool and its position changes, in short steps.

    None if the pool should be rebuilt. `index_delta` is updated.
    """
    base.change(gone, come)
    if len(base.changed) > MOST:
        return None
    offers, moves = moved(pool.offers, gone, come)
    yield
    index, calendar = carried_over(base, offers)
    yield
    capped = moves.bits(pool.capped)
    for position in moves.come:
        if offers[position].offer.caps:
            capped |= 1 << position
    levels, draws, priorities, bulk = pool.levels, pool.draws, pool.priorities, pool.bulk
    if not (moves.in_place and all(map(_of_one_lot, gone, come))):
        levels = _levels(pool.levels, moves, offers)
        drawn = [offers[position].draw for position in moves.come]
        draws = tuple(moves.listed(pool.draws, drawn))
        priorities = tuple(
            moves.listed(pool.priorities, [offers[at].offer.priority for at in moves.come])
        )
        yield
        bulk = None if bulk is None else bulk.moved(moves, drawn, levels)
    # Construct it instead of calling replace(), so that a new field cannot be forgotten.
    after = Pool(
        offers=offers,
        index=index,
        calendar=calendar,
        levels=levels,
        head=head_of(levels, len(offers)),
        draws=draws,
        priorities=priorities,
        capped=capped,
        bulk=bulk,
        few=pool.few,
    )
    if not base.changed:
        base.pool = after
    return after, moves


def carried_over(base: Base, offers: Sequence[PlayableOffer]) -> tuple[Index, Calendar]:
    """Return the base's index and calendar as seen through its changes."""
    before, known = base.pool.index, base.pool.calendar
    changes = base.changed.values()
    if not changes:
        return replace(before, offers=offers), known
    gone = sorted(position_of(base.pool.offers, one.place) for one, _ in changes if one is not None)
    come = sorted(position_of(offers, one.place) for _, one in changes if one is not None)
    moves = Moves(tuple(gone), tuple(come))
    return _MovedIndex.of(before, moves, offers), _MovedCalendar(known, moves, offers)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _MovedIndex(Index):
    """Overlay over `base` with remapped positions; offers in `added` are evaluated whole."""

    base: Index
    come: Bits
    moves: Moves

    @staticmethod
    def of(base: Index, moves: Moves, offers: Sequence[PlayableOffer]) -> "_MovedIndex":
        come, asked = 0, 0
        rest = list(base.rest)
        numbers = []
        for position in moves.come:
            constraint = offers[position].constraint
            numbers.append(len(rest))
            if constraint is None:
                come |= 1 << position
            elif constraint.type not in BY_RULE or constraint.apart is not None:
                come |= 1 << position
                asked |= 1 << position
                rest.append((_holds(constraint), PER_OFFER if constraint.per_offer else ALONE))
        return _MovedIndex(
            offers=offers,
            possible=moves.bits(base.possible) | come,
            audiences=base.audiences,
            lets_pass=base.lets_pass,
            asked=moves.bits(base.asked) | asked,
            rest=tuple(rest),
            rest_at=moves.listed(base.rest_at, numbers),
            base=base,
            come=come,
            moves=moves,
        )

    def passing(self, environment: Environment) -> Bits:
        return self.moves.bits(self.base.passing(environment)) | self.come


def _holds(constraint: BoundConstraint) -> Callable[[Environment], bool]:
    """Return the constraint as one function."""
    if constraint.type not in BY_RULE:
        return lambda environment: qualifies(environment.profile, constraint.declared)
    asked = [rule.compiled for rule in constraint.rules if rule.compiled is not None]
    if len(asked) == 1:
        return lambda environment: asked[0].holds(environment)  # noqa: PLW0108 - loaded on first use
    return lambda environment: all(one.holds(environment) for one in asked)


class _MovedCalendar(Calendar):
    """Overlay over a calendar with remapped positions; windows of inserted offers are checked each."""

    __slots__ = ("_base", "_moves", "_windows")

    def __init__(self, base: Calendar, moves: Moves, offers: Sequence[PlayableOffer]) -> None:
        self._base, self._moves = base, moves
        self._windows = [(position, offers[position].offer.window) for position in moves.come]
        self._since, self._until, self._within = NEVER, NEVER, 0

    def at(self, moment_us: int) -> Bits:
        if self._since <= moment_us < self._until:
            return self._within
        within = self._moves.bits(self._base.at(moment_us))
        since, until = self._base.span
        for position, window in self._windows:
            if moment_us in window:
                within |= 1 << position
            for start, edge in ((window.start_us, 0), (window.end_us, 1)):
                if start is not None and start + edge <= moment_us:
                    since = max(since, start + edge)
                elif start is not None:
                    until = min(until, start + edge)
        self._since, self._until, self._within = since, until, within
        return within


def _levels(
    before: Sequence[int], moves: Moves, offers: Sequence[PlayableOffer]
) -> tuple[int, ...]:
    """Return the positions of priority changes; only neighbours of changes are recomputed."""
    gone = set(moves.gone)
    found = {moves.place(position) for position in before if position not in gone}
    touched = {*moves.come, *(moves.place(position) for position in moves.gone)}
    for at in {*touched, *(one + 1 for one in touched), *(one - 1 for one in touched)}:
        if 0 < at < len(offers) and offers[at].place[0] != offers[at - 1].place[0]:
            found.add(at)
        else:
            found.discard(at)
    return tuple(sorted(found))


def _of_one_lot(one: PlayableOffer, other: PlayableOffer) -> bool:
    return one.place == other.place and one.draw == other.draw


def _alike(before: PlayableOffer | None, now: PlayableOffer | None) -> bool:
    """Return whether index entries of `before` are still valid for `now`."""
    if before is None or now is None:
        return before is now
    return asks_the_same(before, now)
