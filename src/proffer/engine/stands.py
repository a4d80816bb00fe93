"""How offers stand in a placement, whoever asks: one by one, and all of a pool together."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from proffer.engine.bound import BoundFormula, Candidate, PlayableOffer
from proffer.engine.content import prepared
from proffer.engine.faults import report_constraint, report_content
from proffer.engine.index.bits import Bits, bits_of
from proffer.engine.index.pool import Pool
from proffer.engine.needs import reads_of_candidate, reads_of_formula
from proffer.engine.snapshot import Barred, Fault, Stand
from proffer.model.capping import CapLimit
from proffer.model.lifecycle import OfferStatus
from proffer.model.placement import Placement
from proffer.model.ranking import RankingMethod, RankingType
from proffer.model.trace import Stage

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cast:
    """How the offers of a pool stand in one placement, by position.

    `able`: the candidates. `by_formula`: those with a formula of their own. `barred`: the others.
    `faulty`: those with something wrong, their formulas aside.
    `formula_faults`: what is wrong with the formula of a candidate, by position.
    """

    pool: Pool
    standings: Sequence[Standing]
    stand: Stand
    able: Bits
    by_formula: Bits
    faulty: Bits
    formula_faults: Mapping[int, Mapping[str, Fault]]
    barred: Sequence[tuple[int, Barred]]
    known_reads: dict[Bits, frozenset[str]] = field(default_factory=dict)
    known_caps: dict[Bits, tuple[tuple[str, CapLimit], ...]] = field(default_factory=dict)

    def faults_of(self, among: Bits, *, own_formulas: bool) -> dict[str, Fault]:
        """What is wrong with these candidates, and, if asked, with their own formulas."""
        found: dict[str, Fault] = {}
        for position in self.pool.positions(among & self.faulty):
            found.update(self.standings[position].faults)
        for position, faults in self.formula_faults.items() if own_formulas else ():
            if among >> position & 1:
                found.update(faults)
        return found

    def reads(self, among: Bits) -> frozenset[str]:
        """What these candidates read."""
        known = self.known_reads.get(among)
        if known is None:
            positions = self.pool.positions(among)
            alike = {self.standings[position].reads for position in positions}
            for position in self.pool.positions(among & self.by_formula):
                candidate = self.stand[position]
                if candidate is not None and candidate.formula is not None:
                    alike.add(reads_of_formula(candidate.formula))
            known = self.known_reads[among] = frozenset().union(*alike)
        return known

    def caps(self, among: Bits) -> tuple[tuple[str, CapLimit], ...]:
        """The limits of these candidates, each with the id of its offer: by offer, and then in its order.

        All decisions over the same candidates have one list of them.
        """
        capped = among & self.pool.capped
        known = self.known_caps.get(capped)
        if known is None:
            offers = [self.pool.offers[at].offer for at in self.pool.positions(capped)]
            offers.sort(key=lambda one: one.id)
            known = tuple([(offer.id, limit) for offer in offers for limit in offer.caps])
            self.known_caps[capped] = known
        return known


def cast_of(
    pool: Pool, placement: Placement, stands: Stands, formula_of: FormulaOf
) -> Generator[None, None, Cast]:
    """The cast of a pool in a placement, made in short steps."""
    standings: list[Standing] = []
    barred: list[tuple[int, Barred]] = []
    faulty: list[int] = []
    for start in range(0, len(pool.offers), _STEP):
        some = [stands.of(one, placement) for one in pool.offers[start : start + _STEP]]
        barred += [(at, one.barred) for at, one in enumerate(some, start) if one.barred is not None]
        faulty += [at for at, one in enumerate(some, start) if one.faults]
        standings += some
        yield
    candidates = [standing.candidate for standing in standings]
    formula_faults: dict[int, Mapping[str, Fault]] = {}
    by_formula: list[int] = []
    for position, candidate in enumerate(candidates):
        if candidate is None or candidate.playable.offer.ranking.type is RankingType.PRIORITY:
            continue
        wrong: dict[str, Fault] = {}
        formula = formula_of(candidate.playable.offer.ranking, wrong)
        if wrong:
            formula_faults[position] = wrong
        if formula is not None:
            by_formula.append(position)
            candidates[position] = Candidate(candidate.playable, candidate.components, formula)
    yield
    everyone = (1 << len(candidates)) - 1
    unable = bits_of(at for at, _ in barred)
    return Cast(
        pool=pool,
        standings=standings,
        stand=tuple(candidates),
        able=everyone & ~unable,
        by_formula=bits_of(by_formula),
        faulty=bits_of(faulty),
        formula_faults=formula_faults,
        barred=barred,
    )
