"""Immutable snapshot of the catalog at one revision, compiled and indexed.

Decisions that cannot be made are in `inactive`, so that the reason can be reported: those that are not
live, and live ones whose fallback offer is missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from proffer.engine.compiled import BoundConstraint, BoundFormula, Candidate
from proffer.engine.formula_table import OfferTerms
from proffer.engine.index.bitset import Bits
from proffer.engine.index.pool import Pool
from proffer.model.capping import NO_LIMITS, OfferLimits
from proffer.model.content import Component
from proffer.model.decision import Decision
from proffer.model.lifecycle import DecisionStatus
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.placement import Placement
from proffer.model.trace import Stage


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A statically excluded offer of a collection, with stage and reason."""

    offer: PersonalizedOffer
    stage: Stage
    reason: str


CandidatesByPosition = tuple[Candidate | None, ...]
"""Candidates of one placement by position in the pool; None where the offer is excluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledCriterion:
    """One criterion in one placement, with its candidates as a bitset.

    `formula` scores all candidates; without one each is scored by its own formula, else by priority.
    `uses_formulas` is true if any formula takes part. `tables` are the precomputed terms of formulas
    that compile; no offer is in two of them.
    """

    position: int
    constraint: BoundConstraint | None
    candidate_bits: Bits
    formula: BoundFormula | None
    uses_formulas: bool
    tables: tuple[OfferTerms, ...] = field(default=(), compare=False, repr=False)
    exclusions: tuple[Exclusion, ...]
    pool: Pool
    candidates_by_position: CandidatesByPosition = field(repr=False)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The candidates by priority, highest first."""
        candidates = (self.candidates_by_position[position] for position in self.pool.positions(self.candidate_bits))
        return tuple(candidate for candidate in candidates if candidate is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledScope:
    """One decision in one placement: criteria in groups, highest priority first, and the fallback.

    All criteria use one pool. `caps`: the limits of the candidates, whose counters are read.
    `reads`: field paths that deciding the scope may read (see `compile.reads`).
    """

    decision: Decision
    placement: Placement
    pool: Pool
    candidates_by_position: CandidatesByPosition = field(repr=False)
    groups: tuple[tuple[CompiledCriterion, ...], ...]
    fallback: FallbackOffer
    fallback_components: tuple[Component, ...]
    caps: OfferLimits = NO_LIMITS
    reads: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotDiagnostic:
    """A diagnostic of the build: description, the object concerned, and causes."""

    description: str
    id: str | None = None
    instance_id: str | None = None
    etag: int | None = None
    causes: tuple["SnapshotDiagnostic", ...] = ()


def missing_reference(entity_id: str) -> SnapshotDiagnostic:
    """Return the diagnostic for a dangling reference; only an import can create one."""
    return SnapshotDiagnostic(
        description=f"Encountered issues with the dependency: `{entity_id}` is not in the library",
        id=entity_id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledDecision:
    """A live decision: its scopes by placement id, and its diagnostics."""

    decision: Decision
    scopes: Mapping[str, CompiledScope]
    diagnostics: tuple[SnapshotDiagnostic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The compiled library of one container; a function of the catalog alone (R33)."""

    container: str
    revision: int
    decisions: Mapping[str, CompiledDecision]
    inactive: Mapping[str, Decision]
    placements: Mapping[str, Placement]
    audience_ids: Mapping[str, str] = field(default_factory=dict)
    """Ids of the container's audiences by name."""

    @property
    def diagnostics(self) -> tuple[SnapshotDiagnostic, ...]:
        """Diagnostics of live decisions: one tree per decision, in order of id."""
        causes = {key: compiled.diagnostics for key, compiled in self.decisions.items()}
        causes |= {
            key: (missing_reference(decision.fallback),)
            for key, decision in self.inactive.items()
            if decision.status is DecisionStatus.LIVE
        }
        decisions = {key: compiled.decision for key, compiled in self.decisions.items()}
        return tuple(
            SnapshotDiagnostic(
                description=f"Errors were found while compiling the scopes of decision `{decision.name}`",
                id=decision.id,
                instance_id=decision.instance_id,
                etag=decision.etag,
                causes=causes[key],
            )
            for key, decision in sorted({**self.inactive, **decisions}.items())
            if causes.get(key)
        )


def empty_snapshot(container: str) -> Snapshot:
    """Return the snapshot of an empty container."""
    empty_mapping: Mapping[str, object] = MappingProxyType({})
    return Snapshot(
        container=container,
        revision=0,
        decisions=empty_mapping,  # type: ignore[arg-type]
        inactive=empty_mapping,  # type: ignore[arg-type]
        placements=empty_mapping,  # type: ignore[arg-type]
    )
