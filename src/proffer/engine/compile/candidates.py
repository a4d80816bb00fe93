"""Static checks of offers per placement at publish time: for one offer, and as bitsets of a pool."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TypeVar

from proffer.engine.compile.diagnostics import report_constraint, report_content
from proffer.engine.compile.reads import reads_of_candidate, reads_of_formula
from proffer.engine.compiled import BoundFormula, BoundOffer, Candidate
from proffer.engine.content import compile_component
from proffer.engine.index.bitset import Bits, bits_of
from proffer.engine.index.pool import Pool
from proffer.engine.index.position_map import PositionChanges, position_of
from proffer.engine.snapshot import CandidatesByPosition, Exclusion, SnapshotDiagnostic
from proffer.model.capping import OfferLimits
from proffer.model.lifecycle import OfferStatus
from proffer.model.placement import Placement
from proffer.model.ranking import RankingMethod, RankingType
from proffer.model.trace import Stage

T = TypeVar("T")

_STEP = 256
"""Offers processed between two yields."""

FormulaOf = Callable[[RankingMethod, dict[str, SnapshotDiagnostic]], BoundFormula | None]
"""Looks up the formula of an offer or criterion, or None; adds diagnostics to the given dict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateCheck:
    """Static check of one offer in one placement: candidate or exclusion, reads and diagnostics."""

    bound_offer: BoundOffer
    candidate: Candidate | None = None
    exclusion: Exclusion | None = None
    reads: frozenset[str] = frozenset()
    diagnostics: Mapping[str, SnapshotDiagnostic] = field(default_factory=dict)


def check_candidate(bound_offer: BoundOffer, placement: Placement) -> CandidateCheck:
    """Check an offer in a placement independently of any request; its formula is not checked."""
    offer = bound_offer.offer
    representation = offer.representations.get(placement.id)
    if offer.status is not OfferStatus.APPROVED:
        reason = f"the offer is {offer.status}, not approved"
        return CandidateCheck(bound_offer=bound_offer, exclusion=Exclusion(offer, Stage.STATUS, reason))
    if representation is None:
        reason = f"no representation for placement `{placement.name}`"
        return CandidateCheck(bound_offer=bound_offer, exclusion=Exclusion(offer, Stage.PLACEMENT, reason))
    diagnostics: dict[str, SnapshotDiagnostic] = {}
    report_constraint(bound_offer.constraint, diagnostics)
    components = tuple(
        compile_component(component, bound_offer.schema)
        for component in representation.components
        if placement.accepts(component.type)
    )
    report_content(offer, components, diagnostics)
    candidate = Candidate(bound_offer, components)
    return CandidateCheck(
        bound_offer=bound_offer,
        candidate=candidate,
        reads=reads_of_candidate(candidate),
        diagnostics=diagnostics,
    )


class CandidateCache:
    """Cache of the checks of one placement, by offer id."""

    def __init__(self) -> None:
        self._checks: dict[str, CandidateCheck] = {}
        self._shared_reads: dict[frozenset[str], frozenset[str]] = {}

    def get(self, bound_offer: BoundOffer, placement: Placement) -> CandidateCheck:
        check = self._checks.get(bound_offer.offer.id)
        if check is None or check.bound_offer is not bound_offer:
            check = check_candidate(bound_offer, placement)
            if len(self._shared_reads) > len(self._checks):  # most are of offers that changed
                self._shared_reads.clear()
            # Many offers read the same paths; share one set.
            check = replace(check, reads=self._shared_reads.setdefault(check.reads, check.reads))
            self._checks[bound_offer.offer.id] = check
        return check

    def forget(self, offer: str) -> None:
        self._checks.pop(offer, None)


@dataclass(slots=True, kw_only=True, eq=False)
class PlacementCandidates:
    """Static checks of a pool's offers in one placement, by position.

    `own_formula_bits`: candidates with a formula of their own. `diagnostic_bits`: offers with
    diagnostics other than those of their formulas, which are in `formula_diagnostics` by offer id.
    `exclusions`: the offers that are no candidates, by id. `read_counts`: set of field paths → number
    of candidates that read exactly that set.
    """

    pool: Pool
    checks: list[CandidateCheck]
    candidates_by_position: CandidatesByPosition
    candidate_bits: Bits
    own_formula_bits: Bits
    diagnostic_bits: Bits
    formula_diagnostics: Mapping[str, tuple[BoundOffer, Mapping[str, SnapshotDiagnostic]]]
    exclusions: Mapping[str, Exclusion]
    read_counts: Counter[frozenset[str]]
    reads_cache: dict[Bits, frozenset[str]] = field(default_factory=dict)
    caps_cache: dict[Bits, OfferLimits] = field(default_factory=dict)

    def diagnostics_of(self, candidates: Bits, *, own_formulas: bool) -> dict[str, SnapshotDiagnostic]:
        """Return the diagnostics of candidates, optionally including their own formulas'."""
        diagnostics: dict[str, SnapshotDiagnostic] = {}
        for position in self.pool.positions(candidates & self.diagnostic_bits):
            diagnostics.update(self.checks[position].diagnostics)
        for bound_offer, formula_diagnostics in self.formula_diagnostics.values() if own_formulas else ():
            if candidates >> position_of(self.pool.offers, bound_offer.sort_key) & 1:
                diagnostics.update(formula_diagnostics)
        return diagnostics

    def reads(self, candidates: Bits) -> Generator[None, None, frozenset[str]]:
        """Return the field paths that these candidates read."""
        paths = self.reads_cache.get(candidates)
        if paths is None:
            read_sets: Iterable[frozenset[str]] = self.read_counts
            if candidates != self.candidate_bits:
                distinct_sets: set[frozenset[str]] = set()
                for number, position in enumerate(self.pool.positions(candidates)):
                    distinct_sets.update(_candidate_reads(self.checks[position], self.candidates_by_position[position]))
                    if number % _STEP == 0:
                        yield
                read_sets = distinct_sets
            paths = self.reads_cache[candidates] = frozenset().union(*read_sets)
        return paths

    def caps(self, candidates: Bits) -> Generator[None, None, OfferLimits]:
        """Return the limits of these candidates, sorted by offer id; cached."""
        capped = candidates & self.pool.capped
        limits = self.caps_cache.get(capped)
        if limits is None:
            offers = [self.pool.offers[position].offer for position in self.pool.positions(capped)]
            yield
            offers.sort(key=attrgetter("id"))
            yield
            limits = OfferLimits((offer.id, limit) for offer in offers for limit in offer.caps)
            self.caps_cache[capped] = limits
            yield
        return limits


class _CandidatesBuilder:
    """Builder of PlacementCandidates."""

    def __init__(self, placement: Placement, cache: CandidateCache, formula_of: FormulaOf) -> None:
        self._placement = placement
        self._cache = cache
        self._formula_of = formula_of
        self._candidate_positions: list[int] = []
        self._own_formula_positions: list[int] = []
        self._diagnostic_positions: list[int] = []
        self.checks: list[CandidateCheck] = []
        self.candidates: list[Candidate | None] = []
        self.formula_diagnostics: dict[str, tuple[BoundOffer, Mapping[str, SnapshotDiagnostic]]] = {}
        self.exclusions: dict[str, Exclusion] = {}
        self.read_counts: Counter[frozenset[str]] = Counter()

    def add(self, position: int, bound_offer: BoundOffer) -> None:
        check = self._cache.get(bound_offer, self._placement)
        candidate = check.candidate
        if check.exclusion is not None:
            self.exclusions[bound_offer.offer.id] = check.exclusion
        if check.diagnostics:
            self._diagnostic_positions.append(position)
        if candidate is not None:
            self._candidate_positions.append(position)
            if bound_offer.offer.ranking.type is not RankingType.PRIORITY:
                candidate = self._with_own_formula(position, candidate)
            self.read_counts.update(_candidate_reads(check, candidate))
        self.checks.append(check)
        self.candidates.append(candidate)

    def _with_own_formula(self, position: int, candidate: Candidate) -> Candidate:
        bound_offer = candidate.bound_offer
        diagnostics: dict[str, SnapshotDiagnostic] = {}
        formula = self._formula_of(bound_offer.offer.ranking, diagnostics)
        if diagnostics:
            self.formula_diagnostics[bound_offer.offer.id] = (bound_offer, diagnostics)
        if formula is None:
            return candidate
        self._own_formula_positions.append(position)
        return Candidate(bound_offer, candidate.components, formula)

    def bitsets(self) -> Generator[None, None, tuple[Bits, Bits, Bits]]:
        """Return the bitsets: candidates, those with own formulas, offers with diagnostics."""
        candidate_bits = bits_of(self._candidate_positions)
        yield
        own_formula_bits = bits_of(self._own_formula_positions)
        yield
        return candidate_bits, own_formula_bits, bits_of(self._diagnostic_positions)


def _candidate_reads(check: CandidateCheck, candidate: Candidate | None) -> tuple[frozenset[str], ...]:
    """Return the path sets read by a candidate and by its formula; empty for None."""
    if candidate is None:
        return ()
    if candidate.formula is None:
        return (check.reads,)
    return check.reads, reads_of_formula(candidate.formula)


def compile_candidates(
    pool: Pool, placement: Placement, cache: CandidateCache, formula_of: FormulaOf
) -> Generator[None, None, PlacementCandidates]:
    """Check all offers of a pool in a placement, in short steps."""
    builder = _CandidatesBuilder(placement, cache, formula_of)
    for position, bound_offer in enumerate(pool.offers):
        builder.add(position, bound_offer)
        if position % _STEP == 0:
            yield
    candidate_bits, own_formula_bits, diagnostic_bits = yield from builder.bitsets()
    return PlacementCandidates(
        pool=pool,
        checks=builder.checks,
        candidates_by_position=tuple(builder.candidates),
        candidate_bits=candidate_bits,
        own_formula_bits=own_formula_bits,
        diagnostic_bits=diagnostic_bits,
        formula_diagnostics=builder.formula_diagnostics,
        exclusions=builder.exclusions,
        read_counts=builder.read_counts,
    )


def update_candidates(
    before: PlacementCandidates,
    pool: Pool,
    changes: PositionChanges,
    placement: Placement,
    cache: CandidateCache,
    formula_of: FormulaOf,
) -> Generator[None, None, PlacementCandidates]:
    """Update the candidates of a pool after position changes, in short steps."""
    builder = _CandidatesBuilder(placement, cache, formula_of)
    for position in changes.inserted:
        builder.add(position, pool.offers[position])
    candidate_bits, own_formula_bits, diagnostic_bits = yield from builder.bitsets()
    read_counts = before.read_counts + builder.read_counts
    for position in changes.removed:
        read_counts.subtract(_candidate_reads(before.checks[position], before.candidates_by_position[position]))
    removed_ids = {before.checks[position].bound_offer.offer.id for position in changes.removed}
    yield
    checks = changes.remap_list(before.checks, builder.checks)
    yield
    after = PlacementCandidates(
        pool=pool,
        checks=checks,
        candidates_by_position=tuple(changes.remap_list(before.candidates_by_position, builder.candidates)),
        candidate_bits=changes.remap_bits(before.candidate_bits) | candidate_bits,
        own_formula_bits=changes.remap_bits(before.own_formula_bits) | own_formula_bits,
        diagnostic_bits=changes.remap_bits(before.diagnostic_bits) | diagnostic_bits,
        formula_diagnostics=_merge_changes(before.formula_diagnostics, removed_ids, builder.formula_diagnostics),
        exclusions=_merge_changes(before.exclusions, removed_ids, builder.exclusions),
        read_counts=+read_counts,
    )
    yield
    if changes.keeps_positions:
        positions = changes.inserted
        if all(_has_same_reads(before, after, position) for position in positions):
            after.reads_cache = before.reads_cache
        has_same_caps = all(_has_same_caps(before, after, position) for position in positions)
        if has_same_caps and after.candidate_bits == before.candidate_bits:
            after.caps_cache = before.caps_cache
    return after


def _has_same_reads(before: PlacementCandidates, after: PlacementCandidates, position: int) -> bool:
    return _candidate_reads(before.checks[position], before.candidates_by_position[position]) == _candidate_reads(
        after.checks[position], after.candidates_by_position[position]
    )


def _has_same_caps(before: PlacementCandidates, after: PlacementCandidates, position: int) -> bool:
    old, new = before.pool.offers[position].offer, after.pool.offers[position].offer
    return old.id == new.id and old.caps == new.caps


def _merge_changes(entries: Mapping[str, T], removed_ids: set[str], added: Mapping[str, T]) -> Mapping[str, T]:
    """Return the entries without the removed ids, plus the added; the same object if unchanged."""
    if not added and removed_ids.isdisjoint(entries):
        return entries
    return {key: value for key, value in entries.items() if key not in removed_ids} | dict(added)
