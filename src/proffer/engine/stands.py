"""How offers stand in a placement, whoever asks: one by one, and all of a pool together."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

from proffer.engine.bound import BoundFormula, Candidate, PlayableOffer
from proffer.engine.content import prepared
from proffer.engine.faults import report_constraint, report_content
from proffer.engine.index.bits import Bits, bits_of
from proffer.engine.index.pool import Pool
from proffer.engine.needs import Needs, needs_of
from proffer.engine.snapshot import Barred, Fault, Stand
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
    """How one offer stands in one placement: a candidate, or barred; and what is wrong with it."""

    playable: PlayableOffer
    candidate: Candidate | None = None
    barred: tuple[Barred, ...] = ()
    faults: Mapping[str, Fault] = field(default_factory=dict)


def stand(playable: PlayableOffer, placement: Placement) -> Standing:
    """What can be said of an offer in a placement ahead of any request. Its formula, if any, is not part of it."""
    offer = playable.offer
    representation = offer.representations.get(placement.id)
    if offer.status is not OfferStatus.APPROVED:
        reason = f"the offer is {offer.status}, not approved"
        return Standing(playable=playable, barred=(Barred(offer, Stage.STATUS, reason),))
    if representation is None:
        reason = f"no representation for placement `{placement.name}`"
        return Standing(playable=playable, barred=(Barred(offer, Stage.PLACEMENT, reason),))
    faults: dict[str, Fault] = {}
    report_constraint(playable.constraint, faults)
    fitting = tuple(prepared(c) for c in representation.components if placement.takes(c.type))
    report_content(offer, fitting, faults)
    return Standing(playable=playable, candidate=Candidate(playable, fitting), faults=faults)


class Stands:
    """How every offer that was asked about stands in one placement. Forgets those that have changed."""

    def __init__(self) -> None:
        self._known: dict[str, Standing] = {}

    def of(self, playable: PlayableOffer, placement: Placement) -> Standing:
        known = self._known.get(playable.offer.id)
        if known is None or known.playable is not playable:
            known = self._known[playable.offer.id] = stand(playable, placement)
        return known

    def forget(self, offer: str) -> None:
        self._known.pop(offer, None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cast:
    """How the offers of a pool stand in one placement, by position.

    `able`: the candidates. `by_formula`: those with a formula of their own. `faults` are what is wrong
    with a candidate, by position, `formula_faults` what is wrong with its formula.
    """

    pool: Pool
    stand: Stand
    able: Bits
    by_formula: Bits
    faults: tuple[tuple[int, Mapping[str, Fault]], ...]
    formula_faults: tuple[tuple[int, Mapping[str, Fault]], ...]
    known_needs: dict[Bits, Needs] = field(default_factory=dict)

    def faults_of(self, among: Bits, *, own_formulas: bool) -> dict[str, Fault]:
        """What is wrong with these candidates, and, if asked, with their own formulas."""
        found: dict[str, Fault] = {}
        for known in (self.faults, self.formula_faults if own_formulas else ()):
            for position, faults in known:
                if among >> position & 1:
                    found.update(faults)
        return found

    def needs(self, among: Bits) -> Needs:
        """What has to be known to decide on these candidates."""
        known = self.known_needs.get(among)
        if known is None:
            candidates = (self.stand[position] for position in self.pool.positions(among))
            known = needs_of(one for one in candidates if one is not None)
            self.known_needs[among] = known
        return known


def cast_of(
    pool: Pool, placement: Placement, stands: Stands, formula_of: FormulaOf
) -> Generator[None, None, Cast]:
    """The cast of a pool in a placement, made in short steps."""
    candidates: list[Candidate | None] = []
    by_formula: list[int] = []
    faults: list[tuple[int, Mapping[str, Fault]]] = []
    formula_faults: list[tuple[int, Mapping[str, Fault]]] = []
    for position, playable in enumerate(pool.offers):
        standing = stands.of(playable, placement)
        candidate = standing.candidate
        if candidate is not None:
            if standing.faults:
                faults.append((position, standing.faults))
            if playable.offer.ranking.type is not RankingType.PRIORITY:
                wrong: dict[str, Fault] = {}
                formula = formula_of(playable.offer.ranking, wrong)
                if wrong:
                    formula_faults.append((position, wrong))
                if formula is not None:
                    candidate = Candidate(playable, candidate.components, formula)
                    by_formula.append(position)
        candidates.append(candidate)
        if position % _STEP == 0:
            yield
    return Cast(
        pool=pool,
        stand=tuple(candidates),
        able=bits_of(at for at, one in enumerate(candidates) if one is not None),
        by_formula=bits_of(by_formula),
        faults=tuple(faults),
        formula_faults=tuple(formula_faults),
    )
