"""A pool as it is after few of its offers have changed: what has been made of the others serves on.

The index and the calendar are those of the offers as they were. What they say is carried over to the
positions as they are now, and the offers that have changed are asked one by one.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Self, TypeAlias

from proffer.engine.compiled import BY_RULE, BoundConstraint, PlayableOffer
from proffer.engine.index.audiences import qualifies
from proffer.engine.index.bitset import Bits
from proffer.engine.index.date_windows import NEVER, Calendar
from proffer.engine.index.index import ALONE, PER_OFFER, Index
from proffer.engine.index.pool import Pool, asks_the_same, head_of
from proffer.engine.index.position_map import Moves, moved, position_of
from proffer.pql import Environment

MOST = 8
"""Offers that are asked one by one. Each costs every request a little, so with more the index is made anew."""

Change: TypeAlias = tuple[PlayableOffer | None, PlayableOffer | None]
"""An offer as it was and as it is; None where it was not, or is no more."""
_NOTHING: Change = (None, None)


@dataclass(slots=True)
class Base:
    """The pool that an index was made of, and by id the offers that it has wrong since: as they were, and are.

    None stands for what was not, or is no more.
    """

    pool: Pool
    changed: dict[str, Change] = field(default_factory=dict)

    def change(self, gone: Iterable[PlayableOffer], come: Iterable[PlayableOffer]) -> None:
        """These offers have gone, and then these have come."""
        for one in gone:
            before, _ = self.changed.get(one.offer.id, (one, None))
            self.changed[one.offer.id] = (before, None)
        for one in come:
            before, _ = self.changed.get(one.offer.id, (None, None))
            self.changed[one.offer.id] = (before, one)
        self.changed = {key: one for key, one in self.changed.items() if not _alike(*one)}

    def after(self, fresh: Pool, then: Mapping[str, Change]) -> "Base":
        """The base that a fresh pool is, which was made of the offers as they were when `then` had changed."""
        found = Base(fresh)
        for key in self.changed.keys() | then.keys():
            was, now = then.get(key), self.changed.get(key)
            if was is not now:
                # What is not among the changes is as the old index has it, or alike.
                known = (was or now or _NOTHING)[0]
                change = (known if was is None else was[1], known if now is None else now[1])
                if not _alike(*change):
                    found.changed[key] = change
        return found


def patched(
    pool: Pool, base: Base, gone: Sequence[PlayableOffer], come: Sequence[PlayableOffer]
) -> Generator[None, None, tuple[Pool, Moves] | None]:
    """The pool without some of its offers and with others, and how they have moved, in short steps.

    None where it had better be made anew. `base` is what its index was made of, and follows.
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
    # Every member is named, lest one that is added be taken over as it was.
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
    """The index and the calendar of these offers, which are those of the base but for its changes."""
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
    """An index of offers that have moved since `base` was built; rules of those in `come` are evaluated whole."""

    base: Index
    come: Bits
    moves: Moves

    @classmethod
    def of(cls, base: Index, moves: Moves, offers: Sequence[PlayableOffer]) -> Self:
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
        said = {one.name: getattr(base, one.name) for one in fields(Index)}
        return cls(
            **said
            | {
                "offers": offers,
                "possible": moves.bits(base.possible) | come,
                "asked": moves.bits(base.asked) | asked,
                "rest": tuple(rest),
                "rest_at": moves.listed(base.rest_at, numbers),
                "base": base,
                "come": come,
                "moves": moves,
            }
        )

    def passing(self, environment: Environment) -> Bits:
        return self.moves.bits(self.base.passing(environment)) | self.come


def _holds(constraint: BoundConstraint) -> Callable[[Environment], bool]:
    """What the constraint says, in one piece."""
    if constraint.type not in BY_RULE:
        return lambda environment: qualifies(environment.profile, constraint.declared)
    asked = [rule.compiled for rule in constraint.rules if rule.compiled is not None]
    if len(asked) == 1:
        return lambda environment: asked[0].holds(environment)  # noqa: PLW0108 - it is compiled when first asked
    return lambda environment: all(one.holds(environment) for one in asked)


class _MovedCalendar(Calendar):
    """A calendar whose offers have moved. The windows of those that have come are looked at one by one."""

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
    """Where another priority begins: as before, but for the neighbours of what has moved."""
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
    """Whether an index that knows the one is right about the other."""
    if before is None or now is None:
        return before is now
    return asks_the_same(before, now)
