"""What the engine decides on: the catalogue at one revision, compiled and indexed. Immutable once built.

Decisions that cannot be asked for are kept too, in `idle`, so that an answer can say why: those that
are not live, and those that are but whose fallback offer is not in the library.
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
    """An offer of the collection that no request can get here, whatever it says: where and why it left."""

    offer: PersonalizedOffer
    stage: Stage
    reason: str


Stand = tuple[Candidate | None, ...]
"""How the offers of a pool stand in one placement, by position; None where one cannot stand there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayableCriterion:
    """One criterion for one placement: which offers of the pool are its candidates.

    `formula` scores all of them; without one each is scored by its own, if it has one, else by its
    priority. `scored` says whether any formula takes part; `tables` are those that can be asked, none of
    an offer that another is of.
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
        """In the order of their priorities, highest first."""
        found = (self.stand[position] for position in self.pool.positions(self.among))
        return tuple(candidate for candidate in found if candidate is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayableScope:
    """One decision for one placement: its criteria in groups, first group first, and the fallback's components.

    All its criteria choose from one pool. `caps` are the limits of its candidates, each with the id of
    its offer: the counters to read. `reads` are the field paths that may be read to decide it, as
    `needs.reads_of_scope` says.
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
    """Something found wrong while building: what it says, the object it is about, and what lies beneath it."""

    description: str
    id: str | None = None
    instance_id: str | None = None
    etag: int | None = None
    causes: tuple["Fault", ...] = ()


def absent(entity_id: str) -> Fault:
    """What is referred to and is not in the library; it can only have come so by import."""
    return Fault(
        description=f"Encountered issues with the dependency: `{entity_id}` is not in the library",
        id=entity_id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayableDecision:
    """A live decision: a scope per placement it names, and what was found wrong with it."""

    decision: Decision
    scopes: Mapping[str, PlayableScope]
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One container's library, ready to decide on. A function of the catalogue alone (R33)."""

    container: str
    revision: int
    decisions: Mapping[str, PlayableDecision]
    idle: Mapping[str, Decision]
    placements: Mapping[str, Placement]

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What is wrong with live decisions, one tree per decision, in the order of their ids."""
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
    """The snapshot of a container in which nothing has been written."""
    nothing: Mapping[str, object] = MappingProxyType({})
    return Snapshot(
        container=container,
        revision=0,
        decisions=nothing,  # type: ignore[arg-type]
        idle=nothing,  # type: ignore[arg-type]
        placements=nothing,  # type: ignore[arg-type]
    )
