"""Static checks of offers per placement at publish time: for one offer, and as bitsets of a pool."""

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
"""Offers processed between two yields."""

FormulaOf = Callable[[RankingMethod, dict[str, Fault]], BoundFormula | None]
"""Looks up the formula of an offer or criterion, or None; adds diagnostics to the given dict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Static check of one offer in one placement: candidate or exclusion, reads and diagnostics."""

    playable: PlayableOffer
    candidate: Candidate | None = None
    barred: Barred | None = None
    reads: frozenset[str] = frozenset()
    faults: Mapping[str, Fault] = field(default_factory=dict)


def stand(playable: PlayableOffer, placement: Placement) -> Standing:
    """Check an offer in a placement independently of any request; its formula is not checked."""
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
    """Cache of the checks of one placement, by offer id."""

    def __init__(self) -> None:
        self._known: dict[str, Standing] = {}
        self._reads: dict[frozenset[str], frozenset[str]] = {}

    def of(self, playable: PlayableOffer, placement: Placement) -> Standing:
        known = self._known.get(playable.offer.id)
        if known is None or known.playable is not playable:
            known = stand(playable, placement)
            # Many offers read the same paths; share one set.
            known = replace(known, reads=self._reads.setdefault(known.reads, known.reads))
            self._known[playable.offer.id] = known
        return known

    def forget(self, offer: str) -> None:
        self._known.pop(offer, None)


@dataclass(slots=True, kw_only=True, eq=False)
class Cast:
    """Static checks of a pool's offers in one placement, by position.

    `own_formula_bits`: candidates with a formula of their own. `diagnostic_bits`: offers with
    diagnostics other than those of their formulas, which are in `formula_diagnostics` by offer id.
    `exclusions`: the offers that are no candidates, by id. `read_counts`: set of field paths → number
    of candidates that read exactly that set.
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
        """Return the diagnostics of candidates, optionally including their own formulas'."""
        found: dict[str, Fault] = {}
        for position in self.pool.positions(among & self.faulty):
            found.update(self.standings[position].faults)
        for playable, faults in self.formula_faults.values() if own_formulas else ():
            if among >> position_of(self.pool.offers, playable.place) & 1:
                found.update(faults)
        return found

    def reads(self, among: Bits) -> Generator[None, None, frozenset[str]]:
        """Return the field paths that these candidates read."""
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
        """Return (offer id, limit) of these candidates, sorted by offer id.

        Decisions with the same candidates share one tuple.
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
    """Builder of PlacementCandidates."""

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
        """Return the bitsets: candidates, those with own formulas, offers with diagnostics."""
        able = bits_of(self._able)
        yield
        by_formula = bits_of(self._by_formula)
        yield
        return able, by_formula, bits_of(self._faulty)


def _reads(standing: Standing, candidate: Candidate | None) -> tuple[frozenset[str], ...]:
    """Return the path sets read by a candidate and by its formula; empty for None."""
    if candidate is None:
        return ()
    if candidate.formula is None:
        return (standing.reads,)
    return standing.reads, reads_of_formula(candidate.formula)


def cast_of(
    pool: Pool, placement: Placement, stands: Stands, formula_of: FormulaOf
) -> Generator[None, None, Cast]:
    """Check all offers of a pool in a placement, in short steps."""
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
    """Update the candidates of a pool after position changes, in short steps."""
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
    """Return the entries without the removed ids, plus the added; the same object if unchanged."""
    if not come and left.isdisjoint(known):
        return known
    return {key: one for key, one in known.items() if key not in left} | dict(come)
