"""Immutable snapshot of the catalog at one revision, compiled and indexed.

Decisions that cannot be made are in `inactive`, so that the reason can be reported: those that are not
live, and live ones whose fallback offer is missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from proffer.engine.compiled import BoundConstraint, BoundFormula, Candidate
from proffer.engine.formula_table import Table
from proffer.engine.index.bitset import Bits
from proffer.engine.index.pool import Pool
from proffer.model.capping import CapLimit
from proffer.model.content import Component
from proffer.model.decision import Decision
from proffer.model.lifecycle import DecisionStatus
from proffer.model.offer import FallbackOffer, PersonalizedOffer
from proffer.model.placement import Placement
from proffer.model.trace import Stage


@dataclass(frozen=True, slots=True)
class Barred:
    """A statically excluded offer of a collection, with stage and reason."""

    offer: PersonalizedOffer
    stage: Stage
    reason: str


Stand = tuple[Candidate | None, ...]
"""Candidates of one placement by position in the pool; None where the offer is excluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayableCriterion:
    """One criterion in one placement, with its candidates as a bitset.

    `formula` scores all candidates; without one each is scored by its own formula, else by priority.
    `uses_formulas` is true if any formula takes part. `tables` are the precomputed terms of formulas
    that compile; no offer is in two of them.
    """

    position: int
    constraint: BoundConstraint | None
    among: Bits
    formula: BoundFormula | None
    scored: bool
    tables: tuple[Table, ...] = field(default=(), compare=False, repr=False)
    barred: tuple[Barred, ...]
    pool: Pool
    stand: Stand = field(repr=False)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The candidates by priority, highest first."""
        found = (self.stand[position] for position in self.pool.positions(self.among))
        return tuple(candidate for candidate in found if candidate is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayableScope:
    """One decision in one placement: criteria in groups, highest priority first, and the fallback.

    All criteria use one pool. `caps`: (offer id, limit) of the candidates, the counters to read.
    `reads`: field paths that deciding the scope may read (see `compile.reads`).
    """

    decision: Decision
    placement: Placement
    pool: Pool
    stand: Stand = field(repr=False)
    groups: tuple[tuple[PlayableCriterion, ...], ...]
    fallback: FallbackOffer
    fallback_components: tuple[Component, ...]
    caps: tuple[tuple[str, CapLimit], ...] = ()
    reads: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A diagnostic of the build: description, the object concerned, and causes."""

    description: str
    id: str | None = None
    instance_id: str | None = None
    etag: int | None = None
    causes: tuple["Fault", ...] = ()


def absent(entity_id: str) -> Fault:
    """Return the diagnostic for a dangling reference; only an import can create one."""
    return Fault(
        description=f"Encountered issues with the dependency: `{entity_id}` is not in the library",
        id=entity_id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayableDecision:
    """A live decision: its scopes by placement id, and its diagnostics."""

    decision: Decision
    scopes: Mapping[str, PlayableScope]
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The compiled library of one container; a function of the catalog alone (R33)."""

    container: str
    revision: int
    decisions: Mapping[str, PlayableDecision]
    idle: Mapping[str, Decision]
    placements: Mapping[str, Placement]

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Diagnostics of live decisions: one tree per decision, in order of id."""
        causes = {key: playable.faults for key, playable in self.decisions.items()}
        causes |= {
            key: (absent(decision.fallback),)
            for key, decision in self.idle.items()
            if decision.status is DecisionStatus.LIVE
        }
        decisions = {key: playable.decision for key, playable in self.decisions.items()}
        return tuple(
            Fault(
                description="Errors were found while compiling the scopes of "
                f"decision `{decision.name}`",
                id=decision.id,
                instance_id=decision.instance_id,
                etag=decision.etag,
                causes=causes[key],
            )
            for key, decision in sorted({**self.idle, **decisions}.items())
            if causes.get(key)
        )


def empty(container: str) -> Snapshot:
    """Return the snapshot of an empty container."""
    nothing: Mapping[str, object] = MappingProxyType({})
    return Snapshot(
        container=container,
        revision=0,
        decisions=nothing,  # type: ignore[arg-type]
        idle=nothing,  # type: ignore[arg-type]
        placements=nothing,  # type: ignore[arg-type]
    )
