"""How offers stand in a placement, whoever asks: one by one, and all of a pool together."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TypeVar

from proffer.engine.compile.diagnostics import report_constraint, report_content
from proffer.engine.compile.reads import reads_of_candidate, reads_of_formula
from proffer.engine.compiled import BoundFormula, Candidate, PlayableOffer
from proffer.engine.content import prepared
from proffer.engine.index.bitset import Bits, bits_of
from proffer.engine.index.pool import Pool
from proffer.engine.index.position_map import Moves, position_of
from proffer.engine.snapshot import Barred, Fault, Stand
from proffer.model.capping import CapLimit
from proffer.model.lifecycle import OfferStatus
from proffer.model.placement import Placement
from proffer.model.ranking import RankingMethod, RankingType
from proffer.model.trace import Stage

T = TypeVar("T")

_STEP = 256
"""Offers that are looked at before others get a turn."""

FormulaOf = Callable[[RankingMethod, dict[str, Fault]], BoundFormula | None]
"""The formula that an offer or a criterion ranks by, if there is one; what is wrong with it goes to the faults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one offer stands in one placement: a candidate, or barred; what it reads, and what is wrong with it."""

    playable: PlayableOffer
    candidate: Candidate | None = None
    barred: Barred | None = None
    reads: frozenset[str] = frozenset()
    faults: Mapping[str, Fault] = field(default_factory=dict)


def stand(playable: PlayableOffer, placement: Placement) -> Standing:
    """What can be said of an offer in a placement ahead of any request. Its formula, if any, is not part of it."""
    offer = playable.offer
    representation = offer.representations.get(placement.id)
    if offer.status is not OfferStatus.APPROVED:
        reason = f"the offer is {offer.status}, not approved"
        return Standing(playable=playable, barred=Barred(offer, Stage.STATUS, reason))
    if representation is None:
        reason = f"no representation for placement `{placement.name}`"
        return Standing(playable=playable, barred=Barred(offer, Stage.PLACEMENT, reason))
    faults: dict[str, Fault] = {}
    report_constraint(playable.constraint, faults)
    fitting = tuple(prepared(c) for c in representation.components if placement.takes(c.type))
    report_content(offer, fitting, faults)
    candidate = Candidate(playable, fitting)
    return Standing(
        playable=playable, candidate=candidate, reads=reads_of_candidate(candidate), faults=faults
    )


class Stands:
    """How every offer that was asked about stands in one placement. Forgets those that have changed."""

    def __init__(self) -> None:
        self._known: dict[str, Standing] = {}
        self._reads: dict[frozenset[str], frozenset[str]] = {}

    def of(self, playable: PlayableOffer, placement: Placement) -> Standing:
        known = self._known.get(playable.offer.id)
        if known is None or known.playable is not playable:
            known = stand(playable, placement)
            # Many offers read the same: one set for all of them.
            known = replace(known, reads=self._reads.setdefault(known.reads, known.reads))
            self._known[playable.offer.id] = known
        return known

    def forget(self, offer: str) -> None:
        self._known.pop(offer, None)


@dataclass(slots=True, kw_only=True, eq=False)
class Cast:
    """How the offers of a pool stand in one placement, by position.

    `able`: the candidates. `by_formula`: those with a formula of their own. `faulty`: those with something
    wrong, their formulas aside. `barred` are the others by id, and `formula_faults`, by id, candidates with
    what is wrong with their formulas. `reading` counts by what they read those of the candidates that
    read it.
    """

    pool: Pool
    standings: list[Standing]
    stand: Stand
    able: Bits
    by_formula: Bits
    faulty: Bits
    formula_faults: Mapping[str, tuple[PlayableOffer, Mapping[str, Fault]]]
    barred: Mapping[str, Barred]
    reading: Counter[frozenset[str]]
    known_reads: dict[Bits, frozenset[str]] = field(default_factory=dict)
    known_caps: dict[Bits, tuple[tuple[str, CapLimit], ...]] = field(default_factory=dict)

    def faults_of(self, among: Bits, *, own_formulas: bool) -> dict[str, Fault]:
        """What is wrong with these candidates, and, if asked, with their own formulas."""
        found: dict[str, Fault] = {}
        for position in self.pool.positions(among & self.faulty):
            found.update(self.standings[position].faults)
        for playable, faults in self.formula_faults.values() if own_formulas else ():
            if among >> position_of(self.pool.offers, playable.place) & 1:
                found.update(faults)
        return found

    def reads(self, among: Bits) -> Generator[None, None, frozenset[str]]:
        """What these candidates read."""
        known = self.known_reads.get(among)
        if known is None:
            alike: Iterable[frozenset[str]] = self.reading
            if among != self.able:
                found: set[frozenset[str]] = set()
                for number, position in enumerate(self.pool.positions(among)):
                    found.update(_reads(self.standings[position], self.stand[position]))
                    if number % _STEP == 0:
                        yield
                alike = found
            known = self.known_reads[among] = frozenset().union(*alike)
        return known

    def caps(self, among: Bits) -> Generator[None, None, tuple[tuple[str, CapLimit], ...]]:
        """The limits of these candidates, each with the id of its offer: by offer, and then in its order.

        All decisions over the same candidates have one list of them.
        """
        capped = among & self.pool.capped
        known = self.known_caps.get(capped)
        if known is None:
            offers = [self.pool.offers[at].offer for at in self.pool.positions(capped)]
            yield
            offers.sort(key=attrgetter("id"))
            yield
            known = tuple([(offer.id, limit) for offer in offers for limit in offer.caps])
            self.known_caps[capped] = known
            yield
        return known


class _Seats:
    """Offers as they take their seats in a placement: what a cast is made of."""

    def __init__(self, placement: Placement, stands: Stands, formula_of: FormulaOf) -> None:
        self._placement = placement
        self._stands = stands
        self._formula_of = formula_of
        self._able: list[int] = []
        self._by_formula: list[int] = []
        self._faulty: list[int] = []
        self.standings: list[Standing] = []
        self.stand: list[Candidate | None] = []
        self.formula_faults: dict[str, tuple[PlayableOffer, Mapping[str, Fault]]] = {}
        self.barred: dict[str, Barred] = {}
        self.reading: Counter[frozenset[str]] = Counter()

    def take(self, position: int, playable: PlayableOffer) -> None:
        standing = self._stands.of(playable, self._placement)
        candidate = standing.candidate
        if standing.barred is not None:
            self.barred[playable.offer.id] = standing.barred
        if standing.faults:
            self._faulty.append(position)
        if candidate is not None:
            self._able.append(position)
            if playable.offer.ranking.type is not RankingType.PRIORITY:
                candidate = self._by_its_own(position, candidate)
            self.reading.update(_reads(standing, candidate))
        self.standings.append(standing)
        self.stand.append(candidate)

    def _by_its_own(self, position: int, candidate: Candidate) -> Candidate:
        playable = candidate.playable
        wrong: dict[str, Fault] = {}
        formula = self._formula_of(playable.offer.ranking, wrong)
        if wrong:
            self.formula_faults[playable.offer.id] = (playable, wrong)
        if formula is None:
            return candidate
        self._by_formula.append(position)
        return Candidate(playable, candidate.components, formula)

    def sets(self) -> Generator[None, None, tuple[Bits, Bits, Bits]]:
        """Those who are able, by formula, and faulty."""
        able = bits_of(self._able)
        yield
        by_formula = bits_of(self._by_formula)
        yield
        return able, by_formula, bits_of(self._faulty)


def _reads(standing: Standing, candidate: Candidate | None) -> tuple[frozenset[str], ...]:
    """What a candidate reads, and what its formula reads; nothing for an offer that is none."""
    if candidate is None:
        return ()
    if candidate.formula is None:
        return (standing.reads,)
    return standing.reads, reads_of_formula(candidate.formula)


def cast_of(
    pool: Pool, placement: Placement, stands: Stands, formula_of: FormulaOf
) -> Generator[None, None, Cast]:
    """The cast of a pool in a placement, made in short steps."""
    seats = _Seats(placement, stands, formula_of)
    for position, playable in enumerate(pool.offers):
        seats.take(position, playable)
        if position % _STEP == 0:
            yield
    able, by_formula, faulty = yield from seats.sets()
    return Cast(
        pool=pool,
        standings=seats.standings,
        stand=tuple(seats.stand),
        able=able,
        by_formula=by_formula,
        faulty=faulty,
        formula_faults=seats.formula_faults,
        barred=seats.barred,
        reading=seats.reading,
    )


def cast_after(
    before: Cast,
    pool: Pool,
    moves: Moves,
    placement: Placement,
    stands: Stands,
    formula_of: FormulaOf,
) -> Generator[None, None, Cast]:
    """The cast of a pool after these moves, made in short steps from that of the pool before them."""
    seats = _Seats(placement, stands, formula_of)
    for position in moves.come:
        seats.take(position, pool.offers[position])
    able, by_formula, faulty = yield from seats.sets()
    reading = before.reading + seats.reading
    for position in moves.gone:
        reading.subtract(_reads(before.standings[position], before.stand[position]))
    left = {before.standings[position].playable.offer.id for position in moves.gone}
    yield
    standings = moves.listed(before.standings, seats.standings)
    yield
    cast = Cast(
        pool=pool,
        standings=standings,
        stand=tuple(moves.listed(before.stand, seats.stand)),
        able=moves.bits(before.able) | able,
        by_formula=moves.bits(before.by_formula) | by_formula,
        faulty=moves.bits(before.faulty) | faulty,
        formula_faults=_changed(before.formula_faults, left, seats.formula_faults),
        barred=_changed(before.barred, left, seats.barred),
        reading=+reading,
    )
    yield
    if moves.in_place:
        positions = moves.come
        if all(_reads_alike(before, cast, position) for position in positions):
            cast.known_reads = before.known_reads
        capped_alike = all(_capped_alike(before, cast, position) for position in positions)
        if capped_alike and cast.able == before.able:
            cast.known_caps = before.known_caps
    return cast


def _reads_alike(before: Cast, after: Cast, position: int) -> bool:
    return _reads(before.standings[position], before.stand[position]) == _reads(
        after.standings[position], after.stand[position]
    )


def _capped_alike(before: Cast, after: Cast, position: int) -> bool:
    one, other = before.pool.offers[position].offer, after.pool.offers[position].offer
    return one.id == other.id and one.caps == other.caps


def _changed(known: Mapping[str, T], left: set[str], come: Mapping[str, T]) -> Mapping[str, T]:
    """What is known of all others, with what is said of those that have come; itself where that is nothing."""
    if not come and left.isdisjoint(known):
        return known
    return {key: one for key, one in known.items() if key not in left} | dict(come)
