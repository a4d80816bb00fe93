"""Degraded decisions: what is served from memory while the database is unavailable.

We serve fallbacks, and offers without caps whose rules, scores and content do not read stored
customer data. All other offers are excluded: unknown data is not treated as empty, or a rule with
`not` would hold for everyone. Decisions are spooled and recorded when the database is back.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from proffer.engine.compile.reads import reads_of_candidate, reads_of_formula, reads_of_scope
from proffer.engine.snapshot import (
    CompiledCriterion,
    CompiledDecision,
    CompiledScope,
    Exclusion,
    Snapshot,
)
from proffer.model.capping import NO_LIMITS
from proffer.model.events import DecisionEvent
from proffer.model.request import ScopeRequest
from proffer.model.trace import Stage
from proffer.service.runtime.database_status import DatabaseStatus
from proffer.service.runtime.spool_queue import SpoolQueue
from proffer.store.errors import StoreUnavailable, WriteDelayed
from proffer.store.ports import CapStore
from proffer.store.spool import Spool

WITHOUT_COUNTERS, WITHOUT_CUSTOMER = "counters", "customer"
"""What a degraded decision lacked: only the counters, or the stored customer as well."""
_COUNTERS_UNAVAILABLE = "the database is not available, so the caps of the offer cannot be checked"
_CUSTOMER_UNAVAILABLE = "the database is not available, and the offer depends on stored customer data"
_REQUEST_ROOTS = frozenset({"context", "offer"})
_MAX_CACHED = 1_000


@dataclass(slots=True)
class DegradedSnapshotCache:
    """Cache of degraded scopes per container, for its latest snapshot."""

    _cache: dict[str, tuple[Snapshot, dict[tuple[str, str, str], CompiledScope]]] = field(default_factory=dict)

    def get(self, snapshot: Snapshot, scopes: Sequence[ScopeRequest], without: str) -> Snapshot:
        """Return the snapshot reduced to these scopes as served in degraded mode."""
        cached = self._cache.get(snapshot.container)
        if cached is None or cached[0] is not snapshot:
            cached = self._cache[snapshot.container] = (snapshot, {})
        degraded_scopes = cached[1]
        decisions: dict[str, CompiledDecision] = {}
        for request_scope in scopes:
            playable = snapshot.decisions.get(request_scope.decision)
            scope = None if playable is None else playable.scopes.get(request_scope.placement)
            if playable is None:
                continue
            decision = decisions.setdefault(request_scope.decision, replace(playable, scopes={}))
            if scope is None:
                continue
            key = (request_scope.decision, request_scope.placement, without)
            if key not in degraded_scopes:
                if len(degraded_scopes) >= _MAX_CACHED:
                    degraded_scopes.clear()
                degraded_scopes[key] = degraded_scope(scope, without)
            decisions[request_scope.decision] = replace(
                decision, scopes={**decision.scopes, request_scope.placement: degraded_scopes[key]}
            )
        return replace(snapshot, decisions=decisions)


def degraded_scope(scope: CompiledScope, without: str) -> CompiledScope:
    """Return the scope without the offers that need what is missing (`without`)."""
    capped = scope.caps.offers
    groups = tuple(
        tuple(_degraded_criterion(scope, criterion, capped, without) for criterion in group) for group in scope.groups
    )
    return replace(scope, groups=groups, caps=NO_LIMITS)


def _degraded_criterion(
    scope: CompiledScope, criterion: CompiledCriterion, capped: frozenset[str], without: str
) -> CompiledCriterion:
    remaining = criterion.candidate_bits
    exclusions: list[Exclusion] = []
    criterion_reads_customer = without == WITHOUT_CUSTOMER and _reads_customer(reads_of_scope(((criterion,),), ()))
    for position in scope.pool.positions(criterion.candidate_bits):
        candidate = criterion.candidates_by_position[position]
        if candidate is None:
            continue
        offer = candidate.bound_offer.offer
        reads = reads_of_candidate(candidate)
        if candidate.formula is not None:
            reads |= reads_of_formula(candidate.formula)
        if offer.id in capped:
            exclusions.append(Exclusion(offer, Stage.CAPPING, _COUNTERS_UNAVAILABLE))
        elif criterion_reads_customer or (without == WITHOUT_CUSTOMER and _reads_customer(reads)):
            exclusions.append(Exclusion(offer, Stage.ELIGIBILITY, _CUSTOMER_UNAVAILABLE))
        else:
            continue
        remaining &= ~(1 << position)
    return replace(criterion, candidate_bits=remaining, exclusions=(*criterion.exclusions, *exclusions))


def _reads_customer(reads: frozenset[str]) -> bool:
    """Return whether a path reads stored customer data: attributes, audiences or events."""
    roots = {path.partition(".")[0] for path in reads}
    return any(root not in _REQUEST_ROOTS and not root.startswith("context:") for root in roots)


class SpoolReplayer:
    """Spool decisions while the database is down, and record them afterwards."""

    def __init__(
        self,
        store: CapStore,
        database_status: DatabaseStatus,
        spool: Spool | None,
        *,
        allows_unrecorded: bool = False,
    ) -> None:
        self._store = store
        self._allows_unrecorded = allows_unrecorded
        self._database_status = database_status
        self.queue = None if spool is None else SpoolQueue(spool, self._record)
        database_status.survives_outages = spool is not None or allows_unrecorded

    @property
    def pending(self) -> bool:
        """Whether the spool may hold decisions, possibly from an earlier process."""
        return self.queue is not None and self.queue.pending

    async def add(self, event: DecisionEvent) -> bool:
        """Write a decision to the spool; return whether it is on disk.

        Where it cannot be, raises `StoreUnavailable` (the request is not answered), unless decisions
        without a record are allowed. A degraded decision counts for no cap.
        """
        if self.queue is not None:
            try:
                await self.queue.add([event])
            except StoreUnavailable:
                if not self._allows_unrecorded:
                    raise
            else:
                return True
        elif not self._allows_unrecorded:
            raise StoreUnavailable(self._database_status.outage or "the database is not available")
        return False

    def unready_reason(self) -> str | None:
        """Return why no decision can be answered now, or None."""
        outage = self._database_status.outage
        if outage is None or self._allows_unrecorded:
            return None
        refusal = "there is no spool" if self.queue is None else self.queue.refusal()
        return refusal and f"the database is not available ({outage}), and no decision can be spooled: {refusal}"

    async def replay(self) -> None:
        """Record the spooled decisions, then mark the database as available."""
        if self._database_status.outage is None and not self.pending:
            return
        try:
            if self._database_status.outage is not None:
                await self._store.check_writable()  # it may be readable alone, as on a full disk
            if self.queue is not None:
                with suppress(WriteDelayed):  # counters of some are locked: those are tried again
                    await self.queue.drain()
            self._database_status.record_recovery()
        except StoreUnavailable as error:
            self._database_status.record_failure(error)

    async def _record(self, events: Sequence[DecisionEvent]) -> None:
        # A process killed during a replay leaves decisions in the file that are recorded already.
        recorded_ids: set[str] = set()
        for container in {event.container for event in events}:
            ids = [event.id for event in events if event.container == container]
            recorded_ids.update(await self._store.decisions_of(container, ids))
        writes = [
            self._store.record(event.container, event, forced=True) for event in events if event.id not in recorded_ids
        ]
        for result in await asyncio.gather(*writes, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def close(self) -> None:
        """Close the spool; its decisions stay for the next process."""
        if self.queue is not None:
            await self.queue.close()
