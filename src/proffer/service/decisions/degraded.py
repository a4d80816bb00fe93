"""Degraded decisions: what is served from memory while the database is unavailable.

We serve fallbacks, and offers without caps whose rules, scores and content do not read stored
customer data. All other offers are excluded: unknown data is not treated as empty, or a rule with
`not` would hold for everyone. Decisions are spooled and recorded when the database is back.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from proffer.engine.compile.reads import reads_of_candidate, reads_of_formula
from proffer.engine.snapshot import (
    Barred,
    PlayableCriterion,
    PlayableDecision,
    PlayableScope,
    Snapshot,
)
from proffer.model.events import DecisionEvent
from proffer.model.request import ScopeRequest
from proffer.model.trace import Stage
from proffer.service.runtime.database_status import Standing
from proffer.store.errors import StoreUnavailable
from proffer.store.ports import CapStore
from proffer.store.spool import Spool, SpoolFull

COUNTERS, CUSTOMER = "counters", "customer"
"""What a degraded decision lacked: only the counters, or the stored customer as well."""
_UNCOUNTED = "held back: the database is away, so nobody knows how often it was given"
_UNREAD = "held back: the database is away, and this reads what is kept of the customer"
_NOT_KEPT = frozenset({"context", "offer"})
_MOST_KEPT = 1_000
_TOGETHER = 100
"""Decisions recorded concurrently during a replay."""


@dataclass(slots=True)
class Restraint:
    """Cache of degraded scopes per container, for its latest snapshot."""

    _kept: dict[str, tuple[Snapshot, dict[tuple[str, str, str], PlayableScope]]] = field(
        default_factory=dict
    )

    def of(self, snapshot: Snapshot, scopes: Sequence[ScopeRequest], without: str) -> Snapshot:
        """Return the snapshot reduced to these scopes and to what is served in degraded mode."""
        known = self._kept.get(snapshot.container)
        if known is None or known[0] is not snapshot:
            known = self._kept[snapshot.container] = (snapshot, {})
        kept = known[1]
        decisions: dict[str, PlayableDecision] = {}
        for asked in scopes:
            playable = snapshot.decisions.get(asked.decision)
            scope = None if playable is None else playable.scopes.get(asked.placement)
            if playable is None:
                continue
            mine = decisions.setdefault(asked.decision, replace(playable, scopes={}))
            if scope is None:
                continue
            key = (asked.decision, asked.placement, without)
            if key not in kept:
                if len(kept) >= _MOST_KEPT:
                    kept.clear()
                kept[key] = restrained(scope, without)
            decisions[asked.decision] = replace(
                mine, scopes={**mine.scopes, asked.placement: kept[key]}
            )
        return replace(snapshot, decisions=decisions)


def restrained(scope: PlayableScope, without: str) -> PlayableScope:
    """Return the scope without the offers that need what is missing (`without`)."""
    capped = {offer for offer, _ in scope.caps}
    groups = tuple(
        tuple(_restrained(scope, criterion, capped, without) for criterion in group)
        for group in scope.groups
    )
    return replace(scope, groups=groups, caps=())


def _restrained(
    scope: PlayableScope, criterion: PlayableCriterion, capped: set[str], without: str
) -> PlayableCriterion:
    among = criterion.among
    barred: list[Barred] = []
    blind = without == CUSTOMER and _reads_kept_by(criterion)
    for position in scope.pool.positions(criterion.among):
        candidate = criterion.stand[position]
        if candidate is None:
            continue
        offer = candidate.playable.offer
        reads = reads_of_candidate(candidate)
        if candidate.formula is not None:
            reads |= reads_of_formula(candidate.formula)
        if offer.id in capped:
            barred.append(Barred(offer, Stage.CAPPING, _UNCOUNTED))
        elif blind or (without == CUSTOMER and _reads_kept(reads)):
            barred.append(Barred(offer, Stage.ELIGIBILITY, _UNREAD))
        else:
            continue
        among &= ~(1 << position)
    return replace(criterion, among=among, barred=(*criterion.barred, *barred))


def _reads_kept_by(criterion: PlayableCriterion) -> bool:
    reads: frozenset[str] = frozenset()
    if criterion.constraint is not None:
        if criterion.constraint.declared.audiences:
            return True
        for rule in criterion.constraint.rules:
            if rule.compiled is not None:
                reads |= rule.compiled.reads
    if criterion.formula is not None:
        reads |= reads_of_formula(criterion.formula)
    return _reads_kept(reads)


def _reads_kept(reads: frozenset[str]) -> bool:
    """Return whether a path reads stored customer data: attributes, audiences or events."""
    roots = {path.partition(".")[0] for path in reads}
    return any(root not in _NOT_KEPT and not root.startswith("context:") for root in roots)


class Backlog:
    """Spool decisions during an outage and record them when the database is back."""

    def __init__(self, store: CapStore, standing: Standing, spool: Spool | None) -> None:
        self._store = store
        self._standing = standing
        self._spool = spool
        self._draining = False
        self.waiting = spool is not None
        """Whether the spool may hold decisions, possibly from an earlier process."""
        standing.bridged = spool is not None

    async def keep(self, event: DecisionEvent) -> None:
        """Write a decision to the spool; it is on disk when this returns.

        Raises `StoreUnavailable` without a spool or if it is full: the request is not answered.
        """
        if self._spool is None:
            raise StoreUnavailable(self._standing.away or "the database is away")
        try:
            await self._spool.keep(event)
            self.waiting = True
        except SpoolFull as error:
            raise StoreUnavailable(
                f"the database is away, and no more decisions can wait for it: {error}",
                code="spool-full",
            ) from error

    async def back(self) -> None:
        """Record the spooled decisions, then mark the database as available."""
        if self._draining or (self._standing.away is None and not self.waiting):
            return
        self._draining = True
        try:
            await self._drain()
            self._standing.found()
        except StoreUnavailable as error:
            self._standing.lost(error)
        finally:
            self._draining = False

    async def _drain(self) -> None:
        if self._spool is None or self._spool.is_empty():
            self.waiting = False
            return
        await self._spool.seal()
        for path, events in self._spool.left():
            while some := list(islice(events, _TOGETHER)):
                done = await asyncio.gather(*map(self._put, some), return_exceptions=True)
                for error in done:
                    if error is not None:
                        raise error
            self._spool.forget(path)
        self.waiting = not self._spool.is_empty()

    async def _put(self, event: DecisionEvent) -> None:
        # A process killed during a replay leaves decisions in the file that are recorded already.
        if await self._store.decision_event(event.container, event.id) is None:
            await self._store.record(event.container, event, forced=True)

    async def close(self) -> None:
        """Close the spool; its decisions stay for the next process."""
        if self._spool is not None:
            await self._spool.close()
